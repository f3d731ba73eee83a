/**
 * @module Every class that has an execution with at most k preemptions, exactly. A preemption is a switch away from a task
 * that could have gone on. Cutting a partial-order reduction at the bound would lose classes (Coons, Musuvathi, McKinley,
 * OOPSLA 2013), so this is a plain search over schedules, made affordable otherwise: a beginning is given up if an
 * equivalent one that ended in the same task was there before with no more preemptions. What can follow, and at what
 * cost, depends on nothing else.
 */

import { ClassKeys } from "./class-key.ts";
import type { Execution } from "./execution.ts";
import { BLOCKED, OVER } from "./scheduler.ts";
import type { Coverage, Decision, Scheduler } from "./scheduler.ts";
import { SPURIOUS, TIMEOUT, choiceOf, taskOf } from "./trace.ts";
import type { Transition } from "./trace.ts";

const NOBODY = -1;

/** Whether it is a step of `task` other than the end of a wait by itself. */
function couldGoOn(transition: Transition, task: number): boolean {
  const choice = choiceOf(transition);
  return taskOf(transition) === task && choice !== TIMEOUT && choice !== SPURIOUS;
}

export class Bounded implements Scheduler {
  readonly #bound: number;
  readonly #keys: ClassKeys;
  /** By last task, then by class of the beginning: the fewest preemptions with which it was reached. */
  readonly #visited: Map<number, number>[];
  readonly #current: Transition[] = [];
  readonly #todo: Transition[][] = [];
  /** Preemptions before each depth. */
  readonly #used: number[] = [0];
  /** Who could have gone on at each depth: switching away from it costs one. */
  readonly #incumbent: number[] = [];
  #repeat = 0;
  #isFirst = true;
  #wasCut = false;

  constructor(run: Execution, bound: number) {
    this.#bound = bound;
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

  next(run: Execution): Decision {
    const { depth } = run;
    if (depth < this.#repeat) return this.#current[depth]!;
    if (depth > 0) this.#keys.extend(depth - 1);
    const count = run.listEnabled();
    if (count === 0) return OVER;
    const last = depth === 0 ? NOBODY : taskOf(this.#current[depth - 1]!);
    if (this.#wasHere(depth, last)) return BLOCKED;
    const enabled = Array.from(run.enabled.subarray(0, count));
    this.#incumbent[depth] = enabled.some((transition) => couldGoOn(transition, last)) ? last : NOBODY;
    const choices = enabled.toSorted((a, b) => this.#cost(depth, a) - this.#cost(depth, b));
    const affordable = choices.filter(
      (transition) => this.#used[depth]! + this.#cost(depth, transition) <= this.#bound,
    );
    if (affordable.length < choices.length) this.#wasCut = true;
    // There is one: going on with the incumbent, or with anyone if there is none, costs nothing.
    const first = affordable.shift()!;
    this.#todo[depth] = affordable;
    this.#choose(depth, first);
    return first;
  }

  end(): void {}

  #choose(depth: number, transition: Transition): void {
    this.#current[depth] = transition;
    this.#used[depth + 1] = this.#used[depth]! + this.#cost(depth, transition);
  }

  #cost(depth: number, transition: Transition): number {
    const incumbent = this.#incumbent[depth]!;
    return incumbent === NOBODY || taskOf(transition) === incumbent ? 0 : 1;
  }

  #wasHere(depth: number, last: number): boolean {
    const visited = this.#visited[last + 1]!;
    const key = this.#keys.at(depth);
    const before = visited.get(key);
    if (before !== undefined && before <= this.#used[depth]!) return true;
    visited.set(key, this.#used[depth]!);
    return false;
  }
}
