/**
 * @module devices/service/own-memory
 * Pages that are a device's own: in its private or its coherent memory, instead of in RAM (Linux:
 * `dev_pagemap`). Not copies: those are frames.ts. Memory consists of chunks, as that of Linux's
 * test device does. How pages get there is mm/migrate/migrate-vma.ts.
 *
 * The owner of a chunk is the device's serial number, so each device has its own. A device that
 * ends gives its pages back first. What cannot be brought back, because RAM is used up, stays where
 * it is, and its chunk with it: the machine keeps that, and a CPU touch may yet bring the page
 * back.
 */

import {
  atomicAdd,
  atomicExchange,
  atomicStore,
  DEVICE_MEMORY_PAGES_MAX,
  DeviceMemory,
  emptyDeviceMemory,
  endDeviceMemory,
  evictDeviceFrames,
  HmmError,
  isDeviceFrameUsed,
  isDeviceMemoryFull,
  makeDeviceMemory,
  migrateStreamToRam,
  PAGE_BYTES,
  registerDeviceMemoryOps,
  takeDeviceFrame,
  takeDeviceFrames,
  takeDeviceRun,
  usedDeviceFrames,
  type DeviceFrame,
  type DeviceMemoryType,
  type Machine,
  type Task,
} from "../../driver-interface.ts";
import { GROWN_PAGES } from "../policy/prefetch.ts";
import { DeviceRecord, OWN_CHUNKS_MAX } from "./device-record.ts";

/** Most bytes of pages that are a device's own. */
export const OWN_BYTES_MAX: number = OWN_CHUNKS_MAX * DEVICE_MEMORY_PAGES_MAX * PAGE_BYTES;

/** How long the end of a device waits for threads that are about to drop a page. */
const END_WAIT_MS = 1000;

/** Of memory that is full, pages that come ahead may have the 32nd part. */
const AHEAD_SHARE = 32;
/** Beyond what is wanted, the 16th part of the memory is freed: for the pages that come next. */
const SPARE_SHARE = 16;
/** Frames that the hand looks at together: their chances are taken under one lock and one flush. */
const HAND_FRAMES = 64;

const OWN_MEMORY_OPS: number = registerDeviceMemoryOps("hmm-ts device memory", {
  migrateToRam: migrateStreamToRam,
});

/**
 * Makes the memory of a new device. False: ENOMEM; `endOwnMemory` gives back what there is of it.
 */
export function* allocOwnMemory(
  machine: Machine,
  record: DeviceRecord,
  type: DeviceMemoryType,
  lengthBytes: number,
): Task<boolean> {
  record.ownType = type;
  const opsId = OWN_MEMORY_OPS;
  for (let left = lengthBytes / PAGE_BYTES; left > 0; left -= DEVICE_MEMORY_PAGES_MAX) {
    const pages = Math.min(left, DEVICE_MEMORY_PAGES_MAX);
    const options = { pages, type, owner: record.serial, opsId };
    const note = record.chunks.at + record.ownChunks;
    record.ownChunks++; // first: who finds this thread dead looks at so many notes
    const chunk = yield* makeDeviceMemory(machine, options, note);
    if (typeof chunk === "number") return false;
  }
  return true;
}

/** Number of the device as an owner of pages, for ranges and migrations; 0 if it has no memory. */
export function ownerOf({ ownType, serial }: DeviceRecord): number {
  return ownType === 0 ? 0 : serial;
}

function chunksOf({ memory, chunks, ownChunks }: DeviceRecord): DeviceMemory[] {
  const made: DeviceMemory[] = [];
  for (let i = 0; i < ownChunks; i++) {
    const at = chunks.get(i);
    if (at !== 0) made.push(DeviceMemory.at(memory, at)); // else it was not made, or has ended
  }
  return made;
}

const FAIL_NEXT: number = DeviceRecord.offset.failNext;

/** The next allocation of a command that moves pages fails. Linux's test device: FAIL_ALLOC. */
export function failNextAllocation({ memory, at }: DeviceRecord): void {
  atomicStore(memory.words, at + FAIL_NEXT, 1);
}

/** Whether an allocation is to fail, once. */
export function isToFail({ memory, at }: DeviceRecord): boolean {
  return atomicExchange(memory.words, at + FAIL_NEXT, 0) !== 0;
}

/** Frames of the device's own memory. */
export function ownFrames(record: DeviceRecord): number {
  return chunksOf(record).reduce((frames, { pages }) => frames + pages, 0);
}

/**
 * How many frames may be taken for pages that nobody has asked for: a quarter of the free ones, and
 * in memory that is full a part of it, for which others are evicted. None where that is less than
 * 64 KiB.
 */
export function* ownRoomAhead(record: DeviceRecord): Task<number> {
  const { total, used } = yield* ownUsage(record);
  const room = Math.max(Math.floor((total - used) / 4), Math.floor(total / AHEAD_SHARE));
  return room < GROWN_PAGES ? 0 : room;
}

