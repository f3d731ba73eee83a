/**
 * @module Builds the k-d tree: which city goes where, and the nodes and leaves of layout.ts. Not a
 * general k-d tree: it knows these records and nothing else.
 *
 * It sorts rows, one for each city: x, y, z and the city's index. A group of rows is halved at its
 * median along its widest side (quickselect, Hoare), and each half again: that is a node. All
 * leaves are at the same depth, so the place of everything follows from the number of cities:
 *
 *     root, its children | half of what is below them | the other half
 *                        ^ whole pages                ^ whole pages
 *
 * and below a node, first its four children, then what is below each of them. The rows end in the
 * order of the leaves. It is the order of the cities, too.
 *
 * Locks: none. After the root two builders may work at the same time, one on either half, each
 * through write views of its own.
 */

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
  PAGE_BYTES,
  POINTS,
  wholePages,
  writePointer,
} from "./layout.ts";

/** Part of the tree's memory as typed arrays over one write view. */
export interface TreeMemory {
  /** Where the arrays begin, in bytes from the root. */
  readonly startByte: number;
  readonly f64: Float64Array;
  readonly f32: Float32Array;
  readonly u32: Uint32Array;
  readonly u8: Uint8Array;
  /** Addresses of the root and of the first city. */
  readonly nodesAddress: number;
  readonly citiesAddress: number;
}

/** A node or leaf to be built: where it goes, and from which rows. */
export interface Subtree {
  /** Bytes from the root. */
  readonly at: number;
  /** Where its children go. */
  readonly below: number;
  /** Levels of nodes; 0: a leaf. */
  readonly levels: number;
  readonly startRow: number;
  readonly endRow: number;
}

/** What one of two threads builds. */
export interface Half {
  readonly subtrees: readonly Subtree[];
  readonly startByte: number;
  readonly endByte: number;
  readonly startRow: number;
  readonly endRow: number;
}

/** Numbers of a row: x, y, z, index of the city. */
export const ROW = 4;
/** The root's children: four leaves at most. On addresses that leaves may have. */
const ROOT_BELOW: number = LEAF_BYTES;
/** Rows whose cities fill whole pages. */
const ROWS_PER_PAGE: number = PAGE_BYTES / CITY_BYTES;

/**
 * Rounding to f32 moves a coordinate by at most 2^-25, so a box widened by 2^-24 (40 cm) holds what
 * it should.
 */
const BOX_MARGIN = 2 ** -24;

/** Levels of nodes above the leaves. */
export function levelsOf(cityCount: number): number {
  let levels = 1;
  while (POINTS * CHILDREN ** levels < cityCount) levels++;
  return levels;
}

function childBytes(levels: number): number {
  return levels === 1 ? LEAF_BYTES : NODE_BYTES;
}

/** Bytes of everything below a node of so many levels. */
function bytesBelow(levels: number): number {
  return levels === 0 ? 0 : CHILDREN * (childBytes(levels) + bytesBelow(levels - 1));
}

/** Bytes below the root's first two children, and below the other two. */
function halfBytes(cityCount: number): number {
  const below = bytesBelow(levelsOf(cityCount) - 1);
  return below === 0 ? 0 : wholePages((CHILDREN / 2) * below);
}

/** Bytes of the whole tree: what the device's memory is measured against. */
export function treeBytes(cityCount: number): number {
  return PAGE_BYTES + 2 * halfBytes(cityCount);
}

/** Works on the part of the tree that it was given, for one thread. */
export class TreeBuilder {
  readonly #rows: Float64Array;
  readonly #memory: TreeMemory;
  /** Extent of the group measured last. */
  readonly #least: Float64Array = new Float64Array(3);
  readonly #greatest: Float64Array = new Float64Array(3);

  constructor(rows: Float64Array, memory: TreeMemory) {
    this.#rows = rows;
    this.#memory = memory;
  }

  /**
   * Builds the root and its children; returns what is left to do, for two threads. The second
   * half's cities start on a page boundary where there are pages enough, so that write views of the
   * two halves share no page.
   */
  plantRoot(): readonly [Half, Half] {
    const count = this.#rows.length / ROW;
    const levels = levelsOf(count);
    const half = (count + 1) >> 1;
    const aligned = Math.round(half / ROWS_PER_PAGE) * ROWS_PER_PAGE;
    const most = (POINTS * CHILDREN ** levels) / 2;
    const middle = Math.max(aligned, count - aligned) <= most ? aligned : half;
    const root = { at: 0, below: ROOT_BELOW, levels, startRow: 0, endRow: count };
    const children = this.#buildNode(root, middle);
    const bytes = halfBytes(count);
    const start = PAGE_BYTES;
    const plant = (first: number, startRow: number, endRow: number): Half => {
      const startByte = start + first * (bytes / 2);
      const below = bytesBelow(levels - 1);
      const subtrees = children
        .slice(first, first + 2)
        .flatMap((child, i) => this.#buildOne({ ...child, below: startByte + i * below }));
      return { subtrees, startByte, endByte: startByte + bytes, startRow, endRow };
    };
    return [plant(0, 0, middle), plant(2, middle, count)];
  }

  /** Builds everything in `half`. */
  build({ subtrees }: Half): void {
    for (const subtree of subtrees) this.#buildAll(subtree);
  }

  #buildAll(subtree: Subtree): void {
    for (const child of this.#buildOne(subtree)) this.#buildAll(child);
  }

  /** Builds a node or a leaf; returns what is left of it. */
  #buildOne(subtree: Subtree): readonly Subtree[] {
    if (subtree.levels > 0) return this.#buildNode(subtree);
    this.#buildLeaf(subtree);
    return [];
  }

