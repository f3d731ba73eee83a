/**
 * @module memory/translation
 * The software MMU.
 */

import type { Shootdown } from "../sync/shootdown.ts";
import type { Machine } from "./machine.ts";

/** Bit of a Translator's answer: the translation may be used for stores. */
export const TRANSLATION_WRITABLE = 1;

/** Who walks the page table and takes the fault when a cache has no answer. Blocking; called in the accessing thread. */
export interface Translator {
  /**
   * Returns `pfn * 2 + TRANSLATION_WRITABLE` (or + 0 for a read-only translation) for `page`; throws SegmentationFault where
   * no mapping allows the access. With `write`, the answer must be writable.
   */
  translate(page: number, write: boolean): number;
}

/** Loads and stores of one width. Addresses are bytes, a multiple of the width; anything else throws HmmError EINVAL. */
export interface ValueAccess {
  load(address: number): number;
  store(address: number, value: number): void;
}

/** The integer widths also have atomic read-modify-writes; each returns the value before. */
export interface IntegerAccess extends ValueAccess {
  add(address: number, value: number): number;
  sub(address: number, value: number): number;
  and(address: number, value: number): number;
  or(address: number, value: number): number;
  xor(address: number, value: number): number;
  exchange(address: number, value: number): number;
  compareExchange(address: number, expected: number, replacement: number): number;
}

export class TranslationCache {
  declare readonly u8: IntegerAccess;
  declare readonly i8: IntegerAccess;
  declare readonly u16: IntegerAccess;
  declare readonly i16: IntegerAccess;
  declare readonly u32: IntegerAccess;
  declare readonly i32: IntegerAccess;
  declare readonly f32: ValueAccess;
  declare readonly f64: ValueAccess;

  constructor(machine: Machine, shootdown: Shootdown, translator: Translator) {
    throw new Error(`pending ${machine.memory.agentId} ${shootdown.at} ${typeof translator}`);
  }
}
