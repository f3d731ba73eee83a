/**
 * @module mm/source/io
 * One thread's read, write-back or wait of a source: a record in shared memory, so that another
 * thread can end it when this one dies.
 *
 *   O1  Each record holds a reference of the cache, and is a resource of the thread that made it.
 *       So the cache stays while somebody waits without the mmap lock.
 *   O2  A record with `isMarked` has put READING or WRITEBACK on the pages [startPage, endPage), in
 *       one section of pageCacheLock, and nobody else takes the marks away. A mark on one of these
 *       pages is therefore its own. Meanwhile the source counts the record among its `mappings`, so
 *       that no thread which serves it ends. When its thread dies, pages that were READING are
 *       absent again, and those under WRITEBACK are DIRTY again: nothing is lost. The pages that
 *       are left are [startPage, endPage) in each step: the end rises as they are marked, the start
 *       as they are finished.
 *   O4  What the transfer has of frames besides is noted: those that it has got in a row for pages
 *       to read (`run`), less those that pages have; and those that it is about to put (`hand`). So
 *       is a table for their entries (`table`).
 *   O3  A request (requests.ts) is in the source's list while it is QUEUED or TAKEN. If the thread
 *       that waits dies, a TAKEN request is ABANDONED, and the thread that serves frees it.
 */

