/**
 * @module One execution, told in full, as data: what `hmm replay` shows and the reports are drawn
 * from. A recording survives JSON and structuredClone. Steps are numbered from 0 in the order in
 * which they were done, tasks from 0 in the order of the scenario. Words are named by what lies
 * there: `mm#1.users`, the label that the code gives, or their index.
 */

import type { FindingKind, FoundStack, Site } from "../findings/finding.ts";
import type { StateTable } from "../scenario.ts";
import type { SourcePlace } from "../steps/source-places.ts";

/** One schedule of one scenario, replayed with everything written down. */
export interface Recording {
  readonly format: "hmm-recording-1";
  readonly scenario: string;
  readonly summary: string;
  /**
   * The schedule; {@link Recording.replay} is the same with the scenario's name before it, as `hmm
   * replay` takes it.
   */
  readonly token: string;
  readonly replay: string;
  /** What a person types to see it again. */
  readonly command: string;
  /** Names. */
  readonly tasks: readonly string[];
  /** Undefined: this schedule passes. */
  readonly finding: RecordedFinding | undefined;
  /** Of the whole schedule. */
  readonly preemptions: number;
  /** Its steps; more than {@link Recording.steps} where it goes on without an end. */
  readonly length: number;
  readonly steps: readonly RecordedStep[];
  /** How each task stands after the last step. */
  readonly ends: readonly TaskState[];
  readonly objects: readonly RecordedObject[];
  readonly locks: readonly LockHold[];
  readonly edges: readonly Edge[];
  /** What a scenario shows of its state before the first step. */
  readonly tables: readonly StateTable[];
}

export interface RecordedFinding {
  readonly kind: FindingKind;
  readonly message: string;
  readonly sites: readonly Site[];
  readonly threads: readonly string[];
  /** Where it was thrown, where two locks were taken. */
  readonly stacks: readonly FoundStack[];
  /** Steps that the finding is about. */
  readonly anchors: readonly number[];
  /** Of a deadlock: tasks, each waiting for the next, the last for the first. */
  readonly cycle: readonly number[];
}

export interface RecordedStep {
  readonly task: number;
  /** Its operation: a {@link "../../sync/tasks/task.ts" | WaitKind}. */
  readonly kind: string;
  /** How its wait ended. */
  readonly choice: "run" | "timeout" | "spurious" | "wake" | "death" | "look";
  /** What it operates on, by name. */
  readonly label: string;
  /** The whole step in words: `refPut mm.users 2 → 1`. */
  readonly text: string;
  /** First word that it touches, how many, and what the first holds before and after. */
  readonly at: number;
  readonly words: number;
  readonly before: number;
  readonly after: number;
  /** Where in the code, and the way there, innermost first. */
  readonly place: SourcePlace | undefined;
  readonly stack: readonly SourcePlace[];
  /**
   * Words that changed, control block aside: by the operation and by what its task did until its
   * next one.
   */
  readonly changes: readonly WordChange[];
  /** Of each task, once the step is done. */
  readonly states: readonly TaskState[];
  /**
   * Why the task of the step before did not go on; undefined if it did, or if this is the first
   * step.
   */
  readonly switched: "preempted" | "waiting" | "over" | undefined;
  /** How many steps of each task happen before this one, itself included: its vector clock. */
  readonly clock: readonly number[];
  /** Whether the finding depends on it. In a schedule that passes: true. */
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
  /** In words: `waits for mmapLock, held by exit`. */
  readonly text: string;
  /** Tasks that hold what it waits for. */
  readonly holders: readonly number[];
  /** What it is about to do: a kind, and the name of what it operates on. */
  readonly kind: string;
  readonly label: string;
  readonly place: SourcePlace | undefined;
}

/** An object that was allocated or freed in this execution, or that a step touched. */
export interface RecordedObject {
  readonly name: string;
  readonly at: number;
  readonly words: number;
  /** Steps; -1: none. An object without an allocating step was there before. */
  readonly allocStep: number;
  readonly freeStep: number;
  /** Uses after that: steps. */
  readonly badSteps: readonly number[];
}

export interface LockHold {
  readonly task: number;
  readonly label: string;
  readonly at: number;
  readonly mode: "exclusive" | "shared" | "srcu";
  /** The step that took it, and the one that gave it back; -1 if none did. */
  readonly from: number;
  readonly to: number;
}

/** One thing comes before another, for a reason that a person can see. */
export interface Edge {
  readonly from: number;
  readonly to: number;
  readonly why: "unlock" | "wake" | "grace period" | "value";
}
