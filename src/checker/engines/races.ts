/**
 * @module Races in the sense of DPOR: pairs of steps of an execution that could come in the other
 * order.
 *
 * A race is a step `first` and an operation `second` of another task that conflicts with it.
 * Nothing in between orders the two, and `second` could be performed just before `first`. The last
 * condition is needed for locks. An unlock and the next lock conflict, but that lock cannot come
 * before the unlock. It can come before the lock that precedes the unlock. The value that the lock
 * word had there decides.
 *
 * `second` need not have happened. It may be one of these:
 *
 * - The operation on which a task is blocked at the end ("lock fail"). Without these, only one
 *   deadlock of an AB-BA pair is found.
 * - Another end of a wait: by its timeout, by a spurious wake, or by a recheck after a death.
 * - The death of its task instead of a step. The reverse, a step instead of a death, needs no race
 *   of its own: it comes when the step of deathsOver (E3 of deaths.ts) is reversed with the death.
 */

import { mayTimeOut } from "../../sync/tasks/explored.ts";
import type { Wait } from "../../sync/tasks/task.ts";
import type { SearchedRun } from "../execution/searched-run.ts";
import { ASLEEP } from "../execution/parking.ts";
import {
  COMPLETION_WAIT,
  CONDITIONAL,
  MAY_BLOCK,
  PARK,
  WAKE_ONE,
  allows,
  succeeds,
} from "../steps/kinds.ts";
import type { Footprints } from "../steps/footprint.ts";
import { READ, WRITE, modesConflict } from "../steps/access-modes.ts";
import { fixesOrder } from "../steps/step-order.ts";
import {
  CHOICES,
  DEATH,
  RECHECK,
  RUN,
  SPURIOUS,
  TASK_LIMIT,
  TIMEOUT,
  WAKE,
  choiceOf,
  taskOf,
} from "../steps/trace.ts";
import type { Choice, Trace } from "../steps/trace.ts";

/** The later half of a race. */
export interface Second {
  task: number;
  choice: Choice;
  /**
   * Its position, or that of the step that happened instead of it; the trace's length if its task
   * is blocked on it at the end.
   */
  step: number;
  kind: number;
  /** Its footprint if it is performed just before `first`. */
  footprint: number;
  /** For a park: the step that woke it, or ASLEEP. */
  cause: number;
  /**
   * `second` is a timeout or a spurious wake, and not only `first` prevents it: other steps use up
   * the budget, or end the wait. Steps that prevent it and did not lead to the wait are then left
   * out of the reversal. Only in this case, because a shorter reversal is more often covered.
   */
  isAlone: boolean;
}

/** Called for each race. `second` is reused: do not keep it. */
export type RaceVisitor = (first: number, second: Second) => void;

const NONE: Choice = -1;

function isWaking(choice: Choice): boolean {
  return choice === RUN || choice >= WAKE;
}

