/**
 * @module The death of a thread as a choice: between any two steps of its task, within the budget.
 * What happens then is done by the code that ships. The dead agent is declared dead (death.ts of
 * sync), which stops the machine if it held a lock. What else it owned is released by the reaper
 * (reaper.ts of sync), which runs as a task of its own.
 *
 * E1. Death and its discovery are one step. Between the two, others would see a thread that does
 *     nothing. They see that before its death, too.
 * E2. After a death a blocked task may look up, as the runners do after a slice: once for each
 *     death. If the machine has stopped, the task is thrown that error. Otherwise a parked task is
 *     woken for no reason, which heals a wake that died on its way.
 * E3. That nobody dies any more is a step too, of a task of its own. It comes first and depends on
 *     deaths alone. So the classes without deaths stay as they are, each with that one step more.
 *     And a deadlock is the end of an execution although its tasks could still be killed.
 * E4. The held table says what the dead thread held and where it queued. The locks fill it in every
 *     mode.
 */

import {
  AGENT_INSIDE,
  AGENT_STATE,
  DEATHS,
  PROBE_TIME,
  agentRecord,
} from "../../sync/control-block.ts";
import { declareDead } from "../../sync/death/death.ts";
import { hasPanicked } from "../../sync/death/panic.ts";
import { reapTask } from "../../sync/death/reaper.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { describe } from "../../sync/tasks/task.ts";
import type { Task, Wait } from "../../sync/tasks/task.ts";
import { PARK, kindCode } from "../steps/kinds.ts";
import type { Footprints } from "../steps/footprint.ts";
import { QUEUE, WRITE } from "../steps/access-modes.ts";
import type { AccessMode } from "../steps/access-modes.ts";
import type { DeathEffects } from "../steps/trace.ts";

const DOWN_WRITE = kindCode("downWrite");
/** The name of the task that releases what dead threads owned. */
export const REAPER = "reaper";
/** The name of the task whose only step is that nobody dies any more. */
export const DEATHS_OVER = "no more deaths";
/** Nobody probes here: the word stands for what is left of the budget. */
const BUDGET = PROBE_TIME;
const IDLE = "a death";

export class Deaths {
  left = 0;
  /** Names of the dead, in order. */
  readonly names: string[] = [];
  readonly #memory: SharedMemory;
  readonly #footprints: Footprints;
  readonly #budget: number;
  readonly #isMortal: readonly boolean[];
  /** How many deaths each task has seen when it looked up last. */
  readonly #seen: Int32Array;
  readonly #known = new Map<number, number>();

  /** `isMortal`: of each task. */
  constructor(
    memory: SharedMemory,
    footprints: Footprints,
    budget: number,
    isMortal: readonly boolean[],
  ) {
    this.#memory = memory;
    this.#footprints = footprints;
    this.#budget = budget;
    this.#isMortal = isMortal;
    this.#seen = new Int32Array(isMortal.length);
  }

  /** A new execution begins. */
  forget(): void {
    this.left = this.#budget;
    this.names.length = 0;
    this.#seen.fill(0);
  }

  isMortal(task: number): boolean {
    return this.#isMortal[task] ?? false;
  }

  /**
   * Whether a task that cannot go on may look up: somebody has died since it last did, and it would
   * find something.
   */
  mayLook(task: number, code: number): boolean {
    return this.names.length > this.#seen[task]! && (code === PARK || hasPanicked(this.#memory));
  }

  look(task: number): void {
    this.#seen[task] = this.names.length;
  }

  /** What the death of a task that is about to do `wait` touches. */
  footprintOf(task: number, code: number, wait: Wait): number {
    const isInside = (this.#memory.words[agentRecord(task + 1) + AGENT_INSIDE]! & 1) !== 0;
    const isQueued = code === PARK || code === DOWN_WRITE;
    const place = isQueued ? this.#footprints.placeOf(wait.index) : 0;
    const key = (place * 2 + (isInside ? 1 : 0)) * 2 + (code === PARK ? 1 : 0);
    const full = key * 32 + task;
    const known = this.#known.get(full);
    if (known !== undefined) return known;
    const pairs: [number, AccessMode][] = [
      [DEATHS, WRITE],
      [BUDGET, WRITE],
    ];
    if (isInside) pairs.push([agentRecord(task + 1) + AGENT_INSIDE, WRITE]);
    if (isQueued) pairs.push([wait.index, code === PARK ? QUEUE : WRITE]);
    const made = this.#footprints.touching(pairs);
    this.#known.set(full, made);
    return made;
  }

  /** The thread of `task` dies before it does `wait`. */
  die(task: number, name: string, wait: Wait): DeathEffects {
    const memory = this.#memory;
    const record = agentRecord(task + 1);
    this.left--;
    this.names.push(name);
    const wasStopped = hasPanicked(memory);
    const isInside = (memory.words[record + AGENT_INSIDE]! & 1) !== 0;
    declareDead(memory, task + 1, memory.words[record + AGENT_STATE]!);
    const changed = [DEATHS, ...(isInside ? [record + AGENT_INSIDE] : [])];
    if (wait.kind === "downWrite") changed.push(wait.index); // its place in the queue is given up
    const words = new Map(changed.map((word) => [word, memory.words[word]!]));
    return { words, panics: !wasStopped && hasPanicked(memory) };
  }

  /** Whether a task's wait is the reaper's for a death. */
  isIdle(wait: Wait): boolean {
    return wait.kind === "waitWhile" && wait.label === IDLE && wait.index === DEATHS;
  }
}

/** The task that decides that nobody dies any more. */
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
