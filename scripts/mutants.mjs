/**
 * @module `npm run mutants`: breaks one synchronising statement of src/ at a time, and finds which
 * checks notice. docs/WORKING.md has the options.
 */

import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { digestOf, findMutants } from "./mutants/find.mjs";
import { hasNoticed, isNoticed } from "./mutants/judge.mjs";
import { Likely } from "./mutants/likely.mjs";
import { buildPath, rootPath } from "./mutants/lane.mjs";
import { addParts, readParts, readShard, shardOf } from "./mutants/parts.mjs";
import { Progress } from "./mutants/progress.mjs";
import { ReachedBy } from "./mutants/reached-by.mjs";
import { Results, standingsOf } from "./mutants/results.mjs";
import { reviewed, staleReviews } from "./mutants/reviewed.mjs";
import { judgeAll } from "./mutants/run.mjs";
import { readSayings } from "./mutants/sayings.mjs";
import { buildDigest, survey } from "./mutants/survey.mjs";
import { FULL_SECONDS, countsOf, isSurvivor, renderTable } from "./mutants/table.mjs";

/**
 * @typedef {import("./mutants/find.mjs").Mutant} Mutant
 * @typedef {import("./mutants/judge.mjs").Judgement} Judgement
 * @typedef {import("./mutants/parts.mjs").Part} Part
 * @typedef {import("./mutants/sayings.mjs").Sayings} Sayings
 * @typedef {import("./mutants/table.mjs").Row} Row
 * @typedef {ReturnType<typeof readOptions>["values"]} Values
 */

const DOCS = "docs/MUTANTS.md";

const HELP = `npm run mutants -- [options]: breaks one synchronising statement of src/ at a time, and finds who notices
  --only src/mm,src/hmm/range   mutants of these folders and files; --kind flush: of this kind
  --list                        their names alone
  --sample 100 --seed 1         a sample of them
  --seconds 30                  processor time for the scenarios of one mutant
  --most 12                     scenarios for one mutant
  --scenarios coverage/hmm      only these, and those whose names begin so
  --tests none                  the tests are not asked; all: of each mutant; default: of survivors
  --test-seconds 60             time for the tests of one mutant
  --jobs 2                      mutants that are tried at the same time
  --again                       also what holds is tried again
  --survey                      what reaches what is found out anew
  --shard 3/8 --json            one part of them; --merge part1.json part2.json adds the parts up
  --docs                        writes ${DOCS} of what is known
`;

function readOptions() {
  const parsed = parseArgs({
    allowPositionals: true,
    options: {
      only: { type: "string" },
      kind: { type: "string" },
      seed: { type: "string", default: "1" },
      sample: { type: "string" },
      shard: { type: "string", default: "1/1" },
      jobs: { type: "string", default: String(availableParallelism()) },
      tests: { type: "string", default: "survivors" },
      "test-seconds": { type: "string", default: "60" },
      most: { type: "string" },
      scenarios: { type: "string" },
      seconds: { type: "string", default: String(FULL_SECONDS) },
      survey: { type: "boolean", default: false },
      again: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      docs: { type: "boolean", default: false },
      merge: { type: "boolean", default: false },
    },
  });
  const [stray] = parsed.positionals;
  if (stray !== undefined && !parsed.values.merge)
    throw new Error(`Cannot use ${JSON.stringify(stray)}: only --merge takes files`);
  return parsed;
}

/**
 * @param {string} name
 * @param {string} text
 */
function wholeNumber(name, text) {
  if (/^\d+$/.test(text)) return Number(text);
  throw new Error(`Cannot use ${JSON.stringify(text)} as --${name}: must be a whole number`);
}

/**
 * @param {string} text
 * @returns {"survivors" | "all" | "none"}
 */
function readTests(text) {
  if (text === "survivors" || text === "all" || text === "none") return text;
  throw new Error(`Cannot use ${JSON.stringify(text)} as --tests: must be survivors, all or none`);
}

/**
 * Those that are asked for, before they are shared out. A sample is drawn by the seed and the keys
 * alone, so what changes elsewhere does not change it.
 *
 * @param {readonly Mutant[]} all
 * @param {Values} values
 */
