/**
 * @module The kinds of processes that judge mutants: one explores scenarios, one looks what they
 * reach, one runs a test file. Each is ended if it hangs; such a mutant counts as noticed, by
 * timeout.
 */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { STANDSTILL } from "./watchdog.mjs";

/**
 * @typedef {import("./explore-child.mjs").ExploreOrder} ExploreOrder
 * @typedef {import("./explore-child.mjs").ExploreLine} ExploreLine
 * @typedef {import("./explore-child.mjs").Loading} Loading
 * @typedef {import("./reach-child.mjs").ReachLine} ReachLine
 * @typedef {import("./reach-child.mjs").ReachOrder} ReachOrder
 */

/** "standstill": the process ended itself for that, at the scenario after the last line. */
/** @typedef {"well" | "standstill" | "crash"} Ended */

/** A mutant that eats memory ends by itself. */
const HEAP_MIB = 1500;

/** @param {string} name */
const childPath = (name) => fileURLToPath(new URL(name, import.meta.url));

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
 * A process of ours that prints lines of JSON.
 *
 * @param {string} name Of its module, here.
 * @param {object} argument
 * @param {"ignore" | "pipe"} input
 * @param {(line: object) => void} onLine Of each but the last words of one that stands still.
 * @param {(ended: Ended) => void} onEnd
 */
function startChild(name, argument, input, onLine, onEnd) {
  const args = [`--max-old-space-size=${HEAP_MIB}`, childPath(name), JSON.stringify(argument)];
  const child = spawn(process.execPath, args, {
    env: plainEnvironment(),
    stdio: [input, "pipe", "ignore"],
  });
  running.add(child);
  let begun = "";
  let isStill = false;
  child.stdout?.setEncoding("utf8").on("data", (/** @type {string} */ more) => {
    const lines = `${begun}${more}`.split("\n");
    begun = lines.pop() ?? "";
    for (const line of lines.filter((text) => text.startsWith("{"))) {
      if (line === STANDSTILL) isStill = true;
      else onLine(JSON.parse(line));
    }
  });
  child.on("error", () => onEnd("crash"));
  child.on("close", (code) => {
    running.delete(child);
    onEnd(isStill ? "standstill" : code === 0 ? "well" : "crash");
  });
  return child;
}

/** A process that has loaded a build, and explores what it is told. */
export class Explorer {
  /** @readonly */
  #child;
  /** @type {ExploreLine[]} */
  #lines = [];
  /** @type {((ended: Ended) => void) | undefined} */
  #answer;
  /** @type {Ended | undefined} */
  #ended;

  /** @param {Loading} loading */
  constructor(loading) {
    this.#child = startChild(
      "explore-child.mjs",
      loading,
      "pipe",
      (line) => {
        if ("served" in line) this.#answer?.("well");
        else this.#lines.push(/** @type {ExploreLine} */ (line));
      },
      (ended) => {
        this.#ended = ended === "well" ? "crash" : ended;
        this.#answer?.(this.#ended);
      },
    );
    // What is written to one that has ended: its end says more.
    this.#child.stdin?.on("error", () => undefined);
  }

  get isGone() {
    return this.#ended !== undefined;
  }

  /**
   * @param {ExploreOrder} order
   * @returns {Promise<{ lines: ExploreLine[], ended: Ended }>}
   */
  async explore(order) {
    this.#lines = [];
    /** @type {Ended} */
    const ended = await new Promise((resolve) => {
      this.#answer = resolve;
      if (this.#ended !== undefined) resolve(this.#ended);
      this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
    });
    return { lines: this.#lines, ended };
  }

  end() {
    this.#child.kill("SIGKILL");
  }
}

/**
 * Looks what scenarios reach.
 *
 * @param {ReachOrder} order
 * @param {(line: ReachLine) => void} onLine
 * @returns {Promise<{ lines: ReachLine[], ended: Ended }>}
 */
export function reachInProcess(order, onLine) {
  return new Promise((resolve) => {
    /** @type {ReachLine[]} */
    const lines = [];
    startChild(
      "reach-child.mjs",
      order,
      "ignore",
      (given) => {
        const line = /** @type {ReachLine} */ (given);
        lines.push(line);
        onLine(line);
      },
      (ended) => resolve({ lines, ended }),
    );
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
