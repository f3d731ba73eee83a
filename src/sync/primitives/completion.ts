/**
 * @module Completion: an event that happens once, or n times, possibly before anybody waits for it.
 * After kernel/sched/completion.c.
 *
 * One word: how many completions no waiter has used up yet; ALL after
 * {@link Completion.completeAll}.
 */

import { atomicCompareExchange, atomicLoad, atomicStore, futexWake } from "../atomics.ts";
import { beforeSleep } from "../lockdep/lockdep.ts";
import { noteExtraRead } from "../tasks/extra-reads.ts";
import { EXPLORED, REAL } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { DONE, DONE_TRUE, TIMED_OUT, describe, mustSucceed, park, taskMs } from "../tasks/task.ts";
import type { Task } from "../tasks/task.ts";
import { isComplete } from "../words/word-states.ts";

const ALL = 0x3fffffff;

/** One word that counts completions. Each waiter uses one up, and may come before or after it. */
export class Completion {
  /** Words that one takes. */
  static readonly WORDS = 1;
  /** The memory that it lies in. */
  readonly memory: SharedMemory;
  /** Index of its first word. */
  readonly at: number;
  /** Its name in reports. */
  readonly label: string;

  constructor(
    memory: SharedMemory,
    at: number,
    label: { readonly name: string } = { name: "completion" },
  ) {
    this.memory = memory;
    this.at = at;
    this.label = label.name;
  }

  /** Sets the count to 0. Only while nobody waits. */
  init(): void {
    atomicStore(this.memory.words, this.at, 0);
  }

  /** Lets one waiter go, now or later. */
  complete(): Task<void> {
    if (this.memory.mode !== REAL) return this.completeInSteps("complete");
    this.addOne();
    return DONE;
  }

  /** Lets every waiter go, now and later. */
  completeAll(): Task<void> {
    if (this.memory.mode !== REAL) return this.completeInSteps("completeAll");
    this.addAll();
    return DONE;
  }

  /** Waits for one completion and uses it up: true. False: there was none for `timeoutMs`. */
  wait(timeoutMs: number = Infinity): Task<boolean> {
    if (this.memory.mode === REAL && this.take()) return DONE_TRUE;
    return this.waitSlow(timeoutMs);
  }

  /** Whether a wait would return at once. */
  isDone(): boolean {
    noteExtraRead(this.memory, this.at);
    return isComplete(atomicLoad(this.memory.words, this.at));
  }

  /** @spelled completion */
  private take(): boolean {
    const { at } = this;
    const words = this.memory.words;
    for (let seen = atomicLoad(words, at); isComplete(seen);) {
      if (seen === ALL) return true;
      const before = atomicCompareExchange(words, at, seen, seen - 1);
      if (before === seen) return true;
      seen = before;
    }
    return false;
  }

  /** @spelled completion */
  private addOne(): void {
    const { at } = this;
    const words = this.memory.words;
    for (let seen = atomicLoad(words, at); seen !== ALL;) {
      const before = atomicCompareExchange(words, at, seen, seen + 1);
      if (before === seen) break;
      seen = before;
    }
    futexWake(words, at, 1);
  }

  /** @spelled completion */
  private addAll(): void {
    atomicStore(this.memory.words, this.at, ALL);
    futexWake(this.memory.words, this.at, Infinity);
  }

  /** @spelled completion */
  private *waitSlow(timeoutMs: number): Task<boolean> {
    const { memory, at, label } = this;
    if (memory.mode !== REAL) beforeSleep(label);
    if (memory.mode === EXPLORED) {
      const wait = describe("completionWait", memory, at, 1, label, 0, timeoutMs);
      const wake = yield wait;
      const isDone = this.take();
      mustSucceed(isDone || wake === TIMED_OUT, wait);
      return isDone;
    }
    const deadlineMs = timeoutMs === Infinity ? Infinity : taskMs(memory) + timeoutMs;
    while (!this.take()) {
      const leftMs = deadlineMs === Infinity ? Infinity : deadlineMs - taskMs(memory);
      if (leftMs <= 0) return false;
      // After a timeout it tries once more.
      if ((yield park(memory, at, 0, leftMs, label)) === TIMED_OUT) return this.take();
    }
    return true;
  }

  private *completeInSteps(kind: "complete" | "completeAll"): Task<void> {
    if (this.memory.mode === EXPLORED) yield describe(kind, this.memory, this.at, 1, this.label);
    if (kind === "complete") this.addOne();
    else this.addAll();
  }
}
