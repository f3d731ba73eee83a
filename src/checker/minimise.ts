/**
 * @module Makes a finding small, always by replay: fewest preemptions first, then without the steps of tasks that it does
 * not need, then without single steps that it does not need. What comes out was seen to fail, in the same scenario. A
 * deadlock or a wrong outcome shows only when no task can go on, so of those every step stays that leads there.
 */

import { explore } from "./explore.ts";
import type { ExploreOptions } from "./explore.ts";
import { findingIdentity } from "./finding.ts";
import type { Finding } from "./finding.ts";
import type { Scenario } from "./scenario.ts";
import { parseToken } from "./token.ts";
import { taskOf } from "./trace.ts";
import type { Transition } from "./trace.ts";

/** Executions that the search for fewer preemptions may take at each bound. */
const SEARCH_EXECUTIONS = 20_000;
const PREEMPTIONS_TRIED = 4;

/** Replays a token; its findings are those of that one schedule, with places in the code. */
export function replay<S>(scenario: Scenario<S>, token: string, options: ExploreOptions = {}): readonly Finding[] {
  const schedule = parseToken(token);
  return explore(scenario, { ...options, engine: "replay", schedule, withSites: true }).findings;
}

/** The smallest sighting of the same bug that is found. */
export function minimise<S>(scenario: Scenario<S>, finding: Finding, options: ExploreOptions = {}): Finding {
  const identity = findingIdentity(finding);
  let best = withFewestPreemptions(scenario, finding, identity, options);
  const attempt = (schedule: readonly Transition[]): void => {
    const lenient: ExploreOptions = { ...options, engine: "replay", schedule, lenient: true };
    const same = explore(scenario, lenient).findings.find((found) => findingIdentity(found) === identity);
    if (same !== undefined && same.schedule.length < best.schedule.length) best = same;
  };
  for (let task = 0; task < Object.keys(scenario.tasks).length; task++) {
    attempt(best.schedule.filter((transition) => taskOf(transition) !== task));
  }
  for (let step = best.schedule.length - 1; step >= 0; step = Math.min(step, best.schedule.length) - 1) {
    attempt(best.schedule.toSpliced(step, 1));
  }
  return best;
}

function withFewestPreemptions<S>(
  scenario: Scenario<S>,
  finding: Finding,
  identity: string,
  options: ExploreOptions,
): Finding {
  for (let preemptions = 0; preemptions <= PREEMPTIONS_TRIED; preemptions++) {
    const found = explore(scenario, {
      ...options,
      engine: "bounded",
      preemptions,
      executions: SEARCH_EXECUTIONS,
      stopAt: (seen) => findingIdentity(seen) === identity,
    });
    const same = found.findings.find((seen) => findingIdentity(seen) === identity);
    if (same !== undefined) return same;
    if (found.bound === Infinity) break;
  }
  return finding;
}
