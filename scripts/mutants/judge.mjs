/**
 * @module Judges one mutant: explores the scenarios that reach it, in the order given, until one
 * has an unexpected result. If none has, it runs the test files that reach it.
 */

import { testInProcess } from "./processes.mjs";

/**
 * @typedef {import("./examiner.mjs").Budget} Budget
 * @typedef {import("./examiner.mjs").Examiner} Examiner
 * @typedef {import("./explore-child.mjs").ExploreLine} ExploreLine
 * @typedef {import("./find.mjs").Mutant} Mutant
 * @typedef {import("./lane.mjs").Lane} Lane
 * @typedef {import("./survey.mjs").TestWitness} TestWitness
 */

/**
 * What one side says. "noticed": a finding, a missing one, a failed test. "time-out": it stood
 * still and was killed. "silent": nothing. "unreached": nothing runs that statement. "not run":
 * nobody asked.
 *
 * @typedef {"noticed" | "time-out" | "silent" | "unreached" | "not run"} Answer
 *
 * @typedef {object} Opinion
 * @property {Answer} answer
 * @property {string} by A scenario or a test file.
 * @property {string} why
 * @property {number} tried How many were asked to their end, and said nothing.
 * @property {number} of How many reach it.
 * @property {number} seconds The most that was spent on it.
 *
 * @typedef {{ readonly check: Opinion, readonly tests: Opinion }} Judgement
 */

/** @type {Opinion} */
export const NOT_RUN = { answer: "not run", by: "", why: "", tried: 0, of: 0, seconds: 0 };

/** @param {Opinion} opinion */
export function hasNoticed({ answer }) {
  return answer === "noticed" || answer === "time-out";
}

/** @param {Judgement} judgement */
export function isNoticed({ check, tests }) {
  return hasNoticed(check) || hasNoticed(tests);
}

const TEST_FACTOR = 6;
const TEST_EXTRA_SECONDS = 30;

/**
 * What `hmm check` says of a mutant.
 *
 * @param {Examiner} examiner
 * @param {Mutant} mutant
 * @param {readonly string[]} scenarios
 * @param {Budget} budget
 * @returns {Promise<Opinion & { readonly lines: readonly ExploreLine[] }>} And of each scenario.
 */
export async function askCheck(examiner, mutant, scenarios, budget) {
  const { seconds } = budget;
  const of = scenarios.length;
  if (of === 0) return { ...NOT_RUN, answer: "unreached", lines: [] };
  const { lines, ended } = await examiner.ask(mutant, scenarios, budget);
  const tried = lines.filter(({ surprise, isCut }) => surprise === "" && !isCut).length;
  const given = { tried, of, seconds, lines };
  const last = lines.at(-1);
  if (last !== undefined && last.surprise !== "") {
    return { answer: "noticed", by: last.scenario, why: last.surprise, ...given };
  }
  const by = scenarios[lines.length] ?? "";
  if (ended === "standstill") return { answer: "time-out", by, why: "stands still", ...given };
  if (ended === "crash") return { answer: "noticed", by, why: "the process ends", ...given };
  return { answer: "silent", by: "", why: "", ...given };
}

/**
 * What the tests say of a mutant.
 *
 * @param {Lane} lane
 * @param {Mutant} mutant
 * @param {readonly Pick<TestWitness, "name" | "seconds">[]} tests In this order.
 * @param {number} secondsLimit Those that take longer than this together, as they took unmutated,
 *   are left out.
 * @returns {Promise<Opinion>}
 */
export async function askTests(lane, mutant, tests, secondsLimit) {
  const of = tests.length;
  if (of === 0) return { ...NOT_RUN, answer: "unreached" };
  lane.mutate(mutant);
  try {
    let spent = 0;
    let tried = 0;
    for (const { name, seconds } of tests) {
      spent += seconds;
      if (spent > secondsLimit) continue;
      const limitMs = (seconds * TEST_FACTOR + TEST_EXTRA_SECONDS) * 1000;
      const outcome = await testInProcess(lane.root, `.build/${name}`, limitMs);
      const given = { by: name, tried, of, seconds: secondsLimit };
      if (outcome === "failed") return { answer: "noticed", why: "fails", ...given };
      if (outcome === "time-out") return { answer: "time-out", why: "does not end", ...given };
      tried++;
    }
    return { answer: "silent", by: "", why: "", tried, of, seconds: secondsLimit };
  } finally {
    lane.restore(mutant.path);
  }
}
