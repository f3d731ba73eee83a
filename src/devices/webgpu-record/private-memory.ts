/**
 * @module devices/webgpu-record/private-memory
 * Pages that only the GPU has: the device's private memory (mm/migrate), as every thread sees it.
 * The Worker's half is private-pages.ts.
 *
 * A frame of the memory is 4 KiB of shared memory, which the threads reach. The GPU's copy of the
 * page lies in a frame of the pool. What is right is said by the frame's state:
 *
 *     CURRENT --- a commit of a pass that stored to it ---> DIRTY
 *        ^                                                    |
 *        +------ its Worker has read it back (flush) ---------+--- the GPU is lost ---> LOST
 *
 *   Q1  Of a CURRENT frame the shared memory has the bytes. Of a DIRTY one the GPU alone has them,
 *       in a frame of the pool that no other page gets. Of a LOST one nobody has.
 *   Q2  The Worker alone makes a frame DIRTY, in a section of the driver lock in which the page was
 *       the device's (V2 of chunk.ts): so after an invalidation of the page has returned, and
 *       before the device has the page again, a frame does not become DIRTY.
 *   Q3  Who moves a page home asks for its bytes when the page is isolated (Y4 of
 *       mm/migrate/migrate-vma.ts). By Q2 the answer stands until the migration is over.
 *
 *       thread that touches                       the device's Worker
 *       fault, mmap lock for reading
 *         migration entry; invalidate: log        a pass may run, which holds gpuLock
 *         state DIRTY:
 *           driver lock: wanted += frame
 *           wakes the Worker, waits               the pass is over: committed, or undone, for
 *                                                   the page was struck; gpuLock
 *                                                 reads the page back, into the shared memory
 *                                                 state CURRENT; wakes who waits
 *         copies the shared memory to RAM
 *       entry is one of RAM
 *
 *   Q4  The touching thread holds the mmap lock while it waits. So the Worker never waits for that
 *       lock while it holds gpuLock or the driver lock. Its task that serves (private-pages.ts) is
 *       not the one that brings pages: it serves while that one waits for the mmap lock.
 *   Q5  Who waits does so no longer than the Worker lives. What is DIRTY when the Worker has gone
 *       is LOST.
 *
 * `pageFree` runs in any thread: the bytes of a free frame are of no account, so it is CURRENT. The
 * Worker finds out by `freed`, and gives the frame of the pool to others.
 */

import {
  DEVICE_MEMORY_PAGES_MAX,
  DEVICE_PRIVATE,
  DeviceMemory,
  EIO,
  ENOMEM,
  HmmError,
  PAGE_BYTES,
  SELECT_DEVICE_PRIVATE,
  Machine,
  findResource,
  kindWord,
  registerHeir,
  resourceKind,
  takeNoted,
  type DeviceFrame,
  type Errno,
  type SharedMemory,
  type Struct,
  type StructView,
  type Task,
  type VmFault,
  atomicAdd,
  atomicLoad,
  compareExchangeWord,
  deathsSoFar,
  devicePageHint,
  endDeviceMemory,
  evictDeviceFrames,
  hasAgentDied,
  isDeviceFrameUsed,
  makeDeviceMemory,
  migrateRange,
  pastStream,
  pointer,
  readWord,
  registerDeviceMemoryOps,
  struct,
  u32,
  writeWord,
} from "../../driver-interface.ts";
import { CHUNKS_MAX, WANTED_MAX, WebGpuRecord } from "./record.ts";

/** States of a frame: see the head. */
export const CURRENT = 0;
export const DIRTY = 1;
export const LOST = 2;
/** For reports. */
const STATE_LABEL = "state of a private frame";

/** A part of the memory: a device memory has at most DEVICE_MEMORY_PAGES_MAX frames. */
export interface PrivateChunk extends StructView {
  record: number;
  pages: number;
  device: number;
  states: number;
  freed: number;
}

export const PrivateChunk: Struct<PrivateChunk> = struct<PrivateChunk>("webgpuPrivateChunk", {
  record: pointer("const", "the device's record, which stays as long as this"),
  pages: u32("const", "its frames"),
  device: pointer("const", "its deviceMemory, whose `data` this is; 0: not yet, or not any more"),
  states: pointer("const", "a word for each frame: CURRENT, DIRTY, LOST; or 0"),
  freed: u32("atomic", "frames that were freed so far"),
});

