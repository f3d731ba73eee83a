/**
 * @module The sequence that reverses a race, and whether it needs to be explored.
 *
 * Take an execution E with a race (first, second). The sequence is all steps after `first` that do
 * not happen after it, then `second`. It has all such steps up to the end of E: a shorter sequence
 * is more often found to be covered, and so executions would be lost.
 *
 * A transition is a weak initial of the sequence if the sequence could begin with it, or if it is
 * independent of the whole sequence. A sequence need not be added if one of its weak initials is in
 * the sleep set (it was explored already) or in the wakeup tree (it will be explored).
 */

import type { SearchedRun } from "../execution/searched-run.ts";
import {
  DEATH,
  RECHECK,
  RUN,
  SPURIOUS,
  TASK_LIMIT,
  WAKE,
  choiceOf,
  transitionOf,
} from "../steps/trace.ts";
import type { Trace, Transition } from "../steps/trace.ts";
import { PARK } from "../steps/kinds.ts";
import type { Second } from "./races.ts";
import type { SleepSets } from "./sleep-sets.ts";
import { wakeupNode } from "./wakeup-tree.ts";
import type { WakeupNode } from "./wakeup-tree.ts";

export class Reversal {
  readonly #run: SearchedRun;
  readonly #trace: Trace;
  readonly #tasks: number;
  /** Positions of the steps of the sequence, without `second`. */
  readonly #steps: number[] = [];
  /** For each position: whether the step is in the sequence and has not been taken off. */
  #isIn: Uint8Array = new Uint8Array(256);
  /** For each task: how many of its steps come before what is left of the sequence. */
  readonly #done: Int32Array;
  /** The clock of `second` within the sequence. */
  readonly #secondClock: Int32Array;
  #left = 0;
  #secondLeft = true;
  #first = 0;
  #end = 0;
  #second: Transition = 0;
  #secondTask = 0;
  #secondFootprint = 0;

  constructor(run: SearchedRun) {
    this.#run = run;
    this.#trace = run.trace;
    this.#tasks = run.tasks;
    this.#done = new Int32Array(run.tasks);
    this.#secondClock = new Int32Array(run.tasks);
  }

  /** Makes this the reversal of the given race, with steps up to `end`. */
  load(first: number, second: Second, end: number): void {
    const trace = this.#trace;
    const { tasks, clocks, ordinal } = trace;
    this.#first = first;
    this.#end = end;
    this.#secondTask = second.task;
    this.#second = transitionOf(second.task, second.choice);
    this.#secondFootprint = second.footprint;
    this.#secondLeft = true;
    if (end > this.#isIn.length) this.#isIn = new Uint8Array(end * 2);
    const steps = this.#steps;
    steps.length = 0;
    this.#isIn[first] = 0;
    const firstTask = trace.transition[first]! & TASK_LIMIT;
    const firstOrdinal = ordinal[first]!;
    const secondTask = second.task;
    // The step that happened instead of `second`, and what happens after it, is left out, too.
    const secondOrdinal = trace.counts[second.step * tasks + secondTask]! + 1;
    for (let step = first + 1; step < end; step++) {
      const row = step * tasks;
      const isIn =
        clocks[row + firstTask]! < firstOrdinal && clocks[row + secondTask]! < secondOrdinal;
      this.#isIn[step] = isIn ? 1 : 0;
      if (isIn) steps.push(step);
    }
    // Behind its end the trace has what a longer execution left there.
    const hasHappened =
      second.step < trace.length && trace.transition[second.step] === this.#second;
    if (!hasHappened) this.#leaveOut(second);
    this.#left = steps.length;
    for (let i = 0; i < tasks; i++) this.#done[i] = trace.counts[first * tasks + i]!;
    this.#clockSecond(secondOrdinal - 1);
  }

  /**
   * `second` did not happen in this form, so other steps may prevent it: they use up its budget or
   * end the wait. Such steps are left out, with all that happens after them; if `second.isAlone`,
   * also those before it.
   */
  #leaveOut(second: Second): void {
    const trace = this.#trace;
    if (second.choice === RUN || second.choice >= WAKE) return;
    const { isAlone } = second;
    if (second.step >= trace.length && !isAlone) return;
    let room = this.#roomFor(second, isAlone ? this.#first : second.step);
    const isLike = (step: number): boolean => choiceOf(trace.transition[step]!) === second.choice;
    const isNeeded = (step: number): boolean => trace.leadsTo(step, second.task, second.step);
    if (isAlone) room -= this.#steps.filter((step) => isLike(step) && isNeeded(step)).length;
    const out: number[] = [];
    for (const step of this.#steps) {
      if (isAlone ? isNeeded(step) : step < second.step) continue;
      const excludes =
        this.#excludes(step, second) || (isLike(step) && second.choice !== RECHECK && room <= 0);
      if (excludes || out.some((other) => trace.happensBefore(other, step))) {
        out.push(step);
        this.#isIn[step] = 0;
      } else if (isLike(step)) room--;
    }
    if (out.length === 0) return;
    const kept = this.#steps.filter((step) => this.#isIn[step] === 1);
    this.#steps.length = 0;
    this.#steps.push(...kept);
  }

