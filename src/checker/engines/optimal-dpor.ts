/**
 * @module The default engine: optimal dynamic partial-order reduction with wakeup trees (Abdulla,
 * Aronis, Jonsson, Sagonas, "Source Sets: A Foundation for Optimal Dynamic Partial Order
 * Reduction", JACM 2017, algorithm 2). It performs exactly one execution of each class, and begins
 * none that it has to give up.
 *
 * After each execution every race of it is turned round: at the depth of the earlier step, the
 * sequence of reversal.ts is added to what is to be tried there, unless a sleeper or another
 * sequence covers it. A race is looked at again in each execution that shares it, since what
 * covered it before may have depended on what came later.
 *
 * It may explore a part only: what begins with the steps before its root. Whoever owns the depths
 * above the root (see parallel/order-split.ts) is told of the sequences that would go there, and
 * owns what sleeps and waits there; copies of that are kept here, so that few are told in vain.
 *
 * O1. A step that is asleep or was begun, wherever that is, covers every sequence that may begin
 *     with it: whoever explores behind it, with whatever sequences it starts from, explores all
 *     that does not sleep there.
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
import { Sleepers } from "./sleepers.ts";
import { exportNodes, importNodes } from "./wakeup-tree.ts";
import type { PortableNodes, Sleeper, WakeupNode } from "./wakeup-tree.ts";

/** A sequence for a depth above the root. */
export interface OutsideReversal {
  readonly depth: number;
  readonly steps: readonly Sleeper[];
}

const NOTHING: WakeupNode = {
  transition: 0,
  footprint: 0,
  children: [],
  begun: { sleepers: [], tried: 0 },
};

export class OptimalDpor implements Scheduler {
  readonly coverage: Coverage = EVERYTHING;
  /**
   * What {@link begin} was asked to give away, and did: its depths from the old root to above the
   * new one.
   */
  given: WakeupNode[] | undefined;
  /** Set it to have the next {@link begin} give away what it can. */
  mayGive = false;
  /** Of the last execution. Whoever reads them empties the list. */
  readonly outside: OutsideReversal[] = [];
  readonly #run: SearchedRun;
  readonly #races: Races;
  readonly #reversal: Reversal;
  readonly #sleepers: Sleepers;
  readonly #current: Transition[] = [];
  /** Footprints of the current steps, before they are performed here. */
  readonly #feet: number[] = [];
  /** At each depth, the wakeup tree without the branch that is being explored. */
  readonly #todo: WakeupNode[][] = [[]];
  /** At each depth, how many branches are done. */
  readonly #tried: number[] = [];
  readonly #isShort: boolean;
  readonly #onRace: RaceVisitor;
  #root = 0;
  /** How many steps the next execution repeats. */
  #repeat = 0;
  #depth = 0;
  /** Nothing behind the root was explored. */
  #isFresh = true;
  /**
   * The branches that ended with the last execution are asleep; depth - 1 is the deepest that has
   * something left.
   */
  #hasRetreated = false;
  #wasMaximal = false;

