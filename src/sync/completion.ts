/**
 * @module Completion: something that happens once, or n times, and may happen before anybody waits for it. After
 * kernel/sched/completion.c.
 *
 * One word: how often it was completed and not yet waited for; ALL once {@link Completion.completeAll} was called.
 */

import { atomicCompareExchange, atomicLoad, atomicStore, futexWake } from "./atomics.ts";
import { monotonicMs } from "./clock.ts";
import { beforeSleep } from "./lockdep.ts";
import { notePeek } from "./peeks.ts";
import { EXPLORED, REAL } from "./shared-memory.ts";
import type { SharedMemory } from "./shared-memory.ts";
import { DONE, DONE_TRUE, TIMED_OUT, describe, park } from "./task.ts";
import type { Task } from "./task.ts";

const ALL = 0x3fffffff;

/** One word that counts what is complete: waiters come before or after it, and each takes one. */
export class Completion {
  static readonly WORDS = 1;
  readonly memory: SharedMemory;
  readonly at: number;
  readonly label: string;

  constructor(memory: SharedMemory, at: number, label: { readonly name: string } = { name: "completion" }) {
    this.memory = memory;
    this.at = at;
    this.label = label.name;
  }

  /** Not done. Only while nobody waits. */
  init(): void {
    atomicStore(this.memory.words, this.at, 0);
  }

  /** Lets one waiter go, now or later. */
  complete(): Task<void> {
    if (this.memory.mode === EXPLORED) return this.completeExplored();
    this.addOne();
    futexWake(this.memory.words, this.at, 1);
    return DONE;
  }

  /** Lets every waiter go, now and later. */
  completeAll(): Task<void> {
    if (this.memory.mode === EXPLORED) return this.completeAllExplored();
    atomicStore(this.memory.words, this.at, ALL);
    futexWake(this.memory.words, this.at, Infinity);
    return DONE;
  }

  /** Waits for one completion and uses it up: true; false after `timeoutMs` without. */
  wait(timeoutMs: number = Infinity): Task<boolean> {
    if (this.memory.mode === REAL && this.take()) return DONE_TRUE;
    return this.waitSlow(timeoutMs);
  }

  /** Whether a wait would return at once. */
  isDone(): boolean {
    notePeek(this.memory, this.at);
    return atomicLoad(this.memory.words, this.at) > 0;
  }

  private take(): boolean {
    const { at } = this;
    const words = this.memory.words;
    for (let seen = atomicLoad(words, at); seen > 0;) {
      if (seen === ALL) return true;
      const before = atomicCompareExchange(words, at, seen, seen - 1);
      if (before === seen) return true;
      seen = before;
    }
    return false;
  }

  private addOne(): void {
    const { at } = this;
    const words = this.memory.words;
    for (let seen = atomicLoad(words, at); seen !== ALL;) {
      const before = atomicCompareExchange(words, at, seen, seen + 1);
      if (before === seen) return;
      seen = before;
    }
  }

  private *waitSlow(timeoutMs: number): Task<boolean> {
    const { memory, at, label } = this;
    if (memory.mode !== REAL) beforeSleep(label);
    if (memory.mode === EXPLORED) {
      const wake = yield describe("completionWait", memory, at, 1, label, 0, timeoutMs);
      return this.take() || wake !== TIMED_OUT;
    }
    const deadlineMs = timeoutMs === Infinity ? Infinity : monotonicMs() + timeoutMs;
    while (!this.take()) {
      const leftMs = deadlineMs === Infinity ? Infinity : deadlineMs - monotonicMs();
      if (leftMs <= 0) return false;
      yield park(memory, at, 0, leftMs, label);
    }
    return true;
  }

  private *completeExplored(): Task<void> {
    yield describe("complete", this.memory, this.at, 1, this.label);
    this.addOne();
  }

  private *completeAllExplored(): Task<void> {
    yield describe("completeAll", this.memory, this.at, 1, this.label);
    atomicStore(this.memory.words, this.at, ALL);
  }
}
