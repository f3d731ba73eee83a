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
 *       absent again, and those under WRITEBACK are DIRTY again: nothing is lost.
 *   O3  A request (requests.ts) is in the source's list while it is QUEUED or TAKEN. If the thread
 *       that waits dies, a TAKEN request is ABANDONED, and the thread that serves frees it.
 */

import { List } from "../../memory/layout/list.ts";
import {
  type Struct,
  type StructView,
  embed,
  i32,
  pointer,
  struct,
  u32,
} from "../../memory/layout/struct.ts";
import { Machine } from "../../memory/machine.ts";
import { atomicStore } from "../../sync/atomics.ts";
import {
  addResource,
  registerReleaser,
  removeResource,
  resourceKind,
} from "../../sync/death/resources.ts";
import { HmmError, bug } from "../../sync/errors.ts";
import { EMFILE, ENOMEM } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { wordAt } from "../../mmu/radix-table.ts";
import {
  CACHE_DIRTY,
  CACHE_READING,
  CACHE_WRITEBACK,
  PageCache,
  backingOf,
  cacheEntryPfn,
  cacheGet,
  cachePut,
  slotIfThere,
} from "../vma/page-cache.ts";
import { type Source, addWork } from "../vma/source.ts";

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
  state: number;
  errno: number;
  server: number;
  slot: number;
  vmaFlags: number;
}

export const SourceIo: Struct<SourceIo> = struct<SourceIo>("sourceIo", {
  node: embed(List, "in the source's requests (O3); guarded by pageCacheLock"),
  cache: pointer("const", "holds one reference (O1)"),
  kind: u32("const", "0 read, 1 write back, 2 ask for the size"),
  startPage: u32("pageCacheLock", "first page"),
  endPage: u32("pageCacheLock", "one past the last"),
  isMarked: u32("pageCacheLock", "1: its pages carry its mark (O2)"),
  state: u32("atomic", "own, queued, taken, done or abandoned"),
  errno: i32("pageCacheLock", "what came of it, when it is done"),
  server: u32("pageCacheLock", "agent id of the thread that has taken it"),
  slot: u32("const", "in the resource list of the thread that made it"),
  vmaFlags: u32("const", "of a read for a fault: VM_SEQUENTIAL, VM_RANDOM of the mapping"),
});

const IO_RESOURCE: number = resourceKind("transfer of a source");

/** A record of this thread: its pointer, or ENOMEM, EMFILE. The caller has a reference. */
export function* ioBegin(
  machine: Machine,
  cache: number,
  kind: IoKind,
  startPage: number,
  endPage: number,
): Task<number> {
  const at = yield* machine.heap.alloc(SourceIo);
  if (at === 0) return ENOMEM;
  const io = SourceIo.at(machine.memory, at);
  io.cache = cache;
  io.kind = kind;
  io.startPage = startPage;
  io.endPage = endPage;
  yield* cacheGet(machine, cache);
  const slot = addResource(machine.memory, IO_RESOURCE, at);
  if (slot < 0) {
    yield* freeIo(machine, at);
    return EMFILE;
  }
  io.slot = slot;
  return at;
}

/** Of a record that is neither marked nor queued. It may drop the last reference of the cache. */
export function* ioEnd(machine: Machine, at: number): Task<void> {
  removeResource(machine.memory, SourceIo.at(machine.memory, at).slot);
  yield* freeIo(machine, at);
}

export function* freeIo(machine: Machine, at: number): Task<void> {
  const { cache } = SourceIo.at(machine.memory, at);
  yield* machine.heap.free(SourceIo, at);
  yield* cachePut(machine, cache);
}

/** O2: `pages` pages have marks. Holding pageCacheLock, in the section in which they got them. */
export function noteMarks(source: Source, io: SourceIo, startPage: number, pages: number): void {
  io.startPage = startPage;
  io.endPage = startPage + pages;
  io.isMarked = 1;
  source.mappings += 1;
}

/**
 * O2: the pages have no marks any more. Holding pageCacheLock, in the section in which they lost
 * them. True: nothing is mapped any more, and the caller wakes those that serve.
 */
export function dropMarks(source: Source, io: SourceIo): boolean {
  io.isMarked = 0;
  source.mappings -= 1;
  if (source.mappings > 0) return false;
  addWork(source);
  return true;
}

/** @stepped source io */
export function setIoState(io: SourceIo, state: number): void {
  atomicStore(io.memory.words, io.at + SourceIo.offset.state, state);
}

/** For the reaper: the thread that made it has died (O2, O3). */
function* releaseDead(machine: Machine, at: number): Task<void> {
  const io = SourceIo.at(machine.memory, at);
  const cache = PageCache.at(machine.memory, io.cache);
  const source = backingOf(machine, io.cache) ?? bug("a transfer has no source");
  const frames: number[] = [];
  yield* cache.lock.lock();
  if (io.isMarked !== 0) takeMarksBack(machine, cache, source, io, frames);
  const isTaken = io.state === IO_TAKEN;
  if (isTaken) setIoState(io, IO_ABANDONED);
  else if (io.state === IO_QUEUED) io.node.del();
  yield* cache.lock.unlock();
  yield* source.serveQueue.wakeAll();
  yield* source.doneQueue.wakeAll();
  for (const pfn of frames) yield* machine.ram.refs.pagePut(pfn);
  if (!isTaken) yield* freeIo(machine, at);
}

/** Holding pageCacheLock. `frames` gets those of which a count is left over. @stepped page cache */
function takeMarksBack(
  machine: Machine,
  cache: PageCache,
  source: Source,
  io: SourceIo,
  frames: number[],
): void {
  const { memory } = machine;
  for (let page = io.startPage; page < io.endPage; page++) {
    const slot = slotIfThere(memory, cache, page);
    const entry = slot === 0 ? 0 : wordAt(memory.words, slot);
    if (io.kind === IO_READ && (entry & CACHE_READING) !== 0) {
      atomicStore(memory.words, slot, 0);
      frames.push(cacheEntryPfn(entry));
    } else if (io.kind === IO_WRITE && (entry & CACHE_WRITEBACK) !== 0) {
      if ((entry & CACHE_DIRTY) === 0) source.dirtyPages += 1;
      atomicStore(memory.words, slot, (entry & ~CACHE_WRITEBACK) | CACHE_DIRTY);
      frames.push(cacheEntryPfn(entry));
    }
  }
  dropMarks(source, io);
}

registerReleaser(IO_RESOURCE, (memory, at) => releaseDead(Machine.of(memory), at));

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