  /** How many more steps with the choice of `second` the budget allows besides it. */
  #roomFor({ choice }: Second, end: number): number {
    const trace = this.#trace;
    const { deaths, spuriousWakes, timeouts } = this.#run.budget;
    if (choice === SPURIOUS && spuriousWakes === "each") return Infinity;
    let room =
      (choice === DEATH ? deaths : choice === SPURIOUS ? Number(spuriousWakes) : timeouts) - 1;
    if (room === Infinity) return room;
    for (let step = 0; step < end; step++) {
      if (step >= this.#first && this.#isIn[step] === 0) continue;
      if (choiceOf(trace.transition[step]!) === choice) room--;
    }
    return room;
  }

  /**
   * Whether `second` is impossible after the step. A recheck stays after the deaths that it may
   * see.
   */
  #excludes(
    step: number,
    { choice, footprint, cause, kind, isAlone, step: instead }: Second,
  ): boolean {
    const trace = this.#trace;
    if (isAlone) {
      if (kind === PARK) return step === cause;
      return (
        trace.index[step] === trace.waits[instead]!.index &&
        this.#run.footprints.conflict(footprint, trace.footprint[step]!)
      );
    }
    if (choice === DEATH) return this.#run.isDeathsOver(trace.transition[step]!);
    if (choice !== RECHECK || trace.isDeath(step)) return false;
    return this.#run.footprints.conflict(footprint, trace.footprint[step]!);
  }

  /** Whether the sleep set at the depth of `first` has a weak initial. */
  isAsleep(sleepers: SleepSets): boolean {
    const depth = this.#first;
    for (let i = 0, count = sleepers.count(depth); i < count; i++) {
      if (this.#match(sleepers.item(depth, i), sleepers.footprint(depth, i)) !== NO) return true;
    }
    return false;
  }

  /** Adds the sequence to the wakeup tree, unless the tree covers it. */
  insert(todo: WakeupNode[], isShort: boolean): void {
    const list = this.#descend(todo);
    if (list !== undefined) this.#append(list, isShort);
  }

  /** The transitions that could come first; that of `second` before the others. */
  initials(): Transition[] {
    const { tasks, transition } = this.#trace;
    const initials: Transition[] = [];
    if (this.#secondIsInitial()) initials.push(this.#second);
    for (let task = 0; task < tasks; task++) {
      const step = this.#nextOf(task);
      if (step !== -1 && this.#isInitial(step, task)) initials.push(transition[step]!);
    }
    return initials;
  }

  /**
   * Follows the tree and takes off the steps that it has. Returns the list to which the rest must
   * be added; undefined if the tree covers the sequence.
   */
  #descend(todo: WakeupNode[]): WakeupNode[] | undefined {
    let list = todo;
    while (this.#left > 0 || this.#secondLeft) {
      let found: WakeupNode | undefined;
      for (const node of list) {
        const match = this.#match(node.transition, node.footprint);
        if (match === NO) continue;
        if (match === TAKES) this.#take(node.transition);
        found = node;
        break;
      }
      if (found === undefined) return list;
      // After the end of a sequence everything will be explored. So it is after a begun node
      // (O1 of optimal-dpor.ts).
      if (found.children.length === 0 || found.begun !== undefined) return undefined;
      list = found.children;
    }
    return undefined;
  }

  #append(list: WakeupNode[], isShort: boolean): void {
    const { transition, footprint } = this.#trace;
    let to = list;
    for (const step of this.#steps) {
      if (this.#isIn[step] === 0) continue;
      const node = wakeupNode(transition[step]!, footprint[step]!);
      to.push(node);
      to = node.children;
      if (isShort) return;
    }
    if (this.#secondLeft) to.push(wakeupNode(this.#second, this.#secondFootprint));
  }

  /** Whether `transition`, with this footprint, is a weak initial of what is left. */
  #match(transition: Transition, footprint: number): Match {
    const task = transition & TASK_LIMIT;
    const step = this.#nextOf(task);
    if (step !== -1) {
      return this.#trace.transition[step] === transition && this.#isInitial(step, task)
        ? TAKES
        : NO;
    }
    if (this.#secondLeft && task === this.#secondTask) {
      return transition === this.#second && this.#secondIsInitial() ? TAKES : NO;
    }
    return this.#isIndependent(footprint) ? BESIDE : NO;
  }

  #take(transition: Transition): void {
    const task = transition & TASK_LIMIT;
    const step = this.#nextOf(task);
    if (step === -1) this.#secondLeft = false;
    else {
      this.#isIn[step] = 0;
      this.#left--;
      this.#done[task]!++;
    }
  }

  /** The task's first step that is left, -1 if there is none. */
  #nextOf(task: number): number {
    const trace = this.#trace;
    const next = this.#done[task]! + 1;
    if (next > trace.counts[trace.length * this.#tasks + task]!) return -1;
    const step = trace.positions[next * this.#tasks + task]!;
    return step > this.#first && step < this.#end && this.#isIn[step] === 1 ? step : -1;
  }

  #isInitial(step: number, task: number): boolean {
    const { tasks, clocks } = this.#trace;
    const row = step * tasks;
    for (let i = 0; i < tasks; i++)
      if (i !== task && clocks[row + i]! > this.#done[i]!) return false;
    return true;
  }

  #secondIsInitial(): boolean {
    for (let i = 0; i < this.#tasks; i++) {
      if (this.#secondClock[i]! > this.#done[i]!) return false;
    }
    return true;
  }

  #isIndependent(footprint: number): boolean {
    const { footprints } = this.#run;
    if (this.#secondLeft && footprints.conflict(footprint, this.#secondFootprint)) return false;
    const footprintAt = this.#trace.footprint;
    for (const step of this.#steps) {
      if (this.#isIn[step] === 1 && footprints.conflict(footprint, footprintAt[step]!))
        return false;
    }
    return true;
  }

  #clockSecond(lastOrdinal: number): void {
    const { tasks, positions, clocks, footprint } = this.#trace;
    const clock = this.#secondClock;
    if (lastOrdinal === 0) clock.fill(0);
    else {
      const row = positions[lastOrdinal * tasks + this.#secondTask]! * tasks;
      for (let i = 0; i < tasks; i++) clock[i] = clocks[row + i]!;
    }
    const { footprints } = this.#run;
    for (const step of this.#steps) {
      if (!footprints.conflict(this.#secondFootprint, footprint[step]!)) continue;
      const row = step * tasks;
      for (let i = 0; i < tasks; i++) if (clocks[row + i]! > clock[i]!) clock[i] = clocks[row + i]!;
    }
  }
}

type Match = 0 | 1 | 2;
const NO: Match = 0;
/** It is the next step of its task in the sequence. */
const TAKES: Match = 1;
/** It is not in the sequence, and independent of it. */
const BESIDE: Match = 2;
