/**
 * @module One search through a scenario under an engine, execution by execution, with what it has
 * counted and found. It can be left between any two executions and go on later, here (call
 * {@link Session.search} again) or elsewhere (a checkpoint).
 */

import { makeScheduler } from "../engines/engines.ts";
import { estimateFrom } from "../engines/estimate.ts";
import { PlanFailed } from "../engines/planned.ts";
import { BLOCKED, OVER, STOPPED } from "../engines/scheduler.ts";
import type { Scheduler } from "../engines/scheduler.ts";
import { Execution } from "../execution/execution.ts";
import { Lassos } from "../findings/lasso.ts";
import { Reporter } from "../findings/reporter.ts";
import { defaultBudget } from "../scenario.ts";
import type { Budget, Scenario } from "../scenario.ts";
import { ClassKeys } from "../steps/class-key.ts";
import { DependsOnMore } from "../steps/dependence.ts";
import type { Dependence } from "../steps/dependence.ts";
import type { EqualTasks } from "../steps/equal-tasks.ts";
import type { StepOrder } from "../steps/step-order.ts";
import { makeCheckpoint } from "./checkpoint.ts";
import type { Checkpoint, Counts } from "./checkpoint.ts";
import { judgePlan } from "./judge.ts";
import { allGoBack } from "./queue-sleeps.ts";
import type { End, Exploration, ExploreOptions, Progress } from "./exploration.ts";
import { recordOptions } from "./recorded-options.ts";
import { SecondLooks } from "./second-looks.ts";

const PROGRESS_MS = 200;
const NOTHING: Counts = { executions: 0, blocked: 0, stuck: 0, steps: 0, seconds: 0 };

