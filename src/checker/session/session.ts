/**
 * @module A session: one search of a scenario with an engine, execution by execution, with its
 * counts and findings. Between any two executions it can stop and go on later, in the same session
 * (call {@link Session.search} again) or from a checkpoint.
 */

import { makeScheduler } from "../engines/engines.ts";
import { estimateFrom } from "../engines/estimate.ts";
import { PlanFailed } from "../engines/planned.ts";
import { BLOCKED, OVER, STOPPED } from "../engines/scheduler.ts";
import type { Scheduler } from "../engines/scheduler.ts";
import { Execution } from "../execution/execution.ts";
import { Lassos, isCheckedAt } from "../findings/lasso.ts";
import { Reporter } from "../findings/reporter.ts";
import { defaultBudget } from "../scenario.ts";
import type { Budget, Scenario } from "../scenario.ts";
import { ClassKeys } from "../steps/class-key.ts";
import { DependsOnMore } from "../steps/dependence.ts";
import type { Dependence } from "../steps/dependence.ts";
import type { SymmetricTasks } from "../steps/symmetric-tasks.ts";
import type { StepOrder } from "../steps/step-order.ts";
import { makeCheckpoint } from "./checkpoint.ts";
import type { Checkpoint, Counts } from "./checkpoint.ts";
import { explainPlanFailure } from "./plan-failure.ts";
import { allRequeue } from "./queue-wakes.ts";
import type { End, Exploration, ExploreOptions, Progress } from "./exploration.ts";
import { recordOptions } from "./recorded-options.ts";
import { DeterminismCheck } from "./determinism-check.ts";

const PROGRESS_MS = 200;
const NOTHING: Counts = { executions: 0, blocked: 0, stuck: 0, steps: 0, seconds: 0 };

/** From where a session starts. */
export interface SessionStart {
  readonly dependence: Dependence;
  /** The checkpoint to go on from. */
  readonly from: Checkpoint | undefined;
  /** The fingerprint of the scenario; needed for checkpoints. */
  readonly fingerprint: string;
  /** Explore only executions in this order. */
  readonly order?: StepOrder;
  /** Symmetric tasks: explore only executions in which they keep their order. */
  readonly equal?: readonly SymmetricTasks[];
  /** As FootprintOptions.wordsOfObject. */
  readonly wordsOfObject?: number;
  /** What an earlier session used, of the same scenario and options (sampler.ts). */
  readonly used?: Pick<Session, "run" | "reporter">;
}

export class Session {
  readonly run: Execution;
  readonly scheduler: Scheduler;
  readonly reporter: Reporter;
  readonly #name: string;
  readonly #options: ExploreOptions;
  readonly #start: SessionStart;
  readonly #keys: Set<number> | undefined;
  readonly #stuckKeys: Set<number>;
  readonly #classKeys: ClassKeys;
  /** Undefined for a replay, which repeats an execution itself. */
  readonly #determinismCheck: DeterminismCheck | undefined;
  readonly #replayCheck: DeterminismCheck | undefined;
  readonly #lassos = new Lassos();
  readonly #afterStep = (): number | undefined => this.#decideNext();
  readonly #before: Counts;
  readonly #startMs = performance.now();
  #nextProgressMs = this.#startMs + PROGRESS_MS;
  #executions: number;
  #blocked: number;
  #stuck: number;
  #steps: number;
  #wakesMatter = false;

