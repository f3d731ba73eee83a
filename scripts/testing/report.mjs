/**
 * @module What `npm test` prints: a row for each stage as it ends, what failed right below it, and
 * the closing line.
 */

/** @typedef {import("./check.mjs").Check} Check */
/**
 * @typedef {{ id: string, title: string, checks: readonly Check[], seconds: number }} StageOutcome
 */

const detailLettersMax = 12_000;
/** Of a stage that takes longer, the files that took most of it are named. */
const longStageSeconds = 60;
const longFilesMax = 5;
const isTerminal = process.stdout.isTTY === true;
const clearLine = isTerminal ? "\r\u001B[2K" : "";

/** @param {string} text */
function print(text) {
  process.stdout.write(text);
}

/**
 * @param {readonly Check[]} checks
 * @param {Check["result"]} result
 */
function count(checks, result) {
  return checks.filter((check) => check.result === result).length;
}

/** @param {readonly string[]} cells */
function row([stage = "", result = "", checks = "", seconds = ""]) {
  return `${stage.padEnd(10)} ${result.padEnd(8)} ${seconds.padStart(8)}  ${checks}\n`;
}

export function printHeader() {
  print(row(["stage", "result", "checks", "seconds"]));
  print(row(["-".repeat(10), "-".repeat(8), "-".repeat(24), "-".repeat(8)]));
}

/**
 * On a terminal only: a line that the stage's row will overwrite.
 * @param {string} title
 * @param {number} done
 */
export function printProgress(title, done) {
  if (isTerminal) print(`${clearLine}${title.padEnd(10)} ...${done > 0 ? ` ${done}` : ""}`);
}

/** @param {StageOutcome} outcome */
function rowOf({ title, checks, seconds }) {
  const failed = count(checks, "failed");
  const skipped = count(checks, "skipped");
  const passed = count(checks, "passed");
  const result = failed > 0 ? "FAILED" : passed === 0 ? "not run" : "ok";
  const parts = [`${passed} passed`];
  if (failed > 0) parts.push(`${failed} failed`);
  if (skipped > 0) parts.push(`${skipped} skipped`);
  return row([title, result, parts.join(", "), seconds.toFixed(1)]);
}

/** @param {string} text */
function indent(text) {
  return text.replace(/^(?=.)/gm, "      ");
}

/** @param {StageOutcome} outcome */
export function printStage(outcome) {
  print(`${clearLine}${rowOf(outcome)}`);
  for (const { name, result, detail = "", hint } of outcome.checks) {
    if (result !== "failed") continue;
    print(`  x ${name}\n${indent(detail.slice(0, detailLettersMax))}\n`);
    if (hint !== undefined) print(`      again: ${hint}\n`);
  }
  for (const [reason, skipped] of skippedByReason(outcome.checks)) {
    print(`  - ${skipped} did not run: ${reason}\n`);
  }
  if (outcome.seconds < longStageSeconds) return;
  for (const [file, seconds] of longestFiles(outcome.checks))
    print(`  ${seconds.toFixed(0).padStart(4)} s in ${file}\n`);
}

/**
 * @param {readonly Check[]} checks
 * @returns {[file: string, seconds: number][]}
 */
function longestFiles(checks) {
  /** @type {Map<string, number>} */
  const byFile = new Map();
  for (const { file, seconds = 0 } of checks)
    if (file !== undefined) byFile.set(file, (byFile.get(file) ?? 0) + seconds);
  return [...byFile].toSorted(([, a], [, b]) => b - a).slice(0, longFilesMax);
}

/**
 * @param {readonly Check[]} checks
 * @returns {Map<string, number>}
 */
function skippedByReason(checks) {
  /** @type {Map<string, number>} */
  const reasons = new Map();
  for (const { result, detail = "no reason given" } of checks) {
    if (result === "skipped") reasons.set(detail, (reasons.get(detail) ?? 0) + 1);
  }
  return reasons;
}

/**
 * The table once more when failures have torn it apart, then the line that says how it went.
 * @param {readonly StageOutcome[]} outcomes
 * @returns {boolean} True when nothing failed.
 */
export function printSummary(outcomes) {
  const checks = outcomes.flatMap((outcome) => outcome.checks);
  const failed = count(checks, "failed");
  const skipped = count(checks, "skipped");
  if (failed > 0) {
    print("\n");
    printHeader();
    for (const outcome of outcomes) print(rowOf(outcome));
  }
  const tail = skipped > 0 ? `, ${skipped} skipped` : "";
  print(`\n${count(checks, "passed")} passed, ${failed} failed${tail}\n`);
  return failed === 0;
}
