/** @module How the options of `hmm check` change the exploration that a scenario asks for. */

import { ENGINE_NAMES, type EngineName } from "../../../src/checker/scenario.ts";
import type { ExploreOptions } from "../../../src/checker/explore.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { UsageError } from "../exit-status.ts";

/** An engine that can be chosen by name: one that needs no schedule. */
type ChosenEngine = Exclude<EngineName, "replay">;

/** All of them. */
export const ENGINES: readonly ChosenEngine[] = ENGINE_NAMES.filter((name) => name !== "replay");

const SAMPLING: ReadonlySet<EngineName> = new Set(["random", "pct", "pos"]);
/** How many executions a sampling engine performs without another limit. */
const SAMPLES = 10_000;

/** All are optional. What is not given is as the scenario asks. */
export interface EngineChoice {
  readonly engine?: ChosenEngine | undefined;
  readonly preemptions?: number | undefined;
  readonly seed?: number | undefined;
  /** The most for one scenario. */
  readonly seconds?: number | undefined;
}

/** Throws UsageError if the options contradict each other. */
export function requireConsistent({ engine, preemptions, seed }: EngineChoice): void {
  if (preemptions !== undefined && engine !== undefined && engine !== "bounded")
    throw new UsageError(
      `Cannot use --preemptions with --engine ${engine}: only the engine bounded counts preemptions`,
    );
  const chosen = engine ?? (preemptions === undefined ? undefined : "bounded");
  if (seed === undefined || chosen === undefined || SAMPLING.has(chosen)) return;
  throw new UsageError(
    `Cannot use --seed with the engine ${chosen}: only ${[...SAMPLING].join(", ")} draw at random`,
  );
}

/** The options of an exploration of `scenario`. */
export function exploreOptions(scenario: AnyScenario, choice: EngineChoice): ExploreOptions {
  const { executions, ...own } = scenario.exploration ?? {};
  const { preemptions, seed, seconds } = choice;
  const engine = choice.engine ?? (preemptions === undefined ? undefined : "bounded");
  // How many executions a scenario wants is said of the engine that it wants.
  const isOwnEngine = engine === undefined || engine === (own.engine ?? "optimal");
  const options: ExploreOptions = {
    ...own,
    ...(isOwnEngine && executions !== undefined ? { executions } : {}),
    ...(engine === undefined ? {} : { engine }),
    ...(preemptions === undefined ? {} : { preemptions }),
    ...(seed === undefined ? {} : { seed }),
    ...(seconds === undefined ? {} : { seconds }),
  };
  const isSampling = SAMPLING.has(options.engine ?? "optimal");
  if (!isSampling || options.executions !== undefined || options.seconds !== undefined)
    return options;
  return { ...options, executions: SAMPLES };
}

/**
 * The options that a replay needs: those that say what may happen in one execution.
 */
export function budgetOf(options: ExploreOptions): ExploreOptions {
  const {
    engine: _engine,
    preemptions: _preemptions,
    executions: _executions,
    ...others
  } = options;
  const { seconds: _seconds, seed: _seed, ...budget } = others;
  return budget;
}
