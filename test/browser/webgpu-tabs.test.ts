/**
 * @module Two tabs of one origin, each with a machine and a WebGPU device of its own on the same
 * adapter. They share nothing but the GPU: what one does, and its end in the middle of a dispatch,
 * is nothing to the other.
 */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { launchChromium, listenForComplaints } from "./chromium-page.ts";
import { findChromium } from "./find-chromium.ts";
import { startStaticServer, type StaticServer } from "./static-server.ts";

const WAIT_MS = 180_000;
const { path: chromiumPath, missing } = findChromium();
const skip = missing ?? false;

let browser: Browser | undefined;
let server: StaticServer | undefined;

before(async () => {
  if (chromiumPath === undefined) return;
  browser = await launchChromium(chromiumPath);
  server = await startStaticServer(true);
});

after(async () => {
  await browser?.close();
  await server?.close();
});

const inTab = <T>(page: Page, call: string): Promise<T> =>
  page.evaluate<T>(`import("/test/browser/tab-device.js").then((tab) => tab.${call})`);

/** A tab with a device that has answered once. */
async function openTab(context: BrowserContext, seed: number): Promise<Page> {
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  await page.goto(`${server?.origin}/`);
  assert.equal(await inTab(page, `dispatchRounds(1, ${seed})`), 0, "wrong words of a new tab");
  return page;
}

test("two tabs dispatch at the same time, and each has its own answers", { skip }, async () => {
  const context = await browser?.newContext();
  assert.ok(context !== undefined);
  const first = await openTab(context, 1000);
  const complaints = listenForComplaints(first);
  const second = await openTab(context, 7_000_000);
  // The second one is in front: the first one goes on behind it.
  const wrong = await Promise.all([
    inTab(first, "dispatchRounds(4, 2000)"),
    inTab(second, "dispatchRounds(4, 9000000)"),
  ]);
  assert.deepEqual(wrong, [0, 0]);
  assert.equal(await inTab(first, "countWrong(9000003)"), 16_384, "the other's are seen (twin)");

  // One is closed while it dispatches.
  const unanswered = inTab(second, "dispatchRounds(1000, 5)").catch(() => "closed");
  const rounds = inTab(first, "dispatchRounds(4, 3000)");
  await second.close();
  assert.equal(await unanswered, "closed");
  assert.equal(await rounds, 0, "wrong words after the other tab was closed");

  // One is loaded anew while it dispatches.
  const third = await openTab(context, 11);
  const lost = inTab(third, "dispatchRounds(1000, 6)").catch(() => "gone");
  await third.reload();
  assert.equal(await lost, "gone");
  assert.equal(await inTab(third, "dispatchRounds(2, 12)"), 0, "wrong words after a reload");
  assert.equal(await inTab(third, "disposeInDispatch()"), "ECANCELED");
  assert.equal(await inTab(first, "dispatchRounds(1, 4000)"), 0);
  assert.deepEqual(complaints, []);
  await context.close();
});
