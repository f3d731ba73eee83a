/**
 * @module What is recorded before mutants are tried: which scenarios and test files reach which
 * mutants, and how long each takes. Each is run once on a build with a call at every mutated place,
 * and again when its own code has changed. When that of src/ has changed, what is known stays: it
 * is an hour's work for all, and nearly always still so.
 */

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { builtPath } from "../testing/node-tests.mjs";
import { digestOf } from "./find.mjs";
import { Lane, buildPath, rootPath } from "./lane.mjs";
import { functionOf } from "./likely.mjs";
import { reachInProcess, testInProcess } from "./processes.mjs";
import { reachEnvironment, withCalls } from "./reach.mjs";

/** @typedef {import("./find.mjs").Mutant} Mutant */

/**
 * A scenario, and the keys of what it reaches. `prepared`: of what its set-up alone reaches.
 *
 * @typedef {object} ScenarioWitness
 * @property {string} name
 * @property {string} digest Of its code.
 * @property {number} seconds
 * @property {readonly string[]} reached
 * @property {readonly string[]} prepared
 *
 * A test file, and the functions that it reaches.
 * @typedef {object} TestWitness
 * @property {string} name
 * @property {string} digest
 * @property {number} seconds
 * @property {readonly string[]} functions
 * @property {boolean} passes
 *
 * @typedef {object} Survey
 * @property {readonly string[]} keys The mutants that there were when each scenario was looked at.
 * @property {readonly ScenarioWitness[]} scenarios
 * @property {readonly TestWitness[]} tests
 */

/** Where everything is kept that need not be committed. */
export const keptPath = `${rootPath}.mutants/`;
const surveyPath = `${keptPath}survey.json`;
/** Of its format. */
const VERSION = 3;

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

/**
 * The test files that may notice something, from the build's folder. Those that explore run with
 * stepping forms.
 */