/** What else a session needs to know. */
export interface SessionStart {
  readonly dependence: Dependence;
  /** With the options that it recorded. */
  readonly from: Checkpoint | undefined;
  /** Of the scenario; needed for making checkpoints. */
  readonly fingerprint: string;
  /** Explore only executions in this order. */
  readonly order?: StepOrder;
  /** Of these tasks, only executions in which they keep their order. */
  readonly equal?: readonly EqualTasks[];
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
  /** Undefined for a replay, which is a second look itself. */
  readonly #secondLooks: SecondLooks | undefined;
  readonly #replayLooks: SecondLooks | undefined;
  readonly #lassos = new Lassos();
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
    this.reporter = new Reporter({ withStacks: options.withSites ?? false });
    this.run = new Execution(scenario, {
      budget: budgetOf(options),
      dependence: start.dependence,
      weaknesses: new Set(options.weaknesses),
      witness: this.reporter,
      withSites: options.withSites ?? false,
      ...(start.order === undefined ? {} : { order: start.order }),
      ...(start.equal === undefined ? {} : { equal: start.equal }),
    });
    this.scheduler = makeScheduler(this.run.frontier, options);
    const { engine } = options;
    const repeats =
      !this.scheduler.coverage.complete || ["naive", "bounded", "delay"].includes(engine ?? "");
    this.#keys = options.collectClasses === true || repeats ? new Set(start.from?.keys) : undefined;
    this.#stuckKeys = new Set(start.from?.stuckKeys);
    this.#classKeys = new ClassKeys(this.run.trace);
    const looks = new SecondLooks(this.run, {
      onForgotten: ({ task, call, place }) => this.reporter.forgotten(this.run, task, call, place),
      onUnread: (task, step) => this.reporter.unread(this.run, task, step),
    });
    this.#secondLooks = engine === "replay" || options.secondLooks === false ? undefined : looks;
    this.#replayLooks = engine === "replay" && options.withSites === true ? looks : undefined;
    this.#before = start.from?.counts ?? NOTHING;
    this.#executions = this.#before.executions;
    this.#blocked = this.#before.blocked;
    this.#stuck = this.#before.stuck;
    this.#steps = this.#before.steps;
    for (const finding of start.from?.findings ?? []) this.reporter.adopt(finding);
    if (start.from !== undefined) this.scheduler.restore(start.from.state);
  }

  /**
   * Goes on until there is a reason to end, or `isDue` says so after an execution: then undefined.
   */
  search(isDue?: () => boolean): End | undefined {
    for (;;) {
      const limit = this.#limit();
      if (limit !== undefined) return limit;
      const keep = this.scheduler.begin();
      if (keep === undefined) {
        this.#lookAtWakes();
        return "covered";
      }
      const trouble = this.#execute(keep);
      if (trouble !== undefined) return trouble;
      if (this.#hasEnough()) return "enough";
      this.#tell();
      if (isDue?.() === true) return undefined;
    }
  }

  /** After a search: whether wakes for no reason make a difference. Throws DependsOnMore. */
  #lookAtWakes(): void {
    const { spuriousWakes, engine } = this.#options;
    if (engine === "replay" || (spuriousWakes !== undefined && spuriousWakes !== "each")) return;
    const makesDifference = !allGoBack(this.run);
    if (spuriousWakes === undefined)
      this.#wakesMatter = makesDifference || this.run.frontier.spurious.hasSleptByHand;
    else if (makesDifference) throw new DependsOnMore({ wakesQueues: true });
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

  /** Of the classes seen, if they are collected; those in which some task could not go on apart. */
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

  #tell(): void {
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

  /** Returns why, when there is no sense in going on. Throws DependsOnMore. */
  #execute(keep: number): End | undefined {
    try {
      return this.#perform(keep);
    } catch (error) {
      if (!(error instanceof PlanFailed)) throw error;
      const fault = judgePlan(this.run, this.#name, error);
      if (this.reporter.findings.some(({ kind }) => kind === "data-race")) return "racy";
      throw fault;
    } finally {
      // What else the execution came to is of a search that supposed too little.
      this.run.lenience.require();
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
      run.step(transition);
      observer?.stepped?.(run);
      const isLong = run.depth === run.budget.maxSteps && run.frontier.listEnabled() > 0;
      const isNew = run.depth === run.trace.length; // else it was looked at before
      const isLookedAt = isLong || (isNew && this.#secondLooks !== undefined);
      if (isLookedAt && this.#goesRound(isLong, isLong)) return "endless";
      transition = scheduler.next(run.frontier);
    }
    // A replay is looked at where its schedule ends: that of a loop has gone round it.
    if (transition === STOPPED && this.#goesRound(true, false)) return "endless";
    this.#steps += run.depth;
    if (transition === BLOCKED) this.#blocked++;
    else this.#count(run, transition === OVER);
    scheduler.end(run.frontier);
    observer?.ended?.(run, this.reporter.sightings === sightings, transition === BLOCKED);
    if (transition !== BLOCKED) this.#secondLooks?.ended();
    this.#replayLooks?.replayed();
    return undefined;
  }

  /**
   * Whether the execution has no end, as far as anyone can tell; says so. `isEnd`: nothing follows,
   * so any loop is looked for.
   */
  #goesRound(isEnd: boolean, isLong: boolean): boolean {
    const { run } = this;
    const lasso = this.#lassos.find(run, isEnd);
    if (lasso === undefined && !isLong) return false;
    requireNobodyHeldBack(run);
    if (lasso === undefined) this.reporter.endless(run);
    else this.reporter.goesRound(run, lasso);
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
 * Throws DependsOnMore if the execution, which is over, shows that equal tasks cannot keep to an
 * order.
 */
function requireOrder(run: Execution): void {
  requireNobodyHeldBack(run);
  if (!run.frontier.equal.isOfClass(run.trace, run.footprints))
    throw new DependsOnMore({ tellsTasks: true });
}

/** Throws DependsOnMore if a task waits for nothing but its turn among its equals. */
function requireNobodyHeldBack(run: Execution): void {
  const isWaiting = run.pending.some(
    (wait, task) => wait !== undefined && run.frontier.isHeldBack(task),
  );
  if (isWaiting) throw new DependsOnMore({ tellsTasks: true });
}

/** With defaults for what the options leave out. */
export function budgetOf(options: ExploreOptions): Budget {
  return {
    timeouts: options.timeouts ?? defaultBudget.timeouts,
    // A replay does what its schedule says.
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
