/**
 * @module The entry of the checker: explores a scenario with an engine until everything is covered
 * or a limit is reached, and returns what it found and covered. parallel.ts does the same with
 * several threads.
 */

import { divertLockdep } from "../sync/lockdep/lockdep.ts";
import { watchExtraReads } from "../sync/tasks/extra-reads.ts";
import { defineScenario } from "./scenario.ts";
import type { Scenario } from "./scenario.ts";
import {
  requireSameFingerprint,
  requireSameScenario,
  validCheckpoint,
} from "./session/checkpoint.ts";
import type { Exploration, ExploreOptions } from "./session/exploration.ts";
import { findSymmetricTasks } from "./session/find-symmetric-tasks.ts";
import { fingerprintOf } from "./session/fingerprint.ts";
import { requireFields, requireOptions } from "./session/option-rules.ts";
import { resumedOptions } from "./session/recorded-options.ts";
import { Session, budgetOf } from "./session/session.ts";
import { addSearches, secondSearch } from "./session/two-searches.ts";
import { DependsOnMore, LEAST, addDependence } from "./steps/dependence.ts";
import type { Dependence } from "./steps/dependence.ts";
import { watchPlainAccesses } from "./watch/plain-accesses.ts";

export type { Exploration, ExploreOptions, Observer, Progress } from "./session/exploration.ts";

/**
 * Explores a scenario. The result is data; {@link Exploration.findings} is empty if all is well.
 * Throws {@link UncontrolledNondeterminism} if the scenario depends on more than the order of its
 * steps, {@link EngineFault} if the checker has a bug, RangeError if it has no tasks or too many,
 * HmmError EINVAL for an option or a scenario's field that is misspelt, or an option of a wrong
 * type, and CheckpointError if it cannot go on from options.resumeFrom.
 * @example Two tasks count, and one count may be lost.
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
 * const isRight = complete && classes === 4 && findings[0]?.message === "the counter says 1";
 * if (!isRight) throw new Error("not what it should be");
 * ```
 */
export function explore<S>(scenario: Scenario<S>, options: ExploreOptions = {}): Exploration {
  requireOptions(options);
  const any = defineScenario(scenario);
  requireFields(any);
  const first = searchAnew(any, options);
  const more = secondSearch(options, first);
  return more === undefined ? first : addSearches(first, searchAnew(any, more));
}

/** Searches, and begins again with more dependences as often as an execution shows them. */
function searchAnew(any: Scenario<unknown>, options: ExploreOptions): Exploration {
  const from = options.resumeFrom === undefined ? undefined : validCheckpoint(options.resumeFrom);
  if (from !== undefined) requireSameScenario(from, any.name);
  let chosen = from === undefined ? options : resumedOptions(from, options);
  let dependence = from?.dependence ?? LEAST;
  try {
    for (;;) {
      const seen = exploreOnce(any, chosen, dependence);
      if (!(seen instanceof DependsOnMore)) return seen;
      dependence = addDependence(dependence, seen.more);
      const { resumeFrom: _, ...fromTheBeginning } = chosen;
      chosen = fromTheBeginning;
    }
  } finally {
    divertLockdep(undefined);
    watchExtraReads(undefined);
    watchPlainAccesses(undefined);
  }
}

/** One search. Returns DependsOnMore if an execution shows that more steps depend on each other. */
function exploreOnce(
  scenario: Scenario<unknown>,
  options: ExploreOptions,
  dependence: Dependence,
): Exploration | DependsOnMore {
  const from = options.resumeFrom;
  const mayStop = options.resumable === true || from !== undefined;
  let session: Session | undefined;
  try {
    const fingerprint = mayStop ? fingerprintOf(scenario, budgetOf(options), dependence) : "";
    if (from !== undefined) requireSameFingerprint(from, fingerprint);
    const equal = findSymmetricTasks(scenario, options, dependence);
    session = new Session(scenario, options, { dependence, from, fingerprint, equal });
    const end = session.search() ?? "cancelled";
    return session.result(end);
  } catch (error) {
    if (error instanceof DependsOnMore) return error;
    throw error;
  } finally {
    session?.run.finish();
  }
}
