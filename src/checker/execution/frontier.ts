/**
 * @module The frontier of an execution: the pending operation of each task, which tasks sleep, what
 * is left of the budgets, and so which steps may come next. It performs no step.
 */

import { mayTimeOut } from "../../sync/tasks/explored.ts";
import { hasPanicked } from "../../sync/death/panic.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Wait } from "../../sync/tasks/task.ts";
import type { Budget, Weakness } from "../scenario.ts";
import type { Dependence } from "../steps/dependence.ts";
import { SymmetricOrders } from "../steps/symmetric-tasks.ts";
import type { SymmetricTasks } from "../steps/symmetric-tasks.ts";
import type { Footprints } from "../steps/footprint.ts";
import { CONDITIONAL, MAY_BLOCK, PARK, WAKE_ONE, allows, succeeds } from "../steps/kinds.ts";
import { mayStepNow } from "../steps/step-order.ts";
import type { StepOrder } from "../steps/step-order.ts";
import {
  DEATH,
  RECHECK,
  RUN,
  SPURIOUS,
  TASK_LIMIT,
  TIMEOUT,
  WAKE,
  choiceOf,
  taskOf,
  transitionOf,
} from "../steps/trace.ts";
import type { Choice, Trace, Transition } from "../steps/trace.ts";
import type { WatchedRun } from "../watch/watched-run.ts";
import type { TaskSet } from "./task-set.ts";
import { Deaths } from "./deaths.ts";
import { ASLEEP, Parking } from "./parking.ts";
import type { SearchedRun } from "./searched-run.ts";
import { Spurious } from "./spurious.ts";
import type { StartingState } from "./starting-state.ts";

export interface FrontierOptions {
  readonly budget: Budget;
  readonly dependence: Dependence;
  readonly weaknesses: ReadonlySet<Weakness>;
  /** As FootprintOptions.wordsOfObject. */
  readonly wordsOfObject?: number;
  /** Explore only executions in this order. */
  readonly order?: StepOrder;
  /** Symmetric tasks: explore only executions in which they keep their order. */
  readonly equal?: readonly SymmetricTasks[];
}

export class Frontier implements SearchedRun, WatchedRun {
  readonly names: readonly string[];
  readonly tasks: number;
  readonly memory: SharedMemory;
  readonly trace: Trace;
  readonly footprints: Footprints;
  readonly budget: Budget;
  readonly weaknesses: ReadonlySet<Weakness>;
  readonly order: StepOrder | undefined;
  readonly equal: SymmetricOrders;
  depth = 0;
  readonly pending: (Wait | undefined)[] = [];
  readonly pendingCode: Uint8Array;
  readonly enabled: Int32Array = new Int32Array((TASK_LIMIT + 1) * (TASK_LIMIT + 1));
  readonly parking: Parking;
  readonly spurious: Spurious;
  readonly deaths: Deaths;
  readonly #taskSet: TaskSet;
  readonly #start: StartingState;
  readonly #mayEndEarly: boolean;
  #alive = 0;
  #timeoutsLeft = 0;
  /** The step that the order places has not come yet. */
  #waitsInOrder = false;

  constructor(taskSet: TaskSet, start: StartingState, trace: Trace, options: FrontierOptions) {
    const { budget, weaknesses, dependence } = options;
    this.#taskSet = taskSet;
    this.#start = start;
    this.names = taskSet.names;
    this.tasks = taskSet.names.length;
    this.memory = start.memory;
    this.trace = trace;
    this.footprints = trace.footprints;
    this.budget = budget;
    this.weaknesses = weaknesses;
    this.order = options.order;
    this.equal = new SymmetricOrders(options.equal ?? [], this.tasks);
    this.pendingCode = new Uint8Array(this.tasks);
    this.parking = new Parking(trace, this.pending, this.pendingCode, weaknesses);
    this.spurious = new Spurious(trace, budget.spuriousWakes, dependence.spuriousQueueWakes);
    this.deaths = new Deaths(this.memory, this.footprints, budget.deaths, taskSet.isKillable);
    this.#mayEndEarly = budget.deaths > 0 || this.waitsMayEnd;
  }

  /** A new execution begins. */
  reset(): void {
    this.depth = 0;
    this.#alive = this.tasks;
    this.#timeoutsLeft = this.budget.timeouts;
    this.#waitsInOrder = this.order !== undefined;
    this.spurious.reset();
    this.deaths.reset();
    this.parking.reset();
  }

  /** The pending operation of the task is now `wait`. */
  expects(task: number, wait: Wait, code: number): void {
    this.pending[task] = wait;
    this.pendingCode[task] = code;
  }

  /** The task is over. */
  ends(task: number): void {
    this.pending[task] = undefined;
    this.#alive--;
  }

