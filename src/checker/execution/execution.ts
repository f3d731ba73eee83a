/**
 * @module Runs the tasks of a scenario once, step by step, in the order that a scheduler chooses.
 *
 * X1. Between two executions everything is put back: the words, the tasks (generators cannot be
 *     rewound, so they are made anew), the queues. A search therefore repeats the beginning of each
 *     execution; what it did is checked on the way.
 * X2. A task that throws is over; what it threw is a finding; the others go on.
 */

import { CONTROL_WORDS } from "../../sync/control-block.ts";
import { enterTask, leaveTask } from "../../sync/current-task.ts";
import type { TaskContext } from "../../sync/current-task.ts";
import { mayTimeOut } from "../../sync/explored.ts";
import { divertLockdep, heldAtEnd } from "../../sync/lockdep.ts";
import { hasPanicked, panicError } from "../../sync/panic.ts";
import { watchPeeks } from "../../sync/peeks.ts";
import { DEBUG, EXPLORED, SharedMemory } from "../../sync/shared-memory.ts";
import { exploreSteps } from "../../sync/stepping.ts";
import { TIMED_OUT, WOKEN } from "../../sync/task.ts";
import type { Task, Wait } from "../../sync/task.ts";
import type { ExecutionEnd, Liberties, Scenario, StateTable, Weakness } from "../scenario.ts";
import { Footprints } from "../steps/footprint.ts";
import {
  CONDITIONAL,
  ENQUEUE,
  KINDS,
  MAY_BLOCK,
  PARK,
  SLEEP,
  TEST_CONDITION,
  WAKE_ONE,
  allows,
  succeeds,
} from "../steps/kinds.ts";
import { DependsOnMore } from "../steps/dependence.ts";
import type { Dependence } from "../steps/dependence.ts";
import { EqualOrders } from "../steps/equal-tasks.ts";
import type { EqualTasks } from "../steps/equal-tasks.ts";
import { mayStepNow } from "../steps/step-order.ts";
import type { StepOrder } from "../steps/step-order.ts";
import {
  DEATH,
  LOOK,
  RUN,
  SPURIOUS,
  TASK_LIMIT,
  TIMEOUT,
  Trace,
  WAKE,
  choiceOf,
  taskOf,
  transitionOf,
} from "../steps/trace.ts";
import type { Choice, Transition } from "../steps/trace.ts";
import { watchPlainAccesses } from "../watch/plain-accesses.ts";
import { Watchers } from "../watch/watchers.ts";
import { becomeAgent, freshContext } from "./agents.ts";
import { Deaths, FATE, REAPER, fate, reaper } from "./deaths.ts";
import { Digests } from "./digests.ts";
import { otherStep } from "./divergence.ts";
import { Lenience } from "./lenience.ts";
import { ASLEEP, Parking, parkOf, queuesAt, sleepOf } from "./parking.ts";
import { Spurious } from "./spurious.ts";
import { StartingState } from "./starting-state.ts";
import type { Witness } from "./witness.ts";
import { codeOfYielded, requireTask } from "./what-is-no-task.ts";

const DEFAULT_WORDS = 1024;
const NOBODY = -1;

export interface ExecutionOptions {
  readonly liberties: Liberties;
  readonly dependence: Dependence;
  readonly weaknesses: ReadonlySet<Weakness>;
  readonly witness: Witness;
  /** Sites in lockdep's reports: slow, for replays. */
  readonly withSites: boolean;
  /** Explore only executions in this order. */
  readonly order?: StepOrder;
  /** Of these tasks, only executions in which they keep their order. */
  readonly equal?: readonly EqualTasks[];
}

