/**
 * @module Looks in every execution for words that are not lenient (dependence.ts, D1).
 *
 * Whether an execution shows that a count is strict must not depend on the order of steps that
 * commute. So the question is not whether the count reaches 0. The question is whether it could, if
 * each task stopped where it has given back most. That is the value at the beginning plus the
 * lowest balance of each task. The sum is never more than the count, is the same for every order of
 * the same steps, and only falls when steps are added.
 */

import { mayTimeOut } from "../../sync/tasks/explored.ts";
import type { Wait } from "../../sync/tasks/task.ts";
import type { Budget, Weakness } from "../scenario.ts";
import { DependsOnMore } from "../steps/dependence.ts";
import { COMPLETION_WAIT, COUNTS_REFERENCES, IS_BLIND, QUEUES, kindCode } from "../steps/kinds.ts";
import { WRITE } from "../steps/access-modes.ts";
import type { Trace } from "../steps/trace.ts";

const REF_PUT = kindCode("refPut");
const NONE = kindCode("read");
const NO_WORD = -1;

/** A count since it was last written otherwise than by taking and giving back. */
interface Balance {
  readonly base: number;
  /** What it should hold now. */
  value: number;
  lastStep: number;
  /** Of each task: what it took less what it gave back, now and at its lowest. */
  readonly net: Int32Array;
  readonly low: Int32Array;
  sumOfLow: number;
}

export class Lenience {
  /** Words that the execution under way shows to be strict, and that were not known to be. */
  readonly #found = new Set<number>();
  readonly #trace: Trace;
  readonly #endsWaits: boolean;
  readonly #mayDie: boolean;
  readonly #isWeak: boolean;
  /** The step under way. */
  #code = NONE;
  #word = NO_WORD;
  readonly #balances = new Map<number, Balance>();

  constructor(trace: Trace, budget: Budget, weaknesses: ReadonlySet<Weakness>) {
    this.#trace = trace;
    this.#endsWaits = budget.timeouts > 0;
    this.#mayDie = budget.deaths > 0;
    this.#isWeak = weaknesses.has("never-strict");
  }

  /** A new execution begins. */
  forget(): void {
    if (this.#balances.size > 0) this.#balances.clear();
    if (this.#found.size > 0) this.#found.clear();
  }

  /** A task is about to do `wait`. */
  pends(code: number, wait: Wait): void {
    const waitsForCompletion = code === COMPLETION_WAIT;
    if (QUEUES[code] === 0 && !waitsForCompletion) return;
    if (this.#trace.footprints.isStrict(wait.index)) return;
    if (waitsForCompletion && !this.#mayDie && !(this.#endsWaits && mayTimeOut(wait))) return;
    this.#found.add(wait.index);
  }

  /** Throws DependsOnMore if some word is strict. */
  require(): void {
    if (this.#found.size > 0 && !this.#isWeak)
      throw new DependsOnMore({ strict: [...this.#found] });
  }

  /** A step of this kind, whose first word this is, is about to be performed. */
  begins(code: number, word: number): void {
    this.#code = code;
    this.#word = word;
  }

  /** The running task looks at a word, as part of its step. */
  peeked(word: number): void {
    if (word !== this.#word || IS_BLIND[this.#code] === 0) return;
    if (!this.#trace.footprints.isStrict(word)) this.#found.add(word);
  }

  /** It was performed, as number `step` of the trace; -1: its task died instead. */
  ends(task: number, step: number): void {
    const code = this.#code;
    this.#code = NONE;
    this.#word = NO_WORD;
    if (step < 0 || COUNTS_REFERENCES[code] === 0) return;
    const word = this.#trace.index[step]!;
    if (this.#trace.footprints.isStrict(word)) return;
    const before = this.#trace.before[step]!;
    const after = this.#trace.after[step]!;
    let balance = this.#balances.get(word);
    if (
      balance !== undefined &&
      balance.value !== before &&
      !this.#wasWritten(word, balance.lastStep, step)
    ) {
      this.#found.add(word);
      return;
    }
    if (balance === undefined || balance.value !== before) {
      balance = this.#begin(before);
      this.#balances.set(word, balance);
    }
    const net = balance.net[task]! + after - before;
    balance.net[task] = net;
    balance.value = after;
    balance.lastStep = step;
    if (net < balance.low[task]!) {
      balance.sumOfLow += net - balance.low[task]!;
      balance.low[task] = net;
    }
    if (code === REF_PUT && balance.base + balance.sumOfLow < 1) this.#found.add(word);
  }

  #begin(base: number): Balance {
    const { tasks } = this.#trace;
    return {
      base,
      value: base,
      lastStep: -1,
      net: new Int32Array(tasks),
      low: new Int32Array(tasks),
      sumOfLow: 0,
    };
  }

  /**
   * Whether a step between the two wrote the word, so that what came before it is in order with
   * what comes after it.
   */
  #wasWritten(word: number, from: number, to: number): boolean {
    const { footprints, heads, previous, touchStep, touchMode } = this.#trace;
    for (
      let touch = heads[footprints.placeOf(word)] ?? -1;
      touch !== -1;
      touch = previous[touch]!
    ) {
      const step = touchStep[touch]!;
      if (step <= from) return false;
      if (step < to && touchMode[touch] === WRITE) return true;
    }
    return false;
  }
}