  constructor(scenario: Scenario<unknown>, options: ExploreOptions, start: SessionStart) {
    this.#name = scenario.name;
    this.#options = options;
    this.#start = start;
    this.reporter =
      start.used?.reporter ?? new Reporter({ withStacks: options.withSites ?? false });
    this.run = start.used?.run ?? this.#makeRun(scenario);
    this.scheduler = makeScheduler(this.run.frontier, options);
    const { engine } = options;
    const repeats =
      start.used === undefined &&
      (!this.scheduler.coverage.complete || ["naive", "bounded", "delay"].includes(engine ?? ""));
    this.#keys = options.collectClasses === true || repeats ? new Set(start.from?.keys) : undefined;
    this.#stuckKeys = new Set(start.from?.stuckKeys);
    this.#classKeys = new ClassKeys(this.run.trace);
    const check = new DeterminismCheck(this.run, {
      onForgotten: ({ task, call, place }) => this.reporter.forgotten(this.run, task, call, place),
      onUndeclaredRead: (task, step) => this.reporter.undeclaredRead(this.run, task, step),
    });
    this.#determinismCheck =
      engine === "replay" || options.checkDeterminism === false ? undefined : check;
    this.#replayCheck = engine === "replay" && options.withSites === true ? check : undefined;
    this.#before = start.from?.counts ?? NOTHING;
    this.#executions = this.#before.executions;
    this.#blocked = this.#before.blocked;
    this.#stuck = this.#before.stuck;
    this.#steps = this.#before.steps;
    for (const finding of start.from?.findings ?? []) this.reporter.adopt(finding);
    if (start.from !== undefined) this.scheduler.restore(start.from.state);
  }