  /** A step begins: it counts from now on. */
  advances(task: number, choice: Choice): void {
    this.depth++;
    if (task === this.order?.placed) this.#waitsInOrder = false;
    if (choice === TIMEOUT) this.#timeoutsLeft--;
    else if (choice === SPURIOUS) this.spurious.happens();
    if (task === this.#taskSet.deathsOver) this.deaths.left = 0;
  }

  listEnabled(): number {
    const { deathsOver } = this.#taskSet;
    let count = 0;
    // deathsOver comes first, so that executions without deaths are explored first.
    if (deathsOver >= 0 && this.pending[deathsOver] !== undefined)
      this.enabled[count++] = deathsOver;
    for (let task = 0; task < this.tasks; task++) {
      const wait = this.pending[task];
      if (wait === undefined || task === deathsOver) continue;
      if (this.budget.wakeAny && this.pendingCode[task] === WAKE_ONE) {
        count = this.#listWakes(task, wait, count);
      } else if (this.mayRun(task, wait)) this.enabled[count++] = task;
      if (!this.#mayEndEarly) continue;
      if (MAY_BLOCK[this.pendingCode[task]!] === 1) {
        if (this.#mayLeave(task, TIMEOUT)) this.enabled[count++] = transitionOf(task, TIMEOUT);
        if (this.#mayLeave(task, SPURIOUS)) this.enabled[count++] = transitionOf(task, SPURIOUS);
        if (this.#mayLeave(task, RECHECK)) this.enabled[count++] = transitionOf(task, RECHECK);
      }
      if (this.#mayDie(task)) this.enabled[count++] = transitionOf(task, DEATH);
    }
    return count;
  }

  /** The transitions that may come next. Valid until the next call. */
  enabledNow(): Int32Array {
    return this.enabled.subarray(0, this.listEnabled());
  }

  #listWakes(task: number, wake: Wait, start: number): number {
    let count = start;
    for (let other = 0; other < this.tasks; other++) {
      if (!this.parking.sleepsOn(other, wake.index)) continue;
      this.enabled[count++] = transitionOf(task, WAKE + other);
    }
    if (count === start) this.enabled[count++] = task;
    return count;
  }

  #mayDie(task: number): boolean {
    return this.deaths.left > 0 && this.deaths.isKillable(task);
  }

  mayCome(transition: Transition): boolean {
    const task = taskOf(transition);
    const choice = choiceOf(transition);
    const wait = this.pending[task];
    if (wait === undefined) return false;
    if (choice === RUN) return this.mayRun(task, wait);
    if (choice === DEATH) return this.#mayDie(task);
    if (choice < WAKE) return this.#mayLeave(task, choice);
    return this.parking.sleepsOn(choice - WAKE, wait.index);
  }

  /** Whether the task, about to do `wait`, can do it now. */
  mayRun(task: number, wait: Wait): boolean {
    // there is an order
    if (this.#waitsInOrder && !mayStepNow(this.order!, this.trace, this.depth, task)) return false;
    if (this.isHeldBack(task)) return false;
    const code = this.pendingCode[task]!;
    if (MAY_BLOCK[code] === 0) return true;
    if (code === PARK) return this.parking.wokenBy[task] !== ASLEEP;
    return allows(code, this.memory.words[wait.index]!, wait.expected);
  }

  /** Whether only the order of symmetric tasks holds the task back. */
  isHeldBack(task: number): boolean {
    return !this.equal.isEmpty && !this.equal.mayStepNow(this.trace, this.depth, task);
  }

  /** Whether the task's wait may end without a wake now: it blocks, and the budget allows it. */
  #mayLeave(task: number, choice: Choice): boolean {
    const wait = this.pending[task];
    if (wait === undefined || !this.#couldLeave(task, choice, wait)) return false;
    return !this.isHeldBack(task) && !this.mayRun(task, wait);
  }

  /** The same, without the condition that the task blocks. */
  #couldLeave(task: number, choice: Choice, wait: Wait): boolean {
    const code = this.pendingCode[task]!;
    if (choice === RECHECK) return this.deaths.mayRecheck(task, code);
    if (choice === SPURIOUS) return code === PARK && this.spurious.mayWake(task, this.depth);
    return this.#timeoutsLeft > 0 && mayTimeOut(wait);
  }

  footprintOf(task: number, choice: Choice): number {
    const wait = this.pending[task]!; // called only for tasks that are not over
    const code = this.pendingCode[task]!;
    if (choice === TIMEOUT || choice === SPURIOUS) {
      return this.footprints.leaving(code, wait, choice === SPURIOUS);
    }
    if (choice === RECHECK) return this.footprints.rechecking(code, wait);
    if (choice === DEATH) return this.deaths.footprintOf(task, code, wait);
    const success =
      CONDITIONAL[code] === 0 || succeeds(code, this.memory.words[wait.index]!, wait.expected);
    return this.footprints.of(code, wait, success);
  }

  get waitsMayEnd(): boolean {
    return this.budget.timeouts > 0 || this.spurious.isPossible;
  }

  wakeOf(task: number): number {
    return this.parking.wokenBy[task]!;
  }

  mayEverWake(task: number, depth: number): boolean {
    return this.spurious.mayEverWake(task, depth);
  }

  isKillable(task: number): boolean {
    return this.deaths.isKillable(task);
  }

  isDeathsOver(transition: Transition): boolean {
    return transition === this.#taskSet.deathsOver;
  }

  initial(word: number): number {
    return this.#start.valueOf(word);
  }

  get unfinished(): number {
    const { reaper } = this.#taskSet;
    return reaper >= 0 && this.isIdle(reaper) ? this.#alive - 1 : this.#alive;
  }

  /** Whether the task is the reaper and waits for a death. */
  isIdle(task: number): boolean {
    const wait = this.pending[task];
    return task === this.#taskSet.reaper && wait !== undefined && this.deaths.isIdle(wait);
  }

  /** The machine has stopped. From then on only one rule holds: no task waits for ever. */
  get hasStopped(): boolean {
    return this.deaths.names.length > 0 && hasPanicked(this.memory);
  }

  /**
   * If the task is a reader that waits only because writers are queued: those writers. Otherwise
   * none.
   */
  queuedBefore(task: number): number[] {
    const wait = this.pending[task];
    if (wait?.kind !== "downRead" || this.mayRun(task, wait)) return [];
    const queues = (other: Wait | undefined): boolean =>
      other?.kind === "downWrite" && other.index === wait.index;
    return Array.from(this.pending.keys()).filter((other) => queues(this.pending[other]));
  }
}
