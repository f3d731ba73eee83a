/**
 * @module Builds the k-d tree in place: cities in any order become a linked tree over the same
 * memory, with no second copy and no index beside it. What it is not: a general k-d tree; it knows
 * the records of layout.ts and nothing else.
 *
 * Each step has two groups of records side by side, the descendants-to-be of one node, takes the
 * median of each along its widest side (quickselect, Hoare), and moves the two medians to the
 * front, where they are siblings:
 *
 *     [ lower group          | higher group         ]      before
 *     [ A      | l | B       | C      | h | D       ]      after both quickselects
 *     [ l | h | A      | B   | C      | D           ]      after four swaps; A, B: both below l
 *
 * So a subtree's records are contiguous, siblings adjacent, and the step repeats on A, B and on C,
 * D. The extent that decides the widest side is also the box that the search prunes by. A median of
 * a group of `count` has `count >> 1` records below it, so the second group is never larger than
 * the first, and a node with one child has a lower one.
 *
 * Locks: none. Two builders may work at the same time on disjoint runs of slots, each through write
 * views of its own.
 */

import { AXIS_SHIFT, CITY_BYTES, NODE_BYTES, PAGE_BYTES } from "./layout.ts";

/** A run of nodes and the cities that belong to them, as typed arrays over write views. */
export interface TreeSlots {
  /** Slot of the first node in the arrays. */
  readonly firstSlot: number;
  readonly nodesF64: Float64Array;
  readonly nodesF32: Float32Array;
  readonly citiesF64: Float64Array;
  readonly citiesU32: Uint32Array;
  /** Addresses of slot 0. */
  readonly nodesAddress: number;
  readonly citiesAddress: number;
}

/** Two groups side by side, from `slot` on, whose medians become the children of one node. */
export interface Groups {
  readonly slot: number;
  readonly lowerCount: number;
  readonly higherCount: number;
}

const F64_PER_NODE = 8;
const F32_PER_NODE = 16;
const F64_PER_CITY = 2;
const U32_PER_CITY = 4;
const BOX_F32 = 6;
const LINK_F64 = 6;
const CITY_F64 = 7;
const CITY_INDEX_U32 = 2;
/** Slots that fill whole pages of nodes and of cities both. */
const SLOTS_PER_PAGE: number = PAGE_BYTES / CITY_BYTES;

/**
 * Rounding to f32 moves a coordinate by at most 2^-25, so a box widened by 2^-24 (40 cm) holds what
 * it should.
 */
const BOX_MARGIN = 2 ** -24;

/** Works on the slots that it was given, for one thread. */
export class TreeBuilder {
  private readonly slots: TreeSlots;
  /** Extent of the group measured last. */
  private readonly least: Float64Array = new Float64Array(3);
  private readonly greatest: Float64Array = new Float64Array(3);

  constructor(slots: TreeSlots) {
    this.slots = slots;
  }

  /**
   * Makes slot 0 the root of all `count` records and slots 1 and 2 its children, linked; returns
   * what is left to do, for two threads. The second half starts on a page boundary where there are
   * pages enough, so that write views of the two halves share no page.
   */
  plantRoot(count: number): readonly [Groups, Groups] {
    const half = count >> 1;
    const aligned = Math.round((half + 2) / SLOTS_PER_PAGE) * SLOTS_PER_PAGE - 2;
    const lowerCount = aligned > 0 && aligned < count ? aligned : half;
    const axis = this.takeMedian(0, count, lowerCount, 0);
    const groups = { slot: 1, lowerCount, higherCount: count - 1 - lowerCount };
    this.link(0, groups, axis);
    return this.placeChildren(groups);
  }

  /** Builds everything below one node, whose link to `groups` is written already. */
  buildBelow(groups: Groups): void {
    const [belowLower, belowHigher] = this.placeChildren(groups);
    if (belowLower.lowerCount > 0) this.buildBelow(belowLower);
    if (belowHigher.lowerCount > 0) this.buildBelow(belowHigher);
  }

  /**
   * Points the nodes of `start` to `end` to their cities. Last step, when no record moves any more.
   */
  linkCities(start: number, end: number): void {
    const { nodesF64, citiesAddress, firstSlot } = this.slots;
    for (let slot = start; slot < end; slot++) {
      nodesF64[(slot - firstSlot) * F64_PER_NODE + CITY_F64] = citiesAddress + slot * CITY_BYTES;
    }
  }

  /**
   * Moves the medians of both groups to the front, as children with boxes and links; returns the
   * groups below each.
   */
  private placeChildren({ slot, lowerCount, higherCount }: Groups): readonly [Groups, Groups] {
    if (lowerCount === 0) return [EMPTY, EMPTY];
    const lowerMedian = lowerCount >> 1;
    const lowerAxis = this.takeMedian(slot, lowerCount, lowerMedian, slot);

    const higherSlot = slot + lowerCount;
    const higherMedian = higherCount >> 1;
    let higherAxis = 0;
    if (higherCount > 0) {
      higherAxis = this.takeMedian(higherSlot, higherCount, higherMedian, slot + 1);
      // The higher median is now first of its group and belongs right after the lower one: A's and
      // B's first records move to their ends to make room.
      const firstOfB = slot + 1 + lowerMedian;
      this.swap(higherSlot, firstOfB);
      this.swap(firstOfB, slot + 1);
    }
    const childCount = higherCount > 0 ? 2 : 1;
    const belowLower = {
      slot: slot + childCount,
      lowerCount: lowerMedian,
      higherCount: lowerCount - 1 - lowerMedian,
    };
    this.link(slot, belowLower, lowerAxis);
    if (higherCount === 0) return [belowLower, EMPTY];
    const belowHigher = {
      slot: slot + lowerCount + 1,
      lowerCount: higherMedian,
      higherCount: higherCount - 1 - higherMedian,
    };
    this.link(slot + 1, belowHigher, higherAxis);
    return [belowLower, belowHigher];
  }

