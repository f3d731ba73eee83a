/**
 * @module What is recorded before mutants are tried: which scenarios and test files reach which
 * mutants, and how long each takes. Each is run once on a build with a call at every mutated place.
 * The record is valid as long as the build does not change.
 */

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { builtPath } from "../testing/node-tests.mjs";
import { digestOf } from "./find.mjs";
import { Lane, buildPath, rootPath } from "./lane.mjs";
import { exploreInProcess, testInProcess } from "./processes.mjs";
import { reachEnvironment, withCalls } from "./reach.mjs";

/** @typedef {import("./find.mjs").Mutant} Mutant */

/**
 * A scenario or a test file, and the keys of what it reaches. `prepared`: of what a scenario's
 * set-up alone reaches.
 *
 * @typedef {object} Witness
 * @property {string} name
 * @property {number} seconds
 * @property {readonly string[]} reached
 * @property {readonly string[]} prepared
 *
 * @typedef {object} Survey
 * @property {string} build
 * @property {readonly Witness[]} scenarios
 * @property {readonly (Witness & { readonly passes: boolean })[]} tests
 */

/** Where everything is kept that need not be committed. */
export const keptPath = `${rootPath}.mutants/`;
const surveyPath = `${keptPath}survey.json`;

/** Test folders that try the layers by other means than `hmm check` has. */
const TEST_FOLDERS = [
  "sync",
  "memory",
  "mmu",
  "notifier",
  "mm",
  "hmm",
  "host",
  "space",
  "devices",
  "checker",
];
/** A test of the unmutated build that takes longer has no part. */
const TEST_LIMIT_MS = 90_000;

/** @param {string} folder */
function digestOfFolder(folder) {
  const paths = readdirSync(`${buildPath}${folder}`, { recursive: true, encoding: "utf8" });
  const code = paths.filter((path) => path.endsWith(".js")).toSorted();
  return digestOf(
    code
      .map((path) => `${path}\n${readFileSync(`${buildPath}${folder}/${path}`, "utf8")}`)
      .join("\n"),
  );
}

/** Of all that is mutated or explores. */
export function buildDigest() {
  return digestOf(`${digestOfFolder("stepped/src")}${digestOfFolder("command/scenarios")}`);
}

/** Of the scenarios alone. */
export function scenariosDigest() {
  return digestOfFolder("command/scenarios");
}

/**
 * The test files that may notice something, from the build's folder. Those that explore run with
 * stepping forms.
 */
export function testPaths() {
  return TEST_FOLDERS.flatMap((folder) => {
    const path = `${rootPath}test/${folder}`;
    const names = existsSync(path)
      ? readdirSync(path).filter((name) => name.endsWith(".test.ts"))
      : [];
    return names.map((name) => builtPath(`${folder}/${name}`).slice(buildPath.length));
  });
}

/**
 * @param {Lane} lane
 * @param {readonly Mutant[]} mutants
 */
function instrument(lane, mutants) {
  for (const path of new Set(mutants.map((mutant) => mutant.path))) {
    const places = mutants.flatMap(({ path: own, at }, number) =>
      own === path ? [{ number, at }] : [],
    );
    lane.write(path, withCalls(readFileSync(`${buildPath}${path}`, "utf8"), places));
  }
}

/**
 * @param {readonly Mutant[]} mutants All that there are.
 * @param {boolean} withTests
 * @param {(name: string, done: number, total: number) => void} onProgress
 * @returns {Promise<Survey>}
 */
export async function survey(mutants, withTests, onProgress) {
  // What is reached is told by number, so a survey is of these mutants in this order.
  const build = `${buildDigest()}-${digestOf(mutants.map(({ key }) => key).join("\n"))}`;
  const kept = readSurvey();
  const isCurrent = kept?.build === build;
  if (isCurrent && (!withTests || kept.tests.length > 0)) return kept;
  const lane = new Lane();
  try {
    instrument(lane, mutants);
    const keys = mutants.map(({ key }) => key);
    const scenarios = isCurrent ? kept.scenarios : await surveyScenarios(lane, keys, onProgress);
    const tests = withTests ? await surveyTests(lane, keys, onProgress) : [];
    const fresh = { build, scenarios, tests };
    mkdirSync(keptPath, { recursive: true });
    writeFileSync(surveyPath, JSON.stringify(fresh));
    return fresh;
  } finally {
    lane.remove();
  }
}

/** @returns {Survey | undefined} */
function readSurvey() {
  return existsSync(surveyPath) ? JSON.parse(readFileSync(surveyPath, "utf8")) : undefined;
}

/** The names of the scenarios that ship, in their order. @returns {Promise<readonly string[]>} */
export async function scenarioNames() {
  const { scenarios } = await import(
    new URL("../../.build/stepped/command/scenarios/all.js", import.meta.url).href
  );
  return scenarios.map((/** @type {{ name: string }} */ { name }) => name);
}

/**
 * @param {Lane} lane
 * @param {readonly string[]} keys
 * @param {(name: string, done: number, total: number) => void} onProgress
 * @returns {Promise<Witness[]>}
 */
async function surveyScenarios(lane, keys, onProgress) {
  const names = await scenarioNames();
  onProgress("scenarios", 0, names.length);
  const order = { build: lane.url, scenarios: names, stops: false, reach: true, seconds: 0 };
  const { lines, ended } = await exploreInProcess(order);
  if (ended !== "well") {
    throw new Error(`Cannot begin: unmutated, the exploration ends with a ${ended}; mend it first`);
  }
  return lines.map(({ scenario, seconds, reached, prepared }) => {
    const byTasks = new Set(reached);
    const only = prepared.filter((number) => !byTasks.has(number));
    return {
      name: scenario,
      seconds,
      reached: keysOf(keys, reached),
      prepared: keysOf(keys, only),
    };
  });
}

/**
 * @param {readonly string[]} keys
 * @param {readonly number[]} numbers
 */
function keysOf(keys, numbers) {
  return numbers.map((number) => keys[number] ?? "").filter((key) => key !== "");
}

/**
 * @param {Lane} lane
 * @param {readonly string[]} keys
 * @param {(name: string, done: number, total: number) => void} onProgress
 */
async function surveyTests(lane, keys, onProgress) {
  const paths = testPaths();
  const list = join(tmpdir(), `hmm-mutants-reached-${process.pid}`);
  const tests = [];
  for (const [i, path] of paths.entries()) {
    onProgress(path, i, paths.length);
    rmSync(list, { force: true });
    const startMs = performance.now();
    const outcome = await testInProcess(
      lane.root,
      `.build/${path}`,
      TEST_LIMIT_MS,
      reachEnvironment(list),
    );
    const seconds = (performance.now() - startMs) / 1000;
    const numbers = existsSync(list)
      ? readFileSync(list, "utf8")
          .split("\n")
          .filter((line) => line !== "")
          .map(Number)
      : [];
    tests.push({
      name: path,
      seconds,
      reached: keysOf(keys, [...new Set(numbers)]),
      prepared: [],
      passes: outcome === "passed",
    });
  }
  rmSync(list, { force: true });
  return tests;
}