/** A free frame with one reference, or 0. */
export function* takeOwnFrame(record: DeviceRecord): Task<number> {
  if (isToFail(record)) return 0;
  const { memory, chunks, ownChunks } = record;
  for (let i = 0; i < ownChunks; i++) {
    const chunk = DeviceMemory.at(memory, chunks.get(i));
    if (isDeviceMemoryFull(chunk)) continue;
    const pfn = yield* takeDeviceFrame(chunk);
    if (pfn !== 0) return pfn;
  }
  return 0;
}

/** As many of `frames`, which are all 0, as there are free frames, each with one reference. */
export function* takeOwnFrames(record: DeviceRecord, frames: Uint32Array): Task<void> {
  let next = isToFail(record) ? 1 : 0;
  const { memory, chunks, ownChunks } = record;
  for (let i = 0; i < ownChunks && next < frames.length; i++) {
    const chunk = DeviceMemory.at(memory, chunks.get(i));
    if (!isDeviceMemoryFull(chunk)) next = yield* takeDeviceFrames(chunk, frames, next);
  }
}

/**
 * The first of 512 free frames in a row for a huge page, each with one reference; or 0. `frames`
 * are they, which are 0 before.
 */
export function* takeOwnRun(record: DeviceRecord, frames: Uint32Array): Task<number> {
  if (isToFail(record)) return 0;
  for (const chunk of chunksOf(record)) {
    const pfn = yield* takeDeviceRun(chunk, frames);
    if (pfn !== 0) return pfn;
  }
  return 0;
}

/** Pages of the device's memory, and how many of them are used. */
function* ownUsage(record: DeviceRecord): Task<{ total: number; used: number }> {
  let total = 0;
  let used = 0;
  for (const chunk of chunksOf(record)) {
    total += chunk.pages;
    used += yield* usedDeviceFrames(chunk);
  }
  return { total, used };
}

/** Which of the frames may be evicted now; those in use have another chance. */
export type TakeChances = (frames: readonly DeviceFrame[]) => Task<readonly DeviceFrame[]>;

/**
 * Evicts pages until `wanted` frames are free, and some more for those that come next, or RAM is
 * used up, or the hand has been round twice: in the order of their frames, but for those that
 * `takeChances` leaves out. Frames lie as their pages came, so neighbours move together. Holding no
 * lock.
 */
export function* makeRoom(
  machine: Machine,
  record: DeviceRecord,
  wanted: number,
  takeChances?: TakeChances,
): Task<void> {
  let { total, used } = yield* ownUsage(record);
  if (total - used >= wanted) return;
  const chunks = chunksOf(record);
  const goal = wanted + Math.floor(total / SPARE_SHARE);
  for (let tried = 0; tried < 2 * total && total - used < goal;) {
    const count = Math.min(HAND_FRAMES, goal - (total - used));
    const hand = atomicAdd(record.memory.words, record.at + HAND, count) >>> 0;
    const frames = usedFrames(chunks, hand % total, count, total);
    tried += count;
    const victims = takeChances ? yield* takeChances(frames) : frames;
    const lacking = yield* evictDeviceFrames(machine, victims);
    const before = used;
    ({ total, used } = yield* ownUsage(record));
    if (total - used >= wanted && used >= before) return; // nobody waits for the rest
    if (lacking > 0) return;
  }
}

/** Of `count` frames from `place` on, round the end, those that are used. */
function usedFrames(
  chunks: readonly DeviceMemory[],
  place: number,
  count: number,
  total: number,
): DeviceFrame[] {
  const frames: DeviceFrame[] = [];
  for (let i = place; i < place + Math.min(count, total); i++) {
    const device = chunks[Math.floor((i % total) / DEVICE_MEMORY_PAGES_MAX)];
    if (device === undefined) continue;
    const pfn = device.basePfn + ((i % total) % DEVICE_MEMORY_PAGES_MAX);
    if (isDeviceFrameUsed(device, pfn)) frames.push({ device, pfn });
  }
  return frames;
}

const HAND: number = DeviceRecord.offset.ownHand;

/** Gives all pages back, as far as they can be had. Returns how many stay. Holding no lock. */
export function* emptyOwnMemory(machine: Machine, record: DeviceRecord): Task<number> {
  let left = 0;
  for (const chunk of chunksOf(record)) left += yield* emptyDeviceMemory(machine, chunk);
  return left;
}

/**
 * The device ends; nobody uses it any more. Holding no lock. A reaper may be a thread that has not
 * been given the memory's buffer: then pages stay there, too. May be done again, by who finds this
 * thread dead.
 */
export function* endOwnMemory(machine: Machine, record: DeviceRecord): Task<void> {
  const { memory, chunks, ownChunks } = record;
  for (let i = 0; i < ownChunks; i++) {
    const at = chunks.get(i);
    if (at === 0) continue;
    try {
      yield* endDeviceMemory(machine, DeviceMemory.at(memory, at), END_WAIT_MS, chunks.at + i);
    } catch (error) {
      if (!(error instanceof HmmError && error.code === "ENXIO")) throw error;
    }
  }
}