export class Races {
  readonly #run: SearchedRun;
  readonly #trace: Trace;
  readonly #footprints: Footprints;
  readonly #clock: Int32Array;
  readonly #candidates: number[] = [];
  readonly #second: Second = {
    task: 0,
    choice: RUN,
    step: 0,
    kind: 0,
    footprint: 0,
    cause: ASLEEP,
    isAlone: false,
  };
  readonly #leaves: boolean;
  readonly #wakesAny: boolean;
  readonly #mayDie: boolean;

  constructor(run: SearchedRun) {
    this.#run = run;
    this.#trace = run.trace;
    this.#footprints = run.footprints;
    this.#clock = new Int32Array(run.tasks);
    this.#wakesAny = run.budget.wakeAny;
    this.#leaves = run.waitsMayEnd;
    this.#mayDie = run.budget.deaths > 0;
  }

  /** All races of the execution whose later half is at `from` or after. */
  forEach(from: number, visit: RaceVisitor): void {
    const trace = this.#trace;
    const second = this.#second;
    for (let step = from; step < trace.length; step++) {
      const transition = trace.transition[step]!;
      second.task = taskOf(transition);
      second.step = step;
      second.kind = trace.kind[step]!;
      second.cause = trace.cause[step]!;
      second.choice = choiceOf(transition);
      this.#racesOf(trace.footprint[step]!, visit);
      if (this.#wakesAny && second.kind === WAKE_ONE)
        this.#visitWakes(step, visit, choiceOf(transition));
      if (
        this.#mayDie ||
        (this.#leaves && (second.kind === PARK || second.kind === COMPLETION_WAIT))
      ) {
        const chosen = choiceOf(transition);
        if (chosen === DEATH) continue;
        for (let choice = RUN; choice < CHOICES; choice++) {
          if (choice !== chosen && !(choice === RUN && chosen >= WAKE))
            this.#alternative(choice, visit);
        }
      }
    }
    if (!this.#run.weaknesses.has("drop-blocked")) this.#blocked(visit);
  }

  #blocked(visit: RaceVisitor): void {
    const run = this.#run;
    const second = this.#second;
    if (run.unfinished === 0) return;
    for (let task = 0; task < run.tasks; task++) {
      const wait = run.pending[task];
      if (wait === undefined) continue;
      second.task = task;
      second.step = this.#trace.length;
      second.kind = run.pendingCode[task]!;
      second.cause = run.wakeOf(task);
      this.#trace.waits[second.step] = wait;
      for (let choice = RUN; choice < CHOICES; choice++) this.#alternative(choice, visit);
    }
  }

  /** Considers `second` with another choice than the one that happened, if there is one. */
  #alternative(choice: Choice, visit: RaceVisitor): void {
    const second = this.#second;
    const wait = this.#trace.waits[second.step]!;
    const { budget } = this.#run;
    second.choice = choice;
    if (choice === DEATH && !(this.#mayDie && this.#run.isKillable(second.task))) return;
    if (choice === RECHECK && !(this.#mayDie && MAY_BLOCK[second.kind] === 1)) return;
    if (choice === TIMEOUT && (budget.timeouts === 0 || !mayTimeOut(wait))) return;
    if (
      choice === SPURIOUS &&
      !(second.kind === PARK && this.#run.mayEverWake(second.task, second.step))
    )
      return;
    const footprint = this.#footprintOf(choice, wait);
    if (second.step < this.#trace.length && this.#isPossibleBefore(second.step)) {
      this.#visitFrom(second.step, footprint, visit);
      return;
    }
    this.#racesOf(footprint, visit);
  }

  #footprintOf(choice: Choice, wait: Wait): number {
    const second = this.#second;
    if (choice === RUN) return this.#footprints.of(second.kind, wait, true);
    if (choice === RECHECK) return this.#footprints.rechecking(second.kind, wait);
    if (choice !== DEATH) return this.#footprints.leaving(second.kind, wait, choice === SPURIOUS);
    if (second.step < this.#trace.length) return this.#trace.deathFootprint[second.step]!;
    return this.#run.footprintOf(second.task, DEATH);
  }

  /**
   * `second` can be performed just before `first`: visits it with its choice, or with each choice
   * that it has there.
   */
  #visitFrom(first: number, footprint: number, visit: RaceVisitor): void {
    const second = this.#second;
    second.footprint = footprint;
    if (second.choice === RUN && CONDITIONAL[second.kind] === 1) {
      const wait = this.#trace.waits[second.step]!;
      const success = succeeds(second.kind, this.#valueBefore(first), wait.expected);
      second.footprint = this.#footprints.of(second.kind, wait, success);
    }
    if (this.#wakesAny && second.kind === WAKE_ONE && isWaking(second.choice))
      this.#visitWakes(first, visit, NONE);
    else visit(first, second);
  }

  #racesOf(footprint: number, visit: RaceVisitor): void {
    const second = this.#second;
    const trace = this.#trace;
    const clock = this.#clock;
    const { tasks, positions } = trace;
    const ordinal = trace.counts[second.step * tasks + second.task]!;
    if (ordinal === 0) clock.fill(0);
    else {
      const last = positions[ordinal * tasks + second.task]! * tasks;
      for (let i = 0; i < tasks; i++) clock[i] = trace.clocks[last + i]!;
    }
    const { starts, places, pairModes } = this.#footprints;
    const start = starts[footprint]!;
    const end = starts[footprint + 1]!;
    if (end - start === 1) {
      this.#walk(places[start]!, pairModes[start]!, footprint, visit);
      return;
    }
    const candidates = this.#candidates;
    candidates.length = 0;
    for (let pair = start; pair < end; pair++) this.#gather(places[pair]!, pairModes[pair]!);
    candidates.sort((a, b) => b - a);
    let last = -1;
    for (const step of candidates)
      if (step !== last) this.#consider((last = step), footprint, visit);
  }

  #walk(place: number, mode: number, footprint: number, visit: RaceVisitor): void {
    const { heads, previous, touchStep, touchMode } = this.#trace;
    const limit = this.#second.step;
    for (let touch = heads[place] ?? -1; touch !== -1; touch = previous[touch]!) {
      const step = touchStep[touch]!;
      const other = touchMode[touch]!;
      if (step >= limit || !modesConflict(mode, other)) continue;
      const isCovered = this.#consider(step, footprint, visit);
      if (isCovered && other === WRITE) return;
    }
  }

  #gather(place: number, mode: number): void {
    const { heads, previous, touchStep, touchMode } = this.#trace;
    for (let touch = heads[place] ?? -1; touch !== -1; touch = previous[touch]!) {
      const step = touchStep[touch]!;
      if (step < this.#second.step && modesConflict(mode, touchMode[touch]!))
        this.#candidates.push(step);
    }
  }

  /** Returns whether `step`, and so all that happens before it, is dealt with. */
  #consider(step: number, footprint: number, visit: RaceVisitor): boolean {
    const trace = this.#trace;
    const { tasks, clocks } = trace;
    const clock = this.#clock;
    if (clock[trace.transition[step]! & TASK_LIMIT]! >= trace.ordinal[step]!) return true;
    const { order, equal } = this.#run;
    const second = this.#second;
    const isFixed =
      (order !== undefined && fixesOrder(order, trace, step, second)) ||
      (!equal.isEmpty && equal.fixes(trace, step, second.task, second.step));
    if (!isFixed) {
      if (!this.#isPossibleBefore(step)) return false;
      this.#visitFrom(step, footprint, visit);
    }
    const row = step * tasks;
    for (let i = 0; i < tasks; i++) if (clocks[row + i]! > clock[i]!) clock[i] = clocks[row + i]!;
    return true;
  }

  /**
   * `second` is a wake with a choice: visits it once for each task that it could wake before
   * `first`, except the choice `except`.
   */
  #visitWakes(first: number, visit: RaceVisitor, except: Choice): void {
    const second = this.#second;
    second.footprint = this.#footprints.of(WAKE_ONE, this.#trace.waits[second.step]!, true);
    const { choice } = second;
    let sleeping = 0;
    for (let task = 0; task < this.#run.tasks; task++) {
      if (!this.#sleepsBefore(first, task)) continue;
      sleeping++;
      second.choice = WAKE + task;
      if (second.choice !== except) visit(first, second);
    }
    second.choice = RUN;
    if (sleeping === 0 && except === NONE) visit(first, second);
    second.choice = choice;
  }

  /**
   * Whether the task sleeps on the queue of `second` after the steps that come before `first` or
   * are independent of it.
   */
  #sleepsBefore(first: number, task: number): boolean {
    const trace = this.#trace;
    const { tasks, counts } = trace;
    const total = counts[trace.length * tasks + task]!;
    const index = trace.index[this.#second.step]!;
    let ordinal = counts[first * tasks + task]! + 1;
    while (ordinal <= total && this.#isKept(first, trace.positions[ordinal * tasks + task]!))
      ordinal++;
    if (ordinal > total) {
      const isParked =
        this.#run.pendingCode[task] === PARK && this.#run.pending[task]?.index === index;
      return isParked && !this.#isWoken(first, this.#run.wakeOf(task));
    }
    const step = trace.positions[ordinal * tasks + task]!;
    return (
      trace.kind[step] === PARK &&
      trace.index[step] === index &&
      !this.#isWoken(first, trace.cause[step]!)
    );
  }

  #isWoken(first: number, cause: number): boolean {
    if (cause === ASLEEP || cause < first) return cause !== ASLEEP;
    return this.#isKept(first, cause) && this.#staysIn(first, cause);
  }

  /** Whether a step after `first` happens neither after `first` nor after `second`. */
  #isKept(first: number, step: number): boolean {
    const trace = this.#trace;
    if (trace.happensBefore(first, step)) return false;
    const { step: instead } = this.#second;
    return instead >= trace.length || !trace.happensBefore(instead, step);
  }

  /**
   * Whether `second` could be performed instead of `first`, after the later steps that do not
   * happen after `first`.
   */
  #isPossibleBefore(first: number): boolean {
    const second = this.#second;
    second.isAlone = false;
    if (second.choice === DEATH) return this.#mayDieBefore(first);
    if (second.choice !== RUN && second.choice < WAKE) return this.#mayLeaveBefore(first);
    if (MAY_BLOCK[second.kind] === 0) return true;
    if (second.kind === PARK) return second.cause !== ASLEEP && second.cause < first;
    const wait = this.#trace.waits[second.step]!;
    return allows(second.kind, this.#valueBefore(first), wait.expected);
  }

  #mayLeaveBefore(first: number): boolean {
    const second = this.#second;
    if (this.#mayLeaveNow(first)) return true;
    second.isAlone = second.choice !== RECHECK;
    return second.isAlone && this.#mayLeaveNow(first);
  }

  #mayLeaveNow(first: number): boolean {
    const second = this.#second;
    if (second.choice === RECHECK) {
      if (!this.#findsDeathBefore(first)) return false;
    } else {
      const { spuriousWakes, timeouts } = this.#run.budget;
      const most =
        second.choice !== SPURIOUS ? timeouts : spuriousWakes === "each" ? Infinity : spuriousWakes;
      if (most !== Infinity && this.#usedBefore(first, second.choice) >= most) return false;
    }
    // `first` may prevent it by the budget alone. Later steps that concern the wait are kept.
    if (second.kind === PARK) return !this.#isWoken(first, second.cause);
    const wait = this.#trace.waits[second.step]!;
    return !allows(second.kind, this.#valueBefore(first), wait.expected);
  }

  #mayDieBefore(first: number): boolean {
    const run = this.#run;
    const trace = this.#trace;
    for (let step = 0; step < this.#second.step; step++) {
      if (run.isDeathsOver(trace.transition[step]!) && (step < first || this.#isKept(first, step)))
        return false;
    }
    return this.#usedBefore(first, DEATH) < run.budget.deaths;
  }

  /**
   * Whether a recheck before `first` finds a death that its task has not seen, and has an effect.
   */
  #findsDeathBefore(first: number): boolean {
    const trace = this.#trace;
    const second = this.#second;
    let isNew = false;
    let hasPanicked = false;
    for (let step = 0; step < trace.length; step++) {
      if (
        !trace.isDeath(step) ||
        step === second.step ||
        !(step < first || this.#isKept(first, step))
      )
        continue;
      if (taskOf(trace.transition[step]!) === second.task) continue;
      if (trace.deathEffects[step]?.panics === true) hasPanicked = true;
      if (!this.#isSeen(step)) isNew = true;
    }
    return isNew && (hasPanicked || second.kind === PARK);
  }

  /** Whether the task of `second` has rechecked between the death `death` and `second`. */
  #isSeen(death: number): boolean {
    const trace = this.#trace;
    const second = this.#second;
    const { tasks, positions } = trace;
    for (let ordinal = trace.counts[second.step * tasks + second.task]!; ordinal > 0; ordinal--) {
      const step = positions[ordinal * tasks + second.task]!;
      if (step < death) return false;
      if (choiceOf(trace.transition[step]!) === RECHECK) return true;
    }
    return false;
  }

  /** Whether a step after `first` stays in the reversal, before `second`. */
  #staysIn(first: number, step: number): boolean {
    const trace = this.#trace;
    if (trace.happensBefore(first, step)) return false;
    const { isAlone, task, step: instead } = this.#second;
    return !isAlone || trace.leadsTo(step, task, instead);
  }

  /** How much of the budget the steps before `first`, and those that stay in, use. */
  #usedBefore(first: number, choice: Choice): number {
    const trace = this.#trace;
    let used = 0;
    for (let step = 0; step < this.#second.step; step++) {
      if (choiceOf(trace.transition[step]!) !== choice) continue;
      if (step < first || this.#staysIn(first, step)) used++;
    }
    return used;
  }

  /**
   * The value that the first word of `second` would have: its value before `first`, changed by the
   * later steps that stay in. These commute with those that are left out, so the differences that
   * they made are added up.
   */
  #valueBefore(first: number): number {
    const trace = this.#trace;
    const second = this.#second;
    const { index } = trace.waits[second.step]!;
    let value =
      trace.index[first] === index
        ? trace.before[first]!
        : trace.valueBefore(index, first, this.#run.initial(index));
    const place = this.#footprints.placeOf(index);
    for (let touch = trace.heads[place] ?? -1; touch !== -1; touch = trace.previous[touch]!) {
      const step = trace.touchStep[touch]!;
      if (step <= first) break;
      if (step >= second.step || trace.touchMode[touch] === READ) continue;
      if (this.#staysIn(first, step)) value += trace.changeBy(step, index);
    }
    return value;
  }
}
