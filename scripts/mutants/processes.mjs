/**
 * @module The two kinds of processes that judge a mutant: one explores scenarios, one runs a test
 * file. Both are ended if they hang; such a mutant counts as noticed, by timeout.
 */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { STANDSTILL } from "./watchdog.mjs";

/**
 * @typedef {import("./explore-child.mjs").ExploreOrder} ExploreOrder
 * @typedef {import("./explore-child.mjs").ExploreLine} ExploreLine
 */

/** A mutant that eats memory ends by itself. */
const HEAP_MIB = 1500;

const childPath = fileURLToPath(new URL("./explore-child.mjs", import.meta.url));

/** Ours would make node:test report to the run that started this one. */
function plainEnvironment() {
  const { NODE_TEST_CONTEXT: _ours, NODE_OPTIONS: _options, ...rest } = process.env;
  return { ...rest, NO_COLOR: "1" };
}

/** @type {Set<import("node:child_process").ChildProcess>} */
const running = new Set();

/** Ends every process that is under way. */
export function killAll() {
  for (const child of running) child.kill("SIGKILL");
}

/**
 * Explores. "standstill": the process ended itself for that, at the scenario after the last line.
 *
 * @param {ExploreOrder} order
 * @returns {Promise<{ lines: ExploreLine[], ended: "well" | "standstill" | "crash" }>}
 */
export function exploreInProcess(order) {
  return new Promise((resolve, reject) => {
    const args = [`--max-old-space-size=${HEAP_MIB}`, childPath, JSON.stringify(order)];
    const child = spawn(process.execPath, args, {
      env: plainEnvironment(),
      stdio: ["ignore", "pipe", "ignore"],
    });
    running.add(child);
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (/** @type {string} */ more) => {
      text += more;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      running.delete(child);
      const said = text.split("\n").filter((line) => line.startsWith("{"));
      const lines = said.filter((line) => line !== STANDSTILL).map((line) => JSON.parse(line));
      const isStill = said.length > lines.length;
      resolve({ lines, ended: isStill ? "standstill" : code === 0 ? "well" : "crash" });
    });
  });
}

/**
 * Runs one built test file.
 *
 * @param {string} root The lane's.
 * @param {string} path From there.
 * @param {number} limitMs
 * @param {Readonly<Record<string, string>>} [environment]
 * @returns {Promise<"passed" | "failed" | "time-out">}
 */
export function testInProcess(root, path, limitMs, environment = {}) {
  return new Promise((resolve, reject) => {
    const args = [`--max-old-space-size=${HEAP_MIB}`, path];
    const env = { ...plainEnvironment(), ...environment };
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: "ignore" });
    running.add(child);
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill("SIGKILL");
    }, limitMs);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      running.delete(child);
      resolve(isLate ? "time-out" : code === 0 ? "passed" : "failed");
    });
  });
}