  #buildNode(
    { at, below, levels, startRow, endRow }: Subtree,
    middle: number = startRow + ((endRow - startRow + 1) >> 1),
  ): readonly Subtree[] {
    const { f64, u32, u8, startByte, nodesAddress } = this.#memory;
    const planes = (at - startByte + NODE_PLANES) / 8;
    const whole = this.#measure(startRow, endRow);
    this.#writeBox(at);
    f64[planes] = this.#split(startRow, endRow, middle, whole);
    const firstQuarter = startRow + ((middle - startRow + 1) >> 1);
    const lower = this.#measure(startRow, middle);
    f64[planes + 1] = this.#split(startRow, middle, firstQuarter, lower);
    const thirdQuarter = middle + ((endRow - middle + 1) >> 1);
    const higher = this.#measure(middle, endRow);
    f64[planes + 2] = this.#split(middle, endRow, thirdQuarter, higher);
    u8.set([whole, lower, higher], at - startByte + NODE_AXES);
    u8[at - startByte + NODE_ABOVE_LEAVES] = levels === 1 ? 1 : 0;
    writePointer(u32, (at - startByte + NODE_CHILDREN) / 4, nodesAddress + below);

    const bounds = [startRow, firstQuarter, middle, thirdQuarter, endRow];
    const stride = childBytes(levels);
    return Array.from({ length: CHILDREN }, (_, child) => ({
      at: below + child * stride,
      below: below + CHILDREN * stride + child * bytesBelow(levels - 1),
      levels: levels - 1,
      startRow: bounds[child]!,
      endRow: bounds[child + 1]!,
    }));
  }

  #buildLeaf({ at, startRow, endRow }: Subtree): void {
    const { f64, u32, startByte, citiesAddress } = this.#memory;
    this.#measure(startRow, endRow);
    this.#writeBox(at);
    writePointer(u32, (at - startByte + LEAF_CITIES) / 4, citiesAddress + startRow * CITY_BYTES);
    const points = (at - startByte + LEAF_POINTS) / 8;
    for (let i = 0; i < POINTS; i++) {
      const row = startRow + i;
      for (let axis = 0; axis < 3; axis++)
        f64[points + 3 * i + axis] = row < endRow ? this.#rows[ROW * row + axis]! : Infinity;
    }
  }

  /**
   * Sorts the rows so far that none from `middle` on lies below the plane along `axis` that is
   * returned, and none before it above. No row from `middle` on: a plane that is above everything.
   */
  #split(startRow: number, endRow: number, middle: number, axis: number): number {
    if (middle >= endRow) return Infinity;
    this.#select(startRow, endRow - 1, middle, axis);
    return this.#rows[ROW * middle + axis]!;
  }

  /** Measures a group; returns the axis of its widest side. */
  #measure(startRow: number, endRow: number): number {
    const rows = this.#rows;
    const least = this.#least.fill(Infinity);
    const greatest = this.#greatest.fill(-Infinity);
    for (let at = ROW * startRow; at < ROW * endRow; at += ROW) {
      for (let axis = 0; axis < 3; axis++) {
        const value = rows[at + axis]!;
        if (value < least[axis]!) least[axis] = value;
        if (value > greatest[axis]!) greatest[axis] = value;
      }
    }
    let widest = 0;
    for (let axis = 1; axis < 3; axis++)
      if (greatest[axis]! - least[axis]! > greatest[widest]! - least[widest]!) widest = axis;
    return widest;
  }

  #writeBox(at: number): void {
    const { f32, startByte } = this.#memory;
    const box = (at - startByte + BOX) / 4;
    for (let axis = 0; axis < 3; axis++) {
      f32[box + axis] = this.#least[axis]! - BOX_MARGIN;
      f32[box + 3 + axis] = this.#greatest[axis]! + BOX_MARGIN;
    }
  }

  /**
   * Hoare's quickselect over the rows `left` to `right`, both included: nothing before `target` is
   * greater than it, nothing after it less.
   */
  #select(left: number, right: number, target: number, axis: number): void {
    const rows = this.#rows;
    while (left < right) {
      const pivot = rows[ROW * ((left + right) >> 1) + axis]!;
      let low = left;
      let high = right;
      while (low <= high) {
        while (rows[ROW * low + axis]! < pivot) low++;
        while (rows[ROW * high + axis]! > pivot) high--;
        if (low <= high) swapRows(rows, low++, high--);
      }
      if (target <= high) right = high;
      else if (target >= low) left = low;
      else return;
    }
  }
}

function swapRows(rows: Float64Array, a: number, b: number): void {
  for (let i = 0; i < ROW; i++) {
    const value = rows[ROW * a + i]!;
    rows[ROW * a + i] = rows[ROW * b + i]!;
    rows[ROW * b + i] = value;
  }
}
