/**
 * @module Bounded search: it sees exactly the classes that have an execution within a bound. The
 * bound is on one of two costs:
 *
 * - preemptions: switches away from a task that could have gone on;
 * - delays (Emmi, Qadeer, Rakamaric, POPL 2011). One schedule costs nothing: each task goes on
 *   until it blocks or is over, and then the next task runs, round-robin. Each task that could go
 *   on and is skipped costs one delay.
 *
 * If a partial-order reduction is cut at the bound, it loses classes (Coons, Musuvathi, McKinley,
 * OOPSLA 2013). So this is a plain search over schedules, with another reduction: a prefix is given
 * up if the search has seen an equivalent prefix that ended in the same task at no higher cost.
 * What can follow a prefix, and at what cost, depends on nothing else. Which steps depend on each
 * other is what executions within the bound show: a wake of a queue on which somebody waits only
 * beyond the bound commutes with everything here, so there can be fewer classes than those of the
 * whole search within the bound.
 */

import type { SearchedRun } from "../execution/searched-run.ts";
import { ClassKeys } from "../steps/class-key.ts";
import { TASK_LIMIT, choiceOf, isGoingOn, taskOf } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";
import { fractionOf } from "./estimate.ts";
import { BLOCKED, OVER } from "./scheduler.ts";
import type { Coverage, Decision, Scheduler } from "./scheduler.ts";

const NOBODY = -1;

interface Priced {
  readonly transition: Transition;
  readonly cost: number;
  /** The class key of the prefix that ends with this step. */
  readonly key: number;
}

/**
 * The cost of a choice. `last`: the task of the step before, or NOBODY. `able`: the tasks that can
 * go on.
 */
export type Price = (chosen: number, last: number, able: readonly number[]) => number;

export const preemptionPrice: Price = (chosen, last, able) =>
  chosen === last || !able.includes(last) ? 0 : 1;

/**
 * The number of able tasks that are skipped, in round-robin order from the last task on.
 */
export const delayPrice: Price = (chosen, last, able) => {
  const first = Math.max(last, 0);
  const turn = (task: number): number => (task >= first ? task - first : task - first + TASK_LIMIT);
  return able.filter((task) => turn(task) < turn(chosen)).length;
};

interface BoundedState {
  /** For each last task: class, cost, class, cost, ... */
  readonly visited: readonly (readonly number[])[];
  readonly current: readonly Transition[];
  readonly todo: readonly (readonly Priced[])[];
  readonly tried: readonly number[];
  readonly used: readonly number[];
  readonly wasCut: boolean;
}

export class Bounded implements Scheduler {
  readonly #bound: number;
  readonly #price: Price;
  readonly #keys: ClassKeys;
  /** For each last task, by class of the prefix: the lowest cost at which it was reached. */
  readonly #visited: Map<number, number>[];
  readonly #current: Transition[] = [];
  readonly #todo: Priced[][] = [];
  /** The cost of the steps before each depth. */
  readonly #used: number[] = [0];
  /** At each depth, how many branches are done. */
  readonly #tried: number[] = [];
  #repeat = 0;
  #isFirst = true;
  #wasCut = false;
  /** The class keys of the repeated prefix are known. */
  #isKeyed = true;

  constructor(run: SearchedRun, bound: number, price: Price) {
    this.#bound = bound;
    this.#price = price;
    this.#keys = new ClassKeys(run.trace);
    this.#visited = Array.from({ length: run.tasks + 1 }, () => new Map<number, number>());
  }

