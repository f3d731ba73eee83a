/**
 * @module The watchers of an execution. They check accesses to freed memory, the scenario's
 * invariants and recorded operations, and at the end look for leaks, and for stores through a null
 * pointer. They do not change what can happen next.
 *
 * An invariant is checked after every step. It names the words that it reads. Steps that write one
 * of them depend on each other (footprint.ts). So each order in which those words can change is
 * explored. If plain stores change words under a lock, the invariant names the lock's word.
 */

import { MAGIC } from "../../sync/control-block.ts";
import { clearAsyncWaiters } from "../../sync/runners/stepping/futexes.ts";
import type { Wait } from "../../sync/tasks/task.ts";
import type { Invariant, Scenario } from "../scenario.ts";
import { MAY_BLOCK, kindCode } from "../steps/kinds.ts";
import { findLeaks } from "./leaks.ts";
import { forgetOperations, recordedHistories } from "./linearizability.ts";
import { ObjectLifetimes } from "./object-lifetimes.ts";
import { PlainAccesses, watchPlainAccesses } from "./plain-accesses.ts";
import type { WatchedRun } from "./watched-run.ts";
import type { ErrorSink } from "./error-sink.ts";

const FREE = kindCode("free");

export interface WatchersOptions<Run> {
  readonly scenario: Scenario<unknown>;
  readonly sink: ErrorSink<Run>;
  /** Record places in the code. It is slow, so only replays do. */
  readonly withSites: boolean;
  /** A task is about to write this word by a plain store. */
  readonly onPlainStore: (word: number) => void;
}

export class Watchers<Run> {
  readonly lives: ObjectLifetimes;
  readonly #plain: PlainAccesses;
  readonly #whole: Run;
  readonly #run: WatchedRun;
  readonly #sink: ErrorSink<Run>;
  readonly #invariants: readonly Invariant<unknown>[];
  /** Labels of objects that may be left; undefined: any may. */
  readonly #mayRemain: readonly string[] | undefined;

  /** `whole`: the execution as it is passed to the sink. `run`: the same, as watchers see it. */
  constructor(whole: Run, run: WatchedRun, options: WatchersOptions<Run>) {
    const { scenario, sink, withSites, onPlainStore } = options;
    this.#whole = whole;
    this.#run = run;
    this.#sink = sink;
    this.lives = new ObjectLifetimes();
    this.#plain = new PlainAccesses(run, {
      withSites,
      onRace: (earlier, later) => sink.race(whole, earlier, later),
      onStore: onPlainStore,
    });
    this.#invariants = scenario.invariants ?? [];
    const { mayRemain = scenario.memory === undefined ? [] : "anything" } = scenario;
    this.#mayRemain = mayRemain === "anything" ? undefined : mayRemain;
  }

  /** A new execution begins. */
  reset(): void {
    this.lives.reset();
    this.#plain.reset();
    forgetOperations();
    clearAsyncWaiters();
    watchPlainAccesses(this.#plain);
  }

  /** A step is about to be performed. */
  before(code: number, step: number, wait: Wait): void {
    const bad = this.lives.step(code, step, wait);
    if (bad !== undefined && !this.#run.hasStopped)
      this.#sink.badAccess(this.#whole, bad.kind, bad.freeStep);
  }

  /** A step of `task` was performed. `isNew`: it does not repeat an earlier execution. */
  after(code: number, task: number, isNew: boolean, shared: unknown): void {
    if (this.lives.anyFreed) this.#checkWaits(code === FREE ? undefined : task);
    if (isNew && this.#invariants.length > 0) this.checkInvariants(shared);
  }

  checkInvariants(shared: unknown): void {
    if (this.#run.hasStopped) return;
    watchPlainAccesses(undefined);
    for (const invariant of this.#invariants) {
      try {
        invariant.holds(shared);
      } catch (error) {
        this.#sink.broken(this.#whole, invariant.name, error);
      }
    }
    watchPlainAccesses(this.#plain);
  }

  /** Runs code of the checker itself: its accesses are not recorded as a task's. */
  unwatched<T>(read: () => T): T {
    watchPlainAccesses(undefined);
    try {
      return read();
    } finally {
      watchPlainAccesses(this.#plain);
    }
  }

  /**
   * The execution has ended, and the machine has not stopped. `isWhole`: no task died.
   */
  atEnd(isWhole: boolean): void {
    const run = this.#run;
    for (const history of recordedHistories()) {
      const bad = history.judge();
      if (bad !== undefined) this.#sink.notLinearizable(this.#whole, bad);
    }
    this.#checkNullWord();
    if (!isWhole || this.#mayRemain === undefined) return;
    const { trace, names, memory } = run;
    const initial = (word: number): number => run.initial(word);
    const context = {
      trace,
      names,
      words: memory.words,
      lives: this.lives,
      initial,
      mayRemain: this.#mayRemain,
    };
    for (const leak of findLeaks(context)) this.#sink.leaked(this.#whole, leak);
  }

  /** A pointer is the index of a word, and 0 is null. So nobody stores to the word 0. */
  #checkNullWord(): void {
    const { words } = this.#run.memory;
    if (words[MAGIC] === this.#run.initial(MAGIC)) return;
    const error = `it holds ${words[MAGIC]} at the end`;
    this.#sink.broken(this.#whole, "nobody stores to the word that a null pointer names", error);
  }

  /** If the task is blocked on freed memory: the step that freed it. */
  freedUnder(task: number): number | undefined {
    const run = this.#run;
    const wait = run.pending[task];
    if (wait === undefined || run.mayRun(task, wait)) return undefined;
    return this.lives.freedBefore(wait);
  }

  /**
   * A wait on freed memory may never end, and then never be a step. So it is reported when it
   * begins.
   */
  #checkWaits(only: number | undefined): void {
    const run = this.#run;
    if (run.hasStopped) return;
    for (let task = only ?? 0; task < (only === undefined ? run.tasks : only + 1); task++) {
      const freeStep = MAY_BLOCK[run.pendingCode[task]!] === 0 ? undefined : this.freedUnder(task);
      if (freeStep !== undefined) this.#sink.badWait(this.#whole, task, freeStep);
    }
  }
}
