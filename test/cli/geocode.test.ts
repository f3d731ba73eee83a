/**
 * The main job as a whole, on every eighth city: threads, address space, device, census and check.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { loadCities } from "../../command/src/geocode/city-list.ts";
import { geocode } from "../../command/src/geocode/geocode.ts";
import type { GeocodeOptions, GeocodeResult } from "../../command/src/geocode/geocode.ts";
import {
  ANSWER_BEFORE,
  ANSWER_BYTES,
  ANSWER_CITY,
  ANSWER_POPULATION,
  CITY_BYTES,
  CITY_INDEX,
  LOG_AFTER,
  LOG_CITY,
  LOG_VERSION,
} from "../../command/src/geocode/layout.ts";
import { encodePopulation } from "../../command/src/geocode/population.ts";
import { geocodeJson, geocodeReport } from "../../command/src/geocode/report.ts";
import { runProgram } from "../../command/src/program.ts";
import { capturedTerminal } from "./captured-terminal.ts";

const POINTS = 20_000;

async function smallGeocode(more: Partial<GeocodeOptions> = {}): Promise<GeocodeResult> {
  const cities = await loadCities(8);
  return await geocode({ points: POINTS, threads: 2, seed: 3, cities, ...more });
}

test("geocode answers every question right, under a quarter of the tree's memory and a census", async () => {
  const result = await smallGeocode();
  assert.deepEqual(result.verdict.examples, []);
  assert.equal(result.verified, true);
  assert.equal(result.verdict.checked, POINTS);
  assert.ok(result.verdict.checkedByBruteForce >= 1000);
  assert.equal(result.memoryBytes, Math.floor(result.treeBytes / 4 / 4096) * 4096);
  const { device, census } = result.asked;
  assert.ok(
    device.faults > 0 && device.batches > 0 && device.evictions > 0,
    "the budget was too small for the tree",
  );
  assert.ok(device.bytesToDevice >= result.treeBytes / 2);
  assert.ok(census.rewrites > 0 && census.remaps > 0);
  assert.equal(census.dirtyRemaps, 0);
  assert.ok(device.invalidations > 0);
  const json = geocodeJson(result);
  assert.deepEqual([json["verified"], json["points"], json["wrong"]], [true, POINTS, 0]);
  const report = geocodeReport(result, capturedTerminal().outColors);
  assert.match(report, /16,905 cities/);
  assert.match(report, /Every answer is right/);
});

for (const memory of ["private", "coherent"] as const) {
  test(`${memory}: a device with pages of its own answers the same questions right`, async () => {
    const result = await smallGeocode({ points: 5000, memory });
    assert.deepEqual(result.verdict.examples, []);
    assert.equal(result.verified, true);
    assert.equal(result.asked.device.pagesToDevice, 0, "it makes no copies");
    assert.equal(geocodeJson(result)["memory"], memory);
  });
}

test("answers that are falsified after the device gave them are found (twin)", async () => {
  const result = await smallGeocode({
    points: 2000,
    onAnswered: async (space, map) => {
      // Question 5 gets the answer of the other end of the curve; 6 a population from before the
      // last rewrite.
      const answer = (question: number): number => map.answers + question * ANSWER_BYTES;
      space.ptr.store(answer(5) + ANSWER_CITY, space.ptr.load(answer(1500) + ANSWER_CITY));
      space.f64.store(
        answer(5) + ANSWER_POPULATION,
        space.f64.load(answer(1500) + ANSWER_POPULATION),
      );
      space.f64.store(
        answer(6) + ANSWER_POPULATION,
        space.f64.load(answer(6) + ANSWER_POPULATION) + 1,
      );
    },
  });
  assert.equal(result.verified, false);
  assert.equal(result.verdict.wrong, 2);
  assert.equal(result.verdict.wrongCities, 1);
  assert.equal(result.verdict.tornPopulations, 1);
  assert.match(geocodeReport(result, capturedTerminal().outColors), /must not happen/);
});

test("a population that had been replaced before the question was asked is found (twin)", async () => {
  const cities = await loadCities(8);
  const result = await smallGeocode({
    points: 2000,
    cities,
    onAnswered: async (space, map) => {
      // Question 7 claims to have begun after the first rewrite of the log, and to have read what
      // stood there before.
      assert.equal(space.u32.load(map.log + LOG_VERSION), 1);
      const city = space.u32.load(map.log + LOG_CITY);
      let record = map.cities;
      while (space.u32.load(record + CITY_INDEX) !== city) record += CITY_BYTES;
      const answer = map.answers + 7 * ANSWER_BYTES;
      space.ptr.store(answer + ANSWER_CITY, record);
      space.f64.store(answer + ANSWER_POPULATION, encodePopulation(cities.populations[city]!, 0));
      space.u32.store(answer + ANSWER_BEFORE, space.u32.load(map.log + LOG_AFTER));
    },
  });
  assert.equal(result.verified, false);
  assert.equal(result.verdict.stalePopulations, 1);
});

test("hmm run geocode --json prints one object and nothing else", async () => {
  const terminal = capturedTerminal();
  const status = await runProgram(
    ["run", "geocode", "--points", "5000", "--threads", "1", "--json"],
    terminal,
  );
  assert.equal(status, 0);
  assert.equal(terminal.text.err, "");
  assert.match(terminal.text.out, /^\{[^\n]*\}\n$/);
  const json = JSON.parse(terminal.text.out) as Record<string, unknown>;
  assert.deepEqual(
    [json["verified"], json["points"], json["wrong"], json["cities"]],
    [true, 5000, 0, 135_233],
  );
  for (const key of [
    "faults",
    "batches",
    "bytesToDevice",
    "evictions",
    "invalidations",
    "retries",
    "seconds",
  ]) {
    assert.equal(typeof json[key], "number", key);
  }
});
