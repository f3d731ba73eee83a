/**
 * @module Runs several tasks of one thread in a random order of their steps: every operation on a
 * lock, count, queue or marked word is one step, so a seed is an interleaving. A small relative of
 * the exploring scheduler that the core is prepared for (src/sync/tasks/explored.ts says when a
 * step is enabled); it proves nothing, it looks often.
 */

import { enterTask, leaveTask, makeContext } from "../../src/sync/tasks/current-task.ts";
import { isEnabled, mayTimeOut, wakesParked } from "../../src/sync/tasks/explored.ts";
import { registerAgent, selectAgent, unregisterAgent } from "../../src/sync/runners/agents.ts";
import { EXPLORED, type SharedMemory } from "../../src/sync/shared-memory.ts";
import { TIMED_OUT, type Task, type Wait, type Wake, WOKEN } from "../../src/sync/tasks/task.ts";
import { fractionsOf } from "../dice.ts";

const STEPS_MAX = 50_000;
const STEPS_SHOWN = 60;

interface Thread {
  readonly name: string;
  /** What it owns is listed in this agent's record. */
  readonly agentId: number;
  readonly task: Task<unknown>;
  readonly context: ReturnType<typeof makeContext>;
  /** What it is about to do; undefined before its first step. */
  pending: Wait | undefined;
  isWoken: boolean;
}

/** One run. `spawn` the tasks, then `run` them to their end. */
export class Interleaver {
  readonly #memory: SharedMemory;
  readonly #random: () => number;
  readonly #stickiness: number;
  readonly #areThreads: boolean;
  readonly #threads: Thread[] = [];
  readonly #steps: string[] = [];

  /**
   * `areThreads`: each task is an agent of its own. Else they are tasks of this thread, which may
   * own and use what this thread has made.
   */
  constructor(memory: SharedMemory, seed: number, areThreads: boolean = false) {
    this.#memory = memory;
    this.#areThreads = areThreads;
    this.#random = fractionsOf(seed);
    // Some runs switch at every step, others rarely: bugs of different depth like different runs.
    this.#stickiness = [0, 0.5, 0.9][seed % 3] ?? 0;
  }

  spawn(name: string, task: Task<unknown>): void {
    const { mode, agentId: own } = this.#memory;
    const agentId = this.#areThreads ? this.#makeAgent(name) : own;
    this.#memory.mode = EXPLORED;
    this.#threads.push({
      name,
      agentId,
      task,
      context: makeContext(this.#memory, name, false),
      pending: undefined,
      isWoken: false,
    });
    selectAgent(this.#memory, own);
    this.#memory.mode = mode;
  }

  /**
   * Runs until every task has ended. Throws what a task throws, or a report of a deadlock, with the
   * last steps.
   */
  run(): void {
    const { mode } = this.#memory;
    this.#memory.mode = EXPLORED;
    try {
      this.#runAll();
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? String(error)) : String(error);
      throw new Error(`${text}\nlast steps:\n${this.#steps.join("\n")}`, { cause: error });
    } finally {
      this.#memory.mode = mode;
    }
    if (!this.#areThreads) return;
    for (const { agentId } of this.#threads) this.#as(agentId, () => unregisterAgent(this.#memory));
  }

  #makeAgent(name: string): number {
    this.#memory.agentId = -1; // another one is made
    return registerAgent(this.#memory, { name });
  }

  /** Does something as one of the threads. */
  #as<T>(agentId: number, work: () => T): T {
    const memory = this.#memory;
    const { agentId: own, mode } = memory;
    if (agentId === own) return work();
    selectAgent(memory, agentId);
    try {
      return work();
    } finally {
      selectAgent(memory, own);
      memory.mode = mode;
    }
  }

  #runAll(): void {
    const running = new Set(this.#threads);
    let last: Thread | undefined;
    for (let step = 0; running.size > 0; step++) {
      if (step === STEPS_MAX) throw new Error(`no end after ${STEPS_MAX} steps`);
      const ready = [...running].filter(isReady);
      const stays = last !== undefined && ready.includes(last) && this.#random() < this.#stickiness;
      const next = stays
        ? last
        : (this.#pick(ready) ?? this.#pick([...running].filter(canTimeOut)));
      if (next === undefined)
        throw new Error(`deadlock: ${[...running].map(describeThread).join("; ")}`);
      if (this.#step(next, isReady(next) ? WOKEN : TIMED_OUT)) running.delete(next);
      last = next;
    }
  }

  #pick(threads: readonly Thread[]): Thread | undefined {
    return threads[Math.floor(this.#random() * threads.length)];
  }

  /** Performs what the thread is about to do. True when it has ended. */
  #step(thread: Thread, wake: Wake): boolean {
    const performed = thread.pending;
    this.#steps.push(describeThread(thread));
    if (this.#steps.length > STEPS_SHOWN) this.#steps.shift();
    const previous = enterTask(thread.context);
    let result: IteratorResult<Wait, unknown>;
    try {
      result = this.#as(thread.agentId, () => thread.task.next(wake));
    } finally {
      leaveTask(previous);
    }
    if (performed !== undefined) this.#wake(performed);
    thread.isWoken = false;
    thread.pending = result.done === true ? undefined : result.value;
    return result.done === true;
  }

  #wake(performed: Wait): void {
    let count = wakesParked(performed);
    for (const other of this.#threads) {
      if (count === 0) return;
      if (
        other.pending?.kind !== "park" ||
        other.pending.index !== performed.index ||
        other.isWoken
      )
        continue;
      other.isWoken = true;
      count--;
    }
  }
}

/** Marked accesses never wait, and their index may name a word outside the heap. */
const marks: ReadonlySet<string> = new Set(["read", "write", "update", "alloc", "free"]);

function isReady({ pending, isWoken }: Thread): boolean {
  if (pending === undefined || marks.has(pending.kind)) return true;
  return pending.kind === "park" ? isWoken : isEnabled(pending);
}

function canTimeOut({ pending }: Thread): boolean {
  return pending !== undefined && mayTimeOut(pending);
}

function describeThread({ name, pending }: Thread): string {
  return pending === undefined
    ? `${name}: begins`
    : `${name}: ${pending.kind} ${pending.label} @${pending.index}`;
}

/** Where an environment variable names one seed, that one; else `count` seeds from `first` on. */
export function seedsOf(count: number, first = 1): number[] {
  const only = process.env["HMM_SEED"];
  return only === undefined ? Array.from({ length: count }, (_, i) => first + i) : [Number(only)];
}

/** Runs `scenario` for every seed; a failure names its seed. */
export function forSeeds(count: number, scenario: (seed: number) => void): void {
  for (const seed of seedsOf(count)) {
    try {
      scenario(seed);
    } catch (error) {
      throw new Error(`seed ${seed} (HMM_SEED=${seed} repeats it): ${String(error)}`, {
        cause: error,
      });
    }
  }
}

/**
 * The first of `count` seeds with which `scenario` throws something that matches `how`: for a
 * broken twin, which must be caught.
 */
export function firstFailure(
  count: number,
  scenario: (seed: number) => void,
  how: RegExp,
): number | undefined {
  return seedsOf(count).find((seed) => {
    try {
      scenario(seed);
    } catch (error) {
      return how.test(String(error));
    }
    return false;
  });
}
