/**
 * @module memory/frames/device-frames
 * Memory of a device whose pages can be in a page table: which of its frames are free, and who is
 * told when one becomes free. Follows Linux `struct dev_pagemap` and `mm/memremap.c`. How pages
 * move there and back is mm/migrate/.
 *
 * A device memory is a section (sections.ts): its frames have numbers beyond those of RAM, so an
 * entry names them like any frame. Its frame table lies in the kernel heap, so every thread can
 * count references, also one that has not been given the buffer:
 *
 *     0, 1  COUNT, PINS   references, as of any frame (frame-refs.ts); a device frame has no pins
 *     2     LINK          of a free frame: the next free one, 0 at the end
 *     3     PAGE          where the frame was put last (a hint for eviction): a virtual page
 *     number;
 *                         of a free frame: the free one before it, 0 at the start
 *
 * Free frames are counted by blocks of RUN_PAGES, so that a run for a huge page is found at once. A
 * frame that is freed is the next to be given out: so blocks that are in use fill first.
 *
 *   D1  A frame is free exactly when its count is 0, as in RAM (F1 of frame-refs.ts). The last put
 *       calls the driver's `pageFree`, and only after that puts the frame on the free list. So the
 *       driver never hears of the end of one use after the beginning of the next.
 *   D2  A device memory is removed only when it is closed and no frame is used, under its lock.
 *       Who has a reference of a frame may use the struct.
 *
 *   D3  Whoever dies with the lock has taken or given whole frames (device-free-list.ts). A frame
 *       that is taken is noted where the caller says, and one whose last reference was dropped
 *       stays noted until it is free. So a driver may hear twice of the end of one use.
 *
 * Lock: deviceMemoryLock (a leaf) around the free list.
 */

import { atomicLoad } from "../../sync/atomics.ts";
import { NameRegistry } from "../../sync/name-registry.ts";
import { Spinlock } from "../../sync/primitives/spinlock.ts";
import { WaitQueue } from "../../sync/primitives/wait-queue.ts";
import { writeWord } from "../../sync/primitives/word-steps.ts";
import { REAL, type SharedMemory } from "../../sync/shared-memory.ts";
import { access } from "../../sync/tasks/task.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Struct, StructView, WordArray } from "../layout/struct.ts";
import { array, embed, pointer, struct, u32 } from "../layout/struct.ts";
import { DeviceFreeList, PAGE } from "./device-free-list.ts";
import {
  DEVICE_FRAME_COUNT,
  DEVICE_FRAME_WORDS,
  FRAME_COUNT,
  FRAME_WORDS,
  frameWord,
} from "./ram-section.ts";

/** The CPU does not reach the memory: its pages have entries that are not present. */
export const DEVICE_PRIVATE = 1;
/** The CPU reaches the memory in place: its pages have ordinary entries. */
export const DEVICE_COHERENT = 2;

/** Whether the CPU reaches the memory: DEVICE_PRIVATE or DEVICE_COHERENT. */
export type DeviceMemoryType = typeof DEVICE_PRIVATE | typeof DEVICE_COHERENT;

/** Frames of one device memory at most: 16 MiB. A device may have several. */
export const DEVICE_MEMORY_PAGES_MAX = 4096;

const RUN_SHIFT = 9;
/** Frames of a run, as many as a huge page has (mm/huge.ts), and of a block that has one. */
export const RUN_PAGES: number = 1 << RUN_SHIFT;
const BLOCKS_MAX: number = DEVICE_MEMORY_PAGES_MAX / RUN_PAGES;

/**
 * One memory of a device, as it lies in the kernel heap: 1 to DEVICE_MEMORY_PAGES_MAX frames of
 * 4096 bytes. Only its functions change its fields; a driver reads `basePfn`, `pages`, `owner` and
 * `data`.
 */
export interface DeviceMemory extends StructView {
  readonly lock: Spinlock;
  type: number;
  owner: number;
  opsId: number;
  data: number;
  basePfn: number;
  pages: number;
  table: number;
  firstFree: number;
  usedPages: number;
  isClosed: number;
  readonly freeOfBlock: WordArray;
  readonly emptied: WaitQueue;
}

