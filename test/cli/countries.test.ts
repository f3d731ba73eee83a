/**
 * @module `hmm run countries` as a whole, on a small map made by the test, and on real borders
 * where one of the packages @geo-maps/countries-land-* is installed.
 */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";

import type { DeviceChoice } from "../../command/src/countries/classify.ts";
import { boxOf } from "../../command/src/countries/countries-command.ts";
import {
  type CountriesOptions,
  type CountriesResult,
  countries,
} from "../../command/src/countries/countries.ts";
import type { MapSource } from "../../command/src/countries/map-source.ts";
import { WORLD } from "../../command/src/countries/raster.ts";
import { countriesReport } from "../../command/src/countries/report.ts";
import { missingGpu } from "../devices/webgpu/find-gpu.ts";
import { capturedTerminal } from "./captured-terminal.ts";
import { makeMap } from "./made-map.ts";
import { hmm } from "./run-hmm.ts";

const folder = mkdtempSync(join(tmpdir(), "hmm-run-countries-"));
after(() => rmSync(folder, { recursive: true }));

function writeMap(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function sourceOf(path: string): MapSource {
  return { path, lengthBytes: statSync(path).size, packageName: undefined };
}

const SOFTWARE: DeviceChoice = {
  device: "software",
  memory: "remote",
  threads: 2,
  budgetBytes: 64 * 2 ** 10,
};

const madePath = writeMap("made.json", makeMap(7, 60, 0.5));

async function classified(more: Partial<CountriesOptions> = {}): Promise<CountriesResult> {
  return await countries({
    source: sourceOf(madePath),
    box: WORLD,
    width: 160,
    choice: SOFTWARE,
    ...more,
  });
}

for (const memory of ["remote", "private", "coherent"] as const) {
  test(`software, ${memory}: every point is where the borders say`, async () => {
    const result = await classified({ choice: { ...SOFTWARE, memory } });
    assert.deepEqual(result.verdict, { checked: 160 * 80, wrong: 0, examples: [] });
    assert.equal(result.verified, true);
    assert.equal(result.names.length, 60);
    assert.ok(new Set(result.answers).size > 20, "the map is seen");
  });
}

test("an answer that is falsified is found (twin)", async () => {
  const result = await classified({
    onClassified: (answers) => void (answers[161] = answers[161] === 0 ? 1 : 0),
  });
  assert.equal(result.verified, false);
  assert.equal(result.verdict.wrong, 1);
  assert.match(result.verdict.examples[0] ?? "", /^row 1, column 1: /);
  assert.match(countriesReport(result, capturedTerminal()), /1 of 12,800 points are wrong/);
});

test(
  "WebGPU: the same answers, within memory for a part of the tree",
  { skip: missingGpu, timeout: 300_000 },
  async () => {
    const choice: DeviceChoice = { ...SOFTWARE, device: "webgpu", budgetBytes: 256 * 2 ** 10 };
    const source = sourceOf(writeMap("large.json", makeMap(7, 500, 0.01, 3)));
    const result = await classified({ source, choice, width: 96 });
    assert.equal(result.verified, true);
    const { tree, classified: report } = result;
    assert.ok(tree.nodeBytes + tree.leafBytes > choice.budgetBytes);
    assert.ok(report.stats.faults > 0 && report.stats.evictions > 0 && report.passes > 0);
    assert.match(countriesReport(result, capturedTerminal()), /passes? on the GPU/);
  },
);

/** The coarsest real borders that are installed, for the command or for the site. */
function findRealMap(): MapSource | undefined {
  for (const from of ["../../../command/", "../../../site/"]) {
    for (const detail of ["10km", "5km"]) {
      const name = `@geo-maps/countries-land-${detail}/package.json`;
      try {
        const manifest = createRequire(new URL(`${from}package.json`, import.meta.url)).resolve(
          name,
        );
        return sourceOf(join(dirname(manifest), "map.geo.json"));
      } catch {
        // not there; the next one
      }
    }
  }
  return undefined;
}

const realMap = findRealMap();

test(
  "real borders: the Alps",
  {
    skip: realMap === undefined ? "no @geo-maps/countries-land-10km: npm ci --prefix site" : false,
  },
  async () => {
    assert.ok(realMap !== undefined);
    const box = { west: 5.5, south: 44, east: 13.5, north: 48 };
    const result = await classified({ source: realMap, box, width: 200 });
    assert.equal(result.verified, true);
    const found = new Set(Array.from(result.answers, (answer) => result.names[answer - 1]));
    for (const name of ["CHE", "ITA", "FRA", "DEU", "AUT"]) assert.ok(found.has(name), name);
    // Bern: 46.95 north, 7.45 east.
    const row = Math.floor(((48 - 46.95) / 4) * result.raster.height);
    const column = Math.floor(((7.45 - 5.5) / 8) * 200);
    assert.equal(result.names[(result.answers[row * 200 + column] ?? 0) - 1], "CHE");
  },
);

describe("hmm run countries", () => {
  const software = ["--device", "software", "--width", "64"];

  test("prints a report, and writes a PNG", async () => {
    const png = join(folder, "map.png");
    const { status, out, err } = await hmm(
      "run",
      "countries",
      "--map",
      madePath,
      ...software,
      "--png",
      png,
    );
    assert.deepEqual([status, err], [0, ""]);
    assert.match(out, /2,048 points: which of 60 countries is each in\?/);
    assert.match(out, /64 x 32 points in/);
    assert.match(out, /2,048 points, row by row, from the file itself: 0 wrong/);
    assert.match(out, /Every point is where the borders say/);
    const bytes = readFileSync(png);
    assert.equal(bytes.toString("latin1", 1, 4), "PNG");
    assert.deepEqual([bytes.readUInt32BE(16), bytes.readUInt32BE(20)], [64, 32]);
  });

  test("--json prints one object and nothing else; --box takes a part", async () => {
    const box = ["--box", "-20,-10,30,40"];
    const { status, out, err } = await hmm(
      "run",
      "countries",
      "--map",
      madePath,
      ...software,
      ...box,
      "--json",
    );
    assert.deepEqual([status, err], [0, ""]);
    assert.match(out, /^\{[^\n]*\}\n$/);
    const json = JSON.parse(out) as Record<string, unknown>;
    assert.deepEqual(
      [json["verified"], json["points"], json["wrong"], json["height"], json["west"]],
      [true, 4096, 0, 64, -20],
    );
    const found = Object.values(json["found"] as Record<string, { points: number }>);
    assert.ok(found.length > 0);
  });

  test("a package that is not installed is named, with what to type", async () => {
    const { status, out, err } = await hmm("run", "countries", "--map", "250m");
    assert.deepEqual([status, out], [2, ""]);
    assert.match(err, /npm install --no-save @geo-maps\/countries-land-250m/);
  });

  test("what is no map, no box or no place to write is refused, with exit status 2", async () => {
    const notJson = writeMap("broken.json", '{"features":[{');
    const point = writeMap(
      "point.json",
      '{"features":[{"geometry":{"type":"Point","coordinates":[1,2]}}]}',
    );
    const cases: readonly (readonly [string[], RegExp])[] = [
      [["--map", join(folder, "none.json")], /there is no such file; --map takes a file or 1m, /],
      [["--map", folder], /no file with GeoJSON/],
      [["--map", notJson, ...software], /it is no JSON at byte 14: it ends too early/],
      [["--map", point, ...software], /feature 1: its geometry is no polygon but "Point"/],
      [["--map", madePath, "--png", join(folder, "no", "map.png")], /there is no folder/],
      [["--map", madePath, "--box", "1,2,3"], /must be west,south,east,north in degrees/],
      [
        ["--map", madePath, "--width", "16384", "--box", "0,-90,1,90"],
        /more than 134217728 points/,
      ],
      [["--map", madePath, "--device", "abacus"], /must be software or webgpu/],
    ];
    for (const [args, wanted] of cases) {
      const { status, out, err } = await hmm("run", "countries", ...args);
      assert.deepEqual([status, out], [2, ""], args.join(" "));
      assert.match(err, wanted);
    }
    for (const text of ["", "1,2,3,", "0,0,0,1", "10,0,5,1", "0,0,361,1", "0,-91,1,1", "a,0,1,1"])
      assert.throws(() => boxOf(text), /--box/, text);
  });
});