export function testPaths() {
  return TEST_FOLDERS.flatMap((folder) => {
    const path = `${rootPath}test/${folder}`;
    const names = existsSync(path)
      ? readdirSync(path, { recursive: true, encoding: "utf8" }).filter((name) =>
          name.endsWith(".test.ts"),
        )
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
 * @typedef {object} SurveyOptions
 * @property {readonly Mutant[]} mutants All that there are.
 * @property {ReadonlyMap<string, string>} scenarios The digests of those that ship, by name.
 * @property {boolean} withTests
 * @property {boolean} isWhole Nothing that is known counts.
 * @property {number} jobs
 * @property {(name: string, done: number, total: number) => void} onProgress
 */

/** A survey that does not know so many of the mutants is made anew. */
const UNKNOWN_SHARE = 0.2;

/**
 * @param {SurveyOptions} options
 * @returns {Promise<Survey>}
 */
export async function survey({ mutants, scenarios, withTests, isWhole, jobs, onProgress }) {
  const keys = mutants.map(({ key }) => key);
  const kept = isWhole ? undefined : readSurvey(keys);
  const known = kept?.scenarios.filter(({ name, digest }) => scenarios.get(name) === digest) ?? [];
  const has = new Set(known.map(({ name }) => name));
  const missing = [...scenarios.keys()].filter((name) => !has.has(name));
  const tests = kept?.tests ?? [];
  const isTested = testPaths().every((path) => tests.some((test) => isOf(test, path)));
  if (kept !== undefined && missing.length === 0 && (!withTests || isTested)) return kept;
  const lane = new Lane();
  try {
    instrument(lane, mutants);
    const names = { missing, scenarios };
    const more = await surveyScenarios(lane, keys, names, jobs, onProgress);
    const inForce = new Set(keys);
    const whole = {
      keys: kept === undefined ? keys : kept.keys.filter((key) => inForce.has(key)),
      scenarios: [...known, ...more],
      tests,
    };
    keepSurvey(whole);
    if (!withTests) return whole;
    const tested = { ...whole, tests: await surveyTests(lane, keys, tests, onProgress) };
    keepSurvey(tested);
    return tested;
  } finally {
    lane.remove();
  }
}

/**
 * What is known, unless it is of too many other mutants.
 *
 * @param {readonly string[]} keys
 * @returns {Survey | undefined}
 */
function readSurvey(keys) {
  if (!existsSync(surveyPath)) return undefined;
  const { version, ...kept } = JSON.parse(readFileSync(surveyPath, "utf8"));
  if (version !== VERSION) return undefined;
  const known = new Set(kept.keys);
  const unknown = keys.filter((key) => !known.has(key));
  return unknown.length > keys.length * UNKNOWN_SHARE ? undefined : kept;
}

/** @param {Survey} known */
function keepSurvey(known) {
  mkdirSync(keptPath, { recursive: true });
  writeFileSync(surveyPath, JSON.stringify({ version: VERSION, ...known }));
}

/** As many as one process looks at: what they leave in memory adds up. */
const AT_ONCE = 60;

/**
 * @param {Lane} lane
 * @param {readonly string[]} keys
 * @param {{ readonly missing: readonly string[] } & Pick<SurveyOptions, "scenarios">} names
 * @param {number} jobs
 * @param {SurveyOptions["onProgress"]} onProgress
 * @returns {Promise<ScenarioWitness[]>}
 */
async function surveyScenarios(lane, keys, { missing, scenarios }, jobs, onProgress) {
  const waiting = Array.from({ length: Math.ceil(missing.length / AT_ONCE) }, (_, i) =>
    missing.slice(i * AT_ONCE, (i + 1) * AT_ONCE),
  );
  /** @type {Map<string, ScenarioWitness>} */
  const found = new Map();
  const work = async () => {
    for (let some = waiting.shift(); some !== undefined; some = waiting.shift()) {
      const order = { build: lane.url, scenarios: some };
      const { ended } = await reachInProcess(order, ({ scenario, seconds, reached, prepared }) => {
        const byTasks = new Set(reached);
        const only = prepared.filter((number) => !byTasks.has(number));
        found.set(scenario, {
          name: scenario,
          digest: scenarios.get(scenario) ?? "",
          seconds,
          reached: keysOf(keys, reached),
          prepared: keysOf(keys, only),
        });
        onProgress(scenario, found.size, missing.length);
      });
      if (ended !== "well") {
        throw new Error(
          `Cannot begin: unmutated, the exploration ends with a ${ended}; mend it first`,
        );
      }
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return missing.flatMap((name) => found.get(name) ?? []);
}

/**
 * @param {readonly string[]} keys
 * @param {readonly number[]} numbers
 */
function keysOf(keys, numbers) {
  return numbers.map((number) => keys[number] ?? "").filter((key) => key !== "");
}

/** @param {string} path */
function digestOfTest(path) {
  return digestOf(readFileSync(`${buildPath}${path}`, "utf8"));
}

/**
 * Whether this is what is known of the test file as it is.
 *
 * @param {TestWitness} test
 * @param {string} path
 */
function isOf(test, path) {
  return test.name === path && test.digest === digestOfTest(path);
}

/**
 * Which functions a test file reaches stays known as long as the file is the same: nearly always it
 * is still so when other code has changed, and to run all files once more takes an hour.
 *
 * @param {Lane} lane
 * @param {readonly string[]} keys
 * @param {readonly TestWitness[]} kept
 * @param {SurveyOptions["onProgress"]} onProgress
 * @returns {Promise<TestWitness[]>}
 */
async function surveyTests(lane, keys, kept, onProgress) {
  const paths = testPaths();
  /** @type {TestWitness[]} */
  const tests = [];
  for (const [i, path] of paths.entries()) {
    onProgress(path, i, paths.length);
    const known = kept.find((test) => isOf(test, path));
    tests.push(known ?? (await surveyTest(lane, keys, path)));
  }
  return tests;
}

/**
 * @param {Lane} lane
 * @param {readonly string[]} keys
 * @param {string} path
 * @returns {Promise<TestWitness>}
 */
async function surveyTest(lane, keys, path) {
  const list = join(tmpdir(), `hmm-mutants-reached-${process.pid}`);
  rmSync(list, { force: true });
  const startMs = performance.now();
  const environment = reachEnvironment(list);
  const outcome = await testInProcess(lane.root, `.build/${path}`, TEST_LIMIT_MS, environment);
  const seconds = (performance.now() - startMs) / 1000;
  const lines = existsSync(list) ? readFileSync(list, "utf8").split("\n") : [];
  rmSync(list, { force: true });
  const numbers = lines.filter((line) => line !== "").map(Number);
  const functions = new Set(keysOf(keys, numbers).map((key) => functionOf({ key })));
  const passes = outcome === "passed";
  return { name: path, digest: digestOfTest(path), seconds, functions: [...functions], passes };
}