  private link(parent: number, { slot, lowerCount, higherCount }: Groups, axis: number): void {
    const { nodesF64, nodesAddress, firstSlot } = this.slots;
    const count = (lowerCount > 0 ? 1 : 0) + (higherCount > 0 ? 1 : 0);
    const link = count === 0 ? 0 : nodesAddress + slot * NODE_BYTES + count + (axis << AXIS_SHIFT);
    nodesF64[(parent - firstSlot) * F64_PER_NODE + LINK_F64] = link;
  }

  /**
   * Moves the group's record of rank `rank` along its widest side to `slot`, the lesser ones after
   * it and then the greater ones. Writes the group's box to the slot where that record will end up.
   * Returns the widest side's axis.
   */
  private takeMedian(slot: number, count: number, rank: number, boxSlot: number): number {
    this.measure(slot, count);
    const { least, greatest } = this;
    let axis = 0;
    for (let other = 1; other < 3; other++) {
      if (greatest[other]! - least[other]! > greatest[axis]! - least[axis]!) axis = other;
    }
    this.writeBox(boxSlot);
    this.select(slot, slot + count - 1, slot + rank, axis);
    this.swap(slot, slot + rank);
    return axis;
  }

  private measure(slot: number, count: number): void {
    const { nodesF64, firstSlot } = this.slots;
    const { least, greatest } = this;
    least.fill(Infinity);
    greatest.fill(-Infinity);
    const end = (slot - firstSlot + count) * F64_PER_NODE;
    for (let at = (slot - firstSlot) * F64_PER_NODE; at < end; at += F64_PER_NODE) {
      for (let axis = 0; axis < 3; axis++) {
        const value = nodesF64[at + axis]!;
        if (value < least[axis]!) least[axis] = value;
        if (value > greatest[axis]!) greatest[axis] = value;
      }
    }
  }

  private writeBox(slot: number): void {
    const { nodesF32, firstSlot } = this.slots;
    const at = (slot - firstSlot) * F32_PER_NODE + BOX_F32;
    for (let axis = 0; axis < 3; axis++) {
      nodesF32[at + axis] = this.least[axis]! - BOX_MARGIN;
      nodesF32[at + 3 + axis] = this.greatest[axis]! + BOX_MARGIN;
    }
  }

  /**
   * Hoare's quickselect over the slots `left` to `right`, both included: nothing before `target` is
   * greater.
   */
  private select(left: number, right: number, target: number, axis: number): void {
    const { nodesF64, firstSlot } = this.slots;
    const base = axis - firstSlot * F64_PER_NODE;
    while (left < right) {
      const pivot = nodesF64[base + ((left + right) >> 1) * F64_PER_NODE]!;
      let low = left;
      let high = right;
      while (low <= high) {
        while (nodesF64[base + low * F64_PER_NODE]! < pivot) low++;
        while (nodesF64[base + high * F64_PER_NODE]! > pivot) high--;
        if (low <= high) this.swap(low++, high--);
      }
      if (target <= high) right = high;
      else if (target >= low) left = low;
      else return;
    }
  }

  /**
   * Exchanges what moves with a city: its coordinates, population cell and index. Boxes and links
   * stay with the slot.
   */
  private swap(slotA: number, slotB: number): void {
    if (slotA === slotB) return;
    const { nodesF64, citiesF64, citiesU32, firstSlot } = this.slots;
    const nodeA = (slotA - firstSlot) * F64_PER_NODE;
    const nodeB = (slotB - firstSlot) * F64_PER_NODE;
    exchange(nodesF64, nodeA, nodeB);
    exchange(nodesF64, nodeA + 1, nodeB + 1);
    exchange(nodesF64, nodeA + 2, nodeB + 2);
    exchange(citiesF64, (slotA - firstSlot) * F64_PER_CITY, (slotB - firstSlot) * F64_PER_CITY);
    const indexA = (slotA - firstSlot) * U32_PER_CITY + CITY_INDEX_U32;
    const indexB = (slotB - firstSlot) * U32_PER_CITY + CITY_INDEX_U32;
    const index = citiesU32[indexA]!;
    citiesU32[indexA] = citiesU32[indexB]!;
    citiesU32[indexB] = index;
  }
}

const EMPTY: Groups = { slot: 0, lowerCount: 0, higherCount: 0 };

function exchange(values: Float64Array, a: number, b: number): void {
  const value = values[a]!;
  values[a] = values[b]!;
  values[b] = value;
}
