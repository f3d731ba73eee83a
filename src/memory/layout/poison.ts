/**
 * @module memory/layout/poison
 * The bit patterns of memory that must not be used, and the error for its use. The allocator is
 * heap.ts. Follows Linux `include/linux/poison.h`. Every object of a slab cache has one header word
 * in front of it,
 *
 *     header = tag (bits 8..31, from the struct's name) | state (bits 0..7: LIVE or FREE)
 *
 * written by the allocator under the cache's lock, and read without it. A live object's header does
 * not change, so whoever may use the object reads the right header. Whoever may not use it may read
 * either value.
 */

import { AssertionFailure } from "../../sync/errors.ts";

/**
 * Every byte of freed heap memory (Linux: POISON_FREE). It is no valid page number, pointer or
 * count.
 */
export const POISON_FREE = 0x6b6b6b6b;

/**
 * `next` of a node that was removed from its list. Odd and negative, so it is no pointer; and not
 * 0, which stands in a node that was never listed.
 */
export const LIST_POISON_NEXT: number = 0xdead_0101 | 0;
/** `prev` of a node that was removed from its list. */
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