import { List } from "../../memory/layout/list.ts";
import {
  type Struct,
  type StructView,
  type WordArray,
  array,
  embed,
  i32,
  pointer,
  struct,
  u32,
} from "../../memory/layout/struct.ts";
import { notedFrame } from "../../memory/frames/frame-allocator.ts";
import { Machine } from "../../memory/machine.ts";
import { atomicStore, storeNoted } from "../../sync/atomics.ts";
import {
  addResourceUnder,
  findResource,
  registerHeir,
  removeResourceUnder,
  resourceKind,
} from "../../sync/lockdep/resources.ts";
import { HmmError, bug } from "../../sync/errors.ts";
import { EMFILE, ENOMEM } from "../../sync/errno.ts";
import { EXPLORED, type SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { noteUndo } from "../../sync/words/undo-log.ts";
import { LEAF_WORDS, wordAt } from "../../mmu/radix-table.ts";
import {
  CACHE_DIRTY,
  CACHE_WRITEBACK,
  PageCache,
  backingOf,
  cacheEntryPfn,
  cachePutOwn,
  slotIfThere,
  takeReference,
} from "../vma/page-cache.ts";
import {
  DIRTY_PAGES,
  MAPPINGS,
  type Source,
  TRANSFERS,
  WRITE_LOST,
  addWork,
  noteStore,
  noteWriteFailure,
} from "../vma/source.ts";

export const IO_READ = 0;
export const IO_WRITE = 1;
/** The size is to be asked again. */
export const IO_SIZE = 2;
export type IoKind = typeof IO_READ | typeof IO_WRITE | typeof IO_SIZE;

/** The thread that made it does it, or has not asked yet. */
export const IO_OWN = 0;
export const IO_QUEUED = 1;
export const IO_TAKEN = 2;
export const IO_DONE = 3;
export const IO_ABANDONED = 4;

export interface SourceIo extends StructView {
  readonly node: List;
  cache: number;
  kind: number;
  startPage: number;
  endPage: number;
  isMarked: number;
  sizes: number;
  state: number;
  errno: number;
  server: number;
  slot: number;
  vmaFlags: number;
  run: number;
  runPages: number;
  isRunUsed: number;
  table: number;
  readonly hand: WordArray;
}

/**
 * Frames that a transfer puts at a time: more than a thread's free list has room for, so they go
 * back to the buddy system as the row that they mostly are. 16 at a time went there by way of the
 * free list, and the last unmap of a file took 2.4 times as long.
 */
export const HANDS = 64;
/** The same in an exploration, whose tasks do not have so many frames. */
const HANDS_EXPLORED = 16;

/** How many of its words a transfer uses at a time. */
export function handsAtOnce({ mode }: SharedMemory): number {
  return mode === EXPLORED ? HANDS_EXPLORED : HANDS;
}

export const SourceIo: Struct<SourceIo> = struct<SourceIo>("sourceIo", {
  node: embed(List, "in the source's requests (O3); guarded by pageCacheLock"),
  cache: pointer("const", "holds one reference (O1)"),
  kind: u32("const", "0 read, 1 write back, 2 ask for the size"),
  startPage: u32("pageCacheLock", "first page"),
  endPage: u32("pageCacheLock", "one past the last"),
  isMarked: u32("pageCacheLock", "1: its pages carry its mark (O2)"),
  sizes: u32("pageCacheLock", "of the source, when they got it (T2 of transfer.ts)"),
  state: u32("atomic", "own, queued, taken, done or abandoned"),
  errno: i32("pageCacheLock", "what came of it, when it is done"),
  server: pointer("pageCacheLock", "the record of the server that has taken it (V3 of serve.ts)"),
  slot: u32("const", "in the resource list of the thread that made it"),
  vmaFlags: u32("const", "of a read for a fault: VM_SEQUENTIAL, VM_RANDOM of the mapping"),
  run: u32("owner", "the first frame in a row that it has got (O4), or 0"),
  runPages: u32("owner", "how many"),
  isRunUsed: u32("owner", "1: each has a count"),
  table: pointer("owner", "a table for entries of the cache that it has made and not linked, or 0"),
  hand: array(HANDS + 1, "owner", "counts of frames that it has in hand; `FrameRefs.putLeft`"),
});

const IO_RESOURCE: number = resourceKind("transfer of a source");

/**
 * A record of this thread: its pointer, or ENOMEM, EMFILE. The caller has a reference. Of the kind
 * `resource`, whose heir calls `releaseDead` at last.
 */
export function* ioBegin(
  machine: Machine,
  cache: number,
  kind: IoKind,
  startPage: number,
  endPage: number,
  resource: number = IO_RESOURCE,
): Task<number> {
  const { memory } = machine;
  const at = yield* machine.heap.alloc(SourceIo, resource);
  if (at === 0) return ENOMEM;
  const slot = findResource(memory, resource, at);
  if (slot < 0) {
    yield* machine.heap.free(SourceIo, at);
    return EMFILE;
  }
  const io = SourceIo.at(memory, at);
  io.kind = kind;
  io.startPage = startPage;
  io.endPage = endPage;
  io.slot = slot;
  yield* PageCache.at(memory, cache).refs.get(at + SourceIo.offset.cache, cache);
  return at;
}

/** Of a record that is neither marked nor queued. It may drop the last reference of the cache. */
export function* ioEnd(machine: Machine, at: number): Task<void> {
  yield* freeIo(machine, at, SourceIo.at(machine.memory, at).slot);
}

/** `slot`: of the record among this thread's resources, or -1. */
export function* freeIo(machine: Machine, at: number, slot: number = -1): Task<void> {
  const { memory } = machine;
  const { cache } = SourceIo.at(memory, at);
  const own = takeReference(memory, at + SourceIo.offset.cache);
  yield* machine.heap.free(SourceIo, at, slot);
  yield* cachePutOwn(machine, cache, own);
}

/**
 * O2: pages from `startPage` on are about to get marks. Holding pageCacheLock, in the section in
 * which they get them. From here on the record's `endPage` rises with each, in the same step.
 */
export function noteMarks(source: Source, { memory, at }: SourceIo, startPage: number): void {
  noteStore(source, MAPPINGS);
  noteStore(source, TRANSFERS);
  const { words } = memory;
  const { startPage: startAt, endPage, isMarked, sizes: sizesAt } = SourceIo.offset;
  const { sizes } = source;
  const [first, end, marked, sizesOf] = [at + startAt, at + endPage, at + isMarked, at + sizesAt];
  const [mappings, transfers] = [source.at + MAPPINGS, source.at + TRANSFERS];
  words[first] = startPage; // in a row (H1 of sync/lockdep/held-locks.ts)
  words[end] = startPage;
  words[sizesOf] = sizes;
  words[marked] = 1;
  words[mappings] = words[mappings]! + 1;
  words[transfers] = words[transfers]! + 1;
}

/** The word that `noteMarks` speaks of. */
export function endPageOf(io: SourceIo): number {
  return io.at + SourceIo.offset.endPage;
}

/** The word that `finishTransfer` lets rise (O2). */
export function startPageOf(io: SourceIo): number {
  return io.at + SourceIo.offset.startPage;
}

/** The first of HANDS words that note counts of frames which the transfer has in hand (O4). */
export function handOfIo(io: SourceIo): number {
  return io.at + SourceIo.offset.hand;
}

/** The word that notes a table for entries of the cache, until the cache has it. */
export function tableOfIo(io: SourceIo): number {
  return io.at + SourceIo.offset.table;
}

/** Puts what is in hand. */
export function putHands({ ram }: Machine, io: SourceIo): Task<void> {
  const hand = handOfIo(io);
  return ram.refs.putNoted(hand, hand + HANDS, hand + HANDS);
}

/** The word that notes `pages` frames in a row, before they are got (O4). There are none. */
export function runOfIo(io: SourceIo, pages: number): number {
  io.runPages = pages;
  io.isRunUsed = 0;
  return io.at + SourceIo.offset.run;
}

/** The frame in hand is a row of one. */
export function noteOne(io: SourceIo, pfn: number): void {
  const { words } = io.memory;
  const { run, runPages, isRunUsed, hand } = SourceIo.offset;
  const [runAt, pagesAt, usedAt, handAt] = [
    io.at + run,
    io.at + runPages,
    io.at + isRunUsed,
    io.at + hand,
  ];
  words[runAt] = pfn; // in a row (H1 of sync/lockdep/held-locks.ts)
  words[pagesAt] = 1;
  words[usedAt] = 1;
  words[handAt] = 0;
}

/** Puts the frames of the row but for the first `used`, which pages have. Nothing is in hand. */
export function* putRest(machine: Machine, io: SourceIo, used: number): Task<void> {
  const { words } = io.memory;
  const { runPages, hand } = SourceIo.offset;
  const [pagesAt, handAt] = [io.at + runPages, io.at + hand];
  for (let left = io.run === 0 ? used : io.runPages; left > used; left--) {
    const noted = notedFrame(io.run + left - 1);
    words[handAt] = noted; // in a row
    words[pagesAt] = left - 1;
    yield* putHands(machine, io);
  }
  io.run = 0;
}

/**
 * O2: the pages have no marks any more. Holding pageCacheLock, in the section in which they lost
 * them. True: nothing is mapped any more, and the caller wakes those that serve.
 */
export function* dropMarks(source: Source, { memory, at }: SourceIo): Task<boolean> {
  const isLast = source.mappings === 1;
  if (isLast) addWork(source); // once too often does no harm
  noteStore(source, MAPPINGS);
  noteStore(source, TRANSFERS);
  const { words } = memory;
  const marked = at + SourceIo.offset.isMarked;
  const [mappings, transfers] = [source.at + MAPPINGS, source.at + TRANSFERS];
  words[marked] = 0; // in a row
  words[mappings] = words[mappings]! - 1;
  words[transfers] = words[transfers]! - 1;
  return isLast;
}

/** @stepped source io */
export function setIoState(io: SourceIo, state: number): void {
  atomicStore(io.memory.words, io.at + SourceIo.offset.state, state);
}

/**
 * As part of a change of what `lock` guards, which is undone if this thread dies with it.
 *
 * @stepped source io
 */
export function setIoStateUnder(lock: number, io: SourceIo, state: number): void {
  noteUndo(io.memory, lock, io.at + SourceIo.offset.state, io.state);
  setIoState(io, state);
}

/** A request is asked no more. Holding pageCacheLock, whose word is `lock`. @stepped source io */
export function leaveQueue(lock: number, io: SourceIo): void {
  io.node.del(lock);
  setIoStateUnder(lock, io, IO_OWN);
}

/** An entry, and how many are DIRTY. @stepped page cache */
export function storeMark(
  words: Int32Array,
  slot: number,
  fresh: number,
  dirtyAt: number,
  dirty: number,
): void {
  storeNoted(words, slot, fresh, words, dirtyAt, dirty);
}

/** The first page of the transfer is finished, and the word `hand` notes the count of its frame. */
export function* finishPage(
  source: Source,
  io: SourceIo,
  slot: number,
  fresh: number,
  dirty: number,
  hand: number,
): Task<void> {
  const { words } = source.memory;
  const noted = notedFrame(cacheEntryPfn(words[slot]!));
  const startAt = startPageOf(io);
  const next = io.startPage + 1;
  noteStore(source, DIRTY_PAGES);
  storeMark(words, slot, fresh, source.at + DIRTY_PAGES, dirty);
  words[hand] = noted; // in a row (H1 of sync/lockdep/held-locks.ts)
  words[startAt] = next;
}

/**
 * For the reaper: the thread that made it has died (O2, O3, O4). May be done again, for a reaper
 * that dies in it. `slot`: of the record among this thread's resources, or -1.
 */
export function* releaseDead(machine: Machine, at: number, slot: number): Task<void> {
  const io = SourceIo.at(machine.memory, at);
  if (io.cache === 0) {
    yield* machine.heap.free(SourceIo, at, slot); // it had no reference yet, or not any more
    return;
  }
  const cache = PageCache.at(machine.memory, io.cache);
  const source = backingOf(machine, io.cache) ?? bug("a transfer has no source");
  const hand = handOfIo(io);
  yield* machine.ram.refs.putLeft(hand, hand + HANDS, hand + HANDS);
  const { table } = io;
  if (table !== 0) yield* machine.heap.freeWords(table, LEAF_WORDS, tableOfIo(io));
  const read = io.isMarked === 0 ? 0 : io.endPage - io.startPage;
  if (io.isRunUsed !== 0) yield* putRest(machine, io, read);
  else if (io.run !== 0) yield* machine.ram.giveRun(io.runPages, io.at + SourceIo.offset.run);
  while (io.isMarked !== 0) {
    yield* cache.lock.lock();
    yield* takeMarksBack(machine, cache, source, io);
    if (io.kind === IO_WRITE) noteWriteFailure(source, WRITE_LOST); // who waits for it is told
    else source.readErrno = 0; // that of an earlier read of these pages, which this was to mend
    if (io.startPage === io.endPage) yield* dropMarks(source, io);
    yield* cache.lock.unlock();
    yield* putHands(machine, io);
  }
  yield* cache.lock.lock();
  const lock = cache.lock.at;
  const isTaken = io.state === IO_TAKEN;
  if (isTaken) setIoStateUnder(lock, io, IO_ABANDONED);
  else if (io.state === IO_QUEUED) leaveQueue(lock, io);
  if (isTaken && slot >= 0) removeResourceUnder(machine.memory, lock, slot);
  yield* cache.lock.unlock();
  yield* source.serveQueue.wakeAll();
  yield* source.doneQueue.wakeAll();
  if (!isTaken) yield* freeIo(machine, at, slot);
}

/**
 * Of the next pages. The counts that are left over come into hand. Holding pageCacheLock.
 *
 * @stepped page cache
 */
function* takeMarksBack(
  machine: Machine,
  cache: PageCache,
  source: Source,
  io: SourceIo,
): Task<void> {
  const { memory } = machine;
  const endPage = Math.min(io.endPage, io.startPage + handsAtOnce(io.memory));
  for (let page = io.startPage, hand = handOfIo(io); page < endPage; page++, hand++) {
    const slot = slotIfThere(memory, cache, page);
    const entry = wordAt(memory.words, slot);
    const isMore = io.kind === IO_WRITE && (entry & CACHE_DIRTY) === 0;
    const fresh = io.kind === IO_READ ? 0 : (entry & ~CACHE_WRITEBACK) | CACHE_DIRTY;
    yield* finishPage(source, io, slot, fresh, source.dirtyPages + (isMore ? 1 : 0), hand);
  }
}

registerHeir(IO_RESOURCE, (memory, at, slot) => releaseDead(Machine.of(memory), at, slot));

/**
 * A request that this thread frees, as part of a change of what `lock` guards: its slot among the
 * thread's resources, or -1.
 */
export function inheritIo({ memory, at }: SourceIo, lock: number): number {
  return addResourceUnder(memory, lock, IO_RESOURCE, at);
}

/**
 * Runs `task`, then `cleanUp`; also if the task throws EDEADLK, because this thread would wait for
 * itself. Whatever else it throws means that the machine has stopped: then nothing is cleaned up,
 * and no lock may be waited for.
 */
export function* thenCleanUp<T>(task: Task<T>, cleanUp: () => Task<void>): Task<T> {
  let result: T;
  try {
    result = yield* task;
  } catch (error) {
    if (error instanceof HmmError && error.code === "EDEADLK") yield* cleanUp();
    throw error;
  }
  yield* cleanUp();
  return result;
}

/** Whether the transfer, which is marked, includes `page` of `cache`. Of this thread's own. */
export function isOfPage(machine: Machine, at: number, cache: number, page: number): boolean {
  const io = SourceIo.at(machine.memory, at);
  return io.cache === cache && io.startPage <= page && page < io.endPage;
}
