/**
 * @module What looks on during an execution: at freed memory, at the scenario's invariants, at
 * recorded operations, and at the end at what is left. None of it changes what can happen next.
 *
 * An invariant is checked after every step. It names the words that it reads. Steps that write one
 * of them depend on each other (footprint.ts), so each order in which those words can change is
 * explored. Where plain stores change words under a lock, the invariant names the lock's word.
 */

import { clearAsyncWaiters } from "../../sync/runners/stepping.ts";
import type { Wait } from "../../sync/tasks/task.ts";
import type { Invariant, Scenario } from "../scenario.ts";
import { MAY_BLOCK, kindCode } from "../steps/kinds.ts";
import { findLeaks } from "./leaks.ts";
import { forgetOperations, recordedHistories } from "./linearizability.ts";
import { ObjectLives } from "./object-lives.ts";
import { PlainAccesses, watchPlainAccesses } from "./plain-accesses.ts";
import type { WatchedRun } from "./watched-run.ts";
import type { Witness } from "./witness.ts";

const FREE = kindCode("free");

export interface WatchersOptions<Run> {
  readonly scenario: Scenario<unknown>;
  readonly witness: Witness<Run>;
  /** Places in the code are wanted: slow, for replays. */
  readonly withSites: boolean;
  /** A task is about to write this word plainly. */
  readonly onPlainStore: (word: number) => void;
}

export class Watchers<Run> {
  readonly lives: ObjectLives;
  readonly #plain: PlainAccesses;
  readonly #whole: Run;
  readonly #run: WatchedRun;
  readonly #witness: Witness<Run>;
  readonly #invariants: readonly Invariant<unknown>[];
  /** Labels of what may be left, undefined for anything. */
  readonly #mayRemain: readonly string[] | undefined;

  /** `whole`: what the witness is told of it as. `run`: the same, as watchers see it. */
  constructor(whole: Run, run: WatchedRun, options: WatchersOptions<Run>) {
    const { scenario, witness, withSites, onPlainStore } = options;
    this.#whole = whole;
    this.#run = run;
    this.#witness = witness;
    this.lives = new ObjectLives(run.footprints);
    this.#plain = new PlainAccesses(run, {
      withSites,
      onRace: (earlier, later) => witness.race(whole, earlier, later),
      onStore: onPlainStore,
    });
    this.#invariants = scenario.invariants ?? [];
    const { mayRemain = scenario.memory === undefined ? [] : "anything" } = scenario;
    this.#mayRemain = mayRemain === "anything" ? undefined : mayRemain;
  }

  /** A new execution begins. */
  forget(): void {
    this.lives.forget();
    this.#plain.forget();
    forgetOperations();
    clearAsyncWaiters();
    watchPlainAccesses(this.#plain);
  }

  /** A step is about to be performed. */
  before(code: number, step: number, wait: Wait): void {
    const bad = this.lives.step(code, step, wait);
    if (bad !== undefined && !this.#run.hasStopped)
      this.#witness.badAccess(this.#whole, bad.kind, bad.freeStep);
  }

  /** A step of `task` was performed. `isNew`: for the first time. */
  after(code: number, task: number, isNew: boolean, shared: unknown): void {
    if (this.lives.anyFreed) this.#lookAtWaits(code === FREE ? undefined : task);
    if (isNew && this.#invariants.length > 0) this.lookAtInvariants(shared);
  }

  lookAtInvariants(shared: unknown): void {
    if (this.#run.hasStopped) return;
    watchPlainAccesses(undefined);
    for (const invariant of this.#invariants) {
      try {
        invariant.holds(shared);
      } catch (error) {
        this.#witness.broken(this.#whole, invariant.name, error);
      }
    }
    watchPlainAccesses(this.#plain);
  }

  /** Looks at something for the checker itself: no access of `look` is a task's. */
  unwatched<T>(look: () => T): T {
    watchPlainAccesses(undefined);
    try {
      return look();
    } finally {
      watchPlainAccesses(this.#plain);
    }
  }

  /**
   * The execution is over, and the machine has not stopped. `isWhole`: every task returned, and
   * none died.
   */
  atEnd(isWhole: boolean): void {
    const run = this.#run;
    for (const history of recordedHistories()) {
      const bad = history.judge();
      if (bad !== undefined) this.#witness.notLinearizable(this.#whole, bad);
    }
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
    for (const leak of findLeaks(context)) this.#witness.leaked(this.#whole, leak);
  }

  /** The step that freed what the task waits for, if it cannot go on and one did. */
  freedUnder(task: number): number | undefined {
    const run = this.#run;
    const wait = run.pending[task];
    if (wait === undefined || run.mayRun(task, wait)) return undefined;
    return this.lives.freedBefore(wait);
  }

  /**
   * A wait for something in freed memory may never end, and so never be seen as a step: it is told
   * when it begins.
   */
  #lookAtWaits(only: number | undefined): void {
    const run = this.#run;
    if (run.hasStopped) return;
    for (let task = only ?? 0; task < (only === undefined ? run.tasks : only + 1); task++) {
      const freeStep = MAY_BLOCK[run.pendingCode[task]!] === 0 ? undefined : this.freedUnder(task);
      if (freeStep !== undefined) this.#witness.badWait(this.#whole, task, freeStep);
    }
  }
}
