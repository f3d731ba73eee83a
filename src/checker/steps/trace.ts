/**
 * @module One execution as a partial order: its steps, and which of them happen before which.
 *
 * T1. Steps are in the order in which they were performed. A step happens after the earlier steps
 *     of its own task, after every earlier step that its footprint conflicts with, and
 *     transitively.
 * T2. `clocks[step * tasks + task]` is how many steps of `task` happen before `step` or are it.
 * T3. The touches of a place form a chain, latest first, through `heads` and `previous`. If the
 *     trace is cut at a depth, the touches after it are removed. So the common beginning of two
 *     executions is computed once.
 */

import type { Wait } from "../../sync/tasks/task.ts";
import type { Footprints } from "./footprint.ts";
import { KINDS } from "./kinds.ts";
import { READ, WRITE, modesConflict } from "./access-modes.ts";

/**
 * How a task goes on: it performs its operation; its wait times out; it gets a spurious wake; its
 * thread dies; it rechecks its wait after a death (E2 of deaths.ts); it wakes a certain task.
 */
export type Choice = number;
export const RUN: Choice = 0;
export const TIMEOUT: Choice = 1;
export const SPURIOUS: Choice = 2;
export const DEATH: Choice = 3;
export const RECHECK: Choice = 4;
/** The number of choices before WAKE. */
export const CHOICES = 5;
/** A wake of one, with the choice whom it wakes: WAKE + that task. */
export const WAKE: Choice = 5;

/** A task and its choice in one number. */
export type Transition = number;
export const TASK_LIMIT = 31;
const TASK_BITS = 5;

export function transitionOf(task: number, choice: Choice): Transition {
  return (choice << TASK_BITS) | task;
}

/** The number of the transition's task, in the order of the scenario. */
export function taskOf(transition: Transition): number {
  return transition & TASK_LIMIT;
}

/**
 * Whether a step performs its task's operation: it is no timeout, spurious wake, recheck or death.
 */
export function isGoingOn(transition: Transition): boolean {
  const choice = choiceOf(transition);
  return choice === RUN || choice >= WAKE;
}

/** How the task of a transition goes on: {@link RUN}, {@link TIMEOUT}, or another. */
export function choiceOf(transition: Transition): Choice {
  return transition >> TASK_BITS;
}

/** The words that a death changed, besides those of the task's pending operation. */
export interface DeathEffects {
  readonly words: ReadonlyMap<number, number>;
  /** By how much it changed each. */
  readonly changes: ReadonlyMap<number, number>;
  /** It stopped the machine. */
  readonly panics: boolean;
}

