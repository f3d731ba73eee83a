/**
 * @module What every stage hands back: a list of checks. A check is one thing that passed, failed
 * or could not be done here; `detail` says what to look at, and a stage that hands back none has
 * itself failed (a test of nothing).
 */

import { runTool } from "./run-command.mjs";

/**
 * @typedef {object} Check
 * @property {string} name
 * @property {"passed" | "failed" | "skipped"} result
 * @property {string} [detail] Of a failure, enough to act; of a skip, the reason.
 * @property {string} [hint] How to run this one alone.
 * @property {string} [file] Of a test that passed: where it stands, and how long it took.
 * @property {number} [seconds]
 */

/**
 * @typedef {object} Stage
 * @property {string} id As `--only` names it.
 * @property {string} title
 * @property {boolean} needsBuild True when it runs what the build stage makes.
 * @property {(onProgress: (done: number) => void) => Promise<Check[]>} run
 */

/**
 * @param {string} name
 * @param {import("./run-command.mjs").CommandResult} result
 * @returns {Check}
 */
export function checkFromCommand(name, result) {
  if (result.ok) return { name, result: "passed" };
  return { name, result: "failed", detail: `${result.output.trim()}\n(${result.status})`.trim() };
}

/**
 * A check that runs one installed tool.
 * @param {string} name
 * @param {string} tool
 * @param {readonly string[]} args
 * @returns {Promise<Check>}
 */
export async function checkTool(name, tool, args) {
  const check = checkFromCommand(name, await runTool(tool, args));
  return check.result === "failed" ? { ...check, hint: ["npx", tool, ...args].join(" ") } : check;
}