export class Execution {
  readonly names: readonly string[];
  readonly tasks: number;
  readonly memory: SharedMemory;
  readonly footprints: Footprints;
  readonly trace: Trace;
  readonly liberties: Liberties;
  readonly weaknesses: ReadonlySet<Weakness>;
  /** Steps done in this execution. */
  depth = 0;
  /** What each task is about to do; undefined when it is over. */
  readonly pending: (Wait | undefined)[] = [];
  readonly pendingCode: Uint8Array;
  readonly parking: Parking;
  readonly lenience: Lenience;
  /** The transitions that may come next, filled by {@link listEnabled}. */
  readonly enabled: Int32Array = new Int32Array((TASK_LIMIT + 1) * (TASK_LIMIT + 1));
  timeoutsLeft = 0;
  readonly spurious: Spurious;
  #alive = 0;
  hasThrown = false;
  /** Those that threw, a bit for each. */
  throwers = 0;
  /** Switches so far away from a task that could have gone on. */
  preemptions = 0;
  /** Whose step the latest one was. */
  #incumbent = NOBODY;
  readonly #options: ExecutionOptions;
  readonly scenarioName: string;
  /** What only executions in this order are explored of. */
  readonly order: StepOrder | undefined;
  /** The step that has a place in the order has not come yet. */
  #waitsInOrder = false;
  readonly equal: EqualOrders;
  readonly #makers: readonly ((shared: unknown) => Task<unknown>)[];
  readonly #check: ((shared: unknown, end: ExecutionEnd) => void) | undefined;
  readonly #describe: ((shared: unknown) => readonly StateTable[]) | undefined;
  readonly #reopen: ((memory: SharedMemory) => unknown) | undefined;
  readonly #setupShared: unknown;
  /** What the tasks of this execution share. */
  shared: unknown;
  readonly #mustSurvive: boolean;
  readonly deaths: Deaths;
  /** The place of fate among the tasks, -1 if none can die. */
  readonly #fate: number;
  /** The place of the reaper among the tasks, -1 if none can die. */
  readonly #reaper: number;
  readonly #generators: Task<unknown>[] = [];
  readonly #contexts: TaskContext[] = [];
  readonly start: StartingState;
  readonly #heldNext: Int32Array;
  readonly #insideMark: Int32Array;
  readonly watchers: Watchers;
  readonly digests: Digests;
  readonly #canLeave: boolean;