export class Trace {
  readonly tasks: number;
  readonly footprints: Footprints;
  length = 0;
  #capacity = 256;
  transition: Uint16Array = new Uint16Array(this.#capacity);
  kind: Uint8Array = new Uint8Array(this.#capacity);
  /** The first word that the operation names, and its values before and after the step. */
  index: Int32Array = new Int32Array(this.#capacity);
  before: Int32Array = new Int32Array(this.#capacity);
  after: Int32Array = new Int32Array(this.#capacity);
  /** The digest of the state after the step (execution/digests.ts). */
  digest: Int32Array = new Int32Array(this.#capacity);
  footprint: Int32Array = new Int32Array(this.#capacity);
  readonly waits: Wait[] = [];
  /** For steps that are deaths. */
  readonly deathEffects: DeathEffects[] = [];
  /**
   * Footprint of the death of the step's task at this step; 0 if no death was possible.
   */
  deathFootprint: Int32Array = new Int32Array(this.#capacity);
  /** For a park that was woken: the step that woke it. */
  cause: Int32Array = new Int32Array(this.#capacity);
  /** The number of a step among those of its task, from 1. */
  ordinal: Int32Array = new Int32Array(this.#capacity);
  clocks: Int32Array;
  /** Row `depth`: how many steps of each task lie before `depth`. */
  counts: Int32Array;
  /** Position of a task's n-th step: `positions[n * tasks + task]`. */
  positions: Int32Array;
  /** Latest touch of each place, -1 for none. */
  heads: Int32Array = new Int32Array(0);
  #touches = 0;
  /** Where a step's touches begin. They are in the order of the places of its footprint. */
  touchStart: Int32Array = new Int32Array(this.#capacity + 1);
  touchStep: Int32Array = new Int32Array(this.#capacity);
  touchMode: Uint8Array = new Uint8Array(this.#capacity);
  previous: Int32Array = new Int32Array(this.#capacity);
  #touchPlace: Int32Array = new Int32Array(this.#capacity);

  constructor(tasks: number, footprints: Footprints) {
    this.tasks = tasks;
    this.footprints = footprints;
    this.clocks = new Int32Array(this.#capacity * tasks);
    this.counts = new Int32Array((this.#capacity + 1) * tasks);
    this.positions = new Int32Array((this.#capacity + 1) * tasks);
  }

  /** Whether `earlier` happens before `later`, or is the same step. */
  happensBefore(earlier: number, later: number): boolean {
    const task = this.transition[earlier]! & TASK_LIMIT;
    return this.clocks[later * this.tasks + task]! >= this.ordinal[earlier]!;
  }

  /** The position of a task's step number `ordinal` (from 0); undefined if there is none. */
  positionOf(task: number, ordinal: number): number | undefined {
    if (ordinal >= this.counts[this.length * this.tasks + task]!) return undefined;
    return this.positions[(ordinal + 1) * this.tasks + task];
  }

  /** Whether `step` happens before the last step of `task` before `depth`, or is it. */
  leadsTo(step: number, task: number, depth: number): boolean {
    const ordinal = this.counts[depth * this.tasks + task]!;
    return ordinal > 0 && this.happensBefore(step, this.positions[ordinal * this.tasks + task]!);
  }

  /** The name of a step's kind. */
  kindName(step: number): string {
    return KINDS[this.kind[step]!] ?? "";
  }

  isDeath(step: number): boolean {
    return choiceOf(this.transition[step]!) === DEATH;
  }

  /** Cuts the trace to its first `depth` steps. */
  cut(depth: number): void {
    if (depth >= this.length) return;
    const end = this.touchStart[depth]!;
    for (let touch = this.#touches - 1; touch >= end; touch--) {
      this.heads[this.#touchPlace[touch]!] = this.previous[touch]!;
    }
    this.#touches = end;
    this.length = depth;
  }

  /** Adds a step. The caller sets `after` and `cause`. */
  push(transition: Transition, kind: number, wait: Wait, before: number, footprint: number): void {
    const step = this.length;
    if (step === this.#capacity) this.#grow();
    const { tasks } = this;
    const task = transition & TASK_LIMIT;
    const row = step * tasks;
    const ordinal = this.counts[row + task]! + 1;
    this.transition[step] = transition;
    this.kind[step] = kind;
    this.index[step] = wait.index;
    this.waits[step] = wait;
    this.before[step] = before;
    this.footprint[step] = footprint;
    this.ordinal[step] = ordinal;
    this.positions[ordinal * tasks + task] = step;
    const { clocks, counts } = this;
    if (ordinal === 1) clocks.fill(0, row, row + tasks);
    else {
      const last = this.positions[(ordinal - 1) * tasks + task]! * tasks;
      for (let i = 0; i < tasks; i++) clocks[row + i] = clocks[last + i]!;
    }
    for (let i = 0; i < tasks; i++) counts[row + tasks + i] = counts[row + i]!;
    counts[row + tasks + task] = ordinal;
    this.length = step + 1;
    this.#touch(step, footprint);
    clocks[row + task] = ordinal;
    this.touchStart[step + 1] = this.#touches;
  }

  /**
   * Joins into the clock at `row` of `into` the clocks of the steps in the chain from `head` on
   * that conflict with `mode`.
   */
  joinChain(into: Int32Array, row: number, head: number, mode: number): void {
    const { tasks, touchMode, touchStep, previous, clocks, transition, ordinal } = this;
    for (let touch = head; touch !== -1; touch = previous[touch]!) {
      const other = touchMode[touch]!;
      if (!modesConflict(mode, other)) continue;
      const step = touchStep[touch]!;
      if (into[row + (transition[step]! & TASK_LIMIT)]! < ordinal[step]!) {
        const from = step * tasks;
        for (let i = 0; i < tasks; i++) {
          if (clocks[from + i]! > into[row + i]!) into[row + i] = clocks[from + i]!;
        }
      }
      if (other === WRITE) return;
    }
  }

  /**
   * The value of `word` just before step `depth`. Normally the latest earlier step that names it as
   * its first word left it. That step may name it as one of many (an allocation, for example, after
   * which plain stores set up the object), or there may be none. Then it is the value that the next
   * step which names the word found; `initial` if there is none either.
   */
  valueBefore(word: number, depth: number, initial: number): number {
    const place = this.footprints.placeOf(word);
    if (place >= this.heads.length) return initial;
    let found = initial;
    for (let touch = this.heads[place]!; touch !== -1; touch = this.previous[touch]!) {
      const step = this.touchStep[touch]!;
      const isNamed = this.index[step] === word;
      if (step >= depth) {
        found = isNamed ? this.before[step]! : initial;
        continue;
      }
      if (isNamed) return this.after[step]!;
      if (this.touchMode[touch] === READ) continue;
      if (!this.isDeath(step)) return found;
      const left = this.deathEffects[step]?.words.get(word);
      if (left !== undefined) return left;
    }
    return found;
  }

  /** By how much the step changed `word`: its first word, or one that a death names. */
  changeBy(step: number, word: number): number {
    if (this.index[step] === word) return this.after[step]! - this.before[step]!;
    return this.isDeath(step) ? (this.deathEffects[step]?.changes.get(word) ?? 0) : 0;
  }

  #touch(step: number, footprint: number): void {
    const { starts, places, pairModes } = this.footprints;
    const row = step * this.tasks;
    const start = starts[footprint]!;
    const end = starts[footprint + 1]!;
    for (let pair = start; pair < end; pair++) {
      const place = places[pair]!;
      if (place >= this.heads.length) this.#addPlaces(place);
      this.joinChain(this.clocks, row, this.heads[place]!, pairModes[pair]!);
    }
    for (let pair = start; pair < end; pair++) {
      const place = places[pair]!;
      const touch = this.#touches++;
      if (touch === this.touchStep.length) this.#growTouches();
      this.touchStep[touch] = step;
      this.touchMode[touch] = pairModes[pair]!;
      this.#touchPlace[touch] = place;
      this.previous[touch] = this.heads[place]!;
      this.heads[place] = touch;
    }
  }

  #addPlaces(place: number): void {
    const wider = new Int32Array(Math.max(place + 1, this.heads.length * 2, 64)).fill(-1);
    wider.set(this.heads);
    this.heads = wider;
  }

  #grow(): void {
    this.#capacity *= 2;
    const { tasks } = this;
    const transition = new Uint16Array(this.#capacity);
    transition.set(this.transition);
    this.transition = transition;
    this.kind = widerBytes(this.kind, this.#capacity);
    for (const name of [
      "index",
      "before",
      "after",
      "digest",
      "footprint",
      "deathFootprint",
      "cause",
      "ordinal",
    ] as const) {
      this[name] = widerWords(this[name], this.#capacity);
    }
    this.touchStart = widerWords(this.touchStart, this.#capacity + 1);
    this.clocks = widerWords(this.clocks, this.#capacity * tasks);
    this.counts = widerWords(this.counts, (this.#capacity + 1) * tasks);
    this.positions = widerWords(this.positions, (this.#capacity + 1) * tasks);
  }

  #growTouches(): void {
    const capacity = this.touchStep.length * 2;
    this.touchStep = widerWords(this.touchStep, capacity);
    this.touchMode = widerBytes(this.touchMode, capacity);
    this.previous = widerWords(this.previous, capacity);
    this.#touchPlace = widerWords(this.#touchPlace, capacity);
  }
}

function widerWords(array: Int32Array, length: number): Int32Array {
  const wider = new Int32Array(length);
  wider.set(array);
  return wider;
}

function widerBytes(array: Uint8Array, length: number): Uint8Array {
  const wider = new Uint8Array(length);
  wider.set(array);
  return wider;
}
