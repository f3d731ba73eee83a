/**
 * docs/ERRORS.md has every code that there is, once, and no other. That its words are those of the
 * source is checked by generated-docs.test.ts.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../../../", import.meta.url);
const source = readFileSync(new URL("src/sync/errno.ts", root), "utf8");
const document = readFileSync(new URL("docs/ERRORS.md", root), "utf8");

/** The members of the type HmmErrorCode. */
function unionCodes(text: string): string[] {
  const union = /export type HmmErrorCode =([^;]*);/.exec(text)?.[1] ?? "";
  return Array.from(union.matchAll(/"(\w+)"/g), (match) => match[1] ?? "");
}

/** The rows of the table of codes: each with a meaning, an occasion and a remedy. */
function documentedCodes(text: string): string[] {
  return Array.from(
    text.matchAll(/^\| `(E\w+)` \| [^|]{8,} \| [^|]{8,} \| [^|]{8,} \|$/gm),
    (match) => match[1] ?? "",
  );
}

test("each code has its row", () => {
  const codes = unionCodes(source);
  assert.ok(codes.length > 20);
  assert.deepEqual(documentedCodes(document), codes.toSorted());
});

test("a code without a row, and a row without a code, would be noticed", () => {
  const [first = ""] = documentedCodes(document);
  const without = document.replace(`| \`${first}\` |`, `| ${first} |`);
  assert.notDeepEqual(documentedCodes(without), unionCodes(source).toSorted());
  const more = source.replace('| "EPERM"', '| "EPERM"\n  | "EDOM"');
  assert.notDeepEqual(documentedCodes(document), unionCodes(more).toSorted());
});

test("each code of the source stands in the type", () => {
  const named = Array.from(source.matchAll(/\[\w+, "(E\w+)"\]/g), (match) => match[1] ?? "");
  assert.deepEqual(named.toSorted(), unionCodes(source).toSorted());
});