  constructor(scenario: Scenario<unknown>, options: ExecutionOptions) {
    this.#options = options;
    this.scenarioName = scenario.name;
    this.order = options.order;
    this.equal = new EqualOrders(options.equal ?? [], Object.keys(scenario.tasks).length + 2);
    this.liberties = options.liberties;
    this.weaknesses = options.weaknesses;
    const mayDie = options.liberties.deaths > 0;
    this.names = [...Object.keys(scenario.tasks), ...(mayDie ? [REAPER, FATE] : [])];
    this.tasks = this.names.length;
    this.#fate = mayDie ? this.tasks - 1 : -1;
    this.#reaper = mayDie ? this.tasks - 2 : -1;
    if (this.tasks === 0 || this.tasks > TASK_LIMIT) {
      throw new RangeError(
        `Cannot explore "${scenario.name}": it has ${this.tasks} tasks, must have 1 to ${TASK_LIMIT}`,
      );
    }
    this.#makers = [
      ...Object.values(scenario.tasks),
      ...(mayDie ? [(): Task<void> => reaper(this.memory), (): Task<void> => fate(this.memory)] : []),
    ];
    this.#mustSurvive = scenario.mustSurvive ?? false;
    this.#check = scenario.check?.bind(scenario);
    this.#describe = scenario.describe?.bind(scenario);
    this.#reopen = scenario.reopen?.bind(scenario);
    const initialBytes = (CONTROL_WORDS + (scenario.words ?? DEFAULT_WORDS)) * 4;
    this.memory = scenario.memory?.() ?? SharedMemory.create({ initialBytes });
    this.#setupShared = scenario.setup(this.memory);
    this.shared = this.#setupShared;
    this.start = new StartingState(this.memory, this.names);
    this.footprints = new Footprints(this.memory.words.length, {
      dependence: options.dependence,
      freeCommutes: options.weaknesses.has("drop-free"),
      timeoutsAreScarce: Number.isFinite(options.liberties.timeouts),
      spuriousWakesAreScarce: options.liberties.spuriousWakes !== "each",
      watched: (scenario.invariants ?? []).map((invariant) => invariant.words(this.#setupShared)),
    });
    this.trace = new Trace(this.tasks, this.footprints);
    this.pendingCode = new Uint8Array(this.tasks);
    this.parking = new Parking(this.trace, this.pending, this.pendingCode, options.weaknesses);
    this.lenience = new Lenience(this.trace, options.liberties, options.weaknesses);
    this.#heldNext = Int32Array.from(this.start.heldNext);
    this.#insideMark = Int32Array.from(this.start.insideMark);
    const { mortals } = scenario;
    const isMortal = this.names.map(
      (name, task) => !(mayDie && task >= this.#reaper) && (mortals?.includes(name) ?? true),
    );
    this.deaths = new Deaths(this.memory, this.footprints, this.liberties.deaths, isMortal);
    this.digests = new Digests(this.memory, this.tasks, this.start.snapshot);
    this.watchers = new Watchers(this, scenario, options.witness);
    this.spurious = new Spurious(this.trace, this.liberties.spuriousWakes, options.dependence.wakesQueues);
    this.#canLeave = mayDie || this.liberties.timeouts > 0 || this.spurious.isPossible;
  }

  /** It is a replay: places in the code are wanted. */
  get withSites(): boolean {
    return this.#options.withSites;
  }

  /** The value of a word when an execution begins. */
  initial(word: number): number {
    return this.start.valueOf(word);
  }

  /** Begins an execution whose first `keep` steps are those of the last one. */
  restart(keep: number): void {
    const { memory } = this;
    this.trace.cut(keep);
    this.start.putBack();
    this.depth = 0;
    this.timeoutsLeft = this.liberties.timeouts;
    this.spurious.forget();
    this.hasThrown = false;
    this.throwers = 0;
    this.deaths.forget();
    this.preemptions = 0;
    this.#incumbent = NOBODY;
    this.watchers.forget();
    this.digests.forget();
    memory.mode = this.liberties.spelledOut ? DEBUG : EXPLORED;
    memory.isSpelledOut = this.liberties.spelledOut;
    memory.spinsMost = 1;
    watchPeeks((word) => this.lenience.peeked(word));
    divertLockdep({
      report: (error) => {
        if (this.liberties.lockdep && this.depth >= keep) this.#options.witness.lockdep(this, error);
      },
      withSites: this.#options.withSites,
    });
    if (this.#reopen !== undefined) this.shared = this.#reopen(memory);
    this.#alive = this.tasks;
    this.#heldNext.set(this.start.heldNext);
    this.#insideMark.set(this.start.insideMark);
    this.#waitsInOrder = this.order !== undefined;
    this.parking.forget();
    this.lenience.forget();
    for (let task = 0; task < this.tasks; task++) {
      const made = this.#makers[task]!(this.shared);
      if (this.digests.isFirst) requireTask(made, this.scenarioName, this.names[task]!);
      this.#generators[task] = made;
      this.#contexts[task] = freshContext(this.memory, task, this.names[task] ?? "");
      this.#resume(task, RUN);
    }
    this.digests.started(this);
    if (keep === 0) this.watchers.lookAtInvariants(this.shared);
  }

  /**
   * The exploration is over: the memory is as `setup` left it, so that the scenario can be explored
   * again.
   */
  finish(): void {
    this.start.putBack();
    this.start.leave();
  }

  /** Fills {@link enabled} with what may come next, and returns how many that are. */
  listEnabled(): number {
    let count = 0;
    // Fate first: what happens without deaths is explored first.
    if (this.#fate >= 0 && this.pending[this.#fate] !== undefined) this.enabled[count++] = this.#fate;
    for (let task = 0; task < this.tasks; task++) {
      const wait = this.pending[task];
      if (wait === undefined || task === this.#fate) continue;
      if (this.liberties.wakeAny && this.pendingCode[task] === WAKE_ONE) count = this.#listWakes(task, wait, count);
      else if (this.mayRun(task, wait)) this.enabled[count++] = task;
      if (!this.#canLeave) continue;
      if (MAY_BLOCK[this.pendingCode[task]!] === 1) {
        if (this.mayLeave(task, TIMEOUT)) this.enabled[count++] = transitionOf(task, TIMEOUT);
        if (this.mayLeave(task, SPURIOUS)) this.enabled[count++] = transitionOf(task, SPURIOUS);
        if (this.mayLeave(task, LOOK)) this.enabled[count++] = transitionOf(task, LOOK);
      }
      if (this.deaths.left > 0 && this.deaths.isMortal(task)) this.enabled[count++] = transitionOf(task, DEATH);
    }
    return count;
  }

  #listWakes(task: number, wake: Wait, start: number): number {
    let count = start;
    for (let other = 0; other < this.tasks; other++) {
      if (this.parking.sleepsOn(other, wake.index)) this.enabled[count++] = transitionOf(task, WAKE + other);
    }
    if (count === start) this.enabled[count++] = task;
    return count;
  }

  /** Whether the task, about to do `wait`, can do it now. */
  mayRun(task: number, wait: Wait): boolean {
    if (this.#waitsInOrder && !mayStepNow(this.order!, this.trace, this.depth, task)) return false; // there is an order
    if (this.isHeldBack(task)) return false;
    const code = this.pendingCode[task]!;
    if (MAY_BLOCK[code] === 0) return true;
    if (code === PARK) return this.parking.wokenBy[task] !== ASLEEP;
    return allows(code, this.memory.words[wait.index]!, wait.expected);
  }

  /** Whether the task waits for nothing but its turn among its equals. */
  isHeldBack(task: number): boolean {
    return !this.equal.isEmpty && !this.equal.mayStepNow(this.trace, this.depth, task);
  }

  /** Whether the task's wait may end by itself now: it sleeps, and the budget is not used up. */
  mayLeave(task: number, choice: Choice): boolean {
    const wait = this.pending[task];
    if (wait === undefined || !this.couldLeave(task, choice) || this.isHeldBack(task)) return false;
    return !this.mayRun(task, wait);
  }

  /** As {@link mayLeave}, whether or not it is being woken. */
  couldLeave(task: number, choice: Choice): boolean {
    const wait = this.pending[task];
    if (wait === undefined) return false;
    if (choice === LOOK) return this.deaths.mayLook(task, this.pendingCode[task]!);
    if (choice === SPURIOUS) return this.pendingCode[task] === PARK && this.spurious.mayWake(task, this.depth);
    return this.timeoutsLeft > 0 && mayTimeOut(wait);
  }

  /** The footprint of a task's next step. */
  footprintOf(task: number, choice: Choice): number {
    const wait = this.pending[task]!; // asked only for tasks that are not over
    const code = this.pendingCode[task]!;
    if (choice === TIMEOUT || choice === SPURIOUS) return this.footprints.leaving(code, wait, choice === SPURIOUS);
    if (choice === LOOK) return this.footprints.looking(code, wait);
    if (choice === DEATH) return this.deaths.footprintOf(task, code, wait);
    const success = CONDITIONAL[code] === 0 || succeeds(code, this.memory.words[wait.index]!, wait.expected);
    return this.footprints.of(code, wait, success);
  }

  /** Performs one step. */
  step(transition: Transition): void {
    const task = taskOf(transition);
    const choice = choiceOf(transition);
    const wait = this.pending[task];
    const code = this.pendingCode[task]!;
    const { trace } = this;
    const step = this.depth;
    if (wait === undefined) throw otherStep(this, step, "a step of a task that is over");
    if (task !== this.#incumbent) this.#switchTo(task);
    const isRepeated = step < trace.length;
    if (isRepeated) {
      if (
        trace.transition[step] !== transition ||
        trace.kind[step] !== code ||
        trace.index[step] !== (wait.index | 0)
      ) {
        throw otherStep(this, step, `"${wait.kind}" of ${wait.label}`);
      }
    } else {
      trace.push(transition, code, wait, this.memory.words[wait.index]!, this.footprintOf(task, choice));
      trace.cause[step] = this.parking.wokenBy[task]!;
      if (this.#reaper >= 0) trace.deathFootprint[step] = this.footprintOf(task, DEATH);
    }
    this.watchers.before(code, step, wait);
    this.lenience.begins(code, wait.index);
    this.depth = step + 1;
    if (task === this.order?.placed) this.#waitsInOrder = false;
    if (choice === TIMEOUT) this.timeoutsLeft--;
    else if (choice === SPURIOUS) this.spurious.happens();
    if (choice === DEATH) this.#die(task, wait);
    else if (code === SLEEP && this.memory.words[wait.index] === wait.expected) this.#expect(task, parkOf(wait), PARK);
    else this.#resume(task, choice);
    if (task === this.#fate) this.deaths.left = 0;
    if (!isRepeated) trace.after[step] = this.memory.words[wait.index]!;
    this.digests.stepped(this, step, isRepeated);
    this.lenience.ends(task, choice === DEATH ? -1 : step);
    if (choice !== DEATH) this.#settle(task, choice, wait, step);
    this.watchers.after(code, task, !isRepeated, this.shared);
  }

  /** What a step does to the sleep of tasks. */
  #settle(task: number, choice: Choice, wait: Wait, step: number): void {
    const { parking } = this;
    const code = this.trace.kind[step]!;
    if (choice >= WAKE) parking.wokenBy[choice - WAKE] = step;
    else if (code === ENQUEUE) parking.queue(task, step);
    else parking.wake(code, wait, step);
    const next = this.pending[task];
    if (next === undefined) return;
    if (this.pendingCode[task] === PARK) {
      if (code !== TEST_CONDITION) parking.queue(task, step);
      parking.park(task, next, this.depth);
      if (parking.wokenBy[task] === ASLEEP) this.spurious.note(task, next, code, this.depth);
    } else if (this.pendingCode[task] === ENQUEUE && this.weaknesses.has("fuse-parking")) {
      parking.queue(task, step);
      this.#resume(task, RUN);
      const fused = this.pending[task];
      if (fused !== undefined && this.pendingCode[task] === PARK) parking.park(task, fused, this.depth);
    }
  }

  #switchTo(task: number): void {
    const left = this.#incumbent;
    const wait = left === NOBODY ? undefined : this.pending[left];
    if (wait !== undefined && this.mayRun(left, wait)) this.preemptions++;
    this.#incumbent = task;
  }

  /** What the scenario shows of its state, between two steps. */
  describeState(): readonly StateTable[] {
    return this.#describe?.(this.shared) ?? [];
  }

  /**
   * The thread of a task dies. Its generator is left where it is: nothing of it runs any more, no
   * finally block either.
   */
  #die(task: number, wait: Wait): void {
    const step = this.depth - 1;
    const effects = this.deaths.die(task, this.names[task] ?? "", wait);
    this.trace.deathEffects[step] = effects;
    this.#isOver(task);
    if (this.deaths.left === 0) this.#isOver(this.#fate);
    if (effects.panics && this.#mustSurvive) this.#options.witness.stopped(this, task);
  }

  /** How many tasks are not over. */
  get unfinished(): number {
    const reaping = this.#reaper < 0 ? undefined : this.pending[this.#reaper];
    return reaping === undefined || !this.deaths.isIdle(reaping) ? this.#alive : this.#alive - 1;
  }

  /** Whether a task that is not over has nothing to do. */
  isIdle(task: number): boolean {
    const wait = this.pending[task];
    return task === this.#reaper && wait !== undefined && this.deaths.isIdle(wait);
  }

  /** The machine has stopped: nothing holds any more but that nobody waits for ever. */
  get hasStopped(): boolean {
    return this.deaths.names.length > 0 && hasPanicked(this.memory);
  }

  /** The scenario's own verdict, once every task has returned. */
  checkOutcome(): void {
    watchPlainAccesses(undefined); // every task has returned, so what the verdict reads comes after all of it
    if (this.hasStopped) return;
    this.watchers.atEnd(this.deaths.names.length === 0);
    this.#check?.(this.shared, { deaths: this.deaths.names });
  }

  /**
   * The tasks that hold the lock at a word, in whatever manner: dead ones and those that are over,
   * too.
   */
  holdersOf(at: number): number[] {
    const holds = ({ held }: TaskContext): boolean => held.some(({ lock }) => lock.at === at);
    return Array.from(this.#contexts.keys()).filter((task) => holds(this.#contexts[task]!));
  }

  /**
   * Whom a reader waits behind whom the readers inside would let in: those who queue to write.
   * Nobody for another wait.
   */
  queuedBefore(task: number): number[] {
    const wait = this.pending[task];
    if (wait?.kind !== "downRead" || this.mayRun(task, wait)) return [];
    const queues = (other: Wait | undefined): boolean => other?.kind === "downWrite" && other.index === wait.index;
    return Array.from(this.pending.keys()).filter((other) => queues(this.pending[other]));
  }

  /** What a step of the trace was, for people. */
  kindName(step: number): string {
    return KINDS[this.trace.kind[step]!] ?? "";
  }

  #resume(task: number, choice: Choice): void {
    const { memory } = this;
    becomeAgent(memory, task);
    memory.heldNext = this.#heldNext[task]!;
    memory.insideMark = this.#insideMark[task]!;
    const previous = enterTask(this.#contexts[task]!);
    exploreSteps(memory);
    let wait: Wait | undefined;
    let code = 0;
    try {
      const result = this.#goOn(this.#generators[task]!, task, choice);
      if (result.done !== true) {
        code = codeOfYielded(result.value);
        wait = result.value;
      } else if (this.#contexts[task]!.held.length > 0 && this.liberties.lockdep)
        throw heldAtEnd(this.#contexts[task]!);
    } catch (error) {
      this.hasThrown = true;
      this.throwers |= 1 << task;
      if (!this.hasStopped) this.#options.witness.threw(this, task, error);
    } finally {
      exploreSteps(undefined);
      leaveTask(previous);
    }
    this.#heldNext[task] = memory.heldNext;
    this.#insideMark[task] = memory.insideMark;
    if (wait === undefined) this.#isOver(task);
    else if (code === PARK && !this.#hasQueuedAt(wait.index)) this.#expect(task, sleepOf(wait), SLEEP);
    else this.#expect(task, wait, code);
  }

  #isOver(task: number): void {
    this.pending[task] = undefined;
    this.digests.isAbout(task, 0, undefined);
    this.#alive--;
  }

  #expect(task: number, wait: Wait, code: number): void {
    this.pending[task] = wait;
    this.pendingCode[task] = code;
    this.digests.isAbout(task, code, wait);
    this.lenience.pends(code, wait);
    if (code === TEST_CONDITION && wait.reads === undefined && !this.footprints.scans) {
      throw new DependsOnMore({ scans: true });
    }
  }

  /** Whether the step that was just done queued its task at a word: K3 of parking.ts. */
  #hasQueuedAt(word: number): boolean {
    const step = this.depth - 1;
    if (step < 0 || this.weaknesses.has("fuse-sleeping")) return step >= 0;
    const { transition, kind, waits } = this.trace;
    return choiceOf(transition[step]!) === RUN && queuesAt(kind[step]!, waits[step]!, word);
  }

  #goOn(generator: Task<unknown>, task: number, choice: Choice): IteratorResult<Wait, unknown> {
    if (choice !== LOOK) return generator.next(choice === TIMEOUT ? TIMED_OUT : WOKEN);
    this.deaths.look(task);
    return hasPanicked(this.memory) ? generator.throw(panicError(this.memory)) : generator.next(WOKEN);
  }
}
