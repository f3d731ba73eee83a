/**
 * @module What a source file reaches by its imports: which tests explore, and so run from the
 * derived modules.
 */

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

const imported = /^(?:import|export)\b[^"';]*?from "(\.[^"]+)"|^import "(\.[^"]+)"/gm;

/** @type {Map<string, readonly string[]>} */
const importsOf = new Map();

/** @param {string} path @returns {readonly string[]} */
function imports(path) {
  const known = importsOf.get(path);
  if (known !== undefined) return known;
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const found = [...text.matchAll(imported)].map((match) =>
    join(dirname(path), match[1] ?? match[2] ?? ""),
  );
  importsOf.set(path, found);
  return found;
}

/**
 * Whether the file, or anything that it imports, lies below `folder`.
 * @param {string} path
 * @param {string} folder With `/` at its end.
 */
export function reaches(path, folder) {
  const seen = new Set([path]);
  for (const one of seen) {
    if (one.startsWith(folder)) return true;
    for (const next of imports(one)) seen.add(next);
  }
  return false;
}
