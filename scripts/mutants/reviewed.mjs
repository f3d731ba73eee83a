/**
 * @module Mutants that people have looked at and found to change nothing that anybody could notice,
 * each with the reason. Kept in reviewed.json by key; one whose mutant is gone, or was noticed
 * after all, is an error: the reason was about other code.
 */

import { readFileSync } from "node:fs";

/** @type {Readonly<Record<string, string>>} */
export const reviewed = JSON.parse(
  readFileSync(new URL("./reviewed.json", import.meta.url), "utf8"),
);

/**
 * The keys that fit no mutant any more.
 *
 * @param {readonly { readonly key: string }[]} mutants All that there are.
 */
export function staleReviews(mutants) {
  const keys = new Set(mutants.map(({ key }) => key));
  return Object.keys(reviewed).filter((key) => !keys.has(key));
}
