/**
 * @module mm/vma/shmem
 * The source of a shared anonymous mapping: frames by offset, the same for every space that maps it
 * (a parent and its forked children). Plays the role of Linux `mm/shmem.c`, without a file system
 * and without swap. An object is a directory of tables of 512 frame numbers, so it has at most 2 M
 * pages (8 GiB). It keeps its size: where mremap grows a mapping past the end, an access is SIGBUS,
 * as in Linux.
 *
 *   H1  A nonzero entry holds one count of its frame until the object dies. Each page-table entry
 *       that maps the frame holds another.
 *   H2  An entry goes from 0 to a frame once. After that it changes only by a migration, while
 *       nobody else uses the frame. So a thread that finds a frame gets a count of it before
 *       another can migrate it. Both happen under shmemLock, because the spaces that share an
 *       object have no other common lock.
 */

import type { Machine } from "../../memory/machine.ts";
import {
  type Struct,
  type StructView,
  embed,
  pointer,
  struct,
  u32,
} from "../../memory/layout/struct.ts";
import { atomicStore } from "../../sync/atomics.ts";
import { ENOMEM } from "../../sync/errno.ts";
import { RefCount } from "../../sync/primitives/refcount.ts";
import { Spinlock } from "../../sync/primitives/spinlock.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { LEAF_WORDS, tableAt, wordAt } from "../../mmu/radix-table.ts";

export interface Shmem extends StructView {
  readonly refs: RefCount;
  readonly lock: Spinlock;
  directory: number;
  directoryWords: number;
  pages: number;
}

export const Shmem: Struct<Shmem> = struct<Shmem>("shmem", {
  refs: embed(RefCount, "one for each vma over it"),
  lock: embed(Spinlock, "the entries (H2)", "shmemLock"),
  directory: pointer("const", "tables of 512 frame numbers each"),
  directoryWords: u32("const", "512, 2048 or 4096"),
  pages: u32("const", "its size: there is nothing at or past this offset"),
});

const DIRECTORY_SIZES = [512, 2048, 4096];

/** An empty object of `pages` pages, with one reference. 0 = ENOMEM (too large, or no memory). */
export function* shmemCreate(machine: Machine, pages: number): Task<number> {
  const directoryWords = DIRECTORY_SIZES.find((size) => size * LEAF_WORDS >= pages);
  if (directoryWords === undefined) return 0;
  const at = yield* machine.heap.alloc(Shmem);
  if (at === 0) return 0;
  const directory = yield* machine.heap.allocWords(directoryWords);
  if (directory === 0) {
    yield* machine.heap.free(Shmem, at);
    return 0;
  }
  const shmem = Shmem.at(machine.memory, at);
  shmem.refs.init(1);
  shmem.lock.init();
  shmem.directory = directory;
  shmem.directoryWords = directoryWords;
  shmem.pages = pages;
  return at;
}

/** One more reference; pairs with `shmemPut`. The caller has one, through a vma. */
export function shmemGet(machine: Machine, at: number): Task<void> {
  return Shmem.at(machine.memory, at).refs.get();
}

/** The object's size. The caller has a reference, through a vma. */
export function shmemPages(machine: Machine, at: number): number {
  return Shmem.at(machine.memory, at).pages;
}

/** Drops a reference; the last one gives back every frame. */
export function* shmemPut(machine: Machine, at: number): Task<void> {
  const { memory, heap, ram } = machine;
  const shmem = Shmem.at(memory, at);
  if (!(yield* shmem.refs.put())) return;
  const { directory, directoryWords } = shmem;
  memory.ensure(directory + directoryWords);
  for (let i = 0; i < directoryWords; i++) {
    const table = wordAt(memory.words, directory + i);
    if (table === 0) continue;
    memory.ensure(table + LEAF_WORDS);
    for (let k = 0; k < LEAF_WORDS; k++) {
      const pfn = wordAt(memory.words, table + k);
      if (pfn !== 0) yield* ram.refs.pagePut(pfn);
    }
    yield* heap.freeWords(table, LEAF_WORDS);
  }
  yield* heap.freeWords(directory, directoryWords);
  yield* heap.free(Shmem, at);
}

/**
 * Word index of the entry of page `offset`, its table made if there is none; 0 = ENOMEM,
 * SHMEM_BEYOND_END.
 */
function* slotOf(machine: Machine, shmem: Shmem, offset: number): Task<number> {
  if (offset >= shmem.pages) return SHMEM_BEYOND_END;
  // Another thread may have made the directory, and grown the heap for it.
  machine.memory.ensure(shmem.directory + shmem.directoryWords);
  const top = Math.floor(offset / LEAF_WORDS);
  const table = yield* tableAt(machine, shmem.directory + top, LEAF_WORDS);
  return table === 0 ? 0 : table + (offset % LEAF_WORDS);
}

/** What `shmemFrame` answers beyond the object's end. */
export const SHMEM_BEYOND_END = -1;

/**
 * The frame at page `offset`, made (zeroed) on first touch, with a count for the caller's entry. 0
 * = ENOMEM, SHMEM_BEYOND_END.
 */
export function* shmemFrame(machine: Machine, at: number, offset: number): Task<number> {
  const { memory, ram } = machine;
  const shmem = Shmem.at(memory, at);
  const slot = yield* slotOf(machine, shmem, offset);
  if (slot <= 0) return slot;
  const found = yield* takeEntry(machine, shmem, slot, 0);
  if (found !== 0) return found;
  const fresh = yield* ram.allocFrame(true);
  if (fresh === 0) return 0;
  const pfn = yield* takeEntry(machine, shmem, slot, fresh);
  if (pfn !== fresh) yield* ram.refs.pagePut(fresh);
  return pfn;
}

/**
 * The entry's frame, with a count for the caller (H2). Where there is none, `fresh` becomes it, and
 * the object gets the count that `fresh` has.
 *
 * @stepped shmem page
 */
function* takeEntry(machine: Machine, shmem: Shmem, slot: number, fresh: number): Task<number> {
  const { memory, ram } = machine;
  yield* shmem.lock.lock();
  const pfn = wordAt(memory.words, slot) || fresh;
  if (pfn !== 0) {
    atomicStore(memory.words, slot, pfn);
    yield* ram.refs.pageGet(pfn);
  }
  yield* shmem.lock.unlock();
  return pfn;
}

/** What `shmemMove` answers when others use the frame. */
export const SHMEM_BUSY = -2;

/**
 * Migrates page `offset` into frame `pfn`: the object gets its count, and the caller another one
 * for its entry, before any other thread can find the frame. Returns the old frame, or 0 if there
 * was none; the object's count of it is the caller's now. SHMEM_BUSY: the old frame has more
 * references than the object's and those of the caller's `entries`; nothing has changed. ENOMEM.
 *
 * @stepped shmem page
 */
export function* shmemMove(
  machine: Machine,
  at: number,
  offset: number,
  pfn: number,
  entries: number,
): Task<number> {
  const { memory, ram } = machine;
  const shmem = Shmem.at(memory, at);
  const slot = yield* slotOf(machine, shmem, offset);
  if (slot <= 0) return ENOMEM;
  yield* shmem.lock.lock();
  const from = wordAt(memory.words, slot);
  const isOurs = from === 0 || (yield* ram.refs.pageHas(from, 1 + entries));
  if (isOurs) {
    if (from !== 0) yield* ram.copyFrame(from, pfn);
    yield* ram.refs.pageGet(pfn);
    atomicStore(memory.words, slot, pfn);
  }
  yield* shmem.lock.unlock();
  return isOurs ? from : SHMEM_BUSY;
}
