/**
 * @module Runs as a process of its own: loads a lane's build once, with a module in it that has
 * many mutants, and then explores scenarios on one mutant after the other, as orders on standard
 * input say. It judges each as `hmm check` does, and prints a line of JSON for it. A watchdog
 * thread ends it if it hangs. Its first argument says what to load.
 */

import { createInterface } from "node:readline";
import { Signs, cpuSeconds, loadBuild, say } from "./explored-build.mjs";
import { CHOOSE } from "./switched.mjs";

/**
 * @typedef {object} Loading
 * @property {string} build The address of the lane's build.
 * @property {string} module The module that has the mutants, from there; "" if there is no choice.
 * @property {number} [standstillSeconds] Of processor time, without a sign of life.
 *
 * @typedef {object} ExploreOrder
 * @property {number} number Of the mutant; 0 chooses none.
 * @property {readonly string[]} scenarios In this order, until the first surprise.
 * @property {number} seconds The most processor time for all of them.
 * @property {number} scenarioSeconds The most for one; what was found until then counts.
 *
 * @typedef {object} ExploreLine
 * @property {string} scenario
 * @property {string} surprise Why `hmm check` would fail; "" if it would not.
 * @property {number} seconds Of processor time.
 * @property {boolean} isCut Time was over before everything was seen.
 *
 * @typedef {import("./explored-build.mjs").AnyScenario} AnyScenario
 * @typedef {import("./explored-build.mjs").Finding} Finding
 */

const REASON_LENGTH = 120;

/** @type {Loading} */
const loading = JSON.parse(process.argv[2] ?? "");
const signs = new Signs(loading.standstillSeconds);
signs.setBusy(true);
const build = await loadBuild(loading.build);
/** @type {(number: number) => void} */
const choose =
  loading.module === ""
    ? () => undefined
    : (await import(new URL(loading.module, loading.build).href))[CHOOSE];
signs.setBusy(false);

/**
 * @param {AnyScenario} scenario
 * @param {number} untilSeconds Of this process.
 * @returns {Pick<ExploreLine, "surprise" | "isCut">}
 */
function judge(scenario, untilSeconds) {
  const { expects } = scenario;
  const stopAt = (/** @type {Finding} */ { kind }) => expects === undefined || kind === expects;
  const isCancelled = () => {
    signs.give();
    return cpuSeconds() > untilSeconds;
  };
  try {
    const exploration = build.explore(scenario, {
      ...build.ownOptions(scenario),
      stopAt,
      isCancelled,
    });
    const isCut = exploration.end === "cancelled";
    if (build.isExpected(scenario, exploration)) return { surprise: "", isCut };
    // A twin that was not explored to its end might still be found out.
    if (expects !== undefined && isCut) return { surprise: "", isCut };
    const [first] = exploration.findings;
    return { surprise: expects === undefined ? (first?.kind ?? "") : `no ${expects}`, isCut };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const short = reason.replaceAll(/\s+/g, " ").slice(0, REASON_LENGTH);
    return { surprise: `cannot be explored: ${short}`, isCut: false };
  }
}

/** @param {ExploreOrder} order */
function serve({ number, scenarios, seconds, scenarioSeconds }) {
  choose(number);
  const end = cpuSeconds() + seconds;
  for (const name of scenarios) {
    const scenario = build.scenarios.get(name);
    if (scenario === undefined) continue;
    const start = cpuSeconds();
    if (start >= end) break;
    signs.give();
    const judged = judge(scenario, Math.min(end, start + scenarioSeconds));
    /** @type {ExploreLine} */
    const line = { scenario: name, ...judged, seconds: cpuSeconds() - start };
    say(line);
    if (judged.surprise !== "") break;
  }
  choose(0);
}

for await (const text of createInterface({ input: process.stdin })) {
  signs.setBusy(true);
  serve(JSON.parse(text));
  signs.setBusy(false);
  say({ served: true });
}
process.exit(0);