export const DeviceMemory: Struct<DeviceMemory> = struct<DeviceMemory>("deviceMemory", {
  lock: embed(Spinlock, "the free list", "deviceMemoryLock"),
  type: u32("const", "1 private: the CPU does not reach it; 2 coherent: it does"),
  owner: u32("const", "number of the device; equal owners may take each other's pages"),
  opsId: u32("const", "the driver's code (mm/fault/device-private.ts)"),
  data: pointer("const", "the driver's own, or 0"),
  basePfn: u32("const", "first frame number; 0 until the section has been added"),
  pages: u32("const", "frames"),
  table: pointer("const", "frame table, DEVICE_FRAME_WORDS words for each frame"),
  firstFree: u32("deviceMemoryLock", "first free frame's number, 0 for none"),
  usedPages: u32("deviceMemoryLock", "frames that are not free"),
  isClosed: u32("deviceMemoryLock", "1: no frame is given out any more"),
  freeOfBlock: array(BLOCKS_MAX, "deviceMemoryLock", "free frames of each block of RUN_PAGES"),
  emptied: embed(WaitQueue, "who has closed it waits here until no frame is used"),
});

const FIRST_FREE: number = DeviceMemory.offset.firstFree;
const USED_PAGES: number = DeviceMemory.offset.usedPages;

/** What the memory layer calls of a driver. */
export interface DeviceFrameOps {
  /**
   * The last reference of frame `pfn` has been dropped; directly afterwards the frame may be given
   * out again. Runs in any thread, perhaps while it holds the mmap lock or the driver's own: it
   * takes no lock but leaves, and does not wait. If the thread dies in between, another one calls
   * it again. Linux: `dev_pagemap_ops.page_free`.
   */
  readonly pageFree?: (memory: SharedMemory, device: DeviceMemory, pfn: number) => Task<void>;
}

/** By the name of the driver's operations. */
export const deviceFrameOps: NameRegistry<DeviceFrameOps> = new NameRegistry(
  "device memory operations",
  "import the driver's module before attaching",
);

/** Words of the frame table: a size that the heap has. */
export function deviceTableWords(pages: number): number {
  let words = 512;
  while (words < pages * DEVICE_FRAME_WORDS) words *= 2;
  return words;
}

function wordOf(device: DeviceMemory, pfn: number, word: number): number {
  return device.table + (pfn - device.basePfn) * DEVICE_FRAME_WORDS + word;
}

/** Makes all frames free, before another thread knows of them. */
export function fillDeviceMemory(device: DeviceMemory): void {
  const { basePfn, pages } = device;
  device.usedPages = pages;
  const list = listOf(device);
  for (let pfn = basePfn + pages - 1; pfn >= basePfn; pfn--) list.give(pfn, 0);
}

/**
 * Before frames are taken or given, up to the next step: this is the step in which they are, with
 * its count, which is read without the lock. Holding the lock.
 */
function* openList(device: DeviceMemory): Task<DeviceFreeList> {
  yield* writeWord(device.memory, device.at + USED_PAGES, device.usedPages, "used pages");
  return listOf(device);
}

function listOf({ memory, at, table, basePfn, freeOfBlock }: DeviceMemory): DeviceFreeList {
  memory.plainWatch?.note(at + FIRST_FREE, true, "deviceMemory.firstFree");
  return new DeviceFreeList({
    words: memory.words,
    table,
    basePfn,
    firstAt: at + FIRST_FREE,
    usedAt: at + USED_PAGES,
    blocksAt: freeOfBlock.at,
    blockShift: RUN_SHIFT,
  });
}

/**
 * A free frame, with one reference and any contents; 0 when there is none, or the memory is closed.
 */
export function* takeDeviceFrame(device: DeviceMemory): Task<number> {
  const frames = new Uint32Array(1);
  yield* takeDeviceFrames(device, frames, 0);
  return frames[0]!;
}

/**
 * `takeDeviceFrame` for `frames` from number `from` on, which are 0, as far as there are free
 * frames. Returns the number of the first that got none. Each is set in the step that takes the
 * frame.
 */
export function* takeDeviceFrames(
  device: DeviceMemory,
  frames: Uint32Array,
  from: number,
): Task<number> {
  const { memory } = device;
  let end = from;
  yield* device.lock.lock();
  if (device.isClosed === 0 && from < frames.length && device.firstFree !== 0) {
    const list = yield* openList(device);
    for (let pfn = list.first; pfn !== 0 && end < frames.length; pfn = list.first)
      list.take(pfn, frames, end++);
  }
  yield* device.lock.unlock();
  for (let i = from; i < end; i++)
    yield* access(memory, "alloc", frameWord(frames[i]!, 0), FRAME_WORDS, "frame");
  return end;
}

/**
 * The first of RUN_PAGES free frames in a row, an aligned one, each with one reference and any
 * contents; 0 when there are none, or the memory is closed. Each of `frames`, which are 0, is set
 * in the step that takes the frame.
 */
