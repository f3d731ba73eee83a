/**
 * @module Runs the tasks of a scenario once, step by step, in the order that a scheduler chooses.
 * frontier.ts says which steps may come next. threads.ts runs the code of the tasks.
 *
 * X1. Before each execution everything is restored: the words, the queues, and the tasks, which are
 *     created anew, because generators cannot be rewound. So a search repeats the beginning of an
 *     earlier execution. It checks that the beginning does the same again.
 * X2. A task that throws is over. What it threw is a finding; the other tasks go on.
 * X3. To suspend a task and to resume it, a dozen generators are left and entered again, and often
 *     the scheduler chooses the same task. So a task that is about to do its next operation asks
 *     whether the same task is to go on ({@link Execution.step}). If it is, the step that runs ends
 *     there, and the next one begins, in the task. Both are recorded as always, so the trace and
 *     the schedule are the same. Only where nobody else needs the tasks to be suspended between two
 *     steps: not with deaths, invariants and places in the code.
 */

import { CONTROL_WORDS } from "../../sync/control-block.ts";
import { HmmError } from "../../sync/errors.ts";
import { divertLockdep } from "../../sync/lockdep/lockdep.ts";
import { watchExtraReads } from "../../sync/tasks/extra-reads.ts";
import { DEBUG, EXPLORED, SharedMemory } from "../../sync/shared-memory.ts";
import { askToGoOn } from "../../sync/tasks/task.ts";
import type { Wait } from "../../sync/tasks/task.ts";
import type { Budget, Scenario, StateTable } from "../scenario.ts";
import { DependsOnMore } from "../steps/dependence.ts";
import { Footprints } from "../steps/footprint.ts";
import { ENQUEUE, PARK, SLEEP, TEST_CONDITION } from "../steps/kinds.ts";
import {
  DEATH,
  RECHECK,
  RUN,
  Trace,
  WAKE,
  choiceOf,
  taskOf,
  transitionOf,
} from "../steps/trace.ts";
import type { Choice, Transition } from "../steps/trace.ts";
import { watchPlainAccesses } from "../watch/plain-accesses.ts";
import { Watchers } from "../watch/watchers.ts";
import type { ErrorSink } from "../watch/error-sink.ts";
import { taskSetOf } from "./task-set.ts";
import type { TaskSet } from "./task-set.ts";
import { Digests } from "./digests.ts";
import { otherStep } from "./divergence.ts";
import { Frontier } from "./frontier.ts";
import type { FrontierOptions } from "./frontier.ts";
import { CommutingWords } from "./commuting-words.ts";
import { ASLEEP, parkOf, queuesAt, sleepOf } from "./parking.ts";
import { StartingState } from "./starting-state.ts";
import { Threads } from "./threads.ts";
import { codeOfYielded, requireDone, requireTask } from "./require-task.ts";

const DEFAULT_WORDS = 1024;
const NOBODY = -1;

/**
 * Called when a step has been performed, and its task is about to do its next operation. Returns
 * the next transition, or a negative decision; undefined if it is not to be decided now.
 */
export type AfterStep = () => number | undefined;

export interface ExecutionOptions extends FrontierOptions {
  readonly sink: ErrorSink<Execution>;
  /** Findings get places in the code. It is slow, so only replays use it. */
  readonly withSites: boolean;
}

export class Execution {
  readonly names: readonly string[];
  readonly tasks: number;
  readonly memory: SharedMemory;
  readonly footprints: Footprints;
  readonly trace: Trace;
  readonly budget: Budget;
  readonly frontier: Frontier;
  /** The pending operation of each task, undefined if it is over; and the code of its kind. */
  readonly pending: readonly (Wait | undefined)[];
  readonly pendingCode: Uint8Array;
  readonly commutingWords: CommutingWords;
  readonly start: StartingState;
  readonly watchers: Watchers<Execution>;
  readonly digests: Digests;
  /** The tasks that threw, one bit for each. */
  throwers = 0;
  /** How often so far it has switched away from a task that could have gone on. */
  preemptions = 0;
  /** What the tasks of this execution share. */
  shared: unknown;
  readonly #scenario: Scenario<unknown>;
  readonly #options: ExecutionOptions;
  readonly #taskSet: TaskSet;
  readonly #threads: Threads;
  readonly #setupShared: unknown;
  /** The task of the latest step. */
  #incumbent = NOBODY;
  /** The step that runs. */
  #transition: Transition = 0;
  #wait: Wait | undefined;
  #code = 0;
  #isRepeated = false;
  /** X3: the step that runs has ended in its task. */
  #hasEnded = false;
  readonly #goesOn: ((wait: Wait) => boolean) | undefined;
  #afterStep: AfterStep | undefined;
  /** What was thrown while a task asked whether it goes on. */
  #failure: { readonly error: unknown } | undefined;
  /** X3: what comes next, if it was decided during {@link step}. */
  decided: number | undefined;

