/**
 * @module Data races: two accesses to one word that nothing orders, at least one of them a write,
 * and not both steps. Plain accesses are no scheduling points. That loses nothing: a program
 * without data races behaves as if its plain accesses were sequentially consistent, and a race is
 * reported.
 *
 * P1. An access belongs to the time after its task's latest step, number n. It happens before what
 *     comes after the task's step n + 1, if anything orders the two at all.
 * P2. An access that the task's latest step names is that step. Two such accesses are no race,
 *     because the search tries both orders. One of them and an access that is no step are a race:
 *     the search does not know that their order matters.
 *
 * The order is that of the trace, in which a load also comes before a later store of the same word.
 * So a race may be hidden in one class of executions. It shows in the class where the store comes
 * first.
 */

import { currentTask } from "../../sync/tasks/current-task.ts";
import { TEST_CONDITION } from "../steps/kinds.ts";
import { markPlace } from "../steps/source-places.ts";
import type { WatchedRun } from "./watched-run.ts";

/** One plain access. */
export interface PlainAccess {
  readonly task: number;
  /** How many steps its task had done. */
  readonly ordinal: number;
  /** Depth of the execution when it came. */
  readonly depth: number;
  readonly isWrite: boolean;
  /** P2. */
  readonly isStep: boolean;
  readonly label: string;
  readonly at: number;
  /** In a replay: an error whose stack says where in the code. */
  readonly mark: Error | undefined;
  /** Names of the locks that its task held. */
  readonly held: readonly string[];
}

export interface PlainAccessesOptions {
  /** Note where in the code each access is: slow, for replays. */
  readonly withSites: boolean;
  readonly onRace: (earlier: PlainAccess, later: PlainAccess) => void;
  /** A task is about to write this word plainly. */
  readonly onStore: (word: number) => void;
}

/** The latest write and, of each task, the latest read since. */
interface Shadow {
  write: PlainAccess | undefined;
  readonly reads: (PlainAccess | undefined)[];
}

export class PlainAccesses {
  readonly #run: WatchedRun;
  readonly #options: PlainAccessesOptions;
  readonly #shadows = new Map<number, Shadow>();

  constructor(run: WatchedRun, options: PlainAccessesOptions) {
    this.#run = run;
    this.#options = options;
  }

  forget(): void {
    if (this.#shadows.size > 0) this.#shadows.clear();
  }

  note(at: number, isWrite: boolean, label: string): void {
    const run = this.#run;
    if (isWrite) this.#options.onStore(at);
    const task = run.memory.agentId - 1;
    const { counts, tasks } = run.trace;
    const ordinal = counts[run.depth * tasks + task] ?? 0;
    const held = currentTask.held.map(({ lock }) => lock.lockClass.name);
    const access: PlainAccess = {
      task,
      ordinal,
      depth: run.depth,
      isWrite,
      isStep: this.#isOwnStep(task, ordinal, at),
      label,
      at,
      mark: this.#options.withSites ? markPlace() : undefined,
      held,
    };
    let shadow = this.#shadows.get(at);
    if (shadow === undefined) this.#shadows.set(at, (shadow = { write: undefined, reads: [] }));
    this.#compare(shadow.write, access);
    if (isWrite) {
      for (const read of shadow.reads) this.#compare(read, access);
      shadow.write = access;
      shadow.reads.length = 0;
    } else shadow.reads[task] = access;
  }

  /** P2. The test of a condition is about whatever the condition reads. */
  #isOwnStep(task: number, ordinal: number, at: number): boolean {
    if (ordinal === 0) return false;
    const { kind, positions, tasks, waits } = this.#run.trace;
    const step = positions[ordinal * tasks + task]!;
    if (kind[step] === TEST_CONDITION) return true;
    const { index, words } = waits[step]!;
    return at >= index && at < index + words;
  }

  #compare(earlier: PlainAccess | undefined, later: PlainAccess): void {
    if (earlier === undefined || earlier.task === later.task || (earlier.isStep && later.isStep))
      return;
    const { clocks, tasks, positions } = this.#run.trace;
    if (later.ordinal > 0) {
      const step = positions[later.ordinal * tasks + later.task]!;
      const past = clocks[step * tasks + earlier.task]!;
      if (past > earlier.ordinal || (earlier.isStep && past === earlier.ordinal)) return;
    }
    this.#options.onRace(earlier, later);
  }
}

let active: PlainAccesses | undefined;

/** Whose execution is under way. */
export function watchPlainAccesses(accesses: PlainAccesses | undefined): void {
  active = accesses;
}

/** A plain access of the running task. */
export function notePlainAccess(at: number, isWrite: boolean, label: string): void {
  active?.note(at, isWrite, label);
}
