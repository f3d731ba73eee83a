/**
 * @module Derives a second graph of modules, in a folder `stepped` beside the output of tsc. It has
 * the same modules, but every function with the tag `@stepped` also has a stepping form, made from
 * its own text (scripts/stepping/rewrite.mjs). The explorer and its scenarios run from that graph.
 * All other programs load the first graph, which is unchanged.
 *
 * `node scripts/derive-steps.mjs dist .build`
 */

import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { SteppedGraph } from "./stepping/graph.mjs";
import { composed } from "./stepping/line-map.mjs";

const rootPath = fileURLToPath(new URL("../", import.meta.url));

/** @param {string} built */
function derive(built) {
  const from = `${rootPath}${built}/`;
  const to = `${from}stepped/`;
  const graph = new SteppedGraph(from);
  for (const path of graph.paths) write(from, to, path, graph.piecesOf(path));
  prune(to, new Set(graph.paths));
}

/**
 * @param {string} from
 * @param {string} to
 * @param {string} path
 * @param {import("./stepping/rewrite.mjs").Piece[] | undefined} pieces
 */
function write(from, to, path, pieces) {
  mkdirSync(dirname(`${to}${path}`), { recursive: true });
  const text =
    pieces === undefined
      ? readFileSync(`${from}${path}`, "utf8")
      : pieces.map((piece) => piece.text).join("");
  writeIfNew(`${to}${path}`, text);
  if (!existsSync(`${from}${path}.map`)) return;
  const map = JSON.parse(readFileSync(`${from}${path}.map`, "utf8"));
  const moved = {
    ...map,
    sources: map.sources.map((/** @type {string} */ source) => `../${source}`),
  };
  writeIfNew(
    `${to}${path}.map`,
    JSON.stringify(pieces === undefined ? moved : composed(moved, linesOf(pieces))),
  );
}

/** Keeps the time of a file that stays what it is. @param {string} file @param {string} text */
function writeIfNew(file, text) {
  if (existsSync(file) && readFileSync(file, "utf8") === text) return;
  writeFileSync(file, text);
}

/**
 * Of each line of the output, the line of the built module. @param {readonly { text: string, line:
 * number }[]} pieces
 */
function linesOf(pieces) {
  /** @type {number[]} */
  const lines = [];
  for (const { text, line } of pieces) {
    const breaks = text.split("\n").length - 1;
    if (lines.length === 0) lines.push(line);
    else if (lines.at(-1) !== line && breaks > 0) lines[lines.length - 1] = line;
    for (let i = 1; i <= breaks; i++) lines.push(line + i);
  }
  return lines;
}

/**
 * Takes out what no built file stands behind any more. @param {string} to @param
 * {ReadonlySet<string>} paths
 */
function prune(to, paths) {
  for (const entry of readdirSync(to, { recursive: true, encoding: "utf8" })) {
    const path = entry.replaceAll("\\", "/").replace(/\.map$/, "");
    if (!paths.has(path) && statSync(`${to}${entry}`).isFile()) rmSync(`${to}${entry}`);
  }
}

for (const built of process.argv.slice(2)) derive(built);
