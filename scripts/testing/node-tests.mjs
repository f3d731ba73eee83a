/**
 * @module Finds the test files of a stage, runs them with node:test, a process for each file, and
 * collects every test.
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { relative } from "node:path";
import { run } from "node:test";
import { reaches } from "./reaches.mjs";
import { rootPath } from "./run-command.mjs";

/** @typedef {import("./check.mjs").Check} Check */
/** @typedef {"tidy" | "browser" | "threads" | "unit" | ConsumerKind} TestKind */
/** @typedef {"compilers" | "bundlers" | "hosts"} ConsumerKind */

/**
 * Tests of what consumers run the package with; each has a folder, and tools of its own
 * (install-tools.mjs).
 * @type {readonly ConsumerKind[]}
 */
export const consumerKinds = ["compilers", "bundlers", "hosts"];

/**
 * Which stage a test file belongs to. Files that start Workers stand apart, because each of them
 * already uses every core.
 * @param {string} path From test/.
 * @returns {TestKind}
 */
function kindOf(path) {
  if (path.startsWith("tidy/")) return "tidy";
  if (path.startsWith("browser/")) return "browser";
  const consumer = consumerKinds.find((kind) => path.startsWith(`${kind}/`));
  if (consumer !== undefined) return consumer;
  const text = readFileSync(`${rootPath}test/${path}`, "utf8");
  return /^import .*"node:worker_threads"|\b(new Worker|spawnWorker|startWorkers?)\(/m.test(text)
    ? "threads"
    : "unit";
}

/**
 * @param {TestKind} kind
 * @returns {string[]} Paths from test/, sorted.
 */
function testFiles(kind) {
  if (!existsSync(`${rootPath}test`)) return [];
  const all = readdirSync(`${rootPath}test`, { recursive: true, encoding: "utf8" });
  return all
    .filter((path) => path.endsWith(".test.ts") && !path.includes("node_modules"))
    .filter((path) => kindOf(path) === kind)
    .toSorted();
}

/**
 * A test that explores runs from the derived modules (scripts/derive-steps.mjs), like the checker
 * itself.
 * @param {string} path From test/.
 */
export function builtPath(path) {
  // Tests of the scripts look at these folders from outside.
  const explores =
    !path.startsWith("scripts/") && reaches(`${rootPath}test/${path}`, `${rootPath}src/checker/`);
  return `${rootPath}.build/${explores ? "stepped/" : ""}test/${path.replace(/\.ts$/, ".js")}`;
}

/**
 * @param {TestKind} kind
 * @param {{ concurrency: number, timeoutMs: number, onProgress: (done: number) => void }} options
 * @returns {Promise<Check[]>}
 */
export async function runNodeTests(kind, options) {
  const paths = testFiles(kind);
  const built = paths.map((path) => builtPath(path));
  /** @type {Check[]} */
  const checks = [];
  for (const path of built.filter((one) => !existsSync(one))) {
    checks.push({ name: relative(rootPath, path), result: "failed", detail: "was not built" });
  }
  const files = built.filter((path) => existsSync(path));
  if (files.length > 0) await collect(files, checks, options);
  return checks;
}

/**
 * Suites are not counted, only the tests in them. A file that ends well but ran no test is a
 * failure: node reports it as one passed test with the file's own name.
 * @param {string[]} files
 * @param {Check[]} checks
 * @param {{ concurrency: number, timeoutMs: number, onProgress: (done: number) => void }} options
 */
async function collect(files, checks, { concurrency, timeoutMs, onProgress }) {
  /** @type {Map<string, string>} */
  const printed = new Map();
  /** @type {Map<string, number[]>} */
  const inner = new Map();
  for await (const event of run({ files, concurrency, timeout: timeoutMs })) {
    if (event.type === "test:stdout" || event.type === "test:stderr") {
      const { file = "", message } = event.data;
      printed.set(file, `${printed.get(file) ?? ""}${message}`.slice(-20_000));
    }
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const check = checkFromEvent(event, printed.get(event.data.file ?? "") ?? "");
    const seconds = ownSeconds(/** @type {EventData} */ (event.data), inner);
    if (check !== undefined) checks.push({ ...check, seconds });
    onProgress(checks.length);
  }
}

/**
 * How long a test took, without the tests in it, which are told of before it. A suite takes no time
 * of its own.
 * @param {EventData} data
 * @param {Map<string, number[]>} inner By file and nesting, the seconds of what was told of and is
 * in something that was not.
 */
function ownSeconds({ file = "", nesting, details }, inner) {
  const sums = inner.get(file) ?? [];
  inner.set(file, sums);
  const within = sums[nesting + 1] ?? 0;
  const whole = details.type === "suite" ? within : (details.duration_ms ?? 0) / 1000;
  sums[nesting + 1] = 0;
  sums[nesting] = (sums[nesting] ?? 0) + whole;
  return whole - within;
}

/**
 * @typedef {{ name: string, nesting: number, file?: string, skip?: string | boolean, details: {
 * type?: string, error?: unknown, duration_ms?: number } }} EventData
 */

/**
 * @param {{ type: string, data: object }} event
 * @param {string} printed What the file has printed so far.
 * @returns {Check | undefined} Undefined for a suite that has no failure of its own.
 */
function checkFromEvent(event, printed) {
  const data = /** @type {EventData} */ (event.data);
  const path = relative(rootPath, data.file ?? "");
  const isWholeFile = data.name === data.file;
  const name = isWholeFile ? path : `${path}: ${data.name}`;
  const hint = `node --enable-source-maps --test ${path}`;
  if (event.type === "test:fail") {
    // A suite fails when a test in it fails, and that test has been counted.
    if (data.details.type === "suite" && isOfSubtests(data.details.error)) return undefined;
    const context = isWholeFile ? printed.trim() : "";
    return {
      name,
      result: "failed",
      hint,
      detail: `${describeError(data.details.error)}\n${context}`.trim(),
    };
  }
  if (data.details.type === "suite") return undefined;
  if (data.skip !== undefined) return { name, result: "skipped", detail: String(data.skip) };
  if (isWholeFile) return { name, result: "failed", hint, detail: "ran no test at all" };
  return { name, result: "passed", file: path };
}

/** @param {unknown} error */
function isOfSubtests(error) {
  return error instanceof Error && "failureType" in error && error.failureType === "subtestsFailed";
}

/**
 * node:test wraps what a test threw; the cause is what the reader wants, without the frames of node
 * itself.
 * @param {unknown} error
 * @returns {string}
 */
function describeError(error) {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  const stack = cause.stack ?? String(cause);
  const text = stack.includes(cause.message) ? stack : `${cause.message}\n${stack}`;
  const lines = text.split("\n").filter((line) => !/^\s+at .*\(?node:internal/.test(line));
  return lines.slice(0, 60).join("\n");
}
