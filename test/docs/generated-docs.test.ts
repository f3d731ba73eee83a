/**
 * The documents that come from the code are current. When this fails: `npm run docs`, read the
 * difference, commit it.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

interface Generated {
  renderDocs(): Promise<Map<string, string>>;
}

const root = new URL("../../../", import.meta.url);

test("documents that are generated say what the code does, and what was measured", async () => {
  const generated = (await import(new URL("scripts/docs/generated.mjs", root).href)) as Generated;
  const documents = await generated.renderDocs();
  assert.ok(documents.size >= 3);
  for (const [path, text] of documents) {
    assert.equal(
      readFileSync(new URL(path, root), "utf8"),
      text,
      `${path} is not current: run npm run docs`,
    );
    assert.ok(text.split("\n").length > 40, `${path} is suspiciously short`);
  }
});
