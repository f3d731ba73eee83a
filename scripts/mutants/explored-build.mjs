/**
 * @module The scenarios and the checker of a lane's build, loaded into this process, and the
 * watchdog thread that ends the process if it hangs.
 */

import { writeSync } from "node:fs";
import { Worker } from "node:worker_threads";

/**
 * @typedef {import("../../src/checker/scenario.ts").AnyScenario} AnyScenario
 * @typedef {import("../../src/checker/explore.ts").ExploreOptions} ExploreOptions
 * @typedef {import("../../src/checker/explore.ts").Exploration} Exploration
 * @typedef {import("../../src/checker/findings/finding.ts").Finding} Finding
 */

/** @param {string} build The address of the modules that are explored. */
export async function loadBuild(build) {
  /** @param {string} path */
  const load = (path) => import(new URL(path, build).href);
  const { explore } = await load("src/checker/explore.js");
  const { shippedScenarios } = await load("command/src/check/scenario-modules.js");
  const { exploreOptions } = await load("command/src/check/engine-choice.js");
  const { isAsExpected, rowOf } = await load("command/src/check/check-row.js");
  /** @type {readonly { address: { name: string }, scenario: AnyScenario }[]} */
  const shipped = await shippedScenarios();
  return {
    /** @type {(scenario: AnyScenario, options: ExploreOptions) => Exploration} */
    explore,
    /** @type {(scenario: AnyScenario) => ExploreOptions} As `hmm check` explores it. */
    ownOptions: (scenario) => exploreOptions(scenario, {}),
    /** @type {(scenario: AnyScenario, exploration: Exploration) => boolean} */
    isExpected: (scenario, exploration) =>
      isAsExpected({
        row: rowOf(scenario, exploration, exploration.findings, 0),
        expects: scenario.expects,
      }),
    scenarios: new Map(shipped.map(({ address, scenario }) => [address.name, scenario])),
  };
}

/** @typedef {Awaited<ReturnType<typeof loadBuild>>} ExploredBuild */

/** For the watchdog: that this thread lives, and whether it has something to do. */
export class Signs {
  /** @readonly */
  #words = new Int32Array(new SharedArrayBuffer(8));

  /** @param {number | undefined} standstillSeconds Of processor time, without a sign of life. */
  constructor(standstillSeconds) {
    const workerData = { signs: this.#words.buffer, standstillSeconds };
    new Worker(new URL("./watchdog.mjs", import.meta.url), { workerData }).unref();
  }

  give() {
    Atomics.add(this.#words, 0, 1);
  }

  /** @param {boolean} isBusy */
  setBusy(isBusy) {
    this.give();
    Atomics.store(this.#words, 1, isBusy ? 1 : 0);
  }
}

/** Seconds of processor time that this process has used: a busy machine does not change them. */
export function cpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Prints a line of JSON, at once. @param {object} line */
export function say(line) {
  writeSync(1, `\n${JSON.stringify(line)}\n`);
}
