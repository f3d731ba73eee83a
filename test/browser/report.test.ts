/**
 * @module A report in a real Chromium: one file, opened from disk, stepped through by keys, and
 * silent on the console.
 */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { renderReport } from "../../src/checker/report/report.ts";
import { deadlock, lostUpdate, usedAfterFree } from "../checker/programs/told.ts";
import { tell } from "../checker/report-text.ts";
import { launchChromium } from "./chromium-page.ts";
import { findChromium } from "./find-chromium.ts";

const { path: chromiumPath, missing } = findChromium();
const skip = missing ?? false;
const folder = mkdtempSync(join(tmpdir(), "hmm-report-"));
const file = join(folder, "report.html");

after(() => rmSync(folder, { recursive: true, force: true }));

const html = renderReport([deadlock, lostUpdate, usedAfterFree].map((scenario) => tell(scenario)));

/** Opens the report; `scheme` is what the reader's system prefers. */
async function withReport(
  scheme: "light" | "dark",
  use: (page: Page) => Promise<void>,
): Promise<void> {
  assert.ok(chromiumPath !== undefined);
  writeFileSync(file, html);
  const browser: Browser = await launchChromium(chromiumPath);
  const complaints: string[] = [];
  try {
    const page = await browser.newPage({ colorScheme: scheme });
    page.on("pageerror", (error) => complaints.push(error.stack ?? error.message));
    page.on("console", (message) => complaints.push(message.text()));
    page.on("request", (request) => {
      if (!/^(?:file|data|blob):/.test(request.url())) complaints.push(`asks for ${request.url()}`);
    });
    await page.goto(pathToFileURL(file).href);
    await use(page);
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
  }
}

function textOf(page: Page, selector: string): Promise<string> {
  return page.locator(selector).innerText();
}

const current = "[aria-current=step]";

test("a report is one file: it names nothing outside itself", () => {
  assert.doesNotMatch(html, /\b(?:src|href)="(?!#|data:)/);
  assert.doesNotMatch(html, /\bimport\s*[("{]|\bfetch\(|url\(/);
  assert.ok(html.startsWith("<!doctype html>"));
});

test("a report without recordings is refused", () => {
  assert.throws(() => renderReport([]), RangeError);
});

test("what a recording says cannot break out of the page", () => {
  const { recording } = tell(lostUpdate);
  const evil = { ...recording, scenario: "</script><b>", summary: "<img src=x onerror=alert(1)>" };
  const page = renderReport([{ recording: evil }]);
  assert.doesNotMatch(page, /<\/script><b>|<img/);
});

test("a report opens at the end, and keys step through it", { skip }, async () => {
  await withReport("light", async (page) => {
    assert.match(await textOf(page, "#headline"), /deadlock\s+left waits for ever/);
    assert.match(await textOf(page, "#sites"), /test\/checker\/programs\/told\.ts:\d+/);
    assert.match(await textOf(page, "#sites"), /left waits for b → right waits for a → left/);
    assert.equal(await textOf(page, "#where"), "step 2 of 2");
    assert.match(await textOf(page, current), /lock b/);
    assert.match(await textOf(page, "#tasks"), /right\s+waits for a, held by left\s+b/);
    await page.keyboard.press("ArrowLeft");
    assert.match(await textOf(page, current), /lock a/);
    assert.match(await textOf(page, "#tasks"), /right\s+is about to lock b/);
    await page.keyboard.press("Home");
    assert.equal(await page.locator(current).count(), 0);
    assert.equal(await textOf(page, "#where"), "step 0 of 2");
    await page.keyboard.press("End");
    assert.equal(await textOf(page, "#where"), "step 2 of 2");
    assert.equal(await page.locator(".bar.exclusive.start").count(), 2);
  });
});

test("the slider is a slider: it is labelled, and says the step in words", { skip }, async () => {
  await withReport("light", async (page) => {
    const slider = page.getByRole("slider", { name: "Step" });
    await slider.focus();
    await page.keyboard.press("ArrowLeft");
    assert.equal(await textOf(page, "#where"), "step 1 of 2");
    assert.equal(await slider.getAttribute("aria-valuetext"), "1: left lock a");
    await page.getByRole("button", { name: "One step on" }).click();
    assert.equal(await textOf(page, "#where"), "step 2 of 2");
    assert.equal(await page.getByRole("button", { name: "One step on" }).isDisabled(), true);
  });
});

test(
  "words, objects, state and the neighbour that passes are shown at each step",
  { skip },
  async () => {
    await withReport("dark", async (page) => {
      await page
        .getByRole("combobox", { name: "Finding" })
        .selectOption({ label: "told/use-after-free: use-after-free" });
      assert.match(await textOf(page, "#words"), /mirror\.refcount/);
      assert.equal(await page.locator(".row .life.bad").count(), 1);
      assert.match(await textOf(page, "#details"), /told\.ts:\d+/);
      assert.equal(await page.locator("#state").isHidden(), true);
      await page
        .getByRole("combobox", { name: "Finding" })
        .selectOption({ label: "told/lost-update: assertion" });
      assert.match(await textOf(page, "#tables"), /counter\s+x\s+1/);
      await page.getByRole("button", { name: "To the beginning" }).click();
      assert.match(await textOf(page, "#tables"), /x\s+0/);
      assert.match(await textOf(page, "#beside .parts"), /two: read x = 0\s+one: write x = 1/);
      await page.getByRole("button", { name: "nearest that passes" }).click();
      assert.match(await textOf(page, "#headline"), /^passes/);
      assert.match(await textOf(page, "#tables"), /x\s+2/);
    });
  },
);

test("all steps can be shown, and a click on one goes there", { skip }, async () => {
  await withReport("light", async (page) => {
    await page.getByRole("combobox", { name: "Finding" }).selectOption("2");
    await page.getByRole("checkbox", { name: "all steps" }).check();
    await page.locator(".row.step").first().click();
    assert.equal(await textOf(page, "#where"), "step 1 of 6");
  });
});

test("the recordings can be taken out as JSON", { skip }, async () => {
  await withReport("light", async (page) => {
    const taken = await page.evaluate<{ recording: { format: string; scenario: string } }[]>(
      `JSON.parse(document.getElementById("recordings").textContent).map(({ failing }) => ({ recording: failing.recording }))`,
    );
    assert.deepEqual(
      taken.map(({ recording }) => `${recording.format} ${recording.scenario}`),
      ["deadlock", "lost-update", "use-after-free"].map((name) => `hmm-recording-1 told/${name}`),
    );
    const download = page.waitForEvent("download");
    await page.getByRole("link", { name: "JSON" }).click();
    assert.equal((await download).suggestedFilename(), "recordings.json");
  });
});
