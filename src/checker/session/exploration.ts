/**
 * @module The options and the results of an exploration, as data: what a caller of explore.ts gives
 * and gets. Not here: what a search keeps while it runs (session.ts).
 */

import type { EngineOptions } from "../engines/engines.ts";
import type { Estimate } from "../engines/estimate.ts";
import type { Execution } from "../execution/execution.ts";
import type { Finding } from "../findings/finding.ts";
import type { Budget, Weakness } from "../scenario.ts";
import type { Checkpoint } from "./checkpoint.ts";

/**
 * How to explore a scenario, and for how long. All are optional. Default: to the end, with the
 * optimal engine.
 */
export interface ExploreOptions extends Partial<Budget>, EngineOptions {
  /** Stop after this many executions. Default Infinity; the sampling engines need a limit. */
  readonly executions?: number;
  /** Stop between two executions after this time. */
  readonly seconds?: number;
  /** Called between executions: true stops. */
  readonly isCancelled?: () => boolean;
  /** Stop at the first finding. Default false. */
  readonly stopAtFinding?: boolean;
  /** Stop after a finding for which this returns true. */
  readonly stopAt?: (finding: Finding) => boolean;
  /**
   * Count the classes by their keys and do not rely on the engine. Needs memory for each class.
   */
  readonly collectClasses?: boolean;
  /**
   * Repeat some executions at once, to find nondeterminism (random numbers, clocks, state that
   * outlives an execution). It costs about thirty executions at the beginning. Turn it off if you
   * want few executions of a scenario that is known to be deterministic. Default true.
   */
  readonly checkDeterminism?: boolean;
  /** Call {@link onProgress} after every so many executions. Default: about five times a second. */
  readonly progressEvery?: number;
  /** Called with the progress, in the exploring thread. */
  readonly onProgress?: (progress: Progress) => void;
  /** Make a {@link Checkpoint} if it stops before everything was seen. Default false. */
  readonly resumable?: boolean;
  /** Go on from this checkpoint: the result is that of an exploration that never stopped. */
  readonly resumeFrom?: Checkpoint;
  /**
   * Explore symmetric tasks (Scenario.symmetricTasks) in one of their orders only. Default true;
   * only for engines that see everything.
   */
  readonly symmetry?: boolean;
  /** Record places in the code for findings. It is slow. Default false. */
  readonly withSites?: boolean;
  /** Is called for every step. It is slow, so only replays use it. */
  readonly observer?: Observer;
  /** Injected faults, for the tests of the checker. */
  readonly weaknesses?: readonly Weakness[];
}

/** Observes the executions. */
export interface Observer {
  /** An execution has begun: every task has run up to its first operation. */
  began?(run: Execution): void;
  stepped?(run: Execution): void;
  /**
   * The execution has ended. `isClean`: nothing was found in it. `isAbandoned`: it was given up,
   * because the rest of it is explored elsewhere; it counts as {@link Progress.blocked}.
   */
  ended?(run: Execution, isClean: boolean, isAbandoned: boolean): void;
}

/** The progress of an exploration, including what was done before its checkpoint. */
export interface Progress {
  /** Executions that were performed to their end. */
  readonly executions: number;
  /** Classes of executions that differ in more than the order of independent steps. */
  readonly classes: number;
  /** Executions that were given up because the rest of them was explored elsewhere. */
  readonly blocked: number;
  /** The number of different findings. */
  readonly findings: number;
  /** Time that it has taken. */
  readonly seconds: number;
  /** Since it began, or went on from a checkpoint. */
  readonly executionsPerSecond: number;
  /** Undefined as long as there is no basis for one, and for sampling engines. */
  readonly estimate: Estimate | undefined;
}

/**
 * Why an exploration ended.
 *
 * | end | reason |
 * | --- | --- |
 * | covered | everything was seen |
 * | enough | the finding that `stopAt` or `stopAtFinding` asks for |
 * | executions, seconds | the limit was reached |
 * | cancelled | `isCancelled` returned true |
 * | endless | an execution has no end |
 * | racy | what tasks do depends on a data race, so no further step can be planned; the race is a finding |
 */
export type End =
  | "covered"
  | "enough"
  | "executions"
  | "seconds"
  | "cancelled"
  | "endless"
  | "racy";

/** The result of an exploration. */
export interface Exploration extends Omit<Progress, "findings" | "estimate"> {
  /** The name of the scenario. */
  readonly scenario: string;
  /** The engine that explored it. */
  readonly engine: string;
  /** Executions at whose end some task could not go on. */
  readonly stuck: number;
  /** The classes of these executions. */
  readonly stuckClasses: number;
  /** Every class was seen, up to `bound` preemptions (engine "delay": delays). */
  readonly complete: boolean;
  /** How many preemptions or delays were allowed; Infinity without a bound. */
  readonly bound: number;
  /** Why it ended. */
  readonly end: End;
  /** Steps of all executions together. */
  readonly steps: number;
  /** What went wrong. */
  readonly findings: readonly Finding[];
  /** With collectClasses: the keys of the classes. */
  readonly keys: ReadonlySet<number> | undefined;
  /**
   * The options do not say how many spurious wakes there may be, so the first search had none; but
   * some task slept in a wait for which one could make a difference. `explore` then makes a second
   * search, which has them.
   */
  readonly wakesMatter: boolean;
  /** With `resumable`, if it stopped before everything was seen. */
  readonly checkpoint: Checkpoint | undefined;
}
