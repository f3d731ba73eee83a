/**
 * @module Reviewed mutants: people have found that nothing could notice them, each with the reason.
 * They are in reviewed.json by key. If the mutant no longer exists, or was noticed after all, that
 * is an error.
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
