/**
 * @module mm/shmem
 * The source of a shared anonymous mapping: frames by offset, the same for every space that maps it (a parent and its forked children). Follows the role
 * of Linux `mm/shmem.c`; there is no file system and no swap behind it. A directory of tables of 512 frame numbers, so at most 2 M pages (8 GiB)
 * an object.
 *
 *   H1  A nonzero entry holds one count of its frame until the object dies; each page-table entry that maps it holds another.
 *   H2  An entry goes from 0 to a frame once, by compare-and-swap, and stays: so a lookup needs no lock.
 */

import type { Machine } from "../memory/machine.ts";
import { type Struct, type StructView, embed, pointer, struct, u32 } from "../memory/struct.ts";
import { atomicCompareExchange } from "../sync/atomics.ts";
import { RefCount } from "../sync/refcount.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { type Task, access } from "../sync/task.ts";
import { LEAF_WORDS, wordAt } from "./page-table.ts";

export interface Shmem extends StructView {
  readonly refs: RefCount;
  directory: number;
  directoryWords: number;
}

export const Shmem: Struct<Shmem> = struct<Shmem>("shmem", {
  refs: embed(RefCount, "one for each vma over it"),
  directory: pointer("const", "tables of 512 frame numbers each"),
  directoryWords: u32("const", "512, 2048 or 4096: fixes the largest offset"),
});

const DIRECTORY_SIZES = [512, 2048, 4096];

/** Pages that the largest object holds (8 GiB). */
export const SHMEM_MAX_PAGES: number = 4096 * LEAF_WORDS;

/** An empty object for at least `pages` pages, with one reference. 0 = ENOMEM (too large, or no memory). */
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
  shmem.directory = directory;
  shmem.directoryWords = directoryWords;
  return at;
}

/** One more reference; pairs with `shmemPut`. The caller has one, through a vma. */
export function shmemGet(machine: Machine, at: number): Task<void> {
  return Shmem.at(machine.memory, at).refs.get();
}

/** Drops a reference; the last one gives back every frame. */
export function* shmemPut(machine: Machine, at: number): Task<void> {
  const { memory, heap, ram } = machine;
  const shmem = Shmem.at(memory, at);
  if (!(yield* shmem.refs.put())) return;
  const { directory, directoryWords } = shmem;
  for (let i = 0; i < directoryWords; i++) {
    const table = wordAt(memory.words, directory + i);
    if (table === 0) continue;
    memory.ensure(table + LEAF_WORDS);
    for (let k = 0; k < LEAF_WORDS; k++) {
      const pfn = wordAt(memory.words, table + k);
      if (pfn !== 0) yield* ram.pagePut(pfn);
    }
    yield* heap.freeWords(table, LEAF_WORDS);
  }
  yield* heap.freeWords(directory, directoryWords);
  yield* heap.free(Shmem, at);
}

/** Word index of the entry of page `offset`, its table made if need be; 0 = ENOMEM, -1 = beyond the object's end. */
function* slotOf(machine: Machine, shmem: Shmem, offset: number): Task<number> {
  const { memory, heap } = machine;
  const top = Math.floor(offset / LEAF_WORDS);
  if (top >= shmem.directoryWords) return -1;
  yield* access(memory, "read", shmem.directory + top, 1, "shmem directory");
  let table = wordAt(memory.words, shmem.directory + top);
  if (table === 0) {
    const fresh = yield* heap.allocWords(LEAF_WORDS);
    if (fresh === 0) return 0;
    yield* access(memory, "update", shmem.directory + top, 1, "shmem directory");
    const winner = atomicCompareExchange(memory.words, shmem.directory + top, 0, fresh);
    if (winner !== 0) yield* heap.freeWords(fresh, LEAF_WORDS);
    table = winner === 0 ? fresh : winner;
  }
  memory.ensure(table + LEAF_WORDS);
  return table + (offset % LEAF_WORDS);
}

/** What `shmemFrame` answers beyond the object's end. */
export const SHMEM_BEYOND_END = -1;

/** The frame at page `offset`, made (zeroed) on first touch, with a count for the caller's entry. 0 = ENOMEM, SHMEM_BEYOND_END. */
export function* shmemFrame(machine: Machine, at: number, offset: number): Task<number> {
  const { memory, ram } = machine;
  const slot = yield* slotOf(machine, Shmem.at(memory, at), offset);
  if (slot === 0) return 0;
  if (slot < 0) return SHMEM_BEYOND_END;
  yield* access(memory, "read", slot, 1, "shmem page");
  let pfn = wordAt(memory.words, slot);
  if (pfn === 0) {
    const fresh = yield* ram.allocFrame(true);
    if (fresh === 0) return 0;
    yield* access(memory, "update", slot, 1, "shmem page");
    const winner = atomicCompareExchange(memory.words, slot, 0, fresh);
    if (winner !== 0) yield* ram.pagePut(fresh);
    pfn = winner === 0 ? fresh : winner;
  }
  yield* ram.pageGet(pfn);
  return pfn;
}

/** Puts `pfn` (whose count for the object the caller hands over) where nobody but one entry uses the frame that was there. For views (H2's one exception). */
export function* shmemReplace(machine: Machine, at: number, offset: number, pfn: number): Task<boolean> {
  const { memory } = machine;
  const slot = yield* slotOf(machine, Shmem.at(memory, at), offset);
  if (slot <= 0) return false;
  yield* access(memory, "write", slot, 1, "shmem page");
  memory.words[slot] = pfn;
  return true;
}

/** The frame at page `offset`, or 0 when it was never touched. No count is taken. */
export function shmemPeek(memory: SharedMemory, at: number, offset: number): number {
  const shmem = Shmem.at(memory, at);
  const top = Math.floor(offset / LEAF_WORDS);
  if (top >= shmem.directoryWords) return 0;
  const table = wordAt(memory.words, shmem.directory + top);
  if (table === 0) return 0;
  memory.ensure(table + LEAF_WORDS);
  return wordAt(memory.words, table + (offset % LEAF_WORDS));
}
