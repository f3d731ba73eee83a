/**
 * @module Judges one mutant: explores the scenarios that reach it, the likeliest and cheapest
 * first, until one has an unexpected result. If none has, it runs the test files that reach it.
 */

import { exploreInProcess, testInProcess } from "./processes.mjs";

/**
 * @typedef {import("./find.mjs").Mutant} Mutant
 * @typedef {import("./lane.mjs").Lane} Lane
 * @typedef {import("./survey.mjs").Survey} Survey
 * @typedef {import("./survey.mjs").Witness} Witness
 */

/**
 * What one side says. "noticed": a finding, a missing one, a failed test. "time-out": it stood
 * still and was killed. "silent": nothing. "unreached": nothing runs that statement. "not run":
 * nobody asked.
 *
 * @typedef {"noticed" | "time-out" | "silent" | "unreached" | "not run"} Answer
 * @typedef {{ readonly answer: Answer, readonly by: string, readonly why: string, readonly tried:
 *   number }} Opinion
 * @typedef {{ readonly check: Opinion, readonly tests: Opinion, readonly seconds: number }}
 *   Judgement
 */

/** @type {Opinion} */
export const NOT_RUN = { answer: "not run", by: "", why: "", tried: 0 };

/** @param {Opinion} opinion */
export function hasNoticed({ answer }) {
  return answer === "noticed" || answer === "time-out";
}

/**
 * For one scenario: many times what it takes, and some seconds, for a mutant may make more classes.
 */
const SCENARIO_SECONDS = 15;
const TEST_FACTOR = 6;
const TEST_EXTRA_SECONDS = 30;

/**
 * What `hmm check` says of a mutant.
 *
 * @param {Lane} lane
 * @param {Mutant} mutant
 * @param {readonly string[]} scenarios In the order in which to try them.
 * @param {number} [standstillSeconds]
 * @returns {Promise<Opinion>}
 */
export async function askCheck(lane, mutant, scenarios, standstillSeconds) {
  if (scenarios.length === 0) return { answer: "unreached", by: "", why: "", tried: 0 };
  lane.mutate(mutant);
  try {
    const order = {
      build: lane.url,
      scenarios,
      stops: true,
      reach: false,
      seconds: SCENARIO_SECONDS,
    };
    const limit = standstillSeconds === undefined ? {} : { standstillSeconds };
    const { lines, ended } = await exploreInProcess({ ...order, ...limit });
    const tried = lines.length;
    const last = lines.at(-1);
    if (last !== undefined && last.surprise !== "") {
      return { answer: "noticed", by: last.scenario, why: last.surprise, tried };
    }
    const by = scenarios[tried] ?? "";
    if (ended === "standstill") return { answer: "time-out", by, why: "stands still", tried };
    if (ended === "crash") return { answer: "noticed", by, why: "the process ends", tried };
    return { answer: "silent", by: "", why: "", tried };
  } finally {
    lane.restore(mutant.path);
  }
}

/**
 * What the tests say of a mutant.
 *
 * @param {Lane} lane
 * @param {Mutant} mutant
 * @param {readonly Witness[]} tests
 * @param {number} secondsLimit Of tests that take longer than this together, as they took
 *   unmutated, the longest are left out.
 * @returns {Promise<Opinion>}
 */
export async function askTests(lane, mutant, tests, secondsLimit) {
  if (tests.length === 0) return { answer: "unreached", by: "", why: "", tried: 0 };
  lane.mutate(mutant);
  try {
    let spent = 0;
    let tried = 0;
    for (const { name, seconds } of tests.toSorted((a, b) => a.seconds - b.seconds)) {
      spent += seconds;
      if (spent > secondsLimit) break;
      tried++;
      const outcome = await testInProcess(
        lane.root,
        `.build/${name}`,
        (seconds * TEST_FACTOR + TEST_EXTRA_SECONDS) * 1000,
      );
      if (outcome === "failed") return { answer: "noticed", by: name, why: "fails", tried };
      if (outcome === "time-out")
        return { answer: "time-out", by: name, why: "does not end", tried };
    }
    return { answer: "silent", by: "", why: `${tried} of ${tests.length} test files`, tried };
  } finally {
    lane.restore(mutant.path);
  }
}

/**
 * Whether a scenario is surprised by nothing when nothing is mutated. One that is has no opinion of
 * a mutant.
 *
 * @param {Lane} lane
 * @param {string} scenario
 */
export async function isCalm(lane, scenario) {
  const order = {
    build: lane.url,
    scenarios: [scenario],
    stops: true,
    reach: false,
    seconds: SCENARIO_SECONDS,
  };
  const { lines, ended } = await exploreInProcess(order);
  return ended === "well" && lines.every(({ surprise }) => surprise === "");
}
