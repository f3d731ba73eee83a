/** @module `hmm run geocode --device webgpu`: the job, and how exact its search is. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { mapMemory, ramBytesNeeded } from "../../command/src/geocode/address-map.ts";
import { buildTree } from "../../command/src/geocode/build.ts";
import { type CityList, loadCities } from "../../command/src/geocode/city-list.ts";
import { geocode } from "../../command/src/geocode/geocode.ts";
import { ANSWER_BYTES, CITY_BYTES, CITY_INDEX } from "../../command/src/geocode/layout.ts";
import {
  NEAREST_CODE,
  NEAREST_ENTRY,
  NEAREST_GROUP,
  VECTOR_BYTES,
} from "../../command/src/geocode/nearest-wgsl.ts";
import { Random } from "../../command/src/geocode/random.ts";
import { geocodeJson, geocodeReport } from "../../command/src/geocode/report.ts";
import { writeUnitVector } from "../../command/src/geocode/sphere.ts";
import { AddressSpace } from "../../src/index.ts";
import { WebGpuDevice } from "../../src/webgpu.ts";
import { missingGpu } from "../devices/webgpu/find-gpu.ts";
import { capturedTerminal } from "./captured-terminal.ts";

const skip = missingGpu;
const timeout = 600_000;

test(
  "every answer is right, under a quarter of the tree's memory and a census",
  { skip, timeout },
  async () => {
    const points = 4096;
    const cities = await loadCities(2);
    const result = await geocode({ points, threads: 1, seed: 3, cities, device: "webgpu" });
    assert.deepEqual(result.verdict.examples, []);
    assert.equal(result.verified, true);
    assert.equal(result.verdict.checked, points);
    assert.ok(result.verdict.checkedByBruteForce >= 1000);
    const { device, census } = result.asked;
    assert.ok(device.faults > 0 && device.invalidations > 0 && device.bytesToDevice > 0);
    assert.ok(census.rewrites > 0);
    assert.deepEqual([geocodeJson(result)["device"], geocodeJson(result)["wrong"]], ["webgpu", 0]);
    assert.match(geocodeReport(result, capturedTerminal().outColors), /device +WebGPU, /);
  },
);

/** A crowd of cities a hand's breadth apart: 1e-7 degree are 11 mm. */
function crowd(count: number, random: Random): CityList {
  const spread = (): Float64Array =>
    Float64Array.from({ length: count }, () => 47 + random.nextBelow(200) * 1e-7);
  const longitudes = new Float64Array(new SharedArrayBuffer(8 * count));
  const latitudes = new Float64Array(new SharedArrayBuffer(8 * count));
  longitudes.set(spread());
  latitudes.set(spread());
  return { count, longitudes, latitudes, populations: new Uint32Array(count) };
}

/** Coordinates times 2^52, cut, as the kernel takes them. */
function cutVector(vector: Float64Array): bigint[] {
  return Array.from(vector, (value) => BigInt(Math.trunc(value * 2 ** 52)));
}

function squareOf(a: readonly bigint[], b: readonly bigint[]): bigint {
  return a.reduce((sum, value, axis) => sum + (value - (b[axis] ?? 0n)) ** 2n, 0n);
}

/** The city that single precision would say is nearest. */
function nearestByFloats(at: Float64Array, cities: readonly Float64Array[]): number {
  const f = Math.fround;
  const squares = cities.map((city) =>
    city.reduce((sum, value, axis) => {
      const gap = f(f(value) - f(at[axis] ?? 0));
      return f(sum + f(gap * gap));
    }, 0),
  );
  return squares.indexOf(Math.min(...squares));
}

test(
  "the least of all distances in whole numbers is found, where single precision fails (twin)",
  { skip, timeout },
  async () => {
    const random = new Random(11);
    const cities = crowd(400, random);
    const points = 2 * NEAREST_GROUP;
    const vectorOf = (longitude: number, latitude: number): Float64Array => {
      const vector = new Float64Array(3);
      writeUnitVector(longitude, latitude, vector, 0);
      return vector;
    };
    const near = (): number => 47 + random.nextUnit() * 2e-5;
    const questions = Array.from({ length: points }, () => vectorOf(near(), near()));
    await using space = await AddressSpace.create({ ramBytes: ramBytesNeeded(400, points) });
    const map = await mapMemory(space, cities, points);
    await buildTree(space, map, cities);
    const vectors = await space.mmap(points * VECTOR_BYTES);
    for (const [i, vector] of questions.entries())
      await space.write(vectors + i * VECTOR_BYTES, new Uint8Array(vector.buffer));
    await using device = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20 });
    const kernel = device.kernel({ code: NEAREST_CODE, entryPoint: NEAREST_ENTRY });
    const args = [map.nodes, vectors, map.answers, 0, points, 77];
    await kernel.dispatch(points / NEAREST_GROUP, { args });

    const places = Array.from({ length: cities.count }, (_, city) =>
      vectorOf(cities.longitudes[city] ?? 0, cities.latitudes[city] ?? 0),
    );
    const cut = places.map(cutVector);
    let floatsFail = 0;
    for (const [i, vector] of questions.entries()) {
      const record = space.ptr.load(map.answers + i * ANSWER_BYTES);
      assert.equal((record - map.cities) % CITY_BYTES, 0);
      const found = space.u32.load(record + CITY_INDEX);
      const squares = cut.map((place) => squareOf(place, cutVector(vector)));
      const least = squares.reduce((a, b) => (a < b ? a : b));
      assert.equal(squares[found], least, `question ${i}`);
      if (squares[nearestByFloats(vector, places)] !== least) floatsFail++;
    }
    assert.ok(floatsFail > 0, "single precision would do");
  },
);

const main = fileURLToPath(new URL("../../command/src/main.js", import.meta.url));

test("Ctrl-C while the kernel compiles gives the GPU back first", { skip, timeout }, async () => {
  // A terminal, as far as the command can see: so that it says what it does.
  const terminal = "data:text/javascript,process.stderr.isTTY=true;process.stderr.columns=80";
  const args = ["--import", terminal, main, "run", "geocode", "--device", "webgpu"];
  const child = spawn(process.execPath, [...args, "--points", "4096"]);
  let said = "";
  child.stderr.on("data", (part: Buffer) => {
    const had = said.includes("answering");
    said += String(part);
    if (!had && said.includes("answering")) child.kill("SIGINT");
  });
  const [status, signal] = (await once(child, "close")) as [number | null, string | null];
  assert.deepEqual([status, signal], [130, null], said);
  assert.match(said, /hmm: Stopped while answering/);
});
