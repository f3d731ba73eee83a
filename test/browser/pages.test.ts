/**
 * @module Every page module (`*.page.ts` beside this file) in a real Chromium; each test that it
 * registers is one node:test test here. To add one, write `<name>.page.ts` and register tests with
 * pageTest: nothing else. Pages are cross-origin isolated, except those named
 * `*.unisolated.page.ts`. Those named `*.policy.page.ts` may not compile WebAssembly.
 */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { launchChromium, runPage, type PageRun } from "./chromium-page.ts";
import { findChromium } from "./find-chromium.ts";
import { startStaticServer } from "./static-server.ts";

const pageTimeoutMs = 180_000;
const { path: chromiumPath, missing } = findChromium();
const skip = missing ?? false;

function pageNames(folder: string): string[] {
  const path = fileURLToPath(new URL(folder, import.meta.url));
  return readdirSync(path).filter((name) => name.endsWith(".page.js"));
}

/** A browser of its own for each page: a page that hangs or crashes spoils nothing else. */
async function run(modulePath: string): Promise<PageRun> {
  assert.ok(chromiumPath !== undefined);
  const policy = modulePath.includes(".policy.") ? "script-src 'self'" : undefined;
  const server = await startStaticServer(!modulePath.includes(".unisolated."), undefined, policy);
  const browser = await launchChromium(chromiumPath);
  try {
    return await runPage(browser, server.origin, modulePath, pageTimeoutMs);
  } finally {
    await browser.close();
    await server.close();
  }
}

for (const name of pageNames("./")) {
  test(`${name} in Chromium`, { skip }, async (t) => {
    const { results, complaints } = await run(`test/browser/${name}`);
    assert.notEqual(results.length, 0, "the page registered no test");
    for (const result of results) {
      await t.test(result.name, (pageTest) => {
        for (const note of result.notes) pageTest.diagnostic(note);
        assert.equal(result.error, undefined);
      });
    }
    await t.test("the console is silent", () => assert.deepEqual(complaints, []));
  });
}

test("a page whose test throws is reported", { skip }, async () => {
  const { results } = await run("test/browser/broken/throws.page.js");
  assert.deepEqual(
    results.map((result) => [result.name, result.error === undefined]),
    [
      ["passes", true],
      ["throws", false],
      ["never ends", false],
    ],
  );
});

test("what nobody catches is reported", { skip }, async () => {
  const { results, complaints } = await run("test/browser/broken/complains.page.js");
  assert.equal(results[0]?.error, undefined);
  for (const words of ["nobody caught this", "said by a worker"]) {
    assert.ok(
      complaints.join("\n").includes(words),
      `"${words}" is not among ${JSON.stringify(complaints)}`,
    );
  }
});

test("a page that does not load is reported", { skip }, async () => {
  await assert.rejects(run("test/browser/broken/not-there.page.js"));
});

test("a Chromium is looked for where $CHROMIUM says, else on PATH, and what is missing is said", () => {
  const PATH = "/nowhere";
  assert.match(
    findChromium({ PATH }).missing ?? "",
    /no Chromium here: install one, or name one in \$CHROMIUM/,
  );
  assert.match(
    findChromium({ PATH, CHROMIUM: "/nowhere/chromium" }).missing ?? "",
    /names \/nowhere\/chromium, which is/,
  );
  // Any program will do for a search.
  assert.equal(findChromium({ PATH, CHROMIUM: process.execPath }).path, process.execPath);
});
