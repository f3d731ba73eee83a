/**
 * @module A recording: one execution in full detail, as data. `hmm replay` and the reports show it.
 * It can be converted to JSON and back. Steps are numbered from 0 in the order in which they were
 * performed, tasks from 0 in the order of the scenario. The name of a word is that of its object
 * and field (`mm#1.users`), the label that the code gives, or its index.
 */

import type { FindingKind, FoundStack, Site } from "../findings/finding.ts";
import type { StateTable } from "../scenario.ts";
import type { SourcePlace } from "../steps/source-places.ts";

/** One schedule of one scenario, replayed and recorded. */
export interface Recording {
  /** Says what the object is, and in which version. */
  readonly format: "hmm-recording-1";
  /** The name of the scenario. */
  readonly scenario: string;
  /** What the scenario is about, in a line. */
  readonly summary: string;
  /**
   * The schedule. {@link Recording.replay} is the same with the scenario's name before it, for
   * `hmm replay`.
   */
  readonly token: string;
  /** The scenario's name, `@`, and the token. */
  readonly replay: string;
  /** The command that shows it again. */
  readonly command: string;
  /** The names of the tasks. */
  readonly tasks: readonly string[];
  /** Undefined: this schedule passes. */
  readonly finding: RecordedFinding | undefined;
  /** The number of preemptions in the whole schedule. */
  readonly preemptions: number;
  /** The number of steps. An endless schedule has more than {@link Recording.steps}. */
  readonly length: number;
  /** The steps of the schedule, in their order. */
  readonly steps: readonly RecordedStep[];
  /** The state of each task after the last step. */
  readonly ends: readonly TaskState[];
  /** Objects of the heap that the schedule allocated. */
  readonly objects: readonly RecordedObject[];
  /** From when to when each lock was held. */
  readonly locks: readonly LockHold[];
  /** Which steps come before which others, and why. */
  readonly edges: readonly Edge[];
  /** The state that the scenario's `describe` shows before the first step. */
  readonly tables: readonly StateTable[];
}

export interface RecordedFinding {
  readonly kind: FindingKind;
  readonly message: string;
  readonly sites: readonly Site[];
  readonly threads: readonly string[];
  /** Where the error was thrown, where two locks were taken. */
  readonly stacks: readonly FoundStack[];
  /** Steps that the finding is about. */
  readonly anchors: readonly number[];
  /** For a deadlock: tasks, each of which waits for the next, and the last for the first. */
  readonly cycle: readonly number[];
}

export interface RecordedStep {
  readonly task: number;
  /** Its operation: a {@link "../../sync/tasks/task.ts" | WaitKind}. */
  readonly kind: string;
  /** How the task went on. */
  readonly choice: "run" | "timeout" | "spurious" | "wake" | "death" | "recheck";
  /** What it operates on, by name. */
  readonly label: string;
  /** The step as text: `refPut mm.users 2 → 1`. */
  readonly text: string;
  /** The first word that it names, the number of words, and the first word before and after. */
  readonly at: number;
  readonly words: number;
  readonly before: number;
  readonly after: number;
  /** The place in the code; and the stack, innermost frame first. */
  readonly place: SourcePlace | undefined;
  readonly stack: readonly SourcePlace[];
  /**
   * Words outside the control block that the operation changed, or its task up to its next
   * operation.
   */
  readonly changes: readonly WordChange[];
  /** The state of each task after the step. */
  readonly states: readonly TaskState[];
  /**
   * Why the task of the previous step did not go on; undefined if it did, or if this is the first
   * step.
   */
  readonly switched: "preempted" | "waiting" | "over" | undefined;
  /** Its vector clock: for each task, how many of its steps happen before this one or are it. */
  readonly clock: readonly number[];
  /** Whether the finding depends on it. Always true in a schedule that passes. */
  readonly isInPast: boolean;
  readonly tables: readonly StateTable[];
}

export interface WordChange {
  readonly at: number;
  readonly name: string;
  readonly before: string;
  readonly after: string;
}

export interface TaskState {
  readonly state: "ready" | "waiting" | "over" | "threw";
  /** The state as text: `waits for mmapLock, held by exit`. */
  readonly text: string;
  /** Tasks that hold what it waits for. */
  readonly holders: readonly number[];
  /** The pending operation: its kind, and the name of what it operates on. */
  readonly kind: string;
  readonly label: string;
  readonly place: SourcePlace | undefined;
}

/** An object that was allocated or freed in this execution, or that a step touched. */
export interface RecordedObject {
  readonly name: string;
  readonly at: number;
  readonly words: number;
  /** Steps; -1: none. An object without an allocating step is one of the set-up. */
  readonly allocStep: number;
  readonly freeStep: number;
  /** The steps that used it after the free. */
  readonly badSteps: readonly number[];
}

export interface LockHold {
  readonly task: number;
  readonly label: string;
  readonly at: number;
  readonly mode: "exclusive" | "shared" | "srcu";
  /** The step that took it, and the step that released it; -1 if there is none. */
  readonly from: number;
  readonly to: number;
}

/** One step comes before another, for the given reason. */
export interface Edge {
  readonly from: number;
  readonly to: number;
  readonly why: "unlock" | "wake" | "grace period" | "value";
}