  #makeRun(scenario: Scenario<unknown>): Execution {
    const { order, equal, dependence, wordsOfObject } = this.#start;
    const options = this.#options;
    return new Execution(scenario, {
      budget: budgetOf(options),
      dependence,
      weaknesses: new Set(options.weaknesses),
      sink: this.reporter,
      withSites: options.withSites ?? false,
      ...(wordsOfObject !== undefined && { wordsOfObject }),
      ...(order === undefined ? {} : { order }),
      ...(equal === undefined ? {} : { equal }),
    });
  }

  /**
   * Searches until there is a reason to end, which it returns. Undefined: `isDue` returned true
   * after an execution.
   */
  search(isDue?: () => boolean): End | undefined {
    for (;;) {
      const limit = this.#limit();
      if (limit !== undefined) return limit;
      const keep = this.scheduler.begin();
      if (keep === undefined) {
        this.#checkSpuriousWakes();
        return "covered";
      }
      const trouble = this.#execute(keep);
      if (trouble !== undefined) return trouble;
      if (this.#hasEnough()) return "enough";
      this.#reportProgress();
      if (isDue?.() === true) return undefined;
    }
  }

  /** After a search: whether spurious wakes make a difference. May throw DependsOnMore. */
  #checkSpuriousWakes(): void {
    const { spuriousWakes, engine } = this.#options;
    if (engine === "replay" || (spuriousWakes !== undefined && spuriousWakes !== "each")) return;
    const makesDifference = !allRequeue(this.run);
    if (spuriousWakes === undefined)
      this.#wakesMatter = makesDifference || this.run.frontier.spurious.hasSleptOutsideQueue;
    else if (makesDifference) throw new DependsOnMore({ spuriousQueueWakes: true });
  }

  progress(): Progress {
    const { seconds: secondsBefore, executions, blocked } = this.#before;
    const seconds = (performance.now() - this.#startMs) / 1000;
    const all = this.#executions + this.#blocked;
    return {
      executions: this.#executions,
      classes: this.#keys?.size ?? this.#executions,
      blocked: this.#blocked,
      findings: this.reporter.findings.length,
      seconds: secondsBefore + seconds,
      executionsPerSecond: seconds > 0 ? (all - executions - blocked) / seconds : 0,
      estimate: all === 0 ? undefined : estimateFrom(all, this.scheduler.fraction()),
    };
  }

  counts(): Counts {
    const { executions, blocked, seconds } = this.progress();
    return { executions, blocked, seconds, stuck: this.#stuck, steps: this.#steps };
  }

  /** Keys of the classes seen, if they are collected; and of those with a stuck task. */
  keys(): { readonly all: ReadonlySet<number> | undefined; readonly stuck: ReadonlySet<number> } {
    return { all: this.#keys, stuck: this.#stuckKeys };
  }

  /** Undefined for a replay. */
  checkpoint(): Checkpoint | undefined {
    const state = this.scheduler.save();
    if (state === undefined) return undefined;
    return makeCheckpoint({
      scenario: this.#name,
      fingerprint: this.#start.fingerprint,
      options: recordOptions(this.#options),
      dependence: this.#start.dependence,
      counts: this.counts(),
      findings: this.reporter.findings,
      keys: this.#keys === undefined ? undefined : Array.from(this.#keys),
      stuckKeys: this.#keys === undefined ? undefined : Array.from(this.#stuckKeys),
      state,
    });
  }

  result(end: End): Exploration {
    const { complete, bound } = this.scheduler.coverage;
    const { findings: _, estimate: __, ...progress } = this.progress();
    const mayGoOn =
      this.#options.resumable === true && !["covered", "endless", "racy"].includes(end);
    return {
      ...progress,
      scenario: this.#name,
      engine: this.#options.engine ?? "optimal",
      stuck: this.#stuck,
      stuckClasses: this.#keys === undefined ? this.#stuck : this.#stuckKeys.size,
      complete: end === "covered" && complete,
      bound,
      end,
      steps: this.#steps,
      findings: this.reporter.findings,
      keys: this.#keys,
      wakesMatter: this.#wakesMatter,
      checkpoint: mayGoOn ? this.checkpoint() : undefined,
    };
  }

  #limit(): End | undefined {
    const { executions, seconds, isCancelled } = this.#options;
    if (executions !== undefined && this.#executions + this.#blocked >= executions)
      return "executions";
    if (seconds !== undefined && performance.now() - this.#startMs >= seconds * 1000)
      return "seconds";
    return isCancelled?.() === true ? "cancelled" : undefined;
  }

  #hasEnough(): boolean {
    const { stopAt, stopAtFinding } = this.#options;
    if (stopAt === undefined && stopAtFinding !== true) return false;
    return this.reporter.findings.some((finding) => stopAt?.(finding) ?? true);
  }

  #reportProgress(): void {
    const { onProgress, progressEvery } = this.#options;
    if (onProgress === undefined) return;
    if (progressEvery !== undefined) {
      if ((this.#executions + this.#blocked) % progressEvery === 0) onProgress(this.progress());
      return;
    }
    const nowMs = performance.now();
    if (nowMs < this.#nextProgressMs) return;
    this.#nextProgressMs = nowMs + PROGRESS_MS;
    onProgress(this.progress());
  }

  /** Performs an execution. Returns a reason to end the search. May throw DependsOnMore. */
  #execute(keep: number): End | undefined {
    try {
      return this.#perform(keep);
    } catch (error) {
      if (!(error instanceof PlanFailed)) throw error;
      const fault = explainPlanFailure(this.run, this.#name, error);
      if (this.reporter.findings.some(({ kind }) => kind === "data-race")) return "racy";
      throw fault;
    } finally {
      // If the search assumed too few dependences, this error replaces any other.
      this.run.commutingWords.require();
    }
  }

  #perform(keep: number): End | undefined {
    const { run, scheduler } = this;
    const { observer } = this.#options;
    const { sightings } = this.reporter;
    run.restart(keep);
    observer?.began?.(run);
    let transition = scheduler.next(run.frontier);
    while (transition >= 0) {
      run.step(transition, this.#afterStep);
      const { decided } = run;
      if (decided === undefined) {
        observer?.stepped?.(run);
        if (this.#isLoopDue() && this.#isInLoop(this.#isLong(), this.#isLong())) return "endless";
      }
      transition = decided ?? scheduler.next(run.frontier);
    }
    // A replay is checked where its schedule ends: the schedule of a loop repeats the loop.
    if (transition === STOPPED && this.#isInLoop(true, false)) return "endless";
    this.#steps += run.depth;
    if (transition === BLOCKED) this.#blocked++;
    else this.#count(run, transition === OVER);
    scheduler.end(run.frontier);
    observer?.ended?.(run, this.reporter.sightings === sightings, transition === BLOCKED);
    if (transition !== BLOCKED) this.#determinismCheck?.ended();
    this.#replayCheck?.replayed();
    return undefined;
  }

  /**
   * X3 of execution.ts. Not where a loop may be found: to look for it, the execution is begun anew.
   */
  #decideNext(): number | undefined {
    if (this.#isLoopDue()) return undefined;
    this.#options.observer?.stepped?.(this.run);
    return this.scheduler.next(this.run.frontier);
  }

  /** Whether the latest step was the last that is allowed, and tasks could go on. */
  #isLong(): boolean {
    const { run } = this;
    return run.depth === run.budget.maxSteps && run.frontier.listEnabled() > 0;
  }

  /** Whether to look for a loop now. */
  #isLoopDue(): boolean {
    const { run } = this;
    if (this.#isLong()) return true;
    const isNew = run.depth === run.trace.length; // otherwise it was checked before
    return isNew && this.#determinismCheck !== undefined && isCheckedAt(run.depth);
  }

  /**
   * Whether the execution seems to have no end; then it reports that. `isEnd`: nothing follows, so
   * loops of any length are looked for.
   */
  #isInLoop(isEnd: boolean, isLong: boolean): boolean {
    const { run } = this;
    const lasso = this.#lassos.find(run, isEnd);
    if (lasso === undefined && !isLong) return false;
    requireNobodyHeldBack(run);
    if (lasso === undefined) this.reporter.endless(run);
    else this.reporter.reportLoop(run, lasso);
    return true;
  }

  #count(run: Execution, isOver: boolean): void {
    this.#executions++;
    if (!isOver) return;
    requireOrder(run);
    if (run.frontier.unfinished > 0) {
      this.#stuck++;
      this.reporter.stuck(run);
    } else if (run.throwers === 0) {
      try {
        run.checkOutcome();
      } catch (error) {
        this.reporter.wrongOutcome(run, error);
      }
    }
    if (this.#keys === undefined) return;
    this.#classKeys.extend(0);
    const key = this.#classKeys.at(run.trace.length);
    this.#keys.add(key);
    if (run.frontier.unfinished > 0) this.#stuckKeys.add(key);
  }
}

/**
 * Throws DependsOnMore if the execution, which has ended, shows that symmetric tasks cannot keep an
 * order.
 */
function requireOrder(run: Execution): void {
  requireNobodyHeldBack(run);
  if (!run.frontier.equal.isOfClass(run.trace, run.footprints))
    throw new DependsOnMore({ distinguishesTasks: true });
}

/** Throws DependsOnMore if only the order of symmetric tasks holds a task back. */
function requireNobodyHeldBack(run: Execution): void {
  const isWaiting = run.pending.some(
    (wait, task) => wait !== undefined && run.frontier.isHeldBack(task),
  );
  if (isWaiting) throw new DependsOnMore({ distinguishesTasks: true });
}

/** The budget of the options, with defaults. */
export function budgetOf(options: ExploreOptions): Budget {
  return {
    timeouts: options.timeouts ?? defaultBudget.timeouts,
    // A replay follows its schedule.
    spuriousWakes:
      options.spuriousWakes ??
      (options.engine === "replay" ? Infinity : defaultBudget.spuriousWakes),
    deaths: options.deaths ?? defaultBudget.deaths,
    wakeAny: options.wakeAny ?? defaultBudget.wakeAny,
    maxSteps: options.maxSteps ?? defaultBudget.maxSteps,
    lockdep: options.lockdep ?? defaultBudget.lockdep,
    spelledOut: options.spelledOut ?? defaultBudget.spelledOut,
  };
}
