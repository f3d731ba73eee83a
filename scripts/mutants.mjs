/**
 * @module `npm run mutants`: breaks one synchronising statement of src/ at a time, and finds which
 * checks notice. docs/WORKING.md has the options.
 */

import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { digestOf, findMutants } from "./mutants/find.mjs";
import { hasNoticed } from "./mutants/judge.mjs";
import { Likely } from "./mutants/likely.mjs";
import { buildPath, rootPath } from "./mutants/lane.mjs";
import { addParts, readParts, readShard, shardOf } from "./mutants/parts.mjs";
import { Progress } from "./mutants/progress.mjs";
import { Results } from "./mutants/results.mjs";
import { reviewed, staleReviews } from "./mutants/reviewed.mjs";
import { judgeAll } from "./mutants/run.mjs";
import { buildDigest, survey } from "./mutants/survey.mjs";
import { countsOf, isSurvivor, renderTable } from "./mutants/table.mjs";

/**
 * @typedef {import("./mutants/find.mjs").Mutant} Mutant
 * @typedef {import("./mutants/judge.mjs").Judgement} Judgement
 * @typedef {import("./mutants/parts.mjs").Part} Part
 * @typedef {import("./mutants/table.mjs").Row} Row
 */

const DOCS = "docs/MUTANTS.md";

function readOptions() {
  return parseArgs({
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
      fresh: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      docs: { type: "boolean", default: false },
      merge: { type: "boolean", default: false },
    },
  });
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
 * @param {ReturnType<typeof readOptions>["values"]} values
 */
function chosenOf(all, { only, kind, sample, seed }) {
  const start = only?.replace(/^src\//, "").replace(/\.ts$/, "");
  const isWanted = (/** @type {Mutant} */ { module, kind: own }) => {
    const isThere =
      start === undefined ||
      module === start ||
      module.startsWith(start.endsWith("/") ? start : `${start}/`);
    return isThere && (kind === undefined || kind === own);
  };
  const wanted = all.filter(isWanted);
  if (wanted.length === 0) throw new Error("There is no such mutant; --list names them all");
  if (sample === undefined) return wanted;
  const drawn = wanted
    .map((mutant) => ({ mutant, at: digestOf(`${seed} ${mutant.key}`) }))
    .toSorted((a, b) => (a.at < b.at ? -1 : 1));
  return drawn.slice(0, wholeNumber("sample", sample)).map(({ mutant }) => mutant);
}

async function likely() {
  const { covered } = await import(
    new URL("../.build/command/scenarios/coverage/covered-list.js", import.meta.url).href
  );
  return new Likely(covered);
}

/** @param {Mutant} mutant @param {Judgement} judgement */
function lineOf({ place, kind, what }, { check, tests }) {
  const who = hasNoticed(check)
    ? `${check.by}: ${check.why}`
    : hasNoticed(tests)
      ? `${tests.by}: ${tests.why}`
      : "nobody";
  return `${hasNoticed(check) || hasNoticed(tests) ? " " : "!"} ${place} ${kind}: ${what}\n    ${who}\n`;
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

/**
 * @param {readonly Mutant[]} chosen
 * @param {readonly Mutant[]} all
 * @param {ReturnType<typeof readOptions>["values"]} values
 * @param {Results} results
 */
async function judgeChosen(chosen, all, values, results) {
  const progress = new Progress();
  const tests = readTests(values.tests);
  const known = await survey(all, tests !== "none", (name, done, total) =>
    progress.update(`survey: ${name}`, done, total),
  );
  const order = await likely();
  const judged = await judgeAll({
    mutants: chosen,
    survey: known,
    likely: order,
    calm: new Map(),
    results,
    jobs: wholeNumber("jobs", values.jobs),
    tests,
    most: values.most === undefined ? Infinity : wholeNumber("most", values.most),
    testSeconds: wholeNumber("test-seconds", values["test-seconds"]),
    fresh: values.fresh,
    onJudged: (mutant, judgement, done) => {
      progress.clear();
      if (!values.json) process.stdout.write(lineOf(mutant, judgement));
      progress.update("mutants", done, chosen.length);
    },
  });
  progress.clear();
  return judged;
}

/**
 * Judgements of the chosen mutants: made now, added up from parts, or (`--docs`) those that are
 * known.
 *
 * @param {ReturnType<typeof readOptions>} options
 * @param {readonly Mutant[]} all
 * @param {readonly Mutant[]} chosen
 * @returns {Promise<{ mutants: readonly Mutant[], judged: ReadonlyMap<string, Judgement> }>}
 */
async function judgementsOf({ values, positionals }, all, chosen) {
  const results = new Results();
  if (values.docs) {
    const known = all.flatMap((mutant) => {
      const judgement = results.last(mutant);
      return judgement === undefined ? [] : [/** @type {const} */ ([mutant.key, judgement])];
    });
    return { mutants: all, judged: new Map(known) };
  }
  if (!values.merge) {
    const own = shardOf(chosen, readShard(values.shard));
    return { mutants: own, judged: await judgeChosen(own, all, values, results) };
  }
  const judged = addParts(readParts(positionals), buildDigest());
  for (const mutant of chosen) {
    const judgement = judged.get(mutant.key);
    if (judgement !== undefined) results.keep(mutant, judgement);
  }
  results.save();
  return { mutants: chosen.filter(({ key }) => judged.has(key)), judged };
}

/**
 * What `--shard` and `--json` hand on.
 *
 * @param {ReturnType<typeof readOptions>["values"]} values
 * @param {readonly Mutant[]} chosen
 * @param {ReadonlyMap<string, Judgement>} judged
 * @returns {Part}
 */
function partOf(values, chosen, judged) {
  const { only, kind, sample, seed, tests, most } = values;
  const question = JSON.stringify([only, kind, sample, seed, tests, most, values["test-seconds"]]);
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
    const isNoticed =
      judgement !== undefined && (hasNoticed(judgement.check) || hasNoticed(judgement.tests));
    return isNoticed && reviewed[mutant.key] !== undefined;
  });
}

async function main() {
  const options = readOptions();
  const { values } = options;
  const all = findMutants(buildPath);
  const chosen = chosenOf(all, values);
  if (values.list) {
    for (const { key } of chosen) process.stdout.write(`${key}\n`);
    return;
  }
  const { mutants, judged } = await judgementsOf(options, all, chosen);
  const rows = mutants.map((mutant) => ({ mutant, judgement: judged.get(mutant.key) }));
  if (values.docs) writeFileSync(`${rootPath}${DOCS}`, renderTable(rows, reviewed));
  if (values.json) process.stdout.write(`${JSON.stringify(partOf(values, chosen, judged))}\n`);
  else {
    const survivors = rows.filter((row) => isSurvivor(row, reviewed));
    for (const { mutant } of survivors) process.stdout.write(`survives: ${mutant.key}\n`);
    process.stdout.write(`\n${summary(rows)}`);
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
    `npm run mutants: ${error instanceof Error ? error.message : String(error)}\n`,
  );
  process.exitCode = 2;
}
