/** @module The code of docs/DRIVERS.md is that of examples/driver/, file by file, all of it. */

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../../../", import.meta.url);
const guide = readFileSync(new URL("docs/DRIVERS.md", root), "utf8");
const folder = new URL("examples/driver/src/", root);

/** Blocks in their order, by what stands behind "ts" in the fence. */
function blocksOf(document: string): { readonly words: string; readonly code: string }[] {
  return [...document.matchAll(/^```ts *([^\n]*)\n(.*?)^```$/gms)].map(
    ([, words = "", code = ""]) => ({ words, code }),
  );
}

function withoutBlankLines(text: string): string {
  return text.replaceAll(/\n{2,}/g, "\n").trim();
}

const blocks = blocksOf(guide);
const files = readdirSync(folder).filter((name) => name.endsWith(".ts"));

for (const name of files) {
  test(`examples/driver/src/${name} stands in the guide`, () => {
    const source = withoutBlankLines(readFileSync(new URL(name, folder), "utf8"));
    const named = blocks.filter(({ words }) => words === `file=${name}`);
    const found =
      named.length > 0
        ? withoutBlankLines(named.map(({ code }) => code).join("\n"))
        : blocks.map(({ code }) => withoutBlankLines(code)).find((code) => code === source);
    assert.equal(found, source);
  });
}

test("the guide has no other code", () => {
  const sources = files.map((name) =>
    withoutBlankLines(readFileSync(new URL(name, folder), "utf8")),
  );
  const strange = blocks.filter(
    ({ code }) => !sources.some((source) => source.includes(withoutBlankLines(code))),
  );
  assert.deepEqual(strange, []);
});
