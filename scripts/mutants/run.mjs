/**
 * @module A run: several lanes judge the chosen mutants in parallel, and each result is stored at
 * once.
 */

import { Lane } from "./lane.mjs";
import { NOT_RUN, askCheck, askTests, hasNoticed, isCalm } from "./judge.mjs";
import { killAll } from "./processes.mjs";

/**
 * @typedef {import("./find.mjs").Mutant} Mutant
 * @typedef {import("./judge.mjs").Judgement} Judgement
 * @typedef {import("./likely.mjs").Likely} Likely
 * @typedef {import("./results.mjs").Results} Results
 * @typedef {import("./survey.mjs").Survey} Survey
 * @typedef {import("./survey.mjs").Witness} Witness
 */

/**
 * @typedef {object} RunOptions
 * @property {readonly Mutant[]} mutants
 * @property {Survey} survey
 * @property {Likely} likely
 * @property {Map<string, boolean>} calm Scenarios that were tried on the build as it is: were they
 *   calm?
 * @property {Results} results
 * @property {number} jobs
 * @property {"survivors" | "all" | "none"} tests Which mutants the tests are asked about.
 * @property {number} testSeconds
 * @property {number} most Scenarios that are tried on a mutant, the likeliest. What is silent in
 *   fewer than reach it is asked again by a run that may
 * try more.
 * @property {boolean} fresh Ask again what is known.
 * @property {(mutant: Mutant, judgement: Judgement, done: number) => void} onJudged
 */

/**
 * Judges the mutants; those of which a result still holds cost nothing.
 *
 * @param {RunOptions} options
 * @returns {Promise<Map<string, Judgement>>} By key; without those that were not reached before an
 *   interruption.
 */
export async function judgeAll(options) {
  const { mutants, survey, results, jobs, fresh } = options;
  const names = new Set(survey.scenarios.map(({ name }) => name));
  /** @type {Map<string, Judgement>} */
  const judged = new Map();
  const waiting = [...mutants];
  const stopping = new AbortController();
  const stop = () => {
    stopping.abort();
    killAll();
  };
  process.once("SIGINT", stop);
  const work = async () => {
    const lane = new Lane();
    try {
      for (
        let mutant = waiting.shift();
        mutant !== undefined && !stopping.signal.aborted;
        mutant = waiting.shift()
      ) {
        const known = fresh ? undefined : results.of(mutant, names);
        const judgement = await judge(lane, mutant, known, options);
        if (stopping.signal.aborted) break; // it was killed, which says nothing
        results.keep(mutant, judgement);
        judged.set(mutant.key, judgement);
        options.onJudged(mutant, judgement, judged.size);
      }
    } finally {
      lane.remove();
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(jobs, mutants.length)) }, work));
  process.removeListener("SIGINT", stop);
  results.save();
  return judged;
}

/**
 * As askCheck; but a scenario that is surprised without any mutant is not heard.
 *
 * @param {Lane} lane
 * @param {Mutant} mutant
 * @param {readonly string[]} scenarios
 * @param {Map<string, boolean>} calm
 */
async function askCalm(lane, mutant, scenarios, calm) {
  for (let asked = scenarios; ; asked = asked.filter((name) => calm.get(name) !== false)) {
    const opinion = await askCheck(lane, mutant, asked);
    if (!hasNoticed(opinion)) return opinion;
    if (!calm.has(opinion.by)) calm.set(opinion.by, await isCalm(lane, opinion.by));
    if (calm.get(opinion.by) === true) return opinion;
  }
}

/**
 * @param {Lane} lane
 * @param {Mutant} mutant
 * @param {Judgement | undefined} known
 * @param {RunOptions} options
 * @returns {Promise<Judgement>}
 */
async function judge(lane, mutant, known, { survey, likely, calm, tests, testSeconds, most }) {
  const startMs = performance.now();
  const reaches = (/** @type {Witness} */ { reached, prepared }) =>
    reached.includes(mutant.key) || prepared.includes(mutant.key);
  const inOrder = likely.inOrder(mutant, survey.scenarios.filter(reaches));
  const witnesses = inOrder.filter((name) => calm.get(name) !== false).slice(0, most);
  const isEnough =
    known !== undefined && (hasNoticed(known.check) || known.check.tried >= witnesses.length);
  const check = isEnough ? known.check : await askCalm(lane, mutant, witnesses, calm);
  if (hasNoticed(check)) likely.learn(mutant, check.by);
  const isWanted = tests === "all" || (tests === "survivors" && !hasNoticed(check));
  const isKnown = known !== undefined && known.tests.answer !== "not run";
  const asked =
    isKnown || !isWanted ? undefined : survey.tests.filter((test) => test.passes && reaches(test));
  const opinion =
    asked === undefined
      ? (known?.tests ?? NOT_RUN)
      : await askTests(lane, mutant, asked, testSeconds);
  const seconds = (performance.now() - startMs) / 1000;
  return { check, tests: opinion, seconds: (known?.seconds ?? 0) + seconds };
}
