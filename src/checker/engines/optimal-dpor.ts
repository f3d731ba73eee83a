/**
 * @module The default engine: optimal dynamic partial-order reduction with wakeup trees (Abdulla,
 * Aronis, Jonsson, Sagonas, "Source Sets: A Foundation for Optimal Dynamic Partial Order
 * Reduction", JACM 2017, algorithm 2). It performs exactly one execution of each class, and begins
 * none that it has to give up.
 *
 * After each execution every race of it is reversed: the sequence of reversal.ts is added to the
 * wakeup tree at the depth of the earlier step, unless the sleep set or another sequence there
 * covers it. A race is considered again in every execution that has it, because what covered it
 * before may have depended on later steps.
 *
 * O1. A step in the sleep set, or one whose exploration has begun, covers every sequence that may
 *     begin with it. The exploration after that step sees all executions that the sleep sets there
 *     do not exclude, whatever sequences it starts from.
 */

import type { SearchedRun } from "../execution/searched-run.ts";
import { requirePlanned } from "./planned.ts";
import type { Transition } from "../steps/trace.ts";
import { fractionOf } from "./estimate.ts";
import { Races } from "./races.ts";
import type { RaceVisitor } from "./races.ts";
import { Reversal } from "./reversal.ts";
import { BLOCKED, EVERYTHING, OVER } from "./scheduler.ts";
import type { Coverage, Decision, Scheduler } from "./scheduler.ts";
import { SleepSets } from "./sleep-sets.ts";
import { exportNodes, importNodes } from "./wakeup-tree.ts";
import type { PortableNodes, SleepEntry, WakeupNode } from "./wakeup-tree.ts";

const NOTHING: WakeupNode = {
  transition: 0,
  footprint: 0,
  children: [],
  begun: { sleepers: [], tried: 0 },
};

export class OptimalDpor implements Scheduler {
  readonly coverage: Coverage = EVERYTHING;
  readonly #run: SearchedRun;
  readonly #races: Races;
  readonly #reversal: Reversal;
  readonly #sleepers: SleepSets;
  readonly #current: Transition[] = [];
  /** Footprints of the current steps that have not been performed here yet. */
  readonly #plannedFootprints: number[] = [];
  /** At each depth, the wakeup tree without the branch that is being explored. */
  readonly #todo: WakeupNode[][] = [[]];
  /** At each depth, how many branches are done. */
  readonly #tried: number[] = [];
  readonly #isShort: boolean;
  readonly #onRace: RaceVisitor;
  /** How many steps the next execution repeats. */
  #repeat = 0;
  #depth = 0;
  /** Nothing was explored yet. */
  #isFresh = true;
  /**
   * The branches that ended with the last execution are in the sleep sets; depth - 1 is the deepest
   * depth that has something left.
   */
  #hasRetreated = false;
  #wasMaximal = false;

  constructor(run: SearchedRun) {
    this.#run = run;
    this.#races = new Races(run);
    this.#reversal = new Reversal(run);
    this.#sleepers = new SleepSets(run.footprints);
    this.#isShort = run.weaknesses.has("shorten-wakeups");
    this.#onRace = (first, second): void => {
      const end = this.#isShort ? Math.min(second.step, run.trace.length) : run.trace.length;
      this.#reversal.load(first, second, end);
      if (!this.#reversal.isAsleep(this.#sleepers))
        this.#reversal.insert(this.#todo[first]!, this.#isShort);
    };
  }

