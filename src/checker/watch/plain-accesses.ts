/**
 * @module Data races: two accesses to one word that happens-before does not order. At least one is
 * a write, and at least one is no step. Plain accesses are no scheduling points. This loses
 * nothing: without data races a program behaves as if its plain accesses were sequentially
 * consistent, and with one the race is reported.
 *
 * P1. A plain access comes after its task's latest step, number n. It happens before all that
 *     happens after the task's step n + 1.
 * P2. An access that the task's latest step names is that step. Two such accesses are no race,
 *     because the search tries both orders. Such an access and one that is no step are a race: the
 *     search does not know that their order matters.
 *
 * The happens-before relation is that of the trace. In it a load also happens before a later store
 * of the same word. So a race may be hidden in some classes of executions; it shows in a class
 * where the store comes first.
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
  /** Depth of the execution at the access. */
  readonly depth: number;
  readonly isWrite: boolean;
  /** P2. */
  readonly isStep: boolean;
  readonly label: string;
  readonly at: number;
  /** In a replay: an error whose stack has the place in the code. */
  readonly mark: Error | undefined;
  /** Names of the locks that its task held. */
  readonly held: readonly string[];
}

export interface PlainAccessesOptions {
  /** Record the place in the code of each access. It is slow, so only replays do. */
  readonly withSites: boolean;
  readonly onRace: (earlier: PlainAccess, later: PlainAccess) => void;
  /** A task is about to write this word plainly. */
  readonly onStore: (word: number) => void;
}

/** The shadow of a word: its latest write, and each task's latest read since then. */
interface Shadow {
  write: PlainAccess | undefined;
  /** By task. Old ones stay, so that nothing has to be allocated for new ones. */
  readonly reads: PlainAccess[];
  /** Which of {@link reads} count: a bit for each task. */
  readers: number;
}

const NOTHING_HELD: readonly string[] = [];

export class PlainAccesses {
  readonly #run: WatchedRun;
  readonly #options: PlainAccessesOptions;
  /** By word of the heap: its shadow in {@link #shadows}, + 1. Kept for the next execution. */
  #shadowOf: Int32Array = new Int32Array(0);
  readonly #shadows: Shadow[] = [];
  /** Those of words outside the heap, which have negative numbers. */
  readonly #shadowsOutside = new Map<number, Shadow>();
  /** Shadows of the heap with an access in this execution. */
  readonly #used: Shadow[] = [];
  /** What each task held at its latest access. */
  readonly #held: (readonly string[])[] = [];

  constructor(run: WatchedRun, options: PlainAccessesOptions) {
    this.#run = run;
    this.#options = options;
  }

  reset(): void {
    for (const shadow of this.#used) {
      shadow.write = undefined;
      shadow.readers = 0;
    }
    this.#used.length = 0;
    if (this.#shadowsOutside.size > 0) this.#shadowsOutside.clear();
  }

  note(at: number, isWrite: boolean, label: string): void {
    const run = this.#run;
    if (isWrite) this.#options.onStore(at);
    const task = run.memory.agentId - 1;
    const { counts, tasks } = run.trace;
    const ordinal = counts[run.depth * tasks + task] ?? 0;
    const shadow = at < 0 ? this.#outside(at) : this.#inHeap(at);
    const isAgain = isRepeated(shadow, task, ordinal, isWrite);
    if (isAgain && !this.#options.withSites) return;
    const access: PlainAccess = {
      task,
      ordinal,
      depth: run.depth,
      isWrite,
      isStep: this.#isOwnStep(task, ordinal, at),
      label,
      at,
      mark: this.#options.withSites ? markPlace() : undefined,
      held: this.#heldBy(task),
    };
    this.#compare(shadow.write, access);
    if (isWrite) {
      for (let left = shadow.readers, reader = 0; left !== 0; left >>>= 1, reader++)
        if ((left & 1) !== 0) this.#compare(shadow.reads[reader], access);
      shadow.write = access;
      shadow.readers = 0;
    } else {
      shadow.reads[task] = access;
      shadow.readers |= 1 << task;
    }
  }

  #outside(at: number): Shadow {
    let shadow = this.#shadowsOutside.get(at);
    if (shadow === undefined)
      this.#shadowsOutside.set(at, (shadow = { write: undefined, reads: [], readers: 0 }));
    return shadow;
  }

  #inHeap(at: number): Shadow {
    if (at >= this.#shadowOf.length) {
      const wider = new Int32Array(Math.max(at + 1, this.#run.memory.words.length));
      wider.set(this.#shadowOf);
      this.#shadowOf = wider;
    }
    const number = this.#shadowOf[at]!;
    if (number === 0) {
      const made: Shadow = { write: undefined, reads: [], readers: 0 };
      this.#shadowOf[at] = this.#shadows.push(made);
      this.#used.push(made);
      return made;
    }
    const shadow = this.#shadows[number - 1]!; // made above
    if (shadow.write === undefined && shadow.readers === 0) this.#used.push(shadow);
    return shadow;
  }

  /** The names of the locks that the running task holds. The same array while they are the same. */
  #heldBy(task: number): readonly string[] {
    const { held } = currentTask;
    if (held.length === 0) return NOTHING_HELD;
    const known = this.#held[task];
    const isSame =
      known?.length === held.length &&
      held.every(({ lock }, i) => lock.lockClass.name === known[i]);
    if (isSame) return known;
    return (this.#held[task] = held.map(({ lock }) => lock.lockClass.name));
  }

  /** P2. All reads of a condition belong to its test. */
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

/**
 * Whether the task has accessed the word in the same way since its latest step, and nobody else
 * has. What races with the one races with the other.
 */
function isRepeated(shadow: Shadow, task: number, ordinal: number, isWrite: boolean): boolean {
  const { write, reads, readers } = shadow;
  if (isWrite) return readers === 0 && write?.task === task && write.ordinal === ordinal;
  return (readers & (1 << task)) !== 0 && reads[task]?.ordinal === ordinal;
}

let active: PlainAccesses | undefined;

/** Sets the execution whose accesses are recorded; undefined: none are. */
export function watchPlainAccesses(accesses: PlainAccesses | undefined): void {
  active = accesses;
}

/** Records a plain access of the running task. */
export function notePlainAccess(at: number, isWrite: boolean, label: string): void {
  active?.note(at, isWrite, label);
}