function chosenOf(all, { only, kind, sample, seed }) {
  const starts = only
    ?.split(",")
    .map((path) => path.replace(/^src\//, "").replace(/(\.ts|\/)$/, ""));
  const isThere = (/** @type {string} */ module) =>
    starts?.some((start) => module === start || module.startsWith(`${start}/`)) ?? true;
  const isWanted = (/** @type {Mutant} */ { module, kind: own }) =>
    isThere(module) && (kind === undefined || kind === own);
  const wanted = all.filter(isWanted);
  if (wanted.length === 0) throw new Error("There is no such mutant; --list names them all");
  if (sample === undefined) return wanted;
  const drawn = wanted
    .map((mutant) => ({ mutant, at: digestOf(`${seed} ${mutant.key}`) }))
    .toSorted((a, b) => (a.at < b.at ? -1 : 1));
  return drawn.slice(0, wholeNumber("sample", sample)).map(({ mutant }) => mutant);
}

/** @param {Mutant} mutant @param {Judgement} judgement */
function lineOf({ place, kind, what }, { check, tests }) {
  const who = hasNoticed(check)
    ? `${check.by}: ${check.why}`
    : hasNoticed(tests)
      ? `${tests.by}: ${tests.why}`
      : "nobody";
  return `${isNoticed({ check, tests }) ? " " : "!"} ${place} ${kind}: ${what}\n    ${who}\n`;
}

/** @param {readonly Row[]} rows */
function summary(rows) {
  const { judged, check, tests, equivalent, survivors, unreached, timeOuts, noticeable } = countsOf(
    rows,
    reviewed,
  );
  const share = (/** @type {number} */ part) =>
    `${((100 * part) / Math.max(1, noticeable)).toFixed(1)} %`;
  return [
    `${judged} mutants: ${check} noticed by hmm check (${share(check)}; ${timeOuts} by time-out), ${tests} by tests alone,`,
    `${share(check + tests)} by either; ${equivalent} equivalent, ${survivors} survive, ${unreached} of those that nobody noticed are reached by no scenario\n`,
  ].join("\n");
}

/** @param {ReturnType<typeof standingsOf>} standings */
function standingLine({ holds, new: fresh, changed, doubtful }) {
  return `${holds} results hold; ${changed + doubtful} are stale (${changed} of code that has changed, ${doubtful} silent beside other scenarios); ${fresh} were never tried\n`;
}

/**
 * Those that must be tried, in this order: what was never tried, what has changed, what nobody
 * noticed beside other scenarios, what nobody noticed in less time; with `--again` also what holds.
 *
 * @param {readonly Mutant[]} chosen
 * @param {Results} results
 * @param {ReachedBy} reachedBy
 * @param {Values} values
 */
function planOf(chosen, results, reachedBy, values) {
  const seconds = wholeNumber("seconds", values.seconds);
  const mustTry = (/** @type {Mutant} */ mutant) => {
    const check = results.of(mutant)?.check;
    if (check?.answer === "unreached") return reachedBy.scenariosOf(mutant).length > 0;
    return check?.answer === "silent" && check.tried < check.of && check.seconds < seconds;
  };
  const at = (/** @type {string} */ standing) =>
    chosen.filter((mutant) => results.standing(mutant) === standing);
  const holds = at("holds");
  const wanted = values.again ? holds : holds.filter(mustTry);
  const mutants = [...at("new"), ...at("changed"), ...at("doubtful"), ...wanted];
  const isTried = new Set(mutants);
  const forTests = holds.filter((mutant) => {
    const known = results.of(mutant);
    if (known === undefined || isTried.has(mutant) || reviewed[mutant.key] !== undefined)
      return false;
    return !hasNoticed(known.check) && known.tests.answer === "not run";
  });
  return { mutants, forTests };
}

/**
 * @param {readonly Mutant[]} chosen
 * @param {readonly Mutant[]} all
 * @param {Values} values
 * @param {Results} results
 * @param {Sayings} sayings
 */
async function judgeChosen(chosen, all, values, results, sayings) {
  const progress = new Progress();
  const tests = readTests(values.tests);
  const jobs = wholeNumber("jobs", values.jobs);
  const onProgress = (
    /** @type {string} */ name,
    /** @type {number} */ done,
    /** @type {number} */ total,
  ) => progress.update(`survey: ${name}`, done, total);
  const surveyed = await survey({
    mutants: all,
    scenarios: sayings.digests,
    withTests: tests !== "none",
    isWhole: values.survey,
    jobs,
    onProgress,
  });
  const reachedBy = new ReachedBy(surveyed);
  const { mutants, forTests } = planOf(chosen, results, reachedBy, values);
  const likely = new Likely(sayings);
  for (const { key, by } of results.noticers) likely.learn({ key }, by);
  await judgeAll({
    mutants,
    forTests,
    reachedBy,
    likely,
    results,
    jobs,
    tests,
    seconds: wholeNumber("seconds", values.seconds),
    most: values.most === undefined ? Infinity : wholeNumber("most", values.most),
    scenarios: values.scenarios?.split(","),
    testSeconds: wholeNumber("test-seconds", values["test-seconds"]),
    hopeless: new Set(Object.keys(reviewed)),
    onJudged: (mutant, judgement, done) => {
      progress.clear();
      if (!values.json) process.stdout.write(lineOf(mutant, judgement));
      progress.update("mutants", done, mutants.length);
    },
  });
  progress.clear();
}

/** What is known of some mutants. @param {readonly Mutant[]} mutants @param {Results} results */
function judgementsOf(mutants, results) {
  return new Map(
    mutants.flatMap((mutant) => {
      const judgement = results.of(mutant);
      return judgement === undefined ? [] : [/** @type {const} */ ([mutant.key, judgement])];
    }),
  );
}

/**
 * Brings the record up to date for the chosen mutants: by trying them, from parts, or (`--docs`)
 * not at all. Returns those that were chosen here.
 *
 * @param {ReturnType<typeof readOptions>} options
 * @param {readonly Mutant[]} all
 * @param {readonly Mutant[]} chosen
 * @param {Results} results
 * @param {Sayings} sayings
 */
async function bringUpToDate({ values, positionals }, all, chosen, results, sayings) {
  if (values.docs) return all;
  if (!values.merge) {
    const own = shardOf(chosen, readShard(values.shard));
    await judgeChosen(own, all, values, results, sayings);
    return own;
  }
  const judged = addParts(readParts(positionals), buildDigest());
  for (const mutant of chosen) {
    const judgement = judged.get(mutant.key);
    if (judgement !== undefined) results.keep(mutant, judgement);
  }
  results.save();
  return chosen.filter(({ key }) => judged.has(key));
}

/**
 * What `--shard` and `--json` hand on.
 *
 * @param {Values} values
 * @param {readonly Mutant[]} chosen
 * @param {ReadonlyMap<string, Judgement>} judged
 * @returns {Part}
 */
function partOf(values, chosen, judged) {
  const { only, kind, sample, seed, tests, most, scenarios, seconds } = values;
  const times = [most, scenarios, seconds, values["test-seconds"]];
  const question = JSON.stringify([only, kind, sample, seed, tests, ...times]);
  return {
    mutants: 1,
    build: buildDigest(),
    question,
    shard: readShard(values.shard),
    all: chosen.length,
    judged: Object.fromEntries(judged),
  };
}

/** Those that people called unnoticeable, and that were noticed. @param {readonly Row[]} rows */
function refutedReviews(rows) {
  return rows.filter(({ mutant, judgement }) => {
    return judgement !== undefined && isNoticed(judgement) && reviewed[mutant.key] !== undefined;
  });
}

/** Those that say nothing on their own are read before any work. @param {Values} values */
function requireUsable(values) {
  for (const name of /** @type {const} */ (["jobs", "seconds", "test-seconds"]))
    if (wholeNumber(name, values[name]) === 0) throw new Error(`Cannot use 0 as --${name}`);
  if (values.most !== undefined) wholeNumber("most", values.most);
  readTests(values.tests);
  readShard(values.shard);
}

async function main() {
  if (process.argv.includes("--help")) {
    process.stdout.write(HELP);
    return;
  }
  const options = readOptions();
  const { values } = options;
  requireUsable(values);
  const all = findMutants(buildPath);
  const chosen = chosenOf(all, values);
  if (values.list) {
    for (const { key } of chosen) process.stdout.write(`${key}\n`);
    return;
  }
  const sayings = await readSayings();
  const results = new Results(all, sayings);
  const mutants = await bringUpToDate(options, all, chosen, results, sayings);
  const judged = judgementsOf(mutants, results);
  const rows = mutants.map((mutant) => ({
    mutant,
    judgement: judged.get(mutant.key),
    standing: results.standing(mutant),
  }));
  if (values.docs) writeFileSync(`${rootPath}${DOCS}`, renderTable(rows, reviewed));
  if (values.json) process.stdout.write(`${JSON.stringify(partOf(values, chosen, judged))}\n`);
  else {
    const survivors = rows.filter((row) => isSurvivor(row, reviewed));
    for (const { mutant } of survivors) process.stdout.write(`survives: ${mutant.key}\n`);
    process.stdout.write(`\n${summary(rows)}${standingLine(standingsOf(mutants, results))}`);
  }
  const stale = staleReviews(all);
  const refuted = refutedReviews(rows);
  for (const key of stale)
    process.stderr.write(`reviewed.json: no mutant is called this any more: ${key}\n`);
  for (const { mutant } of refuted) {
    process.stderr.write(`reviewed.json: this one was noticed after all: ${mutant.key}\n`);
  }
  process.exitCode = stale.length > 0 || refuted.length > 0 ? 1 : 0;
}

try {
  await main();
} catch (error) {
  process.stderr.write(
    `npm run mutants: ${error instanceof Error ? error.message.split(/\n|\. To specify/)[0] : String(error)}\n`,
  );
  process.exitCode = 2;
}
