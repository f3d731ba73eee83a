/** The tree that the builder leaves behind, and the two searches over it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { bruteForceNearest } from "../../command/src/geocode/reference.ts";
import {
  AXIS_SHIFT,
  CHILD_COUNT_MASK,
  CITY_BYTES,
  LINK_TAG_MASK,
  NODE_BYTES,
} from "../../command/src/geocode/layout.ts";
import { buildPlainTree, searchPlain } from "../../command/src/geocode/nearest-plain.ts";
import { nearestNode } from "../../command/src/geocode/nearest-kernel.ts";
import { Random } from "../../command/src/geocode/random.ts";
import { greatCircle, writeUnitVector } from "../../command/src/geocode/sphere.ts";
import type { TreeSlots } from "../../command/src/geocode/tree-builder.ts";
import { buildPlainSlots, plainJob, randomCities } from "./plain-job.ts";

const COUNTS = [
  1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 200, 383, 384, 500, 1000,
];

/**
 * Walks the tree below `slot`, asserts what must hold of every node, and returns how many there are
 * and where they end.
 */
function walk(
  slots: TreeSlots,
  slot: number,
  seen: Set<number>,
): { count: number; extent: number[] } {
  assert.ok(!seen.has(slot), `slot ${slot} has two parents`);
  seen.add(slot);
  const node = slots.nodesF64.subarray(slot * 8, slot * 8 + 8);
  const extent = [node[0]!, node[1]!, node[2]!, node[0]!, node[1]!, node[2]!];
  assert.equal(
    node[7],
    slots.citiesAddress + slot * CITY_BYTES,
    "a node points to the city of its slot",
  );
  const link = node[6]!;
  const tag = link & LINK_TAG_MASK;
  const childCount = tag & CHILD_COUNT_MASK;
  assert.ok(childCount <= 2);
  if (childCount === 0) assert.equal(link, 0);
  let count = 1;
  for (let child = 0; child < childCount; child++) {
    const childSlot = (link - tag - slots.nodesAddress) / NODE_BYTES + child;
    const below = walk(slots, childSlot, seen);
    count += below.count;
    const split = tag >> AXIS_SHIFT;
    if (child === 0)
      assert.ok(below.extent[split + 3]! <= node[split]!, "the first child lies below");
    else assert.ok(below.extent[split]! >= node[split]!, "the second child lies above");
    for (let axis = 0; axis < 3; axis++) {
      extent[axis] = Math.min(extent[axis]!, below.extent[axis]!);
      extent[axis + 3] = Math.max(extent[axis + 3]!, below.extent[axis + 3]!);
    }
  }
  for (let axis = 0; axis < 3; axis++) {
    const least = slots.nodesF32[slot * 16 + 6 + axis]!;
    const greatest = slots.nodesF32[slot * 16 + 9 + axis]!;
    assert.ok(
      least < extent[axis]! && least > extent[axis]! - 1e-6,
      `slot ${slot}: box below ${axis}`,
    );
    assert.ok(
      greatest > extent[axis + 3]! && greatest < extent[axis + 3]! + 1e-6,
      `slot ${slot}: box above ${axis}`,
    );
  }
  return { count, extent };
}

test("the tree links every city once, with tight boxes, for many sizes", () => {
  for (const count of COUNTS) {
    const list = randomCities(count, count);
    const slots = buildPlainSlots(list);
    assert.equal(walk(slots, 0, new Set()).count, count);
    const indexes = new Set<number>();
    for (let slot = 0; slot < count; slot++) {
      const city = slots.citiesU32[slot * 4 + 2]!;
      indexes.add(city);
      const vector = new Float64Array(3);
      writeUnitVector(list.longitudes[city]!, list.latitudes[city]!, vector, 0);
      assert.deepEqual(
        vector,
        slots.nodesF64.slice(slot * 8, slot * 8 + 3),
        "coordinates moved with their city",
      );
    }
    assert.equal(indexes.size, count);
  }
});

test("the walk of these tests notices a box that is too small (twin)", () => {
  const slots = buildPlainSlots(randomCities(5, 500));
  slots.nodesF32[16 + 6] = slots.nodesF32[16 + 6]! + 0.01;
  assert.throws(() => walk(slots, 0, new Set()), /box below 0/);
});

/** How many of `questions` random questions the two searches get wrong, going by brute force. */
function wrongAnswers(
  seed: number,
  count: number,
  questions: number,
  spoil: (slots: TreeSlots) => void,
): number {
  const list = randomCities(seed, count);
  const job = plainJob(list, new Int32Array(2));
  const plain = buildPlainTree(list);
  spoil(job.slots);
  spoil({ ...job.slots, ...plain });
  const bruteForce = bruteForceNearest(list);
  const random = new Random(seed + 1);
  const point = new Float64Array(3);
  let wrong = 0;
  for (let question = 0; question < questions; question++) {
    const longitude = random.nextUnit() * 360 - 180;
    const latitude = random.nextUnit() * 180 - 90;
    writeUnitVector(longitude, latitude, point, 0);
    const [x, y, z] = [point[0]!, point[1]!, point[2]!];
    const { memory, map, slots } = job;
    const node = nearestNode(memory.f64, memory.f32, map.nodes, x, y, z);
    const found = slots.citiesU32[((node - map.nodes) / NODE_BYTES) * 4 + 2]!;
    const foundPlain = plain.citiesU32[searchPlain(plain, x, y, z) * 4 + 2]!;
    const distance = (city: number): number =>
      greatCircle(longitude, latitude, list.longitudes[city]!, list.latitudes[city]!);
    const least = distance(bruteForce(longitude, latitude, Infinity));
    if (Math.abs(distance(found) - least) > 1e-12 || Math.abs(distance(foundPlain) - least) > 1e-12)
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
  const spoil = ({ nodesF32 }: TreeSlots): void =>
    nodesF32.fill(2, 16 + 6, 16 + 9).fill(2, 16 + 9, 16 + 12) && undefined;
  assert.ok(wrongAnswers(3, 1000, 200, spoil) > 0);
});
