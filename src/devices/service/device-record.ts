/**
 * @module devices/service/device-record
 * What the service keeps of a device in the kernel heap: all that the threads of the device, and
 * the threads that change mappings, must agree on. Part of a larger struct of the device's driver,
 * which makes and frees it. Each part is explained where it is used: device-table.ts (page table),
 * frames.ts (device memory), service-owner.ts, fault-ring.ts, device-stats.ts, device-list.ts,
 * policy/thrash.ts. device-parts.ts allocates and frees them.
 *
 * Locks, outermost first. The service owner is no lock of sync/, for it drops mm users, which may
 * take an address space down:
 *
 *     service owner   serves faults, one batch at a time: so one thread alone adds translations
 *     mmap lock       taken by the service owner, for reading, while pages are faulted in
 *     driver lock     the page table and the frames; `invalidate` takes it, so it is never
 *                     held into anything that may change a mapping
 *
 *   D1  A translation is added by the service owner, which holds the driver lock and has seen there
 *       that no invalidation has run since it was read (R4).
 *   D2  A translation is cleared under the driver lock, by any thread, and flushed before that lock
 *       is dropped (TranslationUnit in device-hardware.ts). So whoever takes the driver lock
 *       afterwards knows that the device does not use what is not in the table.
 *   D3  A local entry and the frame that it names lead to each other, under the driver lock:
 *       frame.page is the page of the entry.
 *
 * If a thread dies with the driver lock, who finds it dead has the device forget all entries before
 * anybody gets the lock (repair-device.ts).
 */

import {
  array,
  embed,
  embedStruct,
  HmmMirrorRecord,
  i32,
  List,
  Mutex,
  pointer,
  RefCount,
  struct,
  u32,
  WaitQueue,
  type Struct,
  type StructView,
  type WordArray,
} from "../../driver-interface.ts";

/** The class of the driver lock. If its holder dies, it is repaired (repair-device.ts). */
export const DEVICE_LOCK = "deviceLock";

/** Threads of one device at most, each with a fault ring. */
export const THREADS_MAX = 32;

/**
 * Blocks of the frame table; each describes FRAMES_PER_BLOCK frames, so device memory is 4 GiB at
 * most.
 */
export const FRAME_BLOCKS_MAX = 256;

/** Device memories of a device with pages of its own: 16 MiB each, 1 GiB in all. */
export const OWN_CHUNKS_MAX = 64;

/** Counters, see device-stats.ts. */
export const COUNTERS = 16;

/**
 * What the service keeps of a device in the kernel heap. A driver embeds it in a struct of its own,
 * and reads `serial`, `mirror` and `threads`; the service alone changes it.
 */
export interface DeviceRecord extends StructView {
  readonly mirror: HmmMirrorRecord;
  readonly driverLock: Mutex;
  readonly refs: RefCount;
  readonly node: List;
  serial: number;
  threads: number;
  faultTimeoutMs: number;
  pgd: number;
  firstPfn: number;
  frames: number;
  freeFrames: number;
  freeHead: number;
  hand: number;
  prefetchScore: number;
  readonly frameBlocks: WordArray;
  serviceOwner: number;
  batchesBegun: number;
  batchesDone: number;
  readonly ownerQueue: WaitQueue;
  readonly rings: WordArray;
  advice: number;
  thrash: number;
  thrashExpiryMs: number;
  ownType: number;
  ownChunks: number;
  ownHand: number;
  failNext: number;
  readonly chunks: WordArray;
  readonly counters: WordArray;
}

export const DeviceRecord: Struct<DeviceRecord> = struct<DeviceRecord>(
  "device",
  {
    mirror: embedStruct(HmmMirrorRecord, "hmm", "its place among the address space's listeners"),
    driverLock: embed(Mutex, "page table, frames, advice, thrash table", DEVICE_LOCK),
    refs: embed(
      RefCount,
      "1 for the mirror's registration, 1 for each thread of the device; at 0 all is freed",
    ),
    node: embed(List, "in the machine's list of devices (device-list.ts); guarded by devicesLock"),
    serial: u32(
      "const",
      "number of the device on its machine: another device at the same place has another",
    ),
    threads: u32("const", "threads of the device, each with a fault ring"),
    faultTimeoutMs: u32("const", "how long a fault may be retried"),
    pgd: pointer("const", "top page table (device-table.ts)"),
    firstPfn: u32("const", "what a frame of device memory 0 is called in entries of the table"),
    frames: u32("const", "frames of device memory: the budget"),
    freeFrames: u32(
      "atomic: written holding deviceLock, read without as a hint",
      "frames on the free list",
    ),
    freeHead: u32("deviceLock", "first of the free list, plus 1; 0 at its end"),
    hand: u32("deviceLock", "where the clock's hand stands"),
    prefetchScore: i32(
      "none: a hint",
      "below 0: of the pages prefetched lately, too few were used (policy/prefetch.ts)",
    ),
    frameBlocks: array(FRAME_BLOCKS_MAX, "const", "frame table, block by block"),
    serviceOwner: u32("atomic", "name of the thread that serves faults (`liveAgent`); 0 nobody"),
    batchesBegun: u32(
      "service owner",
      "rounds of service that began to take faults out of the rings",
    ),
    batchesDone: u32("service owner", "rounds of service that have ended"),
    ownerQueue: embed(WaitQueue, "those who wait to become it"),
    rings: array(THREADS_MAX, "const", "fault rings, by device thread"),
    advice: pointer(
      "deviceLock, once; read without",
      "what was advised (policy/placement.ts); 0: nothing yet",
    ),
    thrash: pointer("const", "table of pages that thrash (policy/thrash.ts)"),
    thrashExpiryMs: u32("deviceLock", "when the next of them may be tried again; 0 none"),
    ownType: u32("const", "pages that are the device's own: 0 none, else a DeviceMemoryType"),
    ownChunks: u32("const", "device memories for them (own-memory.ts)"),
    ownHand: u32("atomic", "where the search for a frame to evict stands"),
    failNext: u32("atomic", "1: the next allocation of a command that moves pages fails"),
    chunks: array(OWN_CHUNKS_MAX, "const", "the device memories"),
    counters: array(COUNTERS, "by counter: see device-stats.ts", "statistics"),
  },
  { embedded: true },
);
