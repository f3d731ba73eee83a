/**
 * @module The checker's front door: runs a scenario under an engine until everything is covered or a limit is reached, and
 * says what was found and what was covered.
 */

import { divertLockdep } from "../sync/lockdep.ts";
import { ClassKeys } from "./class-key.ts";
import { makeScheduler } from "./engines.ts";
import type { EngineOptions } from "./engines.ts";
import { Execution, NeedsScans } from "./execution.ts";
import type { Finding } from "./finding.ts";
import { watchPlainAccesses } from "./plain-accesses.ts";
import { Reporter } from "./reporter.ts";
import { defaultLiberties, defineScenario } from "./scenario.ts";
import type { Liberties, Scenario, Weakness } from "./scenario.ts";
import { BLOCKED, OVER } from "./scheduler.ts";
import type { Scheduler } from "./scheduler.ts";

/** How to explore a scenario, and for how long. All optional: without any, to the end, with the optimal engine. */
export interface ExploreOptions extends Partial<Liberties>, EngineOptions {
  /** Stop after so many executions. Default Infinity; the sampling engines need an end. */
  readonly executions?: number;
  /** Stop at the first finding. Default false. */
  readonly stopAtFinding?: boolean;
  /** Stop once there is a finding of which this is true. */
  readonly stopAt?: (finding: Finding) => boolean;
  /** Count the classes seen by their keys, not by trusting the engine. Costs memory for each class. */
  readonly collectClasses?: boolean;
  /** Call {@link onProgress} every so many executions. Default 10,000. */
  readonly progressEvery?: number;
  readonly onProgress?: (so: Progress) => void;
  /** Sites in lockdep's reports: slow. Default false. */
  readonly withSites?: boolean;
  /** Watches every step: slow, for replays. */
  readonly observer?: Observer;
  /** For the tests of the checker. */
  readonly weaknesses?: readonly Weakness[];
}

/** Who looks on while executions are carried out. */
export interface Observer {
  /** Every task has run up to its first operation. */
  began?(run: Execution): void;
  stepped?(run: Execution): void;
  /** No step follows. `isClean`: nothing wrong was seen in this execution. */
  ended?(run: Execution, isClean: boolean): void;
}

/** How far an exploration is. */
export interface Progress {
  /** Executions that were carried to their end. */
  readonly executions: number;
  /** Executions that were given up because the rest of them was explored elsewhere. */
  readonly blocked: number;
  readonly findings: number;
  readonly seconds: number;
}

/** What an exploration says. */
export interface Exploration extends Omit<Progress, "findings"> {
  readonly scenario: string;
  readonly engine: string;
  /** Classes of executions that differ in more than the order of independent steps. */
  readonly classes: number;
  /** Executions in which some task could not go on. */
  readonly stuck: number;
  /** Classes of these. */
  readonly stuckClasses: number;
  /** Every class was seen, with at most `bound` preemptions (of engine "delay": delays). */
  readonly complete: boolean;
  readonly bound: number;
  readonly steps: number;
  readonly findings: readonly Finding[];
  /** With collectClasses: their keys. */
  readonly keys: ReadonlySet<number> | undefined;
}

/**
 * Explores a scenario. The result is data; {@link Exploration.findings} is empty if all is well. Throws
 * {@link UncontrolledNondeterminism} if the scenario depends on more than the order of its steps, RangeError if it has no
 * tasks or too many.
 * @example Two tasks count, and one of them may not be noticed.
 * ```ts
 * import { Places, defineScenario, explore } from "hmm-ts/checker";
 * import type { Cell } from "hmm-ts/checker";
 *
 * function* count(counter: Cell) {
 *   const seen = yield* counter.load();
 *   yield* counter.store(seen + 1);
 * }
 * const scenario = defineScenario<Cell>({
 *   name: "two counters",
 *   setup: (memory) => new Places(memory).cell("counter"),
 *   tasks: { a: count, b: count },
 *   check(counter) {
 *     if (counter.peek() !== 2) throw new Error(`the counter says ${counter.peek()}`);
 *   },
 * });
 * const { findings, classes, complete } = explore(scenario);
 * if (!complete || classes !== 4 || findings[0]?.message !== "the counter says 1") throw new Error("not what it should be");
 * ```
 */
export function explore<S>(scenario: Scenario<S>, options: ExploreOptions = {}): Exploration {
  try {
    return new Explorer(defineScenario(scenario), options, false).explore();
  } catch (error) {
    if (!(error instanceof NeedsScans)) throw error;
    return new Explorer(defineScenario(scenario), options, true).explore();
  } finally {
    divertLockdep(undefined);
    watchPlainAccesses(undefined);
  }
}

