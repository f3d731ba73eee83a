/**
 * @module The same search over plain typed arrays: what a program would write that has everything
 * in one SharedArrayBuffer and no device. The baseline of the benchmark, and kept line by line like
 * the kernel's search.
 */

import type { CityList } from "./city-list.ts";
import {
  AXIS_SHIFT,
  CHILD_COUNT_MASK,
  CITY_BYTES,
  LINK_TAG_MASK,
  NODE_BYTES,
  wholePages,
} from "./layout.ts";
import { fillRecords, treeSlots } from "./records.ts";
import { TreeBuilder } from "./tree-builder.ts";

/**
 * The tree in one buffer, nodes from byte 0 on, then cities. Goes to Workers as it is: nothing is
 * copied.
 */
export interface PlainTree {
  readonly nodesF64: Float64Array;
  readonly nodesF32: Float32Array;
  readonly citiesF64: Float64Array;
  readonly citiesU32: Uint32Array;
}

const PENDING_LIMIT = 64;
const FARTHER_THAN_ALL = 5;
const F64_PER_NODE: number = NODE_BYTES / 8;
const LINK_F64 = 6;
const F32_PER_NODE: number = NODE_BYTES / 4;
const BOX_F32 = 6;

const pendingSlots = new Int32Array(PENDING_LIMIT);
const pendingHalves = new Int32Array(PENDING_LIMIT);
const pendingSquares = new Float64Array(PENDING_LIMIT);

/**
 * Builds the tree of `list` by the same builder, in one thread. Links count from the start of the
 * nodes.
 */
export function buildPlainTree(list: CityList): PlainTree {
  const nodes = new Uint8Array(new SharedArrayBuffer(wholePages(list.count * NODE_BYTES)));
  const cities = new Uint8Array(new SharedArrayBuffer(wholePages(list.count * CITY_BYTES)));
  const slots = treeSlots(nodes, cities, 0, 0, 0);
  fillRecords(list, slots);
  const builder = new TreeBuilder(slots);
  for (const groups of builder.plantRoot(list.count)) builder.buildBelow(groups);
  builder.linkCities(0, list.count);
  return {
    nodesF64: slots.nodesF64,
    nodesF32: slots.nodesF32,
    citiesF64: slots.citiesF64,
    citiesU32: slots.citiesU32,
  };
}

/**
 * The slot of the node nearest to the point (x, y, z) of the unit sphere. Its city has the same
 * slot.
 */
export function searchPlain(tree: PlainTree, x: number, y: number, z: number): number {
  const f64 = tree.nodesF64;
  const f32 = tree.nodesF32;
  let nearestYet = 0;
  let bestSquare = FARTHER_THAN_ALL;
  let pending = 0;
  let slot = 0;
  for (;;) {
    for (let link = linkOf(f64, slot); link !== 0; link = linkOf(f64, slot)) {
      const tag = link & LINK_TAG_MASK;
      const axis = tag >> AXIS_SHIFT;
      const beyond = (axis === 0 ? x : axis === 1 ? y : z) - f64[slot * F64_PER_NODE + axis]!;
      const planeSquare = beyond * beyond;
      let near = (link / NODE_BYTES) | 0;
      let far = 0; // the root is nobody's child, so 0 can mean none
      if ((tag & CHILD_COUNT_MASK) > 1) {
        if (beyond < 0) far = near + 1;
        else far = near++;
      }
      if (planeSquare < bestSquare) {
        pendingSlots[pending] = slot;
        pendingHalves[pending] = far;
        pendingSquares[pending++] = planeSquare;
      }
      slot = near;
    }

    let half = 0;
    for (;;) {
      const at = slot * F64_PER_NODE;
      const dx = x - f64[at]!;
      const dy = y - f64[at + 1]!;
      const dz = z - f64[at + 2]!;
      const square = dx * dx + dy * dy + dz * dz;
      if (square < bestSquare) {
        bestSquare = square;
        nearestYet = slot;
      }
      if (
        half !== 0 &&
        boxSquare(f32, half * F32_PER_NODE + BOX_F32, x, y, z, bestSquare) < bestSquare
      )
        break;
      do {
        if (pending === 0) return nearestYet;
        pending--;
      } while (pendingSquares[pending]! >= bestSquare);
      slot = pendingSlots[pending]!;
      half = pendingHalves[pending]!;
    }
    slot = half;
  }
}

function linkOf(f64: Float64Array, slot: number): number {
  return f64[slot * F64_PER_NODE + LINK_F64]! | 0;
}

function boxSquare(
  f32: Float32Array,
  box: number,
  x: number,
  y: number,
  z: number,
  enough: number,
): number {
  let side = outside(f32, box, x);
  let square = side * side;
  if (square >= enough) return square;
  side = outside(f32, box + 1, y);
  square += side * side;
  if (square >= enough) return square;
  side = outside(f32, box + 2, z);
  return square + side * side;
}

function outside(f32: Float32Array, bounds: number, value: number): number {
  const least = f32[bounds]!;
  if (value < least) return least - value;
  const greatest = f32[bounds + 3]!;
  return value > greatest ? value - greatest : 0;
}
