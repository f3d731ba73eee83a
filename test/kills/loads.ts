/**
 * @module The loads of `npm run kills`: what a thread does over and over until it is terminated,
 * and where in the address space. The thread itself is load-worker.ts.
 */

import type { AddressSpaceHandle } from "../../src/index.ts";

export const PAGE = 4096;
/** One page with a counter, to which the victim and the bystander add. */
export const COUNTER: number = 2 ** 40;
/** Pages that stay mapped. */
export const RESIDENT: number = COUNTER + 2 ** 30;
export const RESIDENT_PAGES = 64;
/** Where the victim maps, and where the bystander does. */
export const VICTIM_AREA: number = COUNTER + 2 ** 31;
export const BYSTANDER_AREA: number = COUNTER + 2 ** 32;
export const AREA_BYTES: number = 2 ** 30;

/** Words of the array that the threads of one machine share beside it. */
export const PAUSE = 0;
/** 1: the bystander has stopped for a moment. */
export const IS_PAUSED = 1;
export const VICTIM_ROUNDS = 2;
export const VICTIM_ADDS = 3;
export const BYSTANDER_ADDS = 4;
export const CONTROL_WORDS = 16;

/** Name -> what the victim does. */
export const LOADS = {
  stores: "typed stores on resident memory",
  copies: "read and write",
  attach: "attach and dispose",
  device: "owns a device, which runs kernels",
  computing: "computes, and stores now and then",
  map: "mmap and munmap",
  promises: "promise forms",
  protect: "mprotect",
  mixed: "everything in turn",
  fork: "fork",
  touch: "first touches of a big mapping",
  views: "views of 16 pages",
  discard: "touches pages and discards them",
  "discard-device": "the same, with a device on the space",
  remap: "moves mappings, and grows them",
  huge: "huge pages: touches, collapses, splits, moves",
  source: "maps a source of its own: stores, write-backs, what is given up and read again",
} as const;

export type LoadName = keyof typeof LOADS;

export function isLoadName(text: string): text is LoadName {
  return text in LOADS;
}

export interface LoadRequest {
  readonly handle: AddressSpaceHandle;
  readonly load: LoadName | "bystander";
  readonly control: Int32Array;
}
