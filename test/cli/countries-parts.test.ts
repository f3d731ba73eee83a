/** @module Parts of `hmm run countries`: reading, crossing, tree, second opinion, PNG. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { inflateSync } from "node:zlib";

import * as fc from "fast-check";

import { BorderReader, type BorderListener } from "../../command/src/countries/borders.ts";
import { countryAt } from "../../command/src/countries/classify-kernel.ts";
import { compareProducts, crosses } from "../../command/src/countries/crossing.ts";
import { JsonReader } from "../../command/src/countries/json-events.ts";
import { PLACE_WORDS, coordinateOf } from "../../command/src/countries/layout.ts";
import { PieceList } from "../../command/src/countries/piece-list.ts";
import { encodePng } from "../../command/src/countries/png.ts";
import { WORLD, makeRaster, type Raster } from "../../command/src/countries/raster.ts";
import { RowCheck } from "../../command/src/countries/row-check.ts";
import { TreeBuilder } from "../../command/src/countries/tree-builder.ts";
import { Random } from "../../command/src/geocode/random.ts";
import { makeMap } from "./made-map.ts";

/** What a reader says, put together again. */
function readInPieces(bytes: Uint8Array, lengths: readonly number[]): unknown {
  const stack: {
    isArray: boolean;
    array: unknown[];
    object: Record<string, unknown>;
    key: string;
  }[] = [];
  let whole: unknown;
  const take = (value: unknown): void => {
    const top = stack.at(-1);
    if (top === undefined) whole = value;
    else if (top.isArray) top.array.push(value);
    else top.object[top.key] = value;
  };
  const reader = new JsonReader({
    onStart: (isArray) =>
      void stack.push({
        isArray,
        array: [],
        object: Object.create(null) as Record<string, unknown>,
        key: "",
      }),
    onEnd: () => {
      const top = stack.pop();
      take(top?.isArray === true ? top.array : top?.object);
    },
    onKey: (name) => void (stack.at(-1)!.key = name), // a key is in an object
    onNumber: take,
    onText: take,
    onLiteral: () => take("literal"),
  });
  let at = 0;
  for (const length of lengths) {
    reader.push(bytes.subarray(at, at + length));
    at += length;
  }
  reader.push(bytes.subarray(at));
  reader.end();
  return whole;
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

test("JSON in pieces of any length says what JSON.parse says", () => {
  const json = fc.jsonValue({ maxDepth: 4 });
  const lengths = fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 60 });
  const check = (value: unknown, cuts: readonly number[], space: string): void => {
    const text = JSON.stringify(value, undefined, space);
    const found = readInPieces(encode(text), cuts);
    const expected: unknown = JSON.parse(text, (_key, one: unknown) =>
      typeof one === "boolean" || one === null ? "literal" : one,
    );
    assert.equal(JSON.stringify(found), JSON.stringify(expected));
  };
  fc.assert(fc.property(json, lengths, fc.constantFrom("", " ", "\t"), check), { numRuns: 500 });
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      assert.equal(readInPieces(encode(JSON.stringify(value)), [1]), Number(JSON.stringify(value)));
    }),
  );
});

test("what JSON.parse refuses is refused (twin)", () => {
  const broken = [
    "",
    "[1,]",
    "[01]",
    "[1.]",
    "[.5]",
    "[1e]",
    "[--1]",
    "{a:1}",
    '{"a" 1}',
    '{"a":1,}',
    "[1 2]",
    "[1}",
    '{"a":1]',
    "nul",
    "[tru]",
    "[1]]",
    "1 2",
    '["\u0001"]',
    '["\\x"]',
    '["a',
    "[",
    "\u00a0[]",
    "[0.0.0]",
    "[1-2]",
    "-",
    '[,"a"]',
  ];
  for (const text of broken) {
    assert.throws(() => JSON.parse(text) as unknown, SyntaxError, text);
    for (const cuts of [[], [1], [2, 1]])
      assert.throws(() => readInPieces(encode(text), cuts), /no JSON at byte \d+/, text);
  }
});