  get coverage(): Coverage {
    return { complete: true, bound: this.#wasCut ? this.#bound : Infinity };
  }

  begin(): number | undefined {
    if (this.#isFirst) {
      this.#isFirst = false;
      return 0;
    }
    while (this.#current.length > 0) {
      const depth = this.#current.length - 1;
      const next = this.#todo[depth]!.shift();
      this.#tried[depth] = this.#tried[depth]! + 1;
      if (next !== undefined && this.#isKnown(depth, next)) continue;
      if (next !== undefined) {
        this.#choose(depth, next);
        this.#repeat = depth + 1;
        return depth;
      }
      this.#current.pop();
      this.#todo.pop();
    }
    return undefined;
  }

  next(run: SearchedRun): Decision {
    const { depth } = run;
    if (depth < this.#repeat) return this.#current[depth]!;
    if (depth > 0) this.#keys.extend(this.#isKeyed ? depth - 1 : 0);
    this.#isKeyed = true;
    this.#tried[depth] = 0;
    const count = run.listEnabled();
    if (count === 0) return OVER;
    const last = depth === 0 ? NOBODY : taskOf(this.#current[depth - 1]!);
    if (this.#wasReached(depth, last)) return BLOCKED;
    const enabled = Array.from(run.enabled.subarray(0, count));
    const able = enabled.filter(isGoingOn).map(taskOf);
    const choices = enabled.map((transition) => ({
      transition,
      cost: this.#price(taskOf(transition), last, able),
    }));
    choices.sort((a, b) => a.cost - b.cost);
    const affordable = choices.filter(({ cost }) => this.#used[depth]! + cost <= this.#bound);
    if (affordable.length < choices.length) this.#wasCut = true;
    // There is one: for each kind of bound some choice costs nothing.
    const first = affordable.shift()!;
    this.#todo[depth] = affordable.map((choice) => ({
      ...choice,
      key: this.#keyAfter(run, choice.transition),
    }));
    this.#choose(depth, first);
    return first.transition;
  }

  end(): void {}

  save(): BoundedState {
    return {
      visited: this.#visited.map((seen) => Array.from(seen).flat()),
      current: this.#current,
      todo: this.#todo,
      tried: this.#tried.slice(0, this.#current.length),
      used: this.#used.slice(0, this.#current.length + 1),
      wasCut: this.#wasCut,
    };
  }

  restore(state: unknown): void {
    const { visited, current, todo, tried, used, wasCut } = state as BoundedState;
    for (const [last, seen] of visited.entries()) {
      for (let i = 0; i < seen.length; i += 2) this.#visited[last]?.set(seen[i]!, seen[i + 1]!);
    }
    for (const [depth, transition] of current.entries()) {
      this.#current[depth] = transition;
      this.#todo[depth] = Array.from(todo[depth] ?? []);
      this.#tried[depth] = tried[depth] ?? 0;
      this.#used[depth + 1] = used[depth + 1] ?? 0;
    }
    this.#wasCut = wasCut;
    this.#isFirst = current.length === 0;
    this.#isKeyed = false;
  }

  fraction(): number {
    // The last execution's own end counts as a branch without any left.
    const depths = this.#current.length;
    return fractionOf(
      [...this.#tried.slice(0, depths), 1],
      (depth) => this.#todo[depth]?.length ?? 0,
    );
  }

  /**
   * The class key of the prefix that a step would make. Its footprint is known before it is
   * performed.
   */
  #keyAfter(run: SearchedRun, transition: Transition): number {
    const { depth, trace } = run;
    const task = taskOf(transition);
    const wait = run.pending[task]!; // it is enabled
    trace.push(
      transition,
      run.pendingCode[task]!,
      wait,
      0,
      run.footprintOf(task, choiceOf(transition)),
    );
    this.#keys.extend(depth);
    trace.cut(depth);
    return this.#keys.at(depth + 1);
  }

  /**
   * Whether the prefix that ends with this step was reached before at no higher cost.
   */
  #isKnown(depth: number, { transition, cost, key }: Priced): boolean {
    const before = this.#visited[taskOf(transition) + 1]!.get(key);
    return before !== undefined && before <= this.#used[depth]! + cost;
  }

  #choose(depth: number, { transition, cost }: Pick<Priced, "transition" | "cost">): void {
    this.#current[depth] = transition;
    this.#used[depth + 1] = this.#used[depth]! + cost;
  }

  #wasReached(depth: number, last: number): boolean {
    const visited = this.#visited[last + 1]!;
    const key = this.#keys.at(depth);
    const before = visited.get(key);
    if (before !== undefined && before <= this.#used[depth]!) return true;
    visited.set(key, this.#used[depth]!);
    return false;
  }
}
