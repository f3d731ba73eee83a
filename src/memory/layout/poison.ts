/**
 * @module memory/layout/poison
 * The bit patterns that mark memory which must not be used, and the error that says so. Not the
 * allocator: that is heap.ts. Follows Linux `include/linux/poison.h`. Every object of a slab cache
 * has one header word in front of it,
 *
 *     header = tag (bits 8..31, from the struct's name) | state (bits 0..7: LIVE or FREE)
 *
 * written by the allocator under the cache's lock and read without it: a live object's header does
 * not change, so a reader that may use the object at all reads it whole, and one that may not use
 * it gets the error that it deserves.
 */

import { AssertionFailure } from "../../sync/errors.ts";

/**
 * Every byte of freed heap memory (Linux: POISON_FREE). As a page number, a pointer or a count it
 * is absurd.
 */
export const POISON_FREE = 0x6b6b6b6b;

/**
 * `next` of a node that was taken off its list. Odd and negative: no pointer, and not 0, which is a
 * node never listed.
 */
export const LIST_POISON_NEXT: number = 0xdead_0101 | 0;
/** `prev` of a node that was taken off its list. */
export const LIST_POISON_PREV: number = 0xdead_0203 | 0;

export const HEADER_WORDS = 1;
export const HEADER_LIVE = 0xa5;
export const HEADER_FREE = 0x5a;
const STATE_MASK = 0xff;

const TAG_SHIFT = 8;

/** The type tag of the struct with this number, as it stands in the header of its objects. */
export function tagOfNumber(id: number): number {
  return id << TAG_SHIFT;
}

export function numberOfTag(tag: number): number {
  return tag >>> TAG_SHIFT;
}

export function headerTag(header: number): number {
  return header & ~STATE_MASK;
}

export function headerState(header: number): number {
  return header & STATE_MASK;
}

/** Something was used, or freed once more, after it was freed. */
export class FreedObjectUse extends AssertionFailure {
  /** Pointer of the object. */
  readonly at: number;

  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

/**
 * Heap addresses are printed as byte offsets in hexadecimal, as in the documents and the checker's
 * reports.
 */
export function formatPointer(pointer: number): string {
  return `0x${(pointer * 4).toString(16)} (word ${pointer})`;
}
