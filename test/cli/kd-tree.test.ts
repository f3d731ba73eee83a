/** The tree that the builder leaves behind, and the two searches over it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { bruteForceNearest } from "../../command/src/geocode/reference.ts";
import {
  BOX,
  CHILDREN,
  CITY_BYTES,
  LEAF_BYTES,
  LEAF_CITIES,
  LEAF_POINTS,
  NODE_ABOVE_LEAVES,
  NODE_AXES,
  NODE_BYTES,
  NODE_CHILDREN,
  NODE_PLANES,
  POINTS,
  pointerAt,
} from "../../command/src/geocode/layout.ts";
import { buildPlainTree, searchPlain } from "../../command/src/geocode/nearest-plain.ts";
import { nearestCity } from "../../command/src/geocode/nearest-kernel.ts";
import { Random } from "../../command/src/geocode/random.ts";
import { greatCircle, writeUnitVector } from "../../command/src/geocode/sphere.ts";
import { levelsOf } from "../../command/src/geocode/tree-builder.ts";
import type { TreeMemory } from "../../command/src/geocode/tree-builder.ts";
import { buildPlainWorld, plainJob, randomCities } from "./plain-job.ts";
import type { PlainWorld } from "./plain-job.ts";

const COUNTS = [
  1, 2, 3, 4, 5, 8, 9, 10, 35, 36, 37, 127, 143, 144, 145, 200, 383, 512, 575, 577, 1000, 2400,
];

type Extent = readonly [least: number[], greatest: number[]];

const NOTHING: Extent = [
  [Infinity, Infinity, Infinity],
  [-Infinity, -Infinity, -Infinity],
];

function union(extents: readonly Extent[]): Extent {
  const axes = [0, 1, 2];
  return [
    axes.map((axis) => Math.min(...extents.map(([least]) => least[axis]!))),
    axes.map((axis) => Math.max(...extents.map(([, greatest]) => greatest[axis]!))),
  ];
}

/** The places of a leaf's cities, and that they are the cities it points to. */
function walkLeaf(world: PlainWorld, at: number, seen: Map<number, readonly number[]>): Extent {
  const { tree, citiesU32 } = world;
  const slot = (pointerAt(tree.u32, (at + LEAF_CITIES) / 4) - tree.citiesAddress) / CITY_BYTES;
  const extents: Extent[] = [NOTHING];
  for (let i = 0; i < POINTS; i++) {
    const first = (at + LEAF_POINTS) / 8 + 3 * i;
    const point = [...tree.f64.subarray(first, first + 3)];
    if (point[0] === Infinity) continue;
    const city = citiesU32[(slot + i) * 4 + 2]!;
    assert.ok(!seen.has(city), `city ${city} is in two leaves`);
    seen.set(city, point);
    extents.push([point, point]);
  }
  return union(extents);
}

/** Walks the tree below the node or leaf at byte `at`, and asserts what must hold of it. */
function walk(
  world: PlainWorld,
  at: number,
  levels: number,
  seen: Map<number, readonly number[]>,
): Extent {
  const { tree } = world;
  const extent = levels === 0 ? walkLeaf(world, at, seen) : walkNode(world, at, levels, seen);
  for (let axis = 0; axis < 3; axis++) {
    const least = tree.f32[(at + BOX) / 4 + axis]!;
    const greatest = tree.f32[(at + BOX) / 4 + 3 + axis]!;
    const [lower, upper] = [extent[0][axis]!, extent[1][axis]!];
    const isEmpty = lower === Infinity;
    assert.ok(isEmpty || (least < lower && least > lower - 1e-6), `byte ${at}: box below ${axis}`);
    assert.ok(
      isEmpty || (greatest > upper && greatest < upper + 1e-6),
      `byte ${at}: box above ${axis}`,
    );
  }
  return extent;
}