  constructor(run: SearchedRun) {
    this.#run = run;
    this.#races = new Races(run);
    this.#reversal = new Reversal(run);
    this.#sleepers = new Sleepers(run.footprints);
    this.#isShort = run.weaknesses.has("shorten-wakeups");
    this.#onRace = (first, second): void => {
      const end = this.#isShort ? Math.min(second.step, run.trace.length) : run.trace.length;
      this.#reversal.load(first, second, end);
      if (this.#reversal.isSuperfluous(this.#sleepers)) return;
      if (first >= this.#root) {
        this.#reversal.insert(this.#todo[first]!, this.#isShort);
      } else if (!this.#reversal.isCoveredBy(this.#todo[first]!)) {
        this.#reversal.load(first, second, end);
        this.outside.push({ depth: first, steps: this.#reversal.sequence() });
      }
    };
  }

  begin(): number | undefined {
    if (this.#isFresh) {
      this.#isFresh = false;
      this.#hasRetreated = false;
      return 0;
    }
    if (!this.#retreat()) return undefined;
    const keep = this.#advance();
    if (this.mayGive) this.#give(keep);
    return keep;
  }

  next(run: SearchedRun): Decision {
    const { depth } = run;
    if (depth < this.#repeat) {
      if (depth >= run.trace.length) requirePlanned(run, this.#current[depth]!, this.#feet[depth]!);
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
    return exportNodes([this.left()], this.#run.footprints);
  }

  restore(state: unknown): void {
    const [node] = importNodes(state as PortableNodes, this.#run.footprints);
    this.explore([], node ?? NOTHING);
  }

  /**
   * Begins to explore what follows after the steps of `path`; of `node`, its step does not matter.
   */
  explore(path: readonly WakeupNode[], node: WakeupNode): void {
    this.#run.trace.cut(0);
    for (const [depth, { transition, footprint, begun, children }] of path.entries()) {
      this.#current[depth] = transition;
      this.#feet[depth] = footprint;
      this.mirror(depth, begun?.sleepers ?? [], children);
    }
    this.#root = path.length;
    this.#repeat = path.length;
    this.#todo[this.#root] = node.children;
    this.#isFresh = node.begun === undefined;
    this.#hasRetreated = true;
    this.#depth = this.#root + (this.#isFresh ? 0 : 1);
    if (node.begun !== undefined) this.#open(this.#root, node.begun.sleepers, node.begun.tried);
  }

  /** What sleeps and waits at a depth above the root by now. */
  mirror(depth: number, sleepers: readonly Sleeper[], todo: WakeupNode[]): void {
    this.#sleepers.replace(depth, sleepers);
    this.#todo[depth] = todo;
  }

  /** All that is left behind the root. The node's step does not matter. */
  left(): WakeupNode {
    const root = this.#root;
    if (this.#isFresh) return { transition: 0, footprint: 0, children: this.#todo[root]! };
    let node: WakeupNode | undefined;
    if (!this.#retreat()) return NOTHING;
    for (let depth = this.#depth - 1; depth >= root; depth--) {
      const branch: readonly WakeupNode[] = node === undefined ? [] : [node];
      node = {
        transition: depth === root ? 0 : this.#current[depth - 1]!,
        footprint: depth === root ? 0 : this.#footAt(depth - 1),
        children: [...branch, ...this.#todo[depth]!],
        begun: { sleepers: this.#sleepers.list(depth), tried: this.#tried[depth]! },
      };
    }
    return node ?? NOTHING;
  }

  fraction(): number {
    if (this.#isFresh) return 0;
    if (!this.#retreat()) return 1;
    const root = this.#root;
    return fractionOf(
      this.#tried.slice(root, this.#depth),
      (depth) => this.#todo[root + depth]!.length,
    );
  }

  /** Puts asleep what is done. Returns whether something is left. */
  #retreat(): boolean {
    while (this.#depth > this.#root) {
      const depth = this.#depth - 1;
      if (!this.#hasRetreated) {
        this.#sleepers.add(depth, this.#current[depth]!, this.#footAt(depth));
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

  /** Turns to the next branch; returns how many steps of the last execution stay. */
  #advance(): number {
    const keep = this.#depth - 1;
    let depth = keep;
    for (;;) {
      const node = this.#todo[depth]!.shift();
      if (node === undefined) throw new RangeError("a node that was begun has nothing left");
      this.#current[depth] = node.transition;
      this.#feet[depth] = node.footprint;
      depth++;
      this.#todo[depth] = node.children;
      if (node.begun === undefined) break;
      this.#open(depth, node.begun.sleepers, node.begun.tried);
    }
    this.#repeat = depth;
    this.#hasRetreated = false;
    return keep;
  }

  #open(depth: number, sleepers: readonly Sleeper[], tried: number): void {
    this.#sleepers.replace(depth, sleepers);
    this.#tried[depth] = tried;
  }

  /**
   * Between turning to a branch and exploring it: gives away the depths down to the first that has
   * more to try. The trace is still that of the last execution, of which `keep` steps stay.
   */
  #give(keep: number): void {
    let last = this.#root;
    while (last < this.#repeat && this.#todo[last]!.length === 0) last++;
    if (last === this.#repeat) return;
    this.mayGive = false;
    this.given = [];
    for (let depth = this.#root; depth <= last; depth++) {
      this.given.push({
        transition: this.#current[depth]!,
        footprint: depth < keep ? this.#footAt(depth) : this.#feet[depth]!,
        children: this.#todo[depth]!,
        begun: { sleepers: this.#sleepers.list(depth), tried: this.#tried[depth]! },
      });
    }
    this.#root = last + 1;
  }

  #footAt(depth: number): number {
    const { trace } = this.#run;
    return depth < trace.length ? trace.footprint[depth]! : this.#feet[depth]!;
  }
}
