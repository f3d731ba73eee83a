/**
 * @module The death of a thread as a choice: between any two steps of its task, within the budget.
 * The shipped code does what follows. It declares the agent dead (sync/death/death.ts), which stops
 * the machine if the agent held a lock. The reaper (sync/death/reaper.ts) runs as a task of its own
 * and releases what else the agent owned.
 *
 * E1. A death and its discovery are one step. Between the two, other threads would see a thread
 *     that does nothing. They also see that if the death comes later.
 * E2. After a death a blocked task may recheck, as the runners do after a slice: once for each
 *     death. If the machine has stopped, the machine's error is thrown into the task. Otherwise a
 *     parked task gets a spurious wake. It replaces a wake that the dead thread no longer made.
 * E3. A task of its own has one step, after which no thread dies any more. It comes first and
 *     depends only on deaths. So the classes without deaths are the same as without a budget of
 *     deaths, each with that one step more. It also makes a deadlock the end of an execution,
 *     although tasks could otherwise still be killed.
 * E4. The held table has what the dead thread held and where it queued. Locks fill it in every
 *     mode. What it held of semaphores as a reader is given up in the same step, so the death
 *     touches them as a reader that leaves. A lock whose changes are undone is released in the same
 *     step, so the death touches it as an unlock.
 * E5. A death writes the state of the record and ALERT, which other tasks read as steps: a writer
 *     that looks at reader words, the reaper where it is spelled out. If it did not name them, the
 *     searches would miss the order of the two.
 * E6. A recheck depends on deaths, and on nothing else that is written to DEATHS: recovery adds to
 *     that word for the reaper's sake, and no recheck looks at it. So deaths and rechecks have a
 *     place of their own. Were it the word, an order of two steps that commute would make classes,
 *     and the races of a recheck (engines/races.ts), which know of deaths alone, would miss some.
 * E7. A thread that dies while it declares another one dead leaves that to who finds it (D2 of
 *     sync/death/death.ts), which is the same step. So the death touches what the other one held.
 */

import {
  AGENT_FINDERS,
  AGENT_FINDS,
  AGENT_INSIDE,
  AGENT_READS,
  AGENT_STATE,
  ALERT,
  DEATHS,
  NO_RECORD,
  PROBE_TIME,
  agentRecord,
} from "../../sync/control-block.ts";
import { declareDead, foundAgent } from "../../sync/death/death.ts";
import {
  HELD_CALLBACK,
  HELD_EXCLUSIVE,
  HELD_SHARED,
  heldClassName,
  heldMode,
  heldSlots,
} from "../../sync/lockdep/held-locks.ts";
import { undoneKind } from "../../sync/lockdep/lock-order.ts";
import { hasPanicked } from "../../sync/death/panic.ts";
import { reapTask } from "../../sync/death/reaper.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { RWSEM_WORDS } from "../../sync/words/rwsem-words.ts";
import { describe } from "../../sync/tasks/task.ts";
import type { Task, Wait } from "../../sync/tasks/task.ts";
import { PARK, kindCode } from "../steps/kinds.ts";
import type { Footprints } from "../steps/footprint.ts";
import { QUEUE, SHARE, WRITE } from "../steps/access-modes.ts";
import type { AccessMode } from "../steps/access-modes.ts";
import type { DeathEffects } from "../steps/trace.ts";

const DOWN_WRITE = kindCode("downWrite");
/** The name of the task that releases what dead threads owned. */
export const REAPER = "reaper";
/** The name of the task after whose step no thread dies any more. */
export const DEATHS_OVER = "no more deaths";
/** In an execution nobody probes, so this word can stand for the budget that is left. */
const BUDGET = PROBE_TIME;
const IDLE = "a death";

export class Deaths {
  left = 0;
  /** Names of the dead, in order. */
  readonly names: string[] = [];
  readonly #memory: SharedMemory;
  readonly #footprints: Footprints;
  readonly #budget: number;
  readonly #isKillable: readonly boolean[];
  /** For each task: how many deaths there were when it last rechecked. */
  readonly #seen: Int32Array;
  readonly #known = new Map<number, number>();

  /** `isKillable`: whether the thread of each task may die. */
  constructor(
    memory: SharedMemory,
    footprints: Footprints,
    budget: number,
    isKillable: readonly boolean[],
  ) {
    this.#memory = memory;
    this.#footprints = footprints;
    this.#budget = budget;
    this.#isKillable = isKillable;
    this.#seen = new Int32Array(isKillable.length);
  }

  /** A new execution begins. */
  reset(): void {
    this.left = this.#budget;
    this.names.length = 0;
    this.#seen.fill(0);
  }

  isKillable(task: number): boolean {
    return this.#isKillable[task] ?? false;
  }

  /**
   * Whether a blocked task may recheck: there was a death since it last did, and a recheck would
   * have an effect.
   */
  mayRecheck(task: number, code: number): boolean {
    return this.names.length > this.#seen[task]! && (code === PARK || hasPanicked(this.#memory));
  }

