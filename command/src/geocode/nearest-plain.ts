/**
 * @module The same search over plain typed arrays: what a program would write that has everything
 * in SharedArrayBuffers and no device. The baseline of the benchmark: the same steps as the
 * kernel's search. It needs no records: it reads each number where it is.
 */

import type { CityList } from "./city-list.ts";
import {
  BOX,
  CITY_BYTES,
  LEAF_BYTES,
  LEAF_CITIES,
  LEAF_POINTS,
  NODE_ABOVE_LEAVES,
  NODE_AXES,
  NODE_BYTES,
  NODE_CHILDREN,
  NODE_PLANES,
  PAGE_BYTES,
  POINTS,
  wholePages,
} from "./layout.ts";
import { makeRows, treeMemory, writeCities } from "./records.ts";
import { TreeBuilder, treeBytes } from "./tree-builder.ts";

/**
 * The tree in one buffer, the cities in another. Goes to Workers as it is: nothing is copied.
 * Pointers count bytes from the start of the buffer, and are below 2^31.
 */
export interface PlainTree {
  readonly treeF64: Float64Array;
  readonly treeF32: Float32Array;
  readonly treeU32: Uint32Array;
  readonly treeU8: Uint8Array;
  readonly citiesF64: Float64Array;
  readonly citiesU32: Uint32Array;
}

const PENDING_LIMIT = 64;
const FARTHER_THAN_ALL = 5;

const pendingPlaces = new Int32Array(PENDING_LIMIT);
const pendingSquares = new Float64Array(PENDING_LIMIT);
const pendingLeaves = new Uint8Array(PENDING_LIMIT);

/** Builds the tree of `list` by the same builder, in one thread. */
export function buildPlainTree(list: CityList): PlainTree {
  const tree = new Uint8Array(new SharedArrayBuffer(treeBytes(list.count)));
  const cities = new Uint8Array(new SharedArrayBuffer(wholePages(list.count * CITY_BYTES)));
  const rows = makeRows(list);
  const root = treeMemory(tree.subarray(0, PAGE_BYTES), 0, 0, 0);
  for (const half of new TreeBuilder(rows, root).plantRoot()) {
    const bytes = tree.subarray(half.startByte, half.endByte);
    new TreeBuilder(rows, treeMemory(bytes, half.startByte, 0, 0)).build(half);
  }
  writeCities(cities, rows, 0, list.count, list);
  const { f64, f32, u32, u8 } = treeMemory(tree, 0, 0, 0);
  return {
    treeF64: f64,
    treeF32: f32,
    treeU32: u32,
    treeU8: u8,
    citiesF64: new Float64Array(cities.buffer),
    citiesU32: new Uint32Array(cities.buffer),
  };
}

/** The place of the city nearest to the point `at` of the unit sphere, in bytes. */
export function searchPlain(tree: PlainTree, at: Float64Array): number {
  const { treeF64, treeF32, treeU32, treeU8 } = tree;
  let nearestYet = 0;
  let bestSquare = FARTHER_THAN_ALL;
  let pending = 0;
  let node = 0;
  let isLeaf = 0;
  for (;;) {
    if (boxSquare(treeF32, (node + BOX) >> 2, at) < bestSquare) {
      if (isLeaf === 0) {
        isLeaf = treeU8[node + NODE_ABOVE_LEAVES]!;
        const childBytes = isLeaf === 0 ? NODE_BYTES : LEAF_BYTES;
        const whole = beyond(tree, node, at, 0);
        const half = whole < 0 ? 0 : 1;
        const own = beyond(tree, node, at, 1 + half);
        const other = beyond(tree, node, at, 2 - half);
        const near = treeU32[(node + NODE_CHILDREN) >> 2]! + 2 * half * childBytes;
        const far = near + (2 - 4 * half) * childBytes;
        const farSquare = whole * whole;
        const farthestSquare = Math.max(farSquare, other * other);
        if (farthestSquare < bestSquare)
          pending = wait(pending, other < 0 ? far + childBytes : far, isLeaf, farthestSquare);
        if (farSquare < bestSquare)
          pending = wait(pending, other < 0 ? far : far + childBytes, isLeaf, farSquare);
        if (own * own < bestSquare)
          pending = wait(pending, own < 0 ? near + childBytes : near, isLeaf, own * own);
        node = own < 0 ? near : near + childBytes;
        continue;
      }
      const points = (node + LEAF_POINTS) >> 3;
      for (let i = 0; i < POINTS; i++) {
        const square = squareTo(treeF64, points + 3 * i, at);
        if (square < bestSquare) {
          bestSquare = square;
          nearestYet = treeU32[(node + LEAF_CITIES) >> 2]! + i * CITY_BYTES;
        }
      }
    }
    do {
      if (pending === 0) return nearestYet;
      pending--;
    } while (pendingSquares[pending]! >= bestSquare);
    node = pendingPlaces[pending]!;
    isLeaf = pendingLeaves[pending]!;
  }
}

function wait(pending: number, at: number, isLeaf: number, square: number): number {
  pendingPlaces[pending] = at;
  pendingLeaves[pending] = isLeaf;
  pendingSquares[pending] = square;
  return pending + 1;
}

function beyond(
  { treeF64, treeU8 }: PlainTree,
  node: number,
  at: Float64Array,
  plane: number,
): number {
  return at[treeU8[node + NODE_AXES + plane]!]! - treeF64[((node + NODE_PLANES) >> 3) + plane]!;
}

function squareTo(f64: Float64Array, point: number, at: Float64Array): number {
  const dx = at[0]! - f64[point]!;
  const dy = at[1]! - f64[point + 1]!;
  const dz = at[2]! - f64[point + 2]!;
  return dx * dx + dy * dy + dz * dz;
}

function boxSquare(f32: Float32Array, box: number, at: Float64Array): number {
  const x = at[0]!;
  const y = at[1]!;
  const z = at[2]!;
  const dx = x < f32[box]! ? f32[box]! - x : x > f32[box + 3]! ? x - f32[box + 3]! : 0;
  const dy = y < f32[box + 1]! ? f32[box + 1]! - y : y > f32[box + 4]! ? y - f32[box + 4]! : 0;
  const dz = z < f32[box + 2]! ? f32[box + 2]! - z : z > f32[box + 5]! ? z - f32[box + 5]! : 0;
  return dx * dx + dy * dy + dz * dz;
}