test("files that are no map are refused, with the feature", () => {
  const listener: BorderListener = { onRing: () => {}, onCountry: () => {} };
  const refusal = (value: unknown): string => {
    const reader = new BorderReader(listener);
    try {
      reader.push(encode(JSON.stringify(value)));
      reader.end();
    } catch (error) {
      return error instanceof Error ? error.message : "";
    }
    return "taken";
  };
  const feature = (type: string, coordinates: unknown): unknown => ({
    type: "FeatureCollection",
    features: [{ type: "Feature", properties: {}, geometry: { type, coordinates } }],
  });
  const square = [
    [0, 0],
    [1, 0],
    [1, 1],
    [0, 0],
  ];
  assert.equal(refusal(feature("Polygon", [square])), "taken");
  assert.equal(refusal(feature("MultiPolygon", [[square], [square]])), "taken");
  assert.match(refusal({ type: "Feature" }), /it has no features/);
  assert.match(refusal({ features: [] }), /no feature at all/);
  assert.match(refusal(feature("Point", [1, 2])), /feature 1: .*"Point"/);
  assert.match(refusal(feature("Polygon", [square.slice(0, 3)])), /a ring is not closed/);
  assert.match(
    refusal(
      feature("Polygon", [
        [
          [0, 0],
          [200, 0],
          [0, 0],
        ],
      ]),
    ),
    /200 is no longitude/,
  );
  assert.match(refusal(feature("Polygon", [[[0, 0], [1], [0, 0]]])), /fewer than two numbers/);
  assert.match(refusal(feature("Polygon", [[square]])), /no polygon but "Polygon"/);
  assert.match(refusal(feature("Polygon", [[[0, 0], [[1, 1]]]])), /nested unevenly/);
});

test("products of 32 bits are compared exactly", () => {
  const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });
  const sign = (order: number | bigint): number => (order > 0 ? 1 : order < 0 ? -1 : 0);
  const check = (a: number, b: number, c: number, d: number): void => {
    const exact = BigInt(a) * BigInt(b) - BigInt(c) * BigInt(d);
    assert.equal(sign(compareProducts(a, b, c, d)), sign(exact));
  };
  fc.assert(fc.property(word, word, word, word, check));
  // Products that differ by little, or not at all: (m + i)(m - i) = m * m - i * i.
  const near = fc.integer({ min: 2 ** 30, max: 2 ** 31 });
  const little = fc.integer({ min: 0, max: 99 });
  fc.assert(fc.property(near, little, (m, i) => check(m + i, m - i, m, m)));
  fc.assert(fc.property(near, little, little, (m, i, j) => check(m + i, m + j, m, m + i + j)));
  let isDouble = true;
  for (let i = 1; i < 20; i++) isDouble &&= sign((2 ** 31 + i) * (2 ** 31 - i) - 2 ** 62) === -1;
  assert.equal(isDouble, false, "doubles alone would not do (twin)");
});

/** Whether a place lies in a ring, by rays from the west and fractions of BigInt. */
function isInside(ring: readonly (readonly [number, number])[], x: number, y: number): boolean {
  let count = 0;
  for (let i = 0; i + 1 < ring.length; i++) {
    const [a, b] = [ring[i] ?? [0, 0], ring[i + 1] ?? [0, 0]];
    const [[lowX, lowY], [highX, highY]] = a[1] < b[1] ? [a, b] : [b, a];
    if (lowY > y || highY <= y) continue;
    const west = BigInt(x - lowX) * BigInt(highY - lowY) - BigInt(highX - lowX) * BigInt(y - lowY);
    if (west >= 0n) count++;
  }
  return count % 2 === 1;
}

/** Rings on a grid of few points, so that most places lie on corners and edges. */
const ringOnGrid = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 6 })), {
    minLength: 3,
    maxLength: 9,
  })
  .map((places) => [...places, places[0] ?? [0, 0]] as (readonly [number, number])[]);

function crossingsOf(
  ring: readonly (readonly [number, number])[],
  [x0, y0]: readonly [number, number],
  [x, y]: readonly [number, number],
  one: typeof crosses,
): number {
  let count = 0;
  for (let i = 0; i + 1 < ring.length; i++) {
    const [a, b] = [ring[i] ?? [0, 0], ring[i + 1] ?? [0, 0]];
    count += one(a[0], a[1], b[0], b[1], x0, y0, x, y);
  }
  return count;
}

