/**
 * @module Finds the TypeScript in the documentation: fenced blocks of README.md and docs/*.md, and
 * those under `@example` in the doc comments of src/. A fence says ```ts and may add:
 * `file=child.ts` (a file that the document's other blocks may start or import, not run by itself;
 * further blocks with the same name go on with it),
 * `no-run` (compiled only, say because it needs a GPU), `fragment` (neither), or `explores` (run
 * with the condition under which all entries of the package are those of the checker).
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { rootPath } from "./run-command.mjs";

/**
 * @typedef {object} Snippet
 * @property {string} path The document, from the repository's root.
 * @property {number} line Of the opening fence, counted from 1.
 * @property {string} code
 * @property {string | undefined} fileName
 * @property {boolean} runs
 * @property {boolean} explores
 */

/** @returns {string[]} */
function documentPaths() {
  const docs = existsSync(`${rootPath}docs`)
    ? readdirSync(`${rootPath}docs`, { recursive: true, encoding: "utf8" })
    : [];
  const sources = readdirSync(`${rootPath}src`, { recursive: true, encoding: "utf8" });
  return [
    ...["README.md"].filter((path) => existsSync(rootPath + path)),
    ...docs.filter((path) => path.endsWith(".md")).map((path) => `docs/${path}`),
    ...sources.filter((path) => path.endsWith(".ts")).map((path) => `src/${path}`),
  ];
}

/** @returns {Snippet[]} */
export function findSnippets() {
  return documentPaths().flatMap((path) => {
    const text = readFileSync(rootPath + path, "utf8");
    return snippetsIn(path, path.endsWith(".md") ? text : examplesOnly(text));
  });
}

/**
 * A source file with everything blanked but the `@example` parts of its doc comments, so that line
 * numbers stay.
 * @param {string} source
 * @returns {string}
 */
function examplesOnly(source) {
  let inComment = false;
  let inExample = false;
  const lines = source.split("\n").map((line) => {
    if (!inComment && /^\s*\/\*\*/.test(line)) inComment = true;
    if (!inComment) return "";
    const text = line.replace(/^\s*\/?\*+\/? ?/, "");
    if (/^@example\b/.test(text)) inExample = true;
    else if (/^@\w/.test(text)) inExample = false;
    const isLast = line.includes("*/");
    const kept = inExample && !isLast ? text : "";
    if (isLast) inComment = inExample = false;
    return kept;
  });
  return lines.join("\n");
}

/**
 * @param {string} path
 * @param {string} text
 * @returns {Snippet[]}
 */
function snippetsIn(path, text) {
  /** @type {Snippet[]} */
  const snippets = [];
  const lines = text.split("\n");
  for (let start = 0; start < lines.length; start++) {
    const opening = /^(\s*)```(\S*)(.*)$/.exec(lines[start] ?? "");
    if (opening === null) continue;
    let end = start + 1;
    while (end < lines.length && !/^\s*```\s*$/.test(lines[end] ?? "")) end++;
    const [, margin = "", language = "", flags = ""] = opening;
    const words = flags.trim().split(/\s+/);
    if (/^(ts|typescript)$/.test(language) && !words.includes("fragment")) {
      const code = lines.slice(start + 1, end).map((line) => line.slice(margin.length));
      const fileName = words.find((word) => word.startsWith("file="))?.slice("file=".length);
      const runs = fileName === undefined && !words.includes("no-run");
      const explores = words.includes("explores");
      snippets.push({ path, line: start + 1, code: code.join("\n"), fileName, runs, explores });
    }
    start = end;
  }
  return snippets;
}
