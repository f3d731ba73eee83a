/**
 * @module The live page of the site (site/live/), alone, as Vite builds it, in Chromium at the size
 * of a desk and of a telephone, by the keyboard only. Needs the site's tools; they are installed by
 * `npm run site`, and without them this is skipped.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { findProblems, readMaps } from "./live-check.ts";
import { servePages } from "./site-pages.ts";

const WAIT_MS = 60_000;
const { skip, inPage } = servePages("index.html", WAIT_MS, []);

/** The first step is the next one. */
async function waitForStart(page: Page): Promise<void> {
  await page.locator(".live-program [aria-current=step]").waitFor();
}

/** Presses a key until a selector has an element in focus. */
async function tabTo(page: Page, selector: string): Promise<void> {
  for (let presses = 0; presses < 20; presses++) {
    if ((await page.locator(`${selector}:focus`).count()) > 0) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab does not reach ${selector}`);
}

async function pressStep(page: Page, times: number): Promise<void> {
  const lines = page.locator(".live-log li");
  for (let i = 0; i < times; i++) {
    const done = await lines.count();
    await page.keyboard.press("Enter");
    await lines.nth(done).waitFor();
    await page.locator("button[aria-disabled=false]", { hasText: "Restart" }).waitFor();
  }
}

/** What the maps come to after so many steps. */
const states: readonly (readonly [number, readonly string[][]])[] = [
  [1, [["– – – – – – – –", "– – – – – – – –", "– – – – – – – –", "· · · · · · · ·"]]],
  [2, [["0 0 0 0 – – – –", "– – – – – – – –", "– – – – – – – –", "· · · · · · · ·"]]],
  [4, [["W W W W W W W W", "W W W W W W W W", "– – – – – – – –", "· · · · · · · ·"]]],
  [6, [["Dw Dw Dw Dw Dw Dw Dw Dw", "Dw Dw Dw Dw W W W W", "– – – – – – – –", "W P P P · · · ·"]]],
  [
    9,
    [
      ["Dw Dw Dsw Dsw Dsw Dsw Dsw Dsw", "Dsw Dsw Dsw Sw Sw Sw Sw Sw", "– – – – – – – –"].concat(
        "W P P P · · · ·",
      ),
      ["W W Sw Sw Sw Sw Sw Sw", "Sw Sw Sw Sw Sw Sw Sw Sw", "– – – – – – – –", "– – – – · · · ·"],
    ],
  ],
  [15, [["W W W W Dwr Dwr Dwr Dwr", "Dw Dw Dw W – – – –", "· · · · · · · ·", "W P P P · · · ·"]]],
];

const sizes: readonly (readonly [number, number, "light" | "dark"])[] = [
  [1280, 800, "light"],
  [390, 844, "dark"],
];

for (const [width, height, colorScheme] of sizes) {
  test(`stepped to its end by the keyboard, ${width} x ${height}`, { skip }, async () => {
    const options = { viewport: { width, height }, colorScheme };
    const complaints = await inPage(options, async (page) => {
      await waitForStart(page);
      const codes = await page.locator(".live-program code").allTextContents();
      assert.equal(codes.length, states.at(-1)?.[0]);
      assert.equal(codes[7], "const child = await space.fork();");
      await tabTo(page, "button:text-is('Step')");
      let done = 0;
      for (const [steps, maps] of states) {
        await pressStep(page, steps - done);
        done = steps;
        assert.deepEqual(await readMaps(page), maps, `after step ${steps}`);
        assert.deepEqual(await findProblems(page), [], `after step ${steps}`);
      }
      // Another press does nothing, and the button has kept the focus.
      await page.keyboard.press("Enter");
      assert.equal(await page.locator(".live-log li").count(), done);
      assert.equal(await page.locator("button:focus").textContent(), "Step");
    });
    assert.deepEqual(complaints, []);
  });
}

test(
  "the log has the device's faults, and what a store and a fork took from it",
  { skip },
  async () => {
    await inPage({}, async (page) => {
      await waitForStart(page);
      await tabTo(page, "button:text-is('Step')");
      await pressStep(page, 8);
      const lines = await page.locator(".live-log li").allTextContents();
      assert.match(lines[0] ?? "", /no fault, no invalidation$/);
      // Twelve pages through eight frames.
      assert.match(
        lines[5] ?? "",
        /device page faults \d+; copied to the device (4[8-9]|[5-9]\d) KiB/,
      );
      assert.match(lines[5] ?? "", /pages evicted from the device [4-9]/);
      assert.match(
        lines[7] ?? "",
        /invalidations on the device 1; translations dropped 8; invalidated: pages 0 to 31 \(prot/,
      );
      // A store of the other thread, to one page. A fork, to all. The child's stores, to none.
      assert.match(lines[6] ?? "", /invalidated: page 11 \(protection of pages\)$/);
      const marked = page.locator(".live-map:visible .live-invalidated");
      assert.equal(await marked.count(), 32);
      assert.match((await marked.first().getAttribute("aria-label")) ?? "", /, invalidated$/);
      await pressStep(page, 1);
      assert.equal(await marked.count(), 0);
    });
  },
);

test(
  "a map is walked with the arrow keys; a run goes on to the end; restart",
  { skip },
  async () => {
    await inPage({ reducedMotion: "reduce" }, async (page) => {
      await waitForStart(page);
      await tabTo(page, "button:text-is('Step')");
      await pressStep(page, 2);
      await tabTo(page, "[role=gridcell]");
      for (const key of ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"])
        await page.keyboard.press(key);
      const detail = page.locator(".live-map:visible .live-detail");
      assert.match((await detail.textContent()) ?? "", /^Page 0, 0x100000: the page of zeros/);
      await page.keyboard.press("End");
      assert.match((await detail.textContent()) ?? "", /^Page 31, 0x11f000: not mapped/);
      await page.locator("button", { hasText: "Restart" }).press("Enter");
      await page.locator(".live-program li:first-child[aria-current=step]").waitFor();
      assert.equal(await page.locator(".live-log li").count(), 0);
      await page.locator("button", { hasText: "Run" }).press("Enter");
      await page.locator("button", { hasText: "Pause" }).waitFor();
      await page.locator(".live-log li").nth(14).waitFor();
      await page.locator("button", { hasText: "Run" }).waitFor();
      assert.deepEqual(await readMaps(page), states.at(-1)?.[1]);
    });
  },
);

test("from a server without the two headers, a service worker adds them", { skip }, async () => {
  await inPage({}, waitForStart, { isIsolated: false });
});

test(
  "without headers and without a service worker, the page says what is missing",
  { skip },
  async () => {
    const use = async (page: Page): Promise<void> => {
      const text = (await page.locator("[role=alert]").textContent()) ?? "";
      assert.match(text, /shared memory.*Cross-Origin-Opener-Policy: same-origin/s);
      assert.match(
        text,
        /A service worker was to add them, and could not be started: the browser did not/,
      );
    };
    await inPage({ serviceWorkers: "block" }, use, { isIsolated: false });
  },
);

test("what a page lacks for the keyboard and for screen readers is found", { skip }, async () => {
  await inPage({ viewport: { width: 390, height: 844 } }, async (page) => {
    await waitForStart(page);
    const spoil = (script: string): Promise<unknown> => page.evaluate(script);
    await spoil(`document.querySelector("button").textContent = ""`);
    await spoil(`document.querySelector("[role=gridcell]").tabIndex = -1`);
    await spoil(`document.querySelector(".live-log").removeAttribute("aria-label")`);
    await spoil(`document.querySelector("h1").style.width = "500px"`);
    const problems = (await findProblems(page)).join("; ");
    assert.match(problems, /BUTTON has no name.*SECTION has no label.*0 stops.*too wide/);
  });
});