test("the path from any corner to any place says what a ray says, on corners and edges too", () => {
  const check = (ring: readonly (readonly [number, number])[]): void => {
    for (let x0 = 0; x0 < 7; x0++)
      for (let y0 = 0; y0 < 7; y0++)
        for (let x = x0; x < 7; x++)
          for (let y = y0; y < 7; y++) {
            const isOdd = crossingsOf(ring, [x0, y0], [x, y], crosses) % 2 === 1;
            assert.equal(isInside(ring, x0, y0) !== isOdd, isInside(ring, x, y));
          }
  };
  fc.assert(fc.property(ringOnGrid, check), { numRuns: 60 });
});

test("a rule that is not the same for both legs of the path is noticed (twin)", () => {
  // The leg north counts what lies on its end, whichever way the edge goes.
  const sloppy: typeof crosses = (ax, ay, bx, by, x0, y0, px, py) => {
    const east = crosses(ax, ay, bx, by, x0, py, px, py);
    if (ax <= x0 === bx <= x0) return east;
    const at = ay + ((by - ay) * (x0 - ax)) / (bx - ax);
    return east ^ (at > y0 && at <= py ? 1 : 0);
  };
  const check = (ring: readonly (readonly [number, number])[]): void => {
    for (let x = 0; x < 7; x++)
      for (let y = 0; y < 7; y++) {
        const isOdd = crossingsOf(ring, [0, 0], [x, y], sloppy) % 2 === 1;
        assert.equal(isInside(ring, 0, 0) !== isOdd, isInside(ring, x, y));
      }
  };
  assert.throws(() => fc.assert(fc.property(ringOnGrid, check), { numRuns: 500 }), /failed/);
});

interface World {
  readonly places: Uint32Array;
  readonly rings: PieceList;
  readonly feed: (listener: BorderListener) => void;
}

function readWorld(text: string): World {
  const words: number[] = [];
  const rings = new PieceList();
  const feed = (listener: BorderListener): void => {
    const reader = new BorderReader(listener);
    const bytes = encode(text);
    for (let at = 0; at < bytes.length; at += 1000) reader.push(bytes.subarray(at, at + 1000));
    reader.end();
  };
  feed({
    onRing: (country, places, count) => {
      rings.add(words.length / PLACE_WORDS, count - 1, country);
      words.push(...places.subarray(0, PLACE_WORDS * count));
    },
    onCountry: () => {},
  });
  return { places: Uint32Array.from(words), rings, feed };
}

/** A tree in a plain array, and the search over it. */
function plainSearch(places: Uint32Array, rings: PieceList): (x: number, y: number) => number {
  const words = new Uint32Array(2 ** 21);
  const memory = {
    u32: {
      load: (at: number) => words[at / 4] ?? 0,
      store: (at: number, value: number) => void (words[at / 4] = value),
      loadInto: (at: number, target: Uint32Array, offset: number, count: number) =>
        target.set(words.subarray(at / 4, at / 4 + count), offset),
    },
    ptr: {
      load: (at: number) => words[at / 4] ?? 0,
      store: (at: number, value: number) => void (words[at / 4] = value),
    },
  };
  const nodes = { address: 16, lengthBytes: 2 ** 21 };
  const leaves = { address: 2 ** 21 + 16, lengthBytes: 2 ** 21 };
  const { root } = new TreeBuilder(memory, places, nodes, leaves).build(rings);
  return (x, y) => countryAt(memory, root, x, y);
}

/** Columns and rows on the grid of the map, and others. */
function rasterOnGrid(step: number, seed: number): Raster {
  const random = new Random(seed);
  const some = (limit: number): Uint32Array =>
    Uint32Array.from({ length: 150 }, (_, i) => {
      const degrees = (random.nextUnit() * 2 - 1) * limit;
      return coordinateOf(i % 3 === 0 ? degrees : Math.round(degrees / step) * step);
    }).toSorted();
  const ys = some(90).toReversed();
  return { ...makeRaster(WORLD, 150), height: 150, xs: some(180), ys };
}

function wrongAnswers(raster: Raster, check: RowCheck, search: (x: number, y: number) => number) {
  let [wrong, found] = [0, 0];
  for (const [row, y] of raster.ys.entries()) {
    const expected = check.answersOf(row);
    for (const [column, x] of raster.xs.entries()) {
      const answer = search(x, y);
      if (answer !== expected[column]) wrong++;
      if (answer > 0) found++;
    }
  }
  return { wrong, found };
}

