/**
 * @module Runs as a process of its own: looks which mutated places of a lane's build the scenarios
 * reach, and prints a line of JSON for each scenario. Its first argument says what to do.
 */

import { Signs, loadBuild, say } from "./explored-build.mjs";
import { listen, takeReached } from "./reach.mjs";

/**
 * @typedef {object} ReachOrder
 * @property {string} build The address of the lane's build.
 * @property {readonly string[]} scenarios
 *
 * @typedef {object} ReachLine
 * @property {string} scenario
 * @property {number} seconds
 * @property {readonly number[]} reached By its tasks.
 * @property {readonly number[]} prepared By its set-up.
 *
 * @typedef {import("./explored-build.mjs").AnyScenario} AnyScenario
 */

/**
 * As many executions as a survey sees, of the scenario's own search and by chance: together they
 * come to nearly every statement.
 */
const OWN_EXECUTIONS = 150;
const RANDOM_EXECUTIONS = 80;
/** What else is no news: each search ends after so long. */
const SEARCH_SECONDS = 4;

/** @type {ReachOrder} */
const order = JSON.parse(process.argv[2] ?? "");
listen();
const signs = new Signs(undefined);
signs.setBusy(true);
const build = await loadBuild(order.build);

/**
 * What the set-up and the tasks of a scenario reach.
 *
 * @param {AnyScenario} scenario
 */
function reachOf(scenario) {
  takeReached();
  /** @type {number[] | undefined} */
  let prepared;
  const tasks = Object.entries(scenario.tasks).map(([name, task]) => [
    name,
    (/** @type {unknown} */ shared) => {
      prepared ??= takeReached();
      return task(shared);
    },
  ]);
  const watched = { ...scenario, tasks: Object.fromEntries(tasks) };
  const { executions, ...own } = build.ownOptions(scenario);
  const { preemptions: _, ...chance } = own;
  const limits = {
    checkDeterminism: false,
    seconds: SEARCH_SECONDS,
    onProgress: () => signs.give(),
  };
  try {
    build.explore(watched, {
      ...own,
      ...limits,
      executions: Math.min(executions ?? Infinity, OWN_EXECUTIONS),
    });
    build.explore(watched, {
      ...chance,
      ...limits,
      engine: "random",
      seed: 1,
      executions: RANDOM_EXECUTIONS,
    });
  } catch {
    // A twin that shows what cannot be explored.
  }
  return { reached: takeReached(), prepared: prepared ?? [] };
}

for (const name of order.scenarios) {
  const scenario = build.scenarios.get(name);
  if (scenario === undefined) continue;
  signs.give();
  const startMs = performance.now();
  const reach = reachOf(scenario);
  /** @type {ReachLine} */
  const line = { scenario: name, ...reach, seconds: (performance.now() - startMs) / 1000 };
  say(line);
}
process.exit(0);