  constructor(scenario: Scenario<unknown>, options: ExecutionOptions) {
    const { budget, dependence, weaknesses, wordsOfObject } = options;
    this.#scenario = scenario;
    this.#options = options;
    this.budget = budget;
    this.#taskSet = taskSetOf(scenario, budget.deaths > 0);
    this.names = this.#taskSet.names;
    this.tasks = this.names.length;
    const initialBytes = (CONTROL_WORDS + (scenario.words ?? DEFAULT_WORDS)) * 4;
    this.memory = scenario.memory?.() ?? SharedMemory.create({ initialBytes });
    this.#setupShared = requireDone(scenario.setup(this.memory), scenario.name, "setup");
    this.shared = this.#setupShared;
    this.start = new StartingState(this.memory, this.names, budget.spelledOut);
    this.footprints = new Footprints(this.memory.words.length, {
      dependence,
      freeCommutes: weaknesses.has("drop-free"),
      ...(wordsOfObject !== undefined && { wordsOfObject }),
      timeoutsAreScarce: Number.isFinite(budget.timeouts),
      spuriousWakesAreScarce: budget.spuriousWakes !== "each",
      watched: (scenario.invariants ?? []).map((invariant) => invariant.words(this.#setupShared)),
    });
    this.trace = new Trace(this.tasks, this.footprints);
    this.frontier = new Frontier(this.#taskSet, this.start, this.trace, options);
    this.pending = this.frontier.pending;
    this.pendingCode = this.frontier.pendingCode;
    this.commutingWords = new CommutingWords(this.trace, budget, weaknesses);
    this.#threads = new Threads(this.start, {
      names: this.names,
      lockdep: budget.lockdep,
      onThrow: (task, error) => this.#threw(task, error),
    });
    this.digests = new Digests(this.memory, this.tasks, this.start.snapshot);
    this.watchers = new Watchers<Execution>(this, this.frontier, {
      scenario,
      sink: options.sink,
      withSites: options.withSites,
      onPlainStore: (word) => this.digests.noteStore(word),
    });
    const mustSuspend =
      options.withSites ||
      budget.deaths > 0 ||
      weaknesses.size > 0 ||
      (scenario.invariants ?? []).length > 0;
    this.#goesOn = mustSuspend ? undefined : (wait) => this.#mayGoOn(wait);
  }

  get scenarioName(): string {
    return this.#scenario.name;
  }

  /** Steps done in this execution. */
  get depth(): number {
    return this.frontier.depth;
  }

  /** Begins an execution. Its first `keep` steps are those of the last one. */
  restart(keep: number): void {
    const { memory, budget, frontier } = this;
    this.trace.cut(keep);
    this.start.putBack();
    frontier.reset();
    this.throwers = 0;
    this.preemptions = 0;
    this.#incumbent = NOBODY;
    this.#hasEnded = false;
    this.watchers.reset();
    this.digests.reset();
    memory.mode = budget.spelledOut ? DEBUG : EXPLORED;
    memory.isSpelledOut = budget.spelledOut;
    memory.spinsMax = 1;
    watchExtraReads((word) => this.commutingWords.extraRead(word));
    divertLockdep({
      report: (error) => {
        if (budget.lockdep && this.depth >= keep) this.#options.sink.lockdep(this, error);
      },
      withSites: this.#options.withSites,
    });
    if (this.#scenario.reopen !== undefined) this.shared = this.#scenario.reopen(memory);
    this.commutingWords.reset();
    this.#threads.reset();
    for (let task = 0; task < this.tasks; task++) {
      const made = this.#taskSet.makers[task]!(this.shared, memory);
      if (this.digests.isFirst) requireTask(made, this.scenarioName, this.names[task]!);
      this.#threads.begin(task, made);
      this.#resume(task, RUN);
    }
    this.digests.started(this);
    if (keep === 0) this.watchers.checkInvariants(this.shared);
  }

  /** The exploration is over: restores the memory for the next one, as `setup` left it. */
  finish(): void {
    this.start.putBack();
    this.start.leave();
  }

  /**
   * Performs one step. With `afterStep`, it may perform more steps of the same task (X3), and then
   * leaves in {@link decided} what comes next.
   */
  step(transition: Transition, afterStep?: AfterStep): void {
    const task = taskOf(transition);
    const choice = choiceOf(transition);
    const wait = this.frontier.pending[task];
    if (wait === undefined) throw otherStep(this, this.depth, "a step of a task that is over");
    this.#begin(transition, wait);
    this.#hasEnded = false;
    this.decided = undefined;
    if (choice === DEATH) this.#die(task, wait);
    else if (this.#code === SLEEP && this.memory.words[wait.index] === wait.expected) {
      this.#expect(task, parkOf(wait), PARK);
    } else if (afterStep === undefined || this.#goesOn === undefined) this.#resume(task, choice);
    else this.#resumeAsking(task, choice, afterStep, this.#goesOn);
    if (!this.#hasEnded) this.#end();
  }

  /** A step begins, whose operation is `wait`. */
  #begin(transition: Transition, wait: Wait): void {
    const task = taskOf(transition);
    const choice = choiceOf(transition);
    const { trace, frontier } = this;
    const code = frontier.pendingCode[task]!;
    const step = frontier.depth;
    if (task !== this.#incumbent) this.#switchTo(task);
    const isRepeated = step < trace.length;
    if (isRepeated) this.#requireSame(transition, wait, code);
    else this.#record(transition, wait, code);
    // Who dies does not do it.
    if (choice !== DEATH) this.watchers.before(code, step, wait);
    this.commutingWords.begins(code, wait.index);
    frontier.advances(task, choice);
    this.#transition = transition;
    this.#wait = wait;
    this.#code = code;
    this.#isRepeated = isRepeated;
  }

  /** The step that runs has been performed: its task is over, or its next operation is known. */
  #end(): void {
    const wait = this.#wait!; // begun
    const isRepeated = this.#isRepeated;
    const step = this.frontier.depth - 1;
    const task = taskOf(this.#transition);
    const choice = choiceOf(this.#transition);
    if (!isRepeated) this.trace.after[step] = this.memory.words[wait.index]!;
    this.digests.stepped(this, step, isRepeated);
    this.commutingWords.ends(task, choice === DEATH ? -1 : step);
    if (choice !== DEATH) this.#updateSleep(task, choice, wait, step);
    this.watchers.after(this.#code, task, !isRepeated, this.shared);
  }

  #resumeAsking(
    task: number,
    choice: Choice,
    afterStep: AfterStep,
    goesOn: (wait: Wait) => boolean,
  ): void {
    this.#afterStep = afterStep;
    askToGoOn(goesOn);
    try {
      this.#resume(task, choice);
    } finally {
      askToGoOn(undefined);
    }
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure.error;
  }

  /**
   * The running task is about to do `wait`: the step that runs ends here. Whether the task goes on
   * with the next one. What is thrown here is not the task's concern: {@link step} throws it.
   */
  #mayGoOn(wait: Wait): boolean {
    if (this.#hasEnded) return false;
    this.#hasEnded = true;
    const task = taskOf(this.#transition);
    try {
      this.#expect(task, wait, codeOfYielded(wait));
      this.#end();
      const next = this.#afterStep?.();
      this.decided = next;
      if (next !== transitionOf(task, RUN)) return false;
      this.decided = undefined;
      this.#threads.goesOn();
      this.#begin(next, wait);
      this.#hasEnded = false;
      return true;
    } catch (error) {
      this.#failure = { error };
      return false;
    }
  }

  /** A repeated step must be the same as before. */
  #requireSame(transition: Transition, wait: Wait, code: number): void {
    const { trace, depth: step } = this;
    const isSame =
      trace.transition[step] === transition &&
      trace.kind[step] === code &&
      trace.index[step] === (wait.index | 0);
    if (!isSame) throw otherStep(this, step, `"${wait.kind}" of ${wait.label}`);
  }

  #record(transition: Transition, wait: Wait, code: number): void {
    const { trace, frontier } = this;
    const step = frontier.depth;
    const task = taskOf(transition);
    const footprint = frontier.footprintOf(task, choiceOf(transition));
    trace.push(transition, code, wait, this.memory.words[wait.index]!, footprint);
    trace.cause[step] = frontier.parking.wokenBy[task]!;
    if (this.#taskSet.reaper >= 0) trace.deathFootprint[step] = frontier.footprintOf(task, DEATH);
  }

  /** What a step changes about which tasks sleep. */
  #updateSleep(task: number, choice: Choice, wait: Wait, step: number): void {
    const { parking, pending, pendingCode, spurious, depth, weaknesses } = this.frontier;
    const code = this.trace.kind[step]!;
    if (choice >= WAKE) parking.wokenBy[choice - WAKE] = step;
    else if (code === ENQUEUE) parking.queue(task, step);
    else parking.wake(code, wait, step);
    const next = pending[task];
    if (next === undefined) return;
    if (pendingCode[task] === PARK) {
      if (code !== TEST_CONDITION) parking.queue(task, step);
      parking.park(task, next, depth);
      if (parking.wokenBy[task] === ASLEEP) spurious.note(task, next, code, depth);
    } else if (pendingCode[task] === ENQUEUE && weaknesses.has("fuse-parking")) {
      parking.queue(task, step);
      this.#resume(task, RUN);
      const fused = pending[task];
      if (fused !== undefined && pendingCode[task] === PARK) parking.park(task, fused, depth);
    }
  }

  #switchTo(task: number): void {
    const left = this.#incumbent;
    const wait = left === NOBODY ? undefined : this.pending[left];
    if (wait !== undefined && this.frontier.mayRun(left, wait)) this.preemptions++;
    this.#incumbent = task;
  }

  /** What the scenario's `describe` shows of its state, between two steps. */
  describeState(): readonly StateTable[] {
    return this.#scenario.describe?.(this.shared) ?? [];
  }

  /**
   * The thread of a task dies. Its generator is never resumed, so not even its finally blocks run.
   */
  #die(task: number, wait: Wait): void {
    const { deaths } = this.frontier;
    const effects = deaths.die(task, this.names[task] ?? "", wait);
    this.trace.deathEffects[this.depth - 1] = effects;
    this.#isOver(task);
    if (deaths.left === 0) this.#isOver(this.#taskSet.deathsOver);
    if (effects.panics && this.#scenario.mustSurvive === true) {
      this.#options.sink.stopped(this, task);
    }
  }

  /** Runs the scenario's `check`, after every task has returned or died. */
  checkOutcome(): void {
    const { deaths, hasStopped } = this.frontier;
    // Every task has returned, so the reads of `check` come after all accesses.
    watchPlainAccesses(undefined);
    if (hasStopped) return;
    this.watchers.atEnd(deaths.names.length === 0);
    if (deaths.names.length === 0) this.#checkHeldTables();
    const { name } = this.#scenario;
    requireDone<unknown>(
      this.#scenario.check?.(this.shared, { deaths: deaths.names }),
      name,
      "check",
    );
  }

  /** Every task returned, and none died: so the held table of each thread must be empty. */
  #checkHeldTables(): void {
    for (let task = 0; task < this.tasks; task++) {
      const lock = this.#threads.leftListed(task);
      if (lock !== undefined) this.#options.sink.stillListed(this, task, lock);
    }
  }

  /** The tasks that hold the lock at a word. They may be dead or over. */
  holdersOf(at: number): number[] {
    return this.#threads.holdersOf(at);
  }

  #resume(task: number, choice: Choice): void {
    if (choice === RECHECK) this.frontier.deaths.noteRecheck(task);
    const wait = this.#threads.resume(task, choice);
    const code = this.#threads.yieldedCode;
    if (this.#hasEnded && wait !== undefined) return; // the task has asked whether it goes on
    if (wait === undefined) this.#isOver(task);
    else if (code === PARK && !this.#hasQueuedAt(wait.index)) {
      this.#expect(task, sleepOf(wait), SLEEP);
    } else this.#expect(task, wait, code);
  }

  /** A task whose machine was stopped by a death says so, and nothing is wrong with the task. */
  #threw(task: number, error: unknown): void {
    this.throwers |= 1 << task;
    const isOfDeath = error instanceof HmmError && error.code === "EOWNERDEAD";
    if (!this.frontier.hasStopped || !isOfDeath) this.#options.sink.threw(this, task, error);
  }

  #isOver(task: number): void {
    this.frontier.ends(task);
    this.digests.setPending(task, 0, undefined);
  }

  #expect(task: number, wait: Wait, code: number): void {
    this.frontier.expects(task, wait, code);
    this.digests.setPending(task, code, wait);
    this.commutingWords.expects(code, wait);
    if (code === TEST_CONDITION && wait.reads === undefined && !this.footprints.scans) {
      throw new DependsOnMore({ scans: true });
    }
  }

  /** Whether the latest step queued its task at this word: K3 of parking.ts. */
  #hasQueuedAt(word: number): boolean {
    const step = this.depth - 1;
    if (step < 0 || this.frontier.weaknesses.has("fuse-sleeping")) return step >= 0;
    const { transition, kind, waits } = this.trace;
    // If the primitives are spelled out, the test of a condition is code of the caller. The park
    // after it then begins with a sleep step of its own.
    if (this.budget.spelledOut && kind[step] === TEST_CONDITION) return false;
    return choiceOf(transition[step]!) === RUN && queuesAt(kind[step]!, waits[step]!, word);
  }
}