class Explorer {
  readonly #name: string;
  readonly #options: ExploreOptions;
  readonly #reporter: Reporter;
  readonly #run: Execution;
  readonly #scheduler: Scheduler;
  readonly #keys: Set<number> | undefined;
  readonly #stuckKeys = new Set<number>();
  readonly #classKeys: ClassKeys;
  readonly #startMs = performance.now();
  #executions = 0;
  #blocked = 0;
  #stuck = 0;
  #steps = 0;

  constructor(scenario: Scenario<unknown>, options: ExploreOptions, scans: boolean) {
    this.#name = scenario.name;
    this.#options = options;
    this.#reporter = new Reporter({ withStacks: options.withSites ?? false });
    this.#run = new Execution(scenario, {
      liberties: libertiesOf(options),
      scans,
      weaknesses: new Set(options.weaknesses),
      witness: this.#reporter,
      withSites: options.withSites ?? false,
    });
    this.#scheduler = makeScheduler(this.#run, options);
    const { engine } = options;
    const repeats = !this.#scheduler.coverage.complete || ["naive", "bounded", "delay"].includes(engine ?? "");
    this.#keys = options.collectClasses === true || repeats ? new Set() : undefined;
    this.#classKeys = new ClassKeys(this.#run.trace);
  }

  explore(): Exploration {
    try {
      return this.#result(this.#search());
    } finally {
      this.#run.finish();
    }
  }

  /** Whether everything was seen. */
  #search(): boolean {
    const limit = this.#options.executions ?? Infinity;
    const progressEvery = this.#options.progressEvery ?? 10_000;
    while (this.#executions + this.#blocked < limit) {
      const keep = this.#scheduler.begin();
      if (keep === undefined) return true;
      if (!this.#execute(keep) || this.#hasEnough()) return false;
      if ((this.#executions + this.#blocked) % progressEvery === 0) this.#options.onProgress?.(this.#progress());
    }
    return false;
  }

  #hasEnough(): boolean {
    const { stopAt, stopAtFinding } = this.#options;
    if (stopAt === undefined && stopAtFinding !== true) return false;
    return this.#reporter.findings.some((finding) => stopAt?.(finding) ?? true);
  }

  /** Returns false when there is no sense in going on. */
  #execute(keep: number): boolean {
    const run = this.#run;
    const scheduler = this.#scheduler;
    const { observer } = this.#options;
    const { sightings } = this.#reporter;
    run.restart(keep);
    observer?.began?.(run);
    let transition = scheduler.next(run);
    while (transition >= 0) {
      run.step(transition);
      observer?.stepped?.(run);
      if (run.depth === run.liberties.maxSteps && run.listEnabled() > 0) {
        this.#reporter.endless(run);
        return false;
      }
      transition = scheduler.next(run);
    }
    this.#steps += run.depth;
    if (transition === BLOCKED) this.#blocked++;
    else this.#count(run, transition === OVER);
    scheduler.end(run);
    observer?.ended?.(run, this.#reporter.sightings === sightings);
    return true;
  }

  #count(run: Execution, isOver: boolean): void {
    this.#executions++;
    if (!isOver) return;
    if (run.unfinished > 0) {
      this.#stuck++;
      this.#reporter.stuck(run);
    } else if (!run.hasThrown) {
      try {
        run.checkOutcome();
      } catch (error) {
        this.#reporter.wrongOutcome(run, error);
      }
    }
    if (this.#keys === undefined) return;
    this.#classKeys.extend(0);
    const key = this.#classKeys.at(run.trace.length);
    this.#keys.add(key);
    if (run.unfinished > 0) this.#stuckKeys.add(key);
  }

  #progress(): Progress {
    return {
      executions: this.#executions,
      blocked: this.#blocked,
      findings: this.#reporter.findings.length,
      seconds: (performance.now() - this.#startMs) / 1000,
    };
  }

  #result(isComplete: boolean): Exploration {
    const { complete, bound } = this.#scheduler.coverage;
    return {
      ...this.#progress(),
      scenario: this.#name,
      engine: this.#options.engine ?? "optimal",
      classes: this.#keys?.size ?? this.#executions,
      stuck: this.#stuck,
      stuckClasses: this.#keys === undefined ? this.#stuck : this.#stuckKeys.size,
      complete: isComplete && complete,
      bound,
      steps: this.#steps,
      findings: this.#reporter.findings,
      keys: this.#keys,
    };
  }
}

function libertiesOf(options: ExploreOptions): Liberties {
  return {
    timeouts: options.timeouts ?? defaultLiberties.timeouts,
    spuriousWakes: options.spuriousWakes ?? defaultLiberties.spuriousWakes,
    deaths: options.deaths ?? defaultLiberties.deaths,
    wakeAny: options.wakeAny ?? defaultLiberties.wakeAny,
    maxSteps: options.maxSteps ?? defaultLiberties.maxSteps,
    lockdep: options.lockdep ?? defaultLiberties.lockdep,
  };
}
