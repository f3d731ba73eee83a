/** @module What can be asked of an exploration, and what it says: data that leaves it. */

import type { EngineOptions } from "../engines/engines.ts";
import type { Estimate } from "../engines/estimate.ts";
import type { Execution } from "../execution/execution.ts";
import type { Finding } from "../findings/finding.ts";
import type { Budget, Weakness } from "../scenario.ts";
import type { Checkpoint } from "./checkpoint.ts";

/**
 * How to explore a scenario, and for how long. All optional: without any, to the end, with the
 * optimal engine.
 */
export interface ExploreOptions extends Partial<Budget>, EngineOptions {
  /** Stop after so many executions. Default Infinity; the sampling engines need an end. */
  readonly executions?: number;
  /** Stop between two executions once so much time has passed. */
  readonly seconds?: number;
  /** Asked between executions: stop? */
  readonly isCancelled?: () => boolean;
  /** Stop at the first finding. Default false. */
  readonly stopAtFinding?: boolean;
  /** Stop once there is a finding of which this is true. */
  readonly stopAt?: (finding: Finding) => boolean;
  /**
   * Count the classes seen by their keys, not by trusting the engine. Costs memory for each class.
   */
  readonly collectClasses?: boolean;
  /**
   * Do some executions again at once, to notice what does not repeat itself (chance, clocks, state
   * that outlives an execution). Costs some thirty executions at the beginning, so it may be left
   * out where few of a scenario known to be sound are wanted. Default true.
   */
  readonly secondLooks?: boolean;
  /** Call {@link onProgress} every so many executions. Default: about five times a second. */
  readonly progressEvery?: number;
  readonly onProgress?: (so: Progress) => void;
  /** Make a {@link Checkpoint} when stopped before everything was seen. Default false. */
  readonly resumable?: boolean;
  /** Go on where this one was made: the result is that of an exploration that was never stopped. */
  readonly resumeFrom?: Checkpoint;
  /**
   * See tasks that are equal in one of their orders only (Scenario.equalTasks). Default true, with
   * the engines that see everything.
   */
  readonly symmetry?: boolean;
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
  /**
   * No step follows. `isClean`: nothing wrong was seen in this execution. `isAbandoned`: it was
   * given up before its end, because the rest of it is explored elsewhere; it counts as {@link
   * Progress.blocked}.
   */
  ended?(run: Execution, isClean: boolean, isAbandoned: boolean): void;
}

/** How far an exploration is, with what was done before the checkpoint that it goes on from. */
export interface Progress {
  /** Executions that were carried to their end. */
  readonly executions: number;
  /** Classes of executions that differ in more than the order of independent steps. */
  readonly classes: number;
  /** Executions that were given up because the rest of them was explored elsewhere. */
  readonly blocked: number;
  readonly findings: number;
  readonly seconds: number;
  /** Since it began or went on. */
  readonly executionsPerSecond: number;
  /** Undefined while nothing can be said, and for an engine that samples. */
  readonly estimate: Estimate | undefined;
}

/**
 * Why an exploration ended: everything was seen, or what stopped it. "enough": the finding that was
 * asked for. "racy": what the tasks do depends on accesses that are no steps, so nothing can be
 * planned; the data races are among the findings.
 */
export type End =
  | "covered"
  | "enough"
  | "executions"
  | "seconds"
  | "cancelled"
  | "endless"
  | "racy";

/** What an exploration says. */
export interface Exploration extends Omit<Progress, "findings" | "estimate"> {
  readonly scenario: string;
  readonly engine: string;
  /** Executions in which some task could not go on. */
  readonly stuck: number;
  /** Classes of these. */
  readonly stuckClasses: number;
  /** Every class was seen, with at most `bound` preemptions (of engine "delay": delays). */
  readonly complete: boolean;
  readonly bound: number;
  readonly end: End;
  readonly steps: number;
  readonly findings: readonly Finding[];
  /** With collectClasses: their keys. */
  readonly keys: ReadonlySet<number> | undefined;
  /**
   * Nobody said how many spurious wakes there may be, so there were none; and some task slept in a
   * wait that one would make a difference to. The result of `explore` has such wakes by then.
   */
  readonly wakesMatter: boolean;
  /** With resumable, unless everything was seen. */
  readonly checkpoint: Checkpoint | undefined;
}