function walkNode(
  world: PlainWorld,
  at: number,
  levels: number,
  seen: Map<number, readonly number[]>,
): Extent {
  const { u32, u8, f64, nodesAddress } = world.tree;
  assert.equal(u8[at + NODE_ABOVE_LEAVES], levels === 1 ? 1 : 0);
  const children = pointerAt(u32, (at + NODE_CHILDREN) / 4) - nodesAddress;
  const childBytes = levels === 1 ? LEAF_BYTES : NODE_BYTES;
  assert.equal(children % childBytes, 0, "a child crosses no page");
  const below = Array.from({ length: CHILDREN }, (_, child) =>
    walk(world, children + child * childBytes, levels - 1, seen),
  );
  const parted: readonly (readonly [lower: Extent, higher: Extent])[] = [
    [union(below.slice(0, 2)), union(below.slice(2))],
    [below[0]!, below[1]!],
    [below[2]!, below[3]!],
  ];
  for (const [plane, [lower, higher]] of parted.entries()) {
    const axis = u8[at + NODE_AXES + plane]!;
    const value = f64[(at + NODE_PLANES) / 8 + plane]!;
    assert.ok(lower[1][axis]! <= value, `byte ${at}: what comes first lies below plane ${plane}`);
    assert.ok(higher[0][axis]! >= value, `byte ${at}: what comes last lies above plane ${plane}`);
  }
  return union(below);
}

test("the tree has every city once, behind its planes and in tight boxes, for many sizes", () => {
  for (const count of COUNTS) {
    const list = randomCities(count, count);
    const world = buildPlainWorld(list);
    const seen = new Map<number, readonly number[]>();
    walk(world, 0, levelsOf(count), seen);
    assert.equal(seen.size, count);
    for (const [city, point] of seen) {
      const vector = new Float64Array(3);
      writeUnitVector(list.longitudes[city]!, list.latitudes[city]!, vector, 0);
      assert.deepEqual([...vector], point, "coordinates moved with their city");
    }
  }
});

test("the walk of these tests notices a box that is too small, and a plane (twin)", () => {
  const world = buildPlainWorld(randomCities(5, 500));
  const { f32, f64 } = world.tree;
  const child = LEAF_BYTES; // where the root's children begin
  f32[child / 4]! += 0.01;
  assert.throws(() => walk(world, 0, levelsOf(500), new Map()), /box below 0/);
  f32[child / 4]! -= 0.01;
  f64[NODE_PLANES / 8] = 2;
  assert.throws(() => walk(world, 0, levelsOf(500), new Map()), /above plane 0/);
});

/** How many of `questions` random questions the two searches get wrong, going by brute force. */
function wrongAnswers(
  seed: number,
  count: number,
  questions: number,
  spoil: (tree: Pick<TreeMemory, "f32">) => void,
): number {
  const list = randomCities(seed, count);
  const job = plainJob(list, new Int32Array(2));
  const plain = buildPlainTree(list);
  spoil(job.world.tree);
  spoil({ f32: plain.treeF32 });
  const bruteForce = bruteForceNearest(list);
  const random = new Random(seed + 1);
  const point = new Float64Array(3);
  let wrong = 0;
  for (let question = 0; question < questions; question++) {
    const longitude = random.nextUnit() * 360 - 180;
    const latitude = random.nextUnit() * 180 - 90;
    writeUnitVector(longitude, latitude, point, 0);
    const { memory, map, world } = job;
    const slot = (nearestCity(memory, map.nodes, point) - map.cities) / CITY_BYTES;
    const found = world.citiesU32[slot * 4 + 2]!;
    const foundPlain = plain.citiesU32[searchPlain(plain, point) / 4 + 2]!;
    const distance = (city: number): number =>
      greatCircle(longitude, latitude, list.longitudes[city]!, list.latitudes[city]!);
    const least = distance(bruteForce(longitude, latitude, Infinity));
    if (
      !(Math.abs(distance(found) - least) <= 1e-12) ||
      !(Math.abs(distance(foundPlain) - least) <= 1e-12)
    )
      wrong++;
  }
  return wrong;
}

test("both searches find a nearest city, for many sizes", () => {
  for (const count of COUNTS)
    assert.equal(
      wrongAnswers(count, count, 200, () => {}),
      0,
      `${count} cities`,
    );
});

test("a search over a tree with one box too small gives wrong answers (twin)", () => {
  // Of the root's first child.
  const spoil = ({ f32 }: Pick<TreeMemory, "f32">): void => void f32.fill(2, 64, 64 + 6);
  assert.ok(wrongAnswers(3, 1000, 200, spoil) > 0);
});