  begin(): number | undefined {
    if (this.#isFresh) {
      this.#isFresh = false;
      this.#hasRetreated = false;
      return 0;
    }
    if (!this.#retreat()) return undefined;
    return this.#advance();
  }

  next(run: SearchedRun): Decision {
    const { depth } = run;
    if (depth < this.#repeat) {
      if (depth >= run.trace.length)
        requirePlanned(run, this.#current[depth]!, this.#plannedFootprints[depth]!);
      return this.#current[depth]!;
    }
    this.#depth = depth;
    this.#tried[depth] = 0;
    this.#wasMaximal = false;
    if (depth === 0) this.#sleepers.clearRoot();
    else this.#sleepers.inherit(depth, this.#current[depth - 1]!, run.trace.footprint[depth - 1]!);
    const planned = this.#todo[depth]!.shift();
    if (planned !== undefined) {
      requirePlanned(run, planned.transition, planned.footprint);
      this.#todo[depth + 1] = planned.children;
      return (this.#current[depth] = planned.transition);
    }
    const count = run.listEnabled();
    if (count === 0) {
      this.#wasMaximal = true;
      return OVER;
    }
    for (let i = 0; i < count; i++) {
      const transition = run.enabled[i]!;
      if (this.#sleepers.has(depth, transition)) continue;
      this.#todo[depth + 1] = [];
      return (this.#current[depth] = transition);
    }
    return BLOCKED;
  }

  end(): void {
    if (this.#wasMaximal) this.#races.forEach(0, this.#onRace);
  }

  save(): PortableNodes {
    return exportNodes([this.#left()], this.#run.footprints);
  }

  restore(state: unknown): void {
    const [node] = importNodes(state as PortableNodes, this.#run.footprints);
    const { begun, children } = node ?? NOTHING;
    this.#run.trace.cut(0);
    this.#todo[0] = children;
    this.#isFresh = begun === undefined;
    if (begun === undefined) return;
    this.#hasRetreated = true;
    this.#depth = 1;
    this.#open(0, begun.sleepers, begun.tried);
  }

  /** The tree that is left: what follows an empty step. */
  #left(): WakeupNode {
    if (this.#isFresh) return { transition: 0, footprint: 0, children: this.#todo[0]! };
    let node: WakeupNode | undefined;
    if (!this.#retreat()) return NOTHING;
    for (let depth = this.#depth - 1; depth >= 0; depth--) {
      const branch: readonly WakeupNode[] = node === undefined ? [] : [node];
      node = {
        transition: depth === 0 ? 0 : this.#current[depth - 1]!,
        footprint: depth === 0 ? 0 : this.#footprintAt(depth - 1),
        children: [...branch, ...this.#todo[depth]!],
        begun: { sleepers: this.#sleepers.list(depth), tried: this.#tried[depth]! },
      };
    }
    return node ?? NOTHING;
  }

  fraction(): number {
    if (this.#isFresh) return 0;
    if (!this.#retreat()) return 1;
    return fractionOf(this.#tried.slice(0, this.#depth), (depth) => this.#todo[depth]!.length);
  }

  /** Adds finished branches to the sleep sets. Returns whether something is left. */
  #retreat(): boolean {
    while (this.#depth > 0) {
      const depth = this.#depth - 1;
      if (!this.#hasRetreated) {
        this.#sleepers.add(depth, this.#current[depth]!, this.#footprintAt(depth));
        this.#tried[depth] = this.#tried[depth]! + 1;
      }
      if (this.#todo[depth]!.length > 0) {
        this.#hasRetreated = true;
        return true;
      }
      this.#hasRetreated = false;
      this.#depth--;
    }
    return false;
  }

  /** Goes to the next branch. Returns how many steps of the last execution it keeps. */
  #advance(): number {
    const keep = this.#depth - 1;
    let depth = keep;
    for (;;) {
      const node = this.#todo[depth]!.shift();
      if (node === undefined) throw new RangeError("a node that was begun has nothing left");
      this.#current[depth] = node.transition;
      this.#plannedFootprints[depth] = node.footprint;
      depth++;
      this.#todo[depth] = node.children;
      if (node.begun === undefined) break;
      this.#open(depth, node.begun.sleepers, node.begun.tried);
    }
    this.#repeat = depth;
    this.#hasRetreated = false;
    return keep;
  }

  #open(depth: number, sleepers: readonly SleepEntry[], tried: number): void {
    this.#sleepers.replace(depth, sleepers);
    this.#tried[depth] = tried;
  }

  #footprintAt(depth: number): number {
    const { trace } = this.#run;
    return depth < trace.length ? trace.footprint[depth]! : this.#plannedFootprints[depth]!;
  }
}
