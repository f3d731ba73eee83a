/**
 * @module Finds the mutants of a build: it reads the built JavaScript of the layers that
 * synchronise, and applies every kind. A mutant is data. Its key identifies it in later runs, as
 * long as the statement and the function around it keep their names.
 */

import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { SourceMap } from "node:module";
import { findAll, kinds } from "./kinds.mjs";
import { functionAround, functionName, isFunction, oneLine, parse } from "./syntax.mjs";

/**
 * @typedef {import("./kinds.mjs").Edit} Edit
 * @typedef {import("./kinds.mjs").Found} Found
 * @typedef {import("./syntax.mjs").Visited} Visited
 */

/**
 * @typedef {object} MutantPlace
 * @property {number} start
 * @property {number} end
 * @property {"statement" | "declaration" | "expression"} shape
 */

/**
 * @typedef {object} Mutant
 * @property {string} key `mm/entries/zap.clearRange flush: yield* mm.shootdown.flush(first,
 *   end); is missing`
 * @property {string} path Of the built file, from the folder of the build: `src/mm/entries/zap.js`.
 * @property {string} module `mm/entries/zap`
 * @property {string} kind
 * @property {string} what What is done, on one line.
 * @property {string} place `src/mm/entries/zap.ts:68`
 * @property {readonly Edit[]} edits In the built file, none inside another.
 * @property {MutantPlace} at What must run for it to matter.
 * @property {string} digest Of the function that it stands in and of what is done to it.
 */

/**
 * The line of the source that a line and column of the built file come from, all counted from 0.
 *
 * @typedef {(line: number, column: number) => number} SourceLine
 */

/** The layers that hold the product's own synchronisation, lowest first. */
export const LAYERS = [
  "sync",
  "memory",
  "mmu",
  "notifier",
  "mm",
  "hmm",
  "host",
  "space",
  "devices",
];

/**
 * What synchronises nothing: tables, texts, and the watchers of debug builds, which tests of their
 * own hold to what they say.
 */
const NO_PART = new Map([
  ["sync/lockdep/lockdep", "a watcher of debug builds"],
  ["sync/lockdep/lock-order", "a table, and a watcher of debug builds"],
  ["sync/lock-class", "a table"],
  ["sync/tasks/explored", "the checker's table"],
  ["sync/tasks/task", "what tasks are"],
  ["sync/runners/stepping", "what an explorer sees of an access"],
  ["sync/runners/stepping/accesses", "the same"],
  ["sync/runners/stepping/calls", "the same"],
  ["sync/runners/stepping/futexes", "the same"],
  ["sync/runners/stepping/noted", "the same"],
  ["sync/runners/stepping/offered", "the same"],
  ["sync/errors", "texts"],
  ["sync/atomics", "thin names of Atomics"],
  ["memory/layout/poison", "a watcher of debug builds"],
  ["memory/layout/struct", "accessors, and a watcher of debug builds"],
  ["devices/software/device-worker.joined", "the modules of a Worker once more"],
]);

const KEY_TEXT_LIMIT = 160;

/** @param {string} text */
export function digestOf(text) {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/**
 * The built modules that may have mutants, as `mm/zap`, layer by layer.
 *
 * @param {string} build The folder of the build, with a slash at its end.
 */
export function modulesOf(build) {
  return LAYERS.flatMap((layer) => {
    const names = readdirSync(`${build}src/${layer}`, { recursive: true, encoding: "utf8" });
    return names
      .filter((name) => name.endsWith(".js"))
      .toSorted()
      .map((name) => `${layer}/${name.replace(/\.js$/, "")}`)
      .filter((module) => !NO_PART.has(module));
  });
}

/**
 * @param {string} build
 * @param {(module: string) => boolean} wanted
 * @returns {Mutant[]}
 */
export function findMutants(build, wanted = () => true) {
  return modulesOf(build)
    .filter(wanted)
    .flatMap((module) => mutantsOf(build, module));
}

/**
 * @param {string} build
 * @param {string} module
 */
function mutantsOf(build, module) {
  const path = `src/${module}.js`;
  const text = readFileSync(`${build}${path}`, "utf8");
  const map = new SourceMap(JSON.parse(readFileSync(`${build}${path}.map`, "utf8")));
  return mutantsOfText(module, text, (line, column) => {
    const entry = map.findEntry(line, column);
    return "originalLine" in entry ? entry.originalLine : line;
  });
}

/**
 * @param {string} module
 * @param {string} text Built.
 * @param {SourceLine} [lines]
 * @returns {Mutant[]}
 */
export function mutantsOfText(module, text, lines = (line) => line) {
  const root = parse(module, text);
  /** @type {Map<string, number>} */
  const seen = new Map();
  return kinds.flatMap((kind) =>
    findAll(kind, root, text).map(({ found, visited }) => {
      const mutant = mutantOf(module, kind.name, found, visited, text, lines);
      const again = (seen.get(mutant.key) ?? 0) + 1;
      seen.set(mutant.key, again);
      return again === 1 ? mutant : { ...mutant, key: `${mutant.key} (${again})` };
    }),
  );
}

/**
 * @param {string} module
 * @param {string} kind
 * @param {Found} found
 * @param {Visited} visited
 * @param {string} text
 * @param {SourceLine} lines
 * @returns {Mutant}
 */
function mutantOf(module, kind, found, visited, text, lines) {
  const { at, edits, what } = found;
  const own = isFunction(visited.node) ? visited.node : functionAround(visited)?.node;
  const around = own === undefined ? text : text.slice(own.start, own.end);
  const short = what.length > KEY_TEXT_LIMIT ? `${what.slice(0, KEY_TEXT_LIMIT)}…` : what;
  return {
    key: `${module}.${nameOf(visited)} ${kind}: ${short}`,
    path: `src/${module}.js`,
    module,
    kind,
    what,
    place: `src/${module}.ts:${sourceLine(lines, text, at.start)}`,
    edits: withoutInner(edits),
    at: { start: at.start, end: at.end, shape: shapeOf(at.type) },
    digest: digestOf(`${oneLine(around)}\n${kind}\n${what}`),
  };
}

/**
 * The function that is mutated: the one around the node, or the node.
 *
 * @param {Visited} visited
 */
function nameOf(visited) {
  return isFunction(visited.node)
    ? functionName({ node: visited.node, parent: visited, field: "" })
    : functionName(visited);
}

/**
 * @param {string} type
 * @returns {Mutant["at"]["shape"]}
 */
function shapeOf(type) {
  if (type.endsWith("Declaration")) return "declaration";
  return type.endsWith("Statement") ? "statement" : "expression";
}

/**
 * @param {SourceLine} lines
 * @param {string} text
 * @param {number} offset
 */
function sourceLine(lines, text, offset) {
  const before = text.slice(0, offset).split("\n");
  return lines(before.length - 1, before.at(-1)?.length ?? 0) + 1;
}

/**
 * @param {readonly Edit[]} edits
 * @returns {Edit[]}
 */
function withoutInner(edits) {
  return edits.filter(
    (edit) =>
      !edits.some((other) => other !== edit && other.start <= edit.start && edit.end <= other.end),
  );
}

/**
 * The built file with the mutant in it.
 *
 * @param {string} text
 * @param {readonly Edit[]} edits
 */
export function applyEdits(text, edits) {
  let result = text;
  for (const { start, end, text: fresh } of edits.toSorted((a, b) => b.start - a.start)) {
    result = result.slice(0, start) + fresh + result.slice(end);
  }
  return result;
}