  noteRecheck(task: number): void {
    this.#seen[task] = this.names.length;
  }

  /** What the death of a task that is about to do `wait` touches. */
  footprintOf(task: number, code: number, wait: Wait): number {
    const isInside = (this.#memory.words[agentRecord(task + 1) + AGENT_INSIDE]! & 1) !== 0;
    const isQueued = code === PARK || code === DOWN_WRITE;
    const place = isQueued ? this.#footprints.placeOf(wait.index) : 0;
    const givenUp = this.#givenUpBy(task);
    const key = (place * 2 + (isInside ? 1 : 0)) * 2 + (code === PARK ? 1 : 0);
    const full = key * 32 + task;
    const known = this.#known.get(full);
    if (known !== undefined && givenUp.length === 0) return known;
    const pairs: [number, AccessMode][] = [
      [DEATHS, WRITE],
      [BUDGET, WRITE],
      [ALERT, WRITE],
      [agentRecord(task + 1) + AGENT_STATE, WRITE],
    ];
    if (isInside) pairs.push([agentRecord(task + 1) + AGENT_INSIDE, WRITE]);
    if (isQueued) pairs.push([wait.index, code === PARK ? QUEUE : WRITE]);
    const made = this.#footprints.dying([...pairs, ...givenUp]);
    if (givenUp.length === 0) this.#known.set(full, made);
    return made;
  }

  /**
   * The words of semaphores that the death of a task changes, besides those that it waits at, and
   * how (E4).
   */
  #givenUpBy(task: number): [number, AccessMode][] {
    const { words } = this.#memory;
    const all = this.#heldBy(agentRecord(task + 1));
    // E7. Dead threads that it was declaring dead.
    for (let finds = words[agentRecord(task + 1) + AGENT_FINDS]!; finds !== 0;) {
      const found = agentRecord(foundAgent(finds));
      all.push([found + AGENT_FINDERS, WRITE], [found + AGENT_INSIDE, WRITE]);
      all.push(...this.#heldBy(found));
      finds = words[found + AGENT_FINDS]!;
    }
    return all;
  }

  #heldBy(record: number): [number, AccessMode][] {
    const memory = this.#memory;
    const words: [number, AccessMode][] = [];
    for (const { slot, at, tag } of heldSlots(memory, record)) {
      const mode = heldMode(tag);
      if (slot === 0) words.push([record + AGENT_READS, WRITE]);
      else if (memory.isSpelledOut && (mode === HELD_SHARED || mode > HELD_CALLBACK))
        for (let word = at; word < at + RWSEM_WORDS; word++) words.push([word, WRITE]);
      else if (mode === HELD_SHARED) words.push([at, SHARE]);
      else if (mode === HELD_EXCLUSIVE && undoneKind(heldClassName(tag)) !== undefined)
        words.push([at, WRITE]);
    }
    return words;
  }

  /** The thread of `task` dies before it does `wait`. */
  die(task: number, name: string, wait: Wait): DeathEffects {
    const memory = this.#memory;
    const record = agentRecord(task + 1);
    this.left--;
    this.names.push(name);
    const wasStopped = hasPanicked(memory);
    const isInside = (memory.words[record + AGENT_INSIDE]! & 1) !== 0;
    const changed = [DEATHS, ALERT, record + AGENT_STATE];
    changed.push(...this.#givenUpBy(task).map(([word]) => word));
    if (isInside) changed.push(record + AGENT_INSIDE);
    if (wait.kind === "downWrite") changed.push(wait.index); // its place in the queue is given up
    const before = changed.map((word) => memory.words[word]!);
    // Nobody of the machine finds it: what a finder notes (D2 of death.ts) is in no agent's record.
    const own = memory.record;
    memory.record = NO_RECORD;
    declareDead(memory, task + 1, memory.words[record + AGENT_STATE]!);
    memory.record = own;
    const words = new Map(changed.map((word) => [word, memory.words[word]!]));
    const changes = new Map(changed.map((word, i) => [word, memory.words[word]! - before[i]!]));
    return { words, changes, panics: !wasStopped && hasPanicked(memory) };
  }

  /** Whether a task's wait is the reaper's for a death. */
  isIdle(wait: Wait): boolean {
    return wait.kind === "waitWhile" && wait.label === IDLE && wait.index === DEATHS;
  }
}

/** The task after whose step no thread dies any more. */
export function* deathsOver(memory: SharedMemory): Task<void> {
  yield describe("update", memory, BUDGET, 1, "nobody dies any more");
}

/** The task that reaps: waits for a death, releases what the dead left, waits for the next. */
export function* reaper(memory: SharedMemory): Task<void> {
  for (;;) {
    const seen = memory.words[DEATHS]!;
    yield describe("waitWhile", memory, DEATHS, 1, IDLE, seen);
    if (hasPanicked(memory)) return;
    yield* reapTask(memory);
  }
}
