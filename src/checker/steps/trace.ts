/**
 * @module One execution as a partial order: its steps, and which of them happen before which.
 *
 * T1. Steps are in the order in which they were performed. A step happens after the earlier steps
 *     of its own task and after every earlier step that its footprint conflicts with, and
 *     transitively.
 * T2. `clocks[step * tasks + task]` is how many steps of `task` happen before or are `step`.
 * T3. The steps that touch a place form a chain, latest first, through `heads` and `previous`.
 *     Cutting the trace at a depth takes the touches off again, so a common beginning of two
 *     executions is computed once.
 */

import type { Wait } from "../../sync/tasks/task.ts";
import type { Footprints } from "./footprint.ts";
import { KINDS } from "./kinds.ts";
import { READ, WRITE, modesConflict } from "./access-modes.ts";

/**
 * How a task goes on: performs its operation; its wait times out; it wakes for no reason; its
 * thread dies; it looks up from its wait after a death (deaths.ts); it wakes a certain other.
 */
export type Choice = number;
export const RUN: Choice = 0;
export const TIMEOUT: Choice = 1;
export const SPURIOUS: Choice = 2;
export const DEATH: Choice = 3;
export const LOOK: Choice = 4;
/** The choices of an operation. */
export const CHOICES = 5;
/** A wake of one that chooses: WAKE + the task that it wakes. */
export const WAKE: Choice = 5;

/** A task and its choice in one number. */
export type Transition = number;
export const TASK_LIMIT = 31;
const TASK_BITS = 5;

export function transitionOf(task: number, choice: Choice): Transition {
  return (choice << TASK_BITS) | task;
}

/** Number of the task that a transition is of, in the order of the scenario. */
export function taskOf(transition: Transition): number {
  return transition & TASK_LIMIT;
}

/**
 * Whether a step is what its task was about to do, not the end of a wait by itself nor of the task.
 */
export function isGoingOn(transition: Transition): boolean {
  const choice = choiceOf(transition);
  return choice === RUN || choice >= WAKE;
}

/** How the task of a transition goes on: {@link RUN}, {@link TIMEOUT}, or another. */
export function choiceOf(transition: Transition): Choice {
  return transition >> TASK_BITS;
}

/** What one death did to words beside those of the operation that was to come. */
export interface DeathEffects {
  readonly words: ReadonlyMap<number, number>;
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
  /** First word that the operation names, and what it holds before and after the step. */
  index: Int32Array = new Int32Array(this.#capacity);
  before: Int32Array = new Int32Array(this.#capacity);
  after: Int32Array = new Int32Array(this.#capacity);
  /** What the execution has come to after the step (digests.ts of the room above). */
  digest: Int32Array = new Int32Array(this.#capacity);
  footprint: Int32Array = new Int32Array(this.#capacity);
  readonly waits: Wait[] = [];
  /** Of steps that are deaths. */
  readonly deathEffects: DeathEffects[] = [];
  /**
   * Footprint of the death that the task could have died instead of a step; 0 where no death is
   * possible.
   */
  deathFootprint: Int32Array = new Int32Array(this.#capacity);
  /** Of a woken park: the wake. */
  cause: Int32Array = new Int32Array(this.#capacity);
  /** Of a step: which one of its task, from 1. */
  ordinal: Int32Array = new Int32Array(this.#capacity);
  clocks: Int32Array;
  /** Row `depth`: how many steps of each task lie before `depth`. */
  counts: Int32Array;
  /** Position of a task's n-th step: `positions[n * tasks + task]`. */
  positions: Int32Array;
  /** Latest touch of each place, -1 for none. */
  heads: Int32Array = new Int32Array(0);
  #touches = 0;
  /** Where a step's touches begin; a step touches its footprint's places in their order. */
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

  /** Whether `earlier` happens before `later` or is it. */
  happensBefore(earlier: number, later: number): boolean {
    const task = this.transition[earlier]! & TASK_LIMIT;
    return this.clocks[later * this.tasks + task]! >= this.ordinal[earlier]!;
  }

  /** Where a task's step number `ordinal` (from 0) is; undefined if it has not come to it. */
  positionOf(task: number, ordinal: number): number | undefined {
    if (ordinal >= this.counts[this.length * this.tasks + task]!) return undefined;
    return this.positions[(ordinal + 1) * this.tasks + task];
  }

  /** Whether `step` happens before what the task had done by `depth`. */
  leadsTo(step: number, task: number, depth: number): boolean {
    const ordinal = this.counts[depth * this.tasks + task]!;
    return ordinal > 0 && this.happensBefore(step, this.positions[ordinal * this.tasks + task]!);
  }

  /** What a step was, for people. */
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

  /** Adds a step. `after` and `cause` are the caller's to fill in. */
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
   * Joins into `clock` (at `row` of `into`) the clocks of the steps from `touch` on down that
   * `mode` conflicts with.
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
   * The value of `word` just before step `depth`: what the latest step that names it left. If that
   * one names it as one of many (it allocated the object, say, which was then set up by plain
   * stores), or if there is none, it is what the first step after that found; else `initial`.
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
