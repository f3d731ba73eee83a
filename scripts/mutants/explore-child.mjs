/**
 * @module The process that explores scenarios in a lane, one after the other, and judges each as
 * `hmm check` does. It prints a line of JSON for each. A watchdog thread ends it if it hangs. Its
 * first argument says what to do.
 */

import { writeSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { listen, takeReached } from "./reach.mjs";

/**
 * @typedef {object} ExploreOrder
 * @property {string} build The address of the lane's build.
 * @property {readonly string[]} scenarios In this order.
 * @property {boolean} stops At the first surprise.
 * @property {boolean} reach Only look which mutants each reaches, in some of its executions.
 * @property {number} seconds The most for one scenario; what was found until then counts.
 * @property {number} [standstillSeconds] Of processor time, without a sign of life.
 *
 * @typedef {object} ExploreLine
 * @property {string} scenario
 * @property {string} surprise Why `hmm check` would fail; "" if it would not.
 * @property {number} seconds
 * @property {readonly number[]} reached By its tasks.
 * @property {readonly number[]} prepared By its set-up.
 *
 * @typedef {import("../../src/checker/scenario.ts").AnyScenario} AnyScenario
 * @typedef {import("../../src/checker/findings/finding.ts").Finding} Finding
 */

/** @type {ExploreOrder} */
const order = JSON.parse(process.argv[2] ?? "");
if (order.reach) listen();

const signs = new Int32Array(new SharedArrayBuffer(4));
new Worker(new URL("./watchdog.mjs", import.meta.url), {
  workerData: { signs: signs.buffer, standstillSeconds: order.standstillSeconds },
}).unref();

function giveSign() {
  Atomics.add(signs, 0, 1);
}

/** @param {string} path */
const load = (path) => import(new URL(path, order.build).href);
const { explore } = await load("src/checker/explore.js");
const { shippedScenarios } = await load("command/src/check/scenario-modules.js");
const { exploreOptions } = await load("command/src/check/engine-choice.js");
const { isAsExpected, rowOf } = await load("command/src/check/check-row.js");

/**
 * What `hmm check` would complain of; "" if of nothing.
 *
 * @param {AnyScenario} scenario
 */
function surpriseOf(scenario) {
  const { expects } = scenario;
  const stopAt = (/** @type {Finding} */ { kind }) => expects === undefined || kind === expects;
  try {
    const exploration = explore(scenario, {
      ...exploreOptions(scenario, {}),
      seconds: order.seconds,
      stopAt,
      onProgress: giveSign,
    });
    const row = rowOf(scenario, exploration, exploration.findings, 0);
    if (isAsExpected({ row, expects })) return "";
    // A twin that was not explored to its end might still be found out.
    if (expects !== undefined && exploration.end === "seconds") return "";
    return expects === undefined ? exploration.findings[0].kind : `no ${expects}`;
  } catch (error) {
    return `cannot be explored: ${error instanceof Error ? error.message.slice(0, 120) : String(error)}`;
  }
}

/**
 * As many executions as a survey sees, of the scenario's own search and by chance: together they
 * come to nearly every statement.
 */
const OWN_EXECUTIONS = 150;
const RANDOM_EXECUTIONS = 80;

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
  const { executions, ...own } = exploreOptions(scenario, {});
  const { preemptions: _, ...chance } = own;
  try {
    explore(watched, {
      ...own,
      executions: Math.min(executions ?? Infinity, OWN_EXECUTIONS),
      onProgress: giveSign,
    });
    explore(watched, {
      ...chance,
      engine: "random",
      seed: 1,
      executions: RANDOM_EXECUTIONS,
      onProgress: giveSign,
    });
  } catch {
    // A twin that shows what cannot be explored.
  }
  return { reached: takeReached(), prepared: prepared ?? [] };
}

/** @type {readonly { address: { name: string }, scenario: AnyScenario }[]} */
const shipped = await shippedScenarios();
const byName = new Map(shipped.map(({ address, scenario }) => [address.name, scenario]));
for (const name of order.scenarios) {
  const scenario = byName.get(name);
  if (scenario === undefined) continue;
  giveSign();
  const startMs = performance.now();
  const { reached, prepared } = order.reach ? reachOf(scenario) : { reached: [], prepared: [] };
  const surprise = order.reach ? "" : surpriseOf(scenario);
  const seconds = (performance.now() - startMs) / 1000;
  /** @type {ExploreLine} */
  const line = { scenario: name, surprise, seconds, reached, prepared };
  writeSync(1, `\n${JSON.stringify(line)}\n`);
  if (order.stops && surprise !== "") break;
}
process.exit(0);
