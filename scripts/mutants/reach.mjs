/**
 * @module Which programs reach which mutants: each mutated place reports, once in a process, that
 * it was reached. `reachedIn` is inserted into a copy of the build. Such a process imports this
 * module first (`--import`), and so do its threads.
 */

import { appendFileSync } from "node:fs";

/**
 * The name of the function that a reached place calls, and of the file that a process appends to.
 */
const CALL = "__mutantReached";
const FILE_VARIABLE = "HMM_MUTANTS_REACHED";

/**
 * @typedef {import("./find.mjs").Mutant} Mutant
 */

/**
 * The built file with a call at the place of each of its mutants.
 *
 * @param {string} text
 * @param {readonly { readonly number: number, readonly at: Mutant["at"] }[]} places
 */
export function withCalls(text, places) {
  // At one offset what ends comes before what begins, inner ends before outer ones, outer
  // beginnings before inner ones.
  /** @type {{ offset: number, rank: number, text: string }[]} */
  const insertions = [];
  for (const { number, at } of places) {
    const { start, end, shape } = at;
    const length = end - start;
    const [open, close] = wrapping(number, shape);
    insertions.push(
      { offset: start, rank: 1e9 - length, text: open },
      { offset: end, rank: length - 1e9, text: close },
    );
  }
  insertions.sort((a, b) => b.offset - a.offset || b.rank - a.rank);
  let result = text;
  for (const { offset, text: fresh } of insertions)
    result = result.slice(0, offset) + fresh + result.slice(offset);
  return result;
}

/**
 * @param {number} number
 * @param {Mutant["at"]["shape"]} shape
 * @returns {readonly [string, string]}
 */
function wrapping(number, shape) {
  const call = `${CALL}(${number})`;
  if (shape === "declaration") return [`${call};`, ""];
  return shape === "statement" ? [`{${call};`, "}"] : [`(${call},`, ")"];
}

/** @type {Set<number>} */
let reached = new Set();

/** What was reached in this thread since the last time. */
export function takeReached() {
  const taken = [...reached];
  reached = new Set();
  return taken;
}

/** Installs the function that places call, in this thread. */
export function listen() {
  const path = process.env[FILE_VARIABLE];
  Reflect.set(globalThis, CALL, (/** @type {number} */ number) => {
    if (reached.has(number)) return;
    reached.add(number);
    if (path !== undefined) appendFileSync(path, `${number}\n`);
  });
}

/**
 * The environment of a process whose threads append what they reach to `path`.
 *
 * @param {string} path
 */
export function reachEnvironment(path) {
  return {
    [FILE_VARIABLE]: path,
    NODE_OPTIONS: `--import ${new URL("./reach-listener.mjs", import.meta.url).href}`,
  };
}