const { device: DEVICE, states: STATES, freed: FREED } = PrivateChunk.offset;

/** A chunk that no record names: not yet, or when nothing else of it is left. */
const CHUNK_RESOURCE: number = resourceKind("chunk of a WebGPU device's memory");
registerHeir(CHUNK_RESOURCE, (memory, at, slot) =>
  Machine.of(memory).heap.free(PrivateChunk, at, slot),
);

/** How long the end of a device waits for threads that are about to drop a page. */
const END_WAIT_MS = 1000;

/** Most frames of a device's private memory. */
export const PRIVATE_PAGES_MAX: number = CHUNKS_MAX * DEVICE_MEMORY_PAGES_MAX;

/** Words of the states: a size that the heap has. */
function stateWords(pages: number): number {
  let words = 512;
  while (words < pages) words *= 2;
  return words;
}

/** Number of the device as the owner of its private memory. */
export function ownerOf({ at }: WebGpuRecord): number {
  return at;
}

/** Those that have their memory. */
export function chunksOf(record: WebGpuRecord): PrivateChunk[] {
  const { memory, chunks, chunkCount } = record;
  return Array.from({ length: chunkCount }, (_, i) => chunks.get(i))
    .filter((at) => at !== 0) // one that could not be made, or has ended
    .map((at) => PrivateChunk.at(memory, at))
    .filter(({ device }) => device !== 0);
}

function deviceOf({ memory, device }: PrivateChunk): DeviceMemory {
  return DeviceMemory.at(memory, device);
}

/** Index of the word with a frame's state. */
function stateAt(device: DeviceMemory, pfn: number): number {
  const { states } = PrivateChunk.at(device.memory, device.data);
  return states + pfn - device.basePfn;
}

/**
 * Of a frame that is used.
 *
 * @stepped state of a private frame
 */
export function stateOf(device: DeviceMemory, pfn: number): number {
  return atomicLoad(device.memory.words, stateAt(device, pfn));
}

export function setState(device: DeviceMemory, pfn: number, state: number): Task<void> {
  return writeWord(device.memory, stateAt(device, pfn), state, STATE_LABEL);
}

/**
 * Makes the memory of a device, before another thread knows of the record. False: ENOMEM;
 * `endPrivateMemory` gives back what there is of it. So it does if this thread dies: the record
 * names each chunk, and the chunk each part, from the step on that gets it. A test gives other
 * code.
 */
export function* makePrivateMemory(
  machine: Machine,
  record: WebGpuRecord,
  pages: number,
  opsId: number = PRIVATE_MEMORY_OPS,
): Task<boolean> {
  for (let left = pages; left > 0; left -= DEVICE_MEMORY_PAGES_MAX) {
    const part = Math.min(left, DEVICE_MEMORY_PAGES_MAX);
    if (!(yield* makeChunk(machine, record, part, opsId))) return false;
  }
  return true;
}

function* makeChunk(
  machine: Machine,
  record: WebGpuRecord,
  pages: number,
  opsId: number,
): Task<boolean> {
  const { heap, memory } = machine;
  const at = yield* heap.alloc(PrivateChunk, CHUNK_RESOURCE);
  if (at === 0) return false;
  const chunk = PrivateChunk.at(memory, at);
  chunk.record = record.at;
  chunk.pages = pages;
  const place = record.chunks.at + record.chunkCount;
  record.chunkCount++; // first: who finds this thread dead looks at so many places
  handOver(memory, at, place, kindWord(memory, findResource(memory, CHUNK_RESOURCE, at)));
  if ((yield* heap.allocWords(stateWords(pages), at + STATES)) === 0) return false;
  memory.ensure(chunk.states + stateWords(pages));
  memory.words.fill(CURRENT, chunk.states, chunk.states + pages);
  const owner = ownerOf(record);
  const options = { pages, type: DEVICE_PRIVATE, owner, opsId, data: at } as const;
  return typeof (yield* makeDeviceMemory(machine, options, at + DEVICE)) !== "number";
}

/** The word `place` names the chunk, which is no resource any more: in a row. */
function handOver({ words }: SharedMemory, at: number, place: number, kindAt: number): void {
  words[place] = at;
  if (kindAt !== 0) words[kindAt] = 0;
}