export function* takeDeviceRun(
  device: DeviceMemory,
  frames: Uint32Array = new Uint32Array(RUN_PAGES),
): Task<number> {
  const { memory, basePfn } = device;
  yield* device.lock.lock();
  const block = device.isClosed === 0 ? freeBlock(device) : -1;
  const first = block < 0 ? 0 : basePfn + block * RUN_PAGES;
  if (first !== 0) {
    const list = yield* openList(device);
    for (let i = 0; i < RUN_PAGES; i++) list.take(first + i, frames, i);
  }
  yield* device.lock.unlock();
  if (first !== 0) {
    const firstWord = frameWord(first + RUN_PAGES - 1, 0);
    yield* access(memory, "alloc", firstWord, RUN_PAGES * FRAME_WORDS, "frames");
  }
  return first;
}

/** A block of which all frames are free, or -1. */
function freeBlock({ freeOfBlock, pages }: DeviceMemory): number {
  for (let block = 0; (block + 1) * RUN_PAGES <= pages; block++)
    if (freeOfBlock.get(block) === RUN_PAGES) return block;
  return -1;
}

/**
 * D1, of `count` frames from `pfn` on. The caller has dropped their last references. The words from
 * `note` on, which note them, become 0, if there are such words.
 */
export function* giveDeviceFrames(
  device: DeviceMemory,
  pfn: number,
  count: number = 1,
  note: number = 0,
): Task<void> {
  const { memory } = device;
  const { pageFree } = deviceFrameOps.find(device.opsId) ?? {};
  if (pageFree !== undefined)
    for (let i = 0; i < count; i++) yield* pageFree(memory, device, pfn + i);
  yield* device.lock.lock();
  const list = yield* openList(device);
  // From the last one on, so that they stand in their order.
  for (let i = count - 1; i >= 0; i--) list.give(pfn + i, note === 0 ? 0 : note + i);
  // Nobody takes one before the lock is released.
  for (let i = 0; i < (memory.mode === REAL ? 0 : count); i++)
    yield* access(memory, "free", frameWord(pfn + i, 0), FRAME_COUNT, "frame");
  // Under the lock: as soon as it is dropped, the memory may be removed.
  if (device.usedPages === 0) yield* device.emptied.wakeAll();
  yield* device.lock.unlock();
}

/** No frame is given out from now on. */
export function* closeDeviceMemory(device: DeviceMemory): Task<void> {
  yield* device.lock.lock();
  device.isClosed = 1;
  yield* device.lock.unlock();
}

/**
 * Waits until no frame is used, at most `timeoutMs`. False: some still is. The memory is closed.
 */
export function waitUntilUnused(device: DeviceMemory, timeoutMs: number): Task<boolean> {
  const { memory } = device;
  const isUnused = (): boolean => atomicLoad(memory.words, device.at + USED_PAGES) === 0;
  const reads = { at: device.at + USED_PAGES, words: 1 };
  return device.emptied.waitEvent(isUnused, timeoutMs, undefined, reads);
}

/** Frames in use. Exact while none is taken or freed. */
export function* usedDeviceFrames(device: DeviceMemory): Task<number> {
  yield* device.lock.lock();
  const { usedPages } = device;
  yield* device.lock.unlock();
  return usedPages;
}

/**
 * Whether no frame is free; the answer may be old. It spares the lock of memory that is full.
 *
 * @stepped used pages
 */
export function isDeviceMemoryFull(device: DeviceMemory): boolean {
  return atomicLoad(device.memory.words, device.at + USED_PAGES) >= device.pages;
}

/** Whether the frame has a reference; the answer may be old. */
export function isDeviceFrameUsed(device: DeviceMemory, pfn: number): boolean {
  return atomicLoad(device.memory.words, wordOf(device, pfn, DEVICE_FRAME_COUNT)) > 0;
}

/** The virtual page where the frame was put last. A hint: mremap and fork do not change it. */
export function devicePageHint(device: DeviceMemory, pfn: number): number {
  return atomicLoad(device.memory.words, wordOf(device, pfn, PAGE)) >>> 0;
}

/** Of `count` frames from `pfn` on: pages from `page` on. */
export function setDevicePageHint(
  device: DeviceMemory,
  pfn: number,
  page: number,
  count: number = 1,
): void {
  const { words } = device.memory;
  const first = wordOf(device, pfn, PAGE);
  for (let i = 0; i < count; i++) words[first + i * DEVICE_FRAME_WORDS] = page + i; // a hint
}
