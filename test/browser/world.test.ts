/**
 * @module The map page of the site (site/world/), alone, as Vite builds it, in Chromium: each pixel
 * is compared with what the rows of the borders' file say. Needs the site's tools; they are
 * installed by `npm run site`, and without them this is skipped.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { BorderReader } from "../../command/src/countries/borders.ts";
import { colourOf } from "../../command/src/countries/map-colours.ts";
import { WORLD, makeRaster } from "../../command/src/countries/raster.ts";
import { RowCheck } from "../../command/src/countries/row-check.ts";
import { findProblems } from "./live-check.ts";
import { servePages, sitePath } from "./site-pages.ts";

const WAIT_MS = 180_000;
const WIDTH = 512;
const packages = `${sitePath}node_modules/@geo-maps/`;
const borders = `${packages}countries-land-10km/map.geo.json`;
const finer = `${packages}countries-land-1km/map.geo.json`;
const { skip, inPage } = servePages("world.html", WAIT_MS, [borders, finer]);

/** The view is drawn, in full. */
async function waitForPicture(page: Page): Promise<void> {
  await page.locator(".world-status", { hasText: /Drawn by|did not work/ }).waitFor();
  assert.match((await page.locator(".world-status").textContent()) ?? "", /Drawn by/);
}

/** The colours of the canvas, three numbers a pixel, in a text. */
async function readCanvas(page: Page): Promise<Uint8Array> {
  const text = await page.evaluate<string>(`(() => {
    const canvas = document.querySelector("canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let text = "";
    for (let i = 0; i < data.length; i += 4)
      text += String.fromCharCode(data[i], data[i + 1], data[i + 2]);
    return text;
  })()`);
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

/** Pixels that differ from what the rows of the file say. */
function countWrong(pixels: Uint8Array): number {
  const raster = makeRaster(WORLD, WIDTH);
  const check = new RowCheck(raster);
  const reader = new BorderReader(check);
  reader.push(readFileSync(borders));
  reader.end();
  assert.equal(pixels.length, 3 * WIDTH * raster.height);
  let wrong = 0;
  for (let row = 0; row < raster.height; row++) {
    for (const [column, answer] of check.answersOf(row).entries()) {
      const at = 3 * (row * WIDTH + column);
      const isRight = colourOf(answer).every((value, i) => pixels[at + i] === value);
      if (!isRight) wrong++;
    }
  }
  return wrong;
}

const rowOf = (page: Page, name: string): Promise<string[]> =>
  page.locator(".world-frames tr", { hasText: name }).locator("td").allTextContents();

test("every pixel is in its country; zoom, pan, and memory for less", { skip }, async () => {
  const complaints = await inPage({ viewport: { width: 1280, height: 900 } }, async (page) => {
    // Usable while it loads.
    await page.locator("button", { hasText: "Whole world" }).waitFor();
    await page.locator("canvas").focus();
    assert.equal(await page.locator("canvas:focus").count(), 1);
    await waitForPicture(page);
    const pixels = await readCanvas(page);
    assert.equal(countWrong(pixels), 0);
    pixels[3 * 512 * 100] = 1 - (pixels[3 * 512 * 100] ?? 0);
    assert.equal(countWrong(pixels), 1, "a wrong one would be seen (twin)");
    assert.deepEqual(await findProblems(page), []);
    const place = page.locator(".world-place");
    assert.match((await place.textContent()) ?? "", /Countries in view: 1\d\d\./);

    // Memory for a sixth of the tree: pages go, and the picture is the same.
    const slider = page.locator("input[type=range]");
    await slider.focus();
    await page.keyboard.press("Home");
    await page.locator(".world-status", { hasText: /Making|Drawing/ }).waitFor();
    await waitForPicture(page);
    assert.equal(countWrong(await readCanvas(page)), 0);
    const gone = Number((await rowOf(page, "pages that went"))[1]?.replaceAll(",", ""));
    assert.ok(gone > 0, `${gone} pages went`);
    assert.ok((await page.locator(".world-squares [data-state=free]").count()) < 8);

    await page.locator("canvas").focus();
    for (const key of ["+", "+", "+", "ArrowUp"]) await page.keyboard.press(key);
    await waitForPicture(page);
    assert.match((await place.textContent()) ?? "", /^5\.6. N, 0\.0. E, .* wide\. In the middle: /);
    await page.locator("button", { hasText: "Whole world" }).click();
    await waitForPicture(page);
    assert.equal(countWrong(await readCanvas(page)), 0);
  });
  assert.deepEqual(complaints, []);
});

/** A file with one country, a square about the middle of the world. */
function squareFile(
  name: string,
  geometry: object,
): { name: string; mimeType: string; buffer: Buffer } {
  const feature = { type: "Feature", properties: { A3: "SQR" }, geometry };
  const text = JSON.stringify({ type: "FeatureCollection", features: [feature] });
  return { name, mimeType: "application/geo+json", buffer: Buffer.from(text) };
}

test("finer borders, and a file of the reader's; a bad one leaves the map", { skip }, async () => {
  const complaints = await inPage({ viewport: { width: 1280, height: 900 } }, async (page) => {
    await waitForPicture(page);
    const place = page.locator(".world-place");
    const credit = page.locator(".world-credit");
    assert.match((await credit.textContent()) ?? "", /OpenStreetMap contributors.*to 10 km$/);
    await page.locator("select").selectOption("to 1 km (22 MB)");
    await page.locator(".world-credit", { hasText: "to 1 km" }).waitFor();
    await waitForPicture(page);
    assert.match((await place.textContent()) ?? "", /Countries in view: [12]\d\d\./);
    assert.ok(countWrong(await readCanvas(page)) > 0, "some pixels are of the finer borders");

    const corners = [
      [-9, -9],
      [9, -9],
      [9, 9],
      [-9, 9],
      [-9, -9],
    ];
    const square = squareFile("square.json", { type: "Polygon", coordinates: [corners] });
    await page.locator("input[type=file]").setInputFiles(square);
    await page.locator(".world-credit", { hasText: "your file square.json" }).waitFor();
    await waitForPicture(page);
    assert.match((await place.textContent()) ?? "", /In the middle: SQR\. Countries in view: 1\.$/);
    const before = await readCanvas(page);

    const wrong = { ...square, name: "wrong.json", buffer: Buffer.from("{ no map") };
    await page.locator("input[type=file]").setInputFiles(wrong);
    await page.locator(".world-status", { hasText: /did not work: .+/ }).waitFor();
    assert.deepEqual(await readCanvas(page), before);
    assert.match((await credit.textContent()) ?? "", /square\.json/);
    assert.deepEqual(await findProblems(page), []);
  });
  assert.deepEqual(complaints, []);
});

test("a telephone's page is not too wide; without WebGPU there is text", { skip }, async () => {
  const withoutGpu = async (page: Page): Promise<void> => {
    const script = `Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined })`;
    await page.addInitScript(script);
  };
  const use = async (page: Page): Promise<void> => {
    const text = (await page.locator("[role=alert]").textContent()) ?? "";
    assert.match(text, /This browser has no WebGPU.*hmm run countries --device software/);
    const isTooWide = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert.equal(await page.evaluate(isTooWide), false);
  };
  const viewport = { width: 390, height: 900 };
  const complaints = await inPage({ viewport }, use, { prepare: withoutGpu });
  assert.deepEqual(complaints, []);
});