/**
 * What is DIRTY is LOST: the GPU has gone, or nobody serves any more (Q5). In one step: a page may
 * be freed at the same time, and its frame, which is CURRENT then, is another page's after that.
 */
export function* loseDirty(record: WebGpuRecord): Task<void> {
  const { memory } = record;
  for (const chunk of chunksOf(record)) {
    const device = deviceOf(chunk);
    for (let pfn = device.basePfn; pfn < device.basePfn + device.pages; pfn++) {
      if (stateOf(device, pfn) !== DIRTY) continue;
      yield* compareExchangeWord(memory, stateAt(device, pfn), DIRTY, LOST, STATE_LABEL);
    }
  }
  yield* record.served.wakeAll();
}

function lostFrames(record: WebGpuRecord): [device: DeviceMemory, pfn: number][] {
  const frames: [device: DeviceMemory, pfn: number][] = [];
  for (const chunk of chunksOf(record)) {
    const device = deviceOf(chunk);
    for (let pfn = device.basePfn; pfn < device.basePfn + device.pages; pfn++)
      if (stateOf(device, pfn) === LOST && isDeviceFrameUsed(device, pfn))
        frames.push([device, pfn]);
  }
  return frames;
}

/** Ranges of addresses that an error names. */
const NAMED_MAX = 16;

/** The addresses of the pages that are lost, for an error; "" if there are none. */
export function lostText(record: WebGpuRecord): string {
  const pages = lostFrames(record).map(([device, pfn]) => devicePageHint(device, pfn));
  pages.sort((a, b) => a - b);
  const ranges: [start: number, end: number][] = [];
  for (const page of pages) {
    const last = ranges.at(-1);
    if (last?.[1] === page) last[1]++;
    else ranges.push([page, page + 1]);
  }
  const hex = (page: number): string => `0x${(page * PAGE_BYTES).toString(16)}`;
  const texts = ranges.slice(0, NAMED_MAX).map(([start, end]) => `${hex(start)} to ${hex(end)}`);
  const more = ranges.length - texts.length;
  return texts.join(", ") + (more > 0 ? `, and ${more} more` : "");
}

/**
 * The device ends; nobody uses its record any more. False: some pages cannot be brought back, since
 * they are lost, or RAM is used up, or this thread lacks the memory's buffer. They stay, and the
 * memory and the record with them. May be done again, by who finds this thread dead. Holding no
 * lock.
 */
export function* endPrivateMemory(machine: Machine, record: WebGpuRecord): Task<boolean> {
  const { memory } = machine;
  yield* loseDirty(record);
  const lost = new Set(lostFrames(record).map(([{ at }]) => at));
  let hasEnded = true;
  for (let i = 0; i < record.chunkCount; i++) {
    const at = record.chunks.get(i);
    if (at === 0) continue;
    const chunk = PrivateChunk.at(memory, at);
    if (yield* endMemory(machine, chunk, lost.has(chunk.device)))
      yield* freeChunk(machine, chunk, record.chunks.at + i);
    else hasEnded = false;
  }
  return hasEnded;
}

/** False: it stays. Of one with pages that are lost, the others are brought back. */
function* endMemory(machine: Machine, chunk: PrivateChunk, hasLost: boolean): Task<boolean> {
  if (chunk.device === 0) return true;
  const device = deviceOf(chunk);
  try {
    if (!hasLost)
      return (yield* endDeviceMemory(machine, device, END_WAIT_MS, chunk.at + DEVICE)) === 0;
    yield* evictCurrent(machine, device);
  } catch (error) {
    if (!(error instanceof HmmError && error.code === "ENXIO")) throw error;
  }
  return false;
}

/** Without its memory. The word `place` of the record names it. */
function* freeChunk({ heap, memory }: Machine, chunk: PrivateChunk, place: number): Task<void> {
  const { at, states, pages } = chunk;
  if (states !== 0) yield* heap.freeWords(states, stateWords(pages), at + STATES);
  yield* heap.free(PrivateChunk, at, takeNoted(memory, CHUNK_RESOURCE, at, place));
}

