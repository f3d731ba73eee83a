/**
 * @module Derives, from what tsc built, a second graph of modules in a folder `stepped` beside it: the same modules, in which
 * every function marked `@stepped` has a stepping form made from its own text (scripts/stepping/rewrite.mjs). The explorer
 * and its scenarios run from that graph; everybody else loads the first one, which is not touched.
 *
 * `node scripts/derive-steps.mjs dist .build`
 */

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { factsOf } from "./stepping/module-facts.mjs";
import { composed } from "./stepping/line-map.mjs";
import { rewrite } from "./stepping/rewrite.mjs";

/** @typedef {import("./stepping/module-facts.mjs").ModuleFacts} ModuleFacts */

const rootPath = fileURLToPath(new URL("../", import.meta.url));
/** Of what is built, what the stepped graph has. */
const copied = /^(?:src|scenarios|test|bench)\/.*\.js$/;
/** Whose functions may be marked and are rewritten: the layers below the checker. */
const derived = /^src\/(?:sync|memory|mm|notifier|hmm|host|space|devices)\//;
const RUNTIME = "src/sync/stepping.js";

/** @param {string} built */
function derive(built) {
  const from = `${rootPath}${built}/`;
  const to = `${from}stepped/`;
  const paths = readdirSync(from, { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => copied.test(path));
  const modules = new Map(paths.filter((path) => derived.test(path)).map((path) => [path, readFacts(from, path)]));
  const stepped = methodNames(modules.values(), (isSpelled) => !isSpelled);
  const spelled = methodNames(modules.values(), (isSpelled) => isSpelled);
  // A method is called by its name alone, so that a name could not mean both.
  const ambiguous = [...stepped].filter((name) => spelled.has(name));
  if (ambiguous.length > 0) throw new Error(`@stepped and @spelled methods have the same name: ${ambiguous.join(", ")}`);
  const marked = {
    ofFunction: (/** @type {string} */ module, /** @type {string} */ name) =>
      modules.get(module)?.plainFunctions.get(name),
    isStepped: (/** @type {string} */ name) => stepped.has(name),
    isSpelled: (/** @type {string} */ name) => spelled.has(name),
  };
  for (const path of paths) {
    const facts = modules.get(path);
    const pieces =
      facts === undefined || path === RUNTIME ? undefined : rewrite(facts, marked, relativeTo(path, RUNTIME));
    write(from, to, path, pieces);
  }
  prune(to, new Set(paths));
}

/**
 * @param {Iterable<ModuleFacts>} modules
 * @param {(isSpelled: boolean) => boolean} isWanted
 */
function methodNames(modules, isWanted) {
  const names = [...modules].flatMap((facts) => [...facts.methodNames]);
  return new Set(names.filter(([, isSpelled]) => isWanted(isSpelled)).map(([name]) => name));
}

/** @param {string} from @param {string} path */
function readFacts(from, path) {
  return factsOf(path, readFileSync(`${from}${path}`, "utf8"));
}

/** @param {string} path @param {string} target */
function relativeTo(path, target) {
  const relative = posix.relative(posix.dirname(path), target);
  return relative.startsWith(".") ? relative : `./${relative}`;
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
    pieces === undefined ? readFileSync(`${from}${path}`, "utf8") : pieces.map((piece) => piece.text).join("");
  writeIfNew(`${to}${path}`, text);
  if (!existsSync(`${from}${path}.map`)) return;
  const map = JSON.parse(readFileSync(`${from}${path}.map`, "utf8"));
  const moved = { ...map, sources: map.sources.map((/** @type {string} */ source) => `../${source}`) };
  writeIfNew(`${to}${path}.map`, JSON.stringify(pieces === undefined ? moved : composed(moved, linesOf(pieces))));
}

/** Keeps the time of a file that stays what it is. @param {string} file @param {string} text */
function writeIfNew(file, text) {
  if (existsSync(file) && readFileSync(file, "utf8") === text) return;
  writeFileSync(file, text);
}

/** Of each line of the output, the line of the built module. @param {readonly { text: string, line: number }[]} pieces */
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

/** Takes out what no built file stands behind any more. @param {string} to @param {ReadonlySet<string>} paths */
function prune(to, paths) {
  for (const entry of readdirSync(to, { recursive: true, encoding: "utf8" })) {
    const path = entry.replaceAll("\\", "/").replace(/\.map$/, "");
    if (!paths.has(path) && statSync(`${to}${entry}`).isFile()) rmSync(`${to}${entry}`);
  }
}

for (const built of process.argv.slice(2)) derive(built);