test("the tree says what the rows say, for maps that touch, overlap and meet the raster", () => {
  for (let seed = 1; seed <= 12; seed++) {
    const step = seed % 2 === 0 ? 0.25 : 1;
    const { places, rings, feed } = readWorld(makeMap(seed, 20, step));
    const raster = rasterOnGrid(step, seed);
    const check = new RowCheck(raster);
    feed(check);
    const { wrong, found } = wrongAnswers(raster, check, plainSearch(places, rings));
    assert.equal(wrong, 0, `seed ${seed}`);
    assert.ok(found > 1000, `seed ${seed}: only ${found} places lie in a country`);
  }
});

test("a border that the tree lacks is noticed by the rows (twin)", () => {
  const { places, rings, feed } = readWorld(makeMap(3, 20, 1));
  const raster = rasterOnGrid(1, 3);
  const check = new RowCheck(raster);
  feed(check);
  const fewer = new PieceList();
  for (let i = 1; i < rings.length; i++)
    fewer.add(rings.first(i), rings.edgesOf(i), rings.country(i));
  assert.ok(wrongAnswers(raster, check, plainSearch(places, fewer)).wrong > 0);
});

test("where a hundred countries meet in one place, the tree stays small", () => {
  const fan = Array.from({ length: 100 }, (_, i) => {
    const far = (angle: number): number[] => [10 * Math.cos(angle), 10 * Math.sin(angle)];
    const ring = [[0, 0], far(i / 16), far((i + 1) / 16), [0, 0]];
    return { properties: { A3: `F${i}` }, geometry: { type: "Polygon", coordinates: [ring] } };
  });
  const { places, rings, feed } = readWorld(JSON.stringify({ features: fan }));
  const raster = rasterOnGrid(0.01, 1);
  const check = new RowCheck(raster);
  feed(check);
  assert.equal(wrongAnswers(raster, check, plainSearch(places, rings)).wrong, 0);
});

test("a tree that finds no room says so", () => {
  const { places, rings } = readWorld(makeMap(1, 20, 1));
  const memory = { u32: { store: () => {} }, ptr: { store: () => {} } };
  const room = { address: 0, lengthBytes: 64 };
  assert.throws(() => new TreeBuilder(memory, places, room, room).build(rings), RangeError);
});

test("a PNG holds its pixels, its checksums and its note", () => {
  const pixels = Uint8Array.from({ length: 5 * 3 * 3 }, (_, i) => (i * 7) % 256);
  const png = Buffer.from(encodePng(5, 3, pixels, "(c) someone"));
  assert.deepEqual([...png.subarray(0, 8)], [137, 80, 78, 71, 13, 10, 26, 10]);
  const chunks = new Map<string, Buffer>();
  for (let at = 8; at < png.length;) {
    const length = png.readUInt32BE(at);
    const name = png.toString("latin1", at + 4, at + 8);
    chunks.set(name, png.subarray(at + 8, at + 8 + length));
    assert.equal(
      png.readUInt32BE(at + 8 + length),
      plainCrc(png.subarray(at + 4, at + 8 + length)),
    );
    at += length + 12;
  }
  assert.deepEqual([...chunks.keys()], ["IHDR", "tEXt", "IDAT", "IEND"]);
  const header = chunks.get("IHDR") ?? Buffer.alloc(0);
  assert.deepEqual([header.readUInt32BE(0), header.readUInt32BE(4)], [5, 3]);
  assert.deepEqual([...header.subarray(8)], [8, 2, 0, 0, 0]);
  assert.equal(chunks.get("tEXt")?.toString("latin1"), "Copyright\0(c) someone");
  const rows = inflateSync(chunks.get("IDAT") ?? Buffer.alloc(0));
  assert.equal(rows.length, 3 * 16);
  for (let row = 0; row < 3; row++) {
    assert.equal(rows[row * 16], 0);
    assert.deepEqual(
      Uint8Array.from(rows.subarray(row * 16 + 1, row * 16 + 16)),
      pixels.subarray(row * 15, row * 15 + 15),
    );
  }
});

/** CRC-32 bit by bit, as the specification of PNG has it. */
function plainCrc(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}