function* evictCurrent(machine: Machine, device: DeviceMemory): Task<void> {
  const { basePfn, pages } = device;
  const victims: DeviceFrame[] = [];
  for (let pfn = basePfn; pfn < basePfn + pages; pfn++)
    if (isDeviceFrameUsed(device, pfn) && stateOf(device, pfn) === CURRENT)
      victims.push({ device, pfn });
  yield* evictDeviceFrames(machine, victims);
}

/**
 * How many frames were freed so far.
 *
 * @stepped freed private frames
 */
export function freedOf({ memory, at }: PrivateChunk): number {
  return atomicLoad(memory.words, at + FREED);
}

/* The memory's code, in whichever thread. */

/**
 * Pages that a touch brings home together: those of the same 64 KiB that the device has, and what
 * follows where the CPU goes on from one page to the next (mm/migrate/stream-to-ram.ts).
 */
const HOME_PAGES = 16;

/** `migrateToRam`: the bytes are asked for while nobody reaches the pages (Q3). */
function* migrateToRam(fault: VmFault, device: DeviceMemory): Task<Errno> {
  const { machine, mm, vma, page: wanted } = fault;
  const { owner } = device;
  const first = wanted - (wanted % HOME_PAGES);
  const startPage = Math.max(first, vma.startPage);
  const endPage = Math.max(Math.min(first + HOME_PAGES, vma.endPage), pastStream(fault, device));
  const select = SELECT_DEVICE_PRIVATE;
  let failed: Errno = 0;
  let spare = machine.ram.usage().freePages - 1;
  const result = yield* migrateRange(
    { machine, mm, vma, startPage, endPage, owner, select },
    {
      // A page without a frame stays where it is. The last one is for the page that is touched.
      *alloc(page, from) {
        if (page < wanted && spare-- <= 0) return 0;
        const hasBytes = yield* haveBytes(machine, from);
        const frame = hasBytes ? yield* machine.ram.allocFrame(false) : 0;
        if (page === wanted && frame === 0) failed = hasBytes ? ENOMEM : EIO;
        return frame;
      },
      copy: (from, to) => machine.ram.copyFrame(from, to),
    },
  );
  return typeof result === "number" ? result : failed;
}

/** Waits until the shared memory has the bytes of a frame. False: it is lost. */
function* haveBytes({ memory, ram }: Machine, pfn: number): Task<boolean> {
  const device = DeviceMemory.at(memory, ram.sections.deviceOf(pfn));
  const at = stateAt(device, pfn);
  const record = WebGpuRecord.at(memory, PrivateChunk.at(memory, device.data).record);
  for (;;) {
    const state = yield* readWord(memory, at, STATE_LABEL);
    if (state !== DIRTY) return state === CURRENT;
    const deaths = deathsSoFar(memory);
    if (yield* hasAgentDied(memory, record.worker)) {
      yield* loseDirty(record); // Q5: a reaper may not have done it yet
      continue;
    }
    yield* want(record, pfn);
    const isServed = (): boolean => atomicLoad(memory.words, at) !== DIRTY;
    yield* record.served.waitEvent(isServed, Infinity, undefined, { at, words: 1 }, deaths);
  }
}

/**
 * Asks the Worker for the bytes of a frame. More than WANTED_MAX at once: the list is not whole,
 * and it serves all.
 */
export function* want(record: WebGpuRecord, pfn: number): Task<void> {
  yield* record.driverLock.lock();
  const { wantedCount } = record;
  if (wantedCount < WANTED_MAX) record.wanted.set(wantedCount, pfn);
  record.wantedCount = Math.min(wantedCount + 1, WANTED_MAX + 1);
  yield* record.driverLock.unlock();
  yield* record.requested.complete();
}

/**
 * Who sees the count looks at the states, so it comes last.
 *
 * @stepped freed private frames
 */
function* pageFree(memory: SharedMemory, device: DeviceMemory, pfn: number): Task<void> {
  yield* setState(device, pfn, CURRENT);
  atomicAdd(memory.words, device.data + FREED, 1);
}

export const PRIVATE_MEMORY_OPS: number = registerDeviceMemoryOps("hmm-ts WebGPU device memory", {
  migrateToRam,
  pageFree,
  explain(device) {
    const { memory, data } = device;
    const pages = lostText(WebGpuRecord.at(memory, PrivateChunk.at(memory, data).record));
    return `its GPU was lost, and with it what kernels had stored to ${pages}`;
  },
});
