/**
 * @module Finds, in every execution, words that are not commuting but ordering (D1 of
 * dependence.ts).
 *
 * Whether an execution shows that a reference count is an ordering word must not depend on the
 * order of steps that commute. So the test is not whether the count reaches 0, but whether it could
 * reach 0 in another order. For each task take its lowest balance: the gets minus the puts up to
 * some step. The test value is the initial count plus the lowest balances of all tasks. It is never
 * more than the count, it is the same for every order of the same steps, and it only falls when
 * steps are added.
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

/** A reference count since it was last written by something other than a get or a put. */
interface Balance {
  readonly base: number;
  /** What the word should hold now. */
  value: number;
  lastStep: number;
  /** For each task: gets minus puts, now and at its lowest. */
  readonly net: number[];
  readonly low: number[];
  sumOfLow: number;
}

export class CommutingWords {
  /** Words that this execution shows to be ordering ones, and that were not known to be. */
  readonly #found = new Set<number>();
  readonly #trace: Trace;
  readonly #endsWaits: boolean;
  readonly #mayDie: boolean;
  readonly #isWeak: boolean;
  /** The current step. */
  #code = NONE;
  #word = NO_WORD;
  readonly #balances = new Map<number, Balance>();

  constructor(trace: Trace, budget: Budget, weaknesses: ReadonlySet<Weakness>) {
    this.#trace = trace;
    this.#endsWaits = budget.timeouts > 0;
    this.#mayDie = budget.deaths > 0;
    this.#isWeak = weaknesses.has("never-ordering");
  }

  /** A new execution begins. */
  reset(): void {
    if (this.#balances.size > 0) this.#balances.clear();
    if (this.#found.size > 0) this.#found.clear();
  }

  /** A task is about to do `wait`. */
  expects(code: number, wait: Wait): void {
    const waitsForCompletion = code === COMPLETION_WAIT;
    if (QUEUES[code] === 0 && !waitsForCompletion) return;
    if (this.#trace.footprints.isOrdering(wait.index)) return;
    if (waitsForCompletion && !this.#mayDie && !(this.#endsWaits && mayTimeOut(wait))) return;
    this.#found.add(wait.index);
  }

  /** Throws DependsOnMore if an ordering word was found. */
  require(): void {
    if (this.#found.size > 0 && !this.#isWeak)
      throw new DependsOnMore({ ordering: [...this.#found] });
  }

  /** A step of this kind, whose first word this is, is about to be performed. */
  begins(code: number, word: number): void {
    this.#code = code;
    this.#word = word;
  }

  /** The running task makes an extra read in its step (sync/tasks/extra-reads.ts). */
  extraRead(word: number): void {
    if (word !== this.#word || IS_BLIND[this.#code] === 0) return;
    if (!this.#trace.footprints.isOrdering(word)) this.#found.add(word);
  }

  /** The step was performed, as number `step` of the trace; -1: its task died instead. */
  ends(task: number, step: number): void {
    const code = this.#code;
    this.#code = NONE;
    this.#word = NO_WORD;
    if (step < 0 || COUNTS_REFERENCES[code] === 0) return;
    const word = this.#trace.index[step]!;
    if (this.#trace.footprints.isOrdering(word)) return;
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
      net: Array.from({ length: tasks }, () => 0),
      low: Array.from({ length: tasks }, () => 0),
      sumOfLow: 0,
    };
  }

  /**
   * Whether a step between the two wrote the word. Then the steps before that write are ordered
   * with those after it.
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
