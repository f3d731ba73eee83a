/**
 * @module mm/vma/page-cache
 * The pages of a source: frames by offset, the same for every mapping of it in every space. Follows
 * Linux `struct address_space` and `mm/filemap.c`. Anonymous shared memory is a cache without a
 * backing store, as Linux's shmem: a page that nobody has touched is zeros. With one, `backing`
 * (source.ts), pages are read into the cache and written back by mm/source/.
 *
 * A cache is a directory of tables of 512 entries, so it has at most 2 M pages (8 GiB).
 *
 *     31                               8 7       4 3         2       1        0
 *     +---------------------------------+---------+---------+-------+--------+----------+
 *     | frame number (pfn)              |    0    |WRITEBACK| DIRTY | READING| UPTODATE |
 *     +---------------------------------+---------+---------+-------+--------+----------+
 *
 *     entry                meaning                                  next
 *     0                    absent                                   READING; UPTODATE (anonymous)
 *     READING              a frame that is being filled; not mapped UPTODATE; 0 (it failed)
 *     UPTODATE             the contents of the source               DIRTY; 0 (cut off, dropped)
 *     UPTODATE DIRTY       newer than the backing store             WRITEBACK; 0 (cut off)
 *     UPTODATE WRITEBACK   being written                            UPTODATE; DIRTY (it failed)
 *     all three            written once more meanwhile              DIRTY
 *
 * Anonymous memory keeps its size: where mremap grows a mapping past the end, an access is SIGBUS,
 * as in Linux. The size of a backing store may change (mm/source/size.ts).
 *
 *   H1  A nonzero entry holds one count of its frame until it is cleared. Each page-table entry
 *       that maps the frame holds another.
 *   H2  Entries change under pageCacheLock, because the spaces that share a cache have no other
 *       common lock. A thread that finds a frame gets a count of it in the same section, so nobody
 *       takes the frame out of the cache in between and frees it.
 *   H7  Who dies with pageCacheLock has changed whole entries: each in a row of stores, with what
 *       notes its frame, or the source's counts; or what it changed is undone. A count of a frame
 *       is noted in the step that gets it.
 *   H3  Without a backing store an entry goes from 0 to a frame once. After that it changes only by
 *       a migration, while nobody else uses the frame.
 */

import { notedFrame } from "../../memory/frames/frame-allocator.ts";
import { Machine } from "../../memory/machine.ts";
import {
  type Struct,
  type StructView,
  embed,
  pointer,
  struct,
  u32,
} from "../../memory/layout/struct.ts";
import { atomicLoad, plainLoad, storeNoted } from "../../sync/atomics.ts";
import {
  findResource,
  kindWord,
  registerHeir,
  reserveResource,
  resourceKind,
  takeNoted,
} from "../../sync/lockdep/resources.ts";
import { RefCount } from "../../sync/primitives/refcount.ts";
import { Spinlock } from "../../sync/primitives/spinlock.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { DONE, type Task } from "../../sync/tasks/task.ts";
import { LEAF_WORDS, nextLeafPage, tableAt, wordAt } from "../../mmu/radix-table.ts";
import type { CacheNotes } from "../entries/hand.ts";
import { unlistSource } from "./source-list.ts";
import { Source, freeSource } from "./source.ts";

export interface PageCache extends StructView {
  readonly refs: RefCount;
  readonly lock: Spinlock;
  directory: number;
  directoryWords: number;
  pages: number;
  backing: number;
  given: number;
}

export const PageCache: Struct<PageCache> = struct<PageCache>("pageCache", {
  refs: embed(RefCount, "one for each vma over it; more while it is served, read or written"),
  lock: embed(Spinlock, "the entries (H2)", "pageCacheLock"),
  directory: pointer("const", "tables of 512 entries each"),
  directoryWords: u32("const", "512, 2048 or 4096"),
  pages: u32("atomic", "its size: there is nothing at or past this offset"),
  backing: pointer("const", "what the pages are read from; 0: anonymous memory"),
  given: u32("who ends it", "for `FrameRefs.putLeft`"),
});

const DIRECTORY: number = PageCache.offset.directory;
const GIVEN: number = PageCache.offset.given;

/** Bits of an entry; see the head. */
export const CACHE_UPTODATE = 0x1;
export const CACHE_READING = 0x2;
export const CACHE_DIRTY = 0x4;
export const CACHE_WRITEBACK = 0x8;
const CACHE_PFN_SHIFT = 8;

/** The frame of an entry; 0 = none. */
export function cacheEntryPfn(entry: number): number {
  return entry >>> CACHE_PFN_SHIFT;
}

export function makeCacheEntry(pfn: number, flags: number): number {
  return (pfn << CACHE_PFN_SHIFT) | flags;
}

const DIRECTORY_SIZES = [512, 2048, 4096];
/** Most pages that a cache can have. */
export const CACHE_PAGES_MAX: number = 4096 * LEAF_WORDS;

/** One that nobody knows yet, without frames. */
const MAKING: number = resourceKind("page cache being made");
registerHeir(MAKING, function* (memory, at, slot) {
  const machine = Machine.of(memory);
  yield* freeDirectory(machine, PageCache.at(memory, at));
  yield* machine.heap.free(PageCache, at, slot);
});

/** One that has no reference any more. */
const ENDING: number = resourceKind("page cache that ends");
registerHeir(ENDING, (memory, at, slot) =>
  endCache(Machine.of(memory), PageCache.at(memory, at), slot),
);

/** A source whose cache is gone. */
const SOURCE_ENDING: number = resourceKind("source that ends");
registerHeir(SOURCE_ENDING, (memory, at, slot) =>
  freeSource(Machine.of(memory), Source.at(memory, at), slot),
);

/**
 * An empty cache of `pages` pages, with one reference. 0 = ENOMEM (too large, or no memory). One
 * with a backing store has room to grow; it owns `backing` from now on, but not after 0. With a
 * `note` that word of the heap names the cache from the step on in which it is whole. In that step
 * it becomes a resource of the kind `heir`, if there is one, and the word `backingNote`, which
 * notes `backing` until then, 0.
 */
export function* cacheCreate(
  machine: Machine,
  pages: number,
  backing: number = 0,
  note: number = 0,
  heir: number = 0,
  backingNote: number = 0,
): Task<number> {
  const { memory } = machine;
  const room = backing === 0 ? pages : CACHE_PAGES_MAX;
  const directoryWords = DIRECTORY_SIZES.find((size) => size * LEAF_WORDS >= room);
  if (directoryWords === undefined) return 0;
  const at = yield* machine.heap.alloc(PageCache, MAKING);
  if (at === 0) return 0;
  const slot = findResource(memory, MAKING, at);
  const cache = PageCache.at(memory, at);
  cache.directoryWords = directoryWords;
  if ((yield* machine.heap.allocWords(directoryWords, at + DIRECTORY)) === 0) {
    yield* machine.heap.free(PageCache, at, slot);
    return 0;
  }
  cache.refs.init(1);
  cache.lock.init();
  cache.pages = pages;
  cache.backing = backing;
  const kindAt = kindWord(memory, slot);
  const { words } = memory;
  if (note !== 0) words[note] = at; // in a row (H1 of sync/lockdep/held-locks.ts)
  if (kindAt !== 0) words[kindAt] = heir;
  if (backingNote !== 0) words[backingNote] = 0;
  return at;
}

/** The cache's size in pages. The caller has a reference, through a vma. @stepped page cache */
export function cachePages(machine: Machine, at: number): number {
  const { memory } = machine;
  memory.ensure(at + PageCache.sizeWords);
  return atomicLoad(memory.words, at + PageCache.offset.pages) >>> 0;
}

/** The source behind the cache, or undefined for anonymous memory. */
export function backingOf(machine: Machine, at: number): Source | undefined {
  const { backing, memory } = PageCache.at(machine.memory, at);
  return backing === 0 ? undefined : Source.at(memory, backing);
}

/**
 * Drops a reference; the last one gives back every frame. The word `note`, which notes it, becomes
 * 0 in the same step. The end is a resource of this thread.
 */
export function* cachePut(machine: Machine, at: number, note: number = 0): Task<void> {
  const { memory } = machine;
  const cache = PageCache.at(memory, at);
  const slot = reserveResource(memory, at);
  const kindAt = kindWord(memory, slot);
  if (note === 0) {
    if (yield* cache.refs.put(kindAt, ENDING)) yield* endCache(machine, cache, slot);
    return;
  }
  if (!(yield* cache.refs.put(note))) return;
  if (kindAt !== 0) memory.words[kindAt] = ENDING;
  yield* endCache(machine, cache, slot);
}

/** A reference that a thread has in hand. */
export const CACHE_REFERENCE: number = resourceKind("reference of a page cache");
registerHeir(CACHE_REFERENCE, (memory, at, slot) => cachePutOwn(Machine.of(memory), at, slot));

/**
 * One more reference, of which the caller has one: a resource of this thread. Returns its slot for
 * `cachePutOwn`, or -1: the list is full.
 */
export function* cacheGet({ memory }: Machine, at: number): Task<number> {
  const slot = reserveResource(memory, at);
  yield* PageCache.at(memory, at).refs.get(kindWord(memory, slot), CACHE_REFERENCE);
  return slot;
}

/**
 * The reference that the word `note` notes is this thread's own, and the word 0. Returns its slot
 * for `cachePutOwn`, or -1: the list is full.
 */
export function takeReference(memory: SharedMemory, note: number): number {
  return takeNoted(memory, CACHE_REFERENCE, plainLoad(memory.words, note), note);
}

/** `cachePut` of such a reference. */
export function* cachePutOwn(machine: Machine, at: number, slot: number): Task<void> {
  const cache = PageCache.at(machine.memory, at);
  if (yield* cache.refs.put(kindWord(machine.memory, slot), ENDING))
    yield* endCache(machine, cache, slot);
}

/** May be done again, for a thread that died in it. `slot`: of the cache among the resources. */
function* endCache(machine: Machine, cache: PageCache, slot: number): Task<void> {
  const { memory, heap, ram } = machine;
  const { at, directory, directoryWords, backing } = cache;
  // First: who finds the source looks into the cache (N1 of source-list.ts).
  if (backing !== 0) yield* unlistSource(machine, Source.at(memory, backing));
  memory.ensure(directory + directoryWords);
  for (let i = 0; i < (directory === 0 ? 0 : directoryWords); i++) {
    const table = wordAt(memory.words, directory + i);
    if (table === 0) continue;
    memory.ensure(table + LEAF_WORDS);
    // An entry is a note of its frame.
    yield* ram.refs.putLeft(table, table + LEAF_WORDS, at + GIVEN);
    yield* heap.freeWords(table, LEAF_WORDS, directory + i);
  }
  yield* freeDirectory(machine, cache);
  const source = backing === 0 ? -1 : takeBacking(cache);
  yield* heap.free(PageCache, at, slot);
  if (backing !== 0) yield* freeSource(machine, Source.at(memory, backing), source);
}

function freeDirectory({ heap }: Machine, cache: PageCache): Task<void> {
  const { at, directory, directoryWords } = cache;
  return directory === 0 ? DONE : heap.freeWords(directory, directoryWords, at + DIRECTORY);
}

/** The source is this thread's. Returns its slot, or -1: the list is full. */
function takeBacking({ memory, at, backing }: PageCache): number {
  return takeNoted(memory, SOURCE_ENDING, backing, at + PageCache.offset.backing);
}

/**
 * Word index of the entry of page `offset`, its table made if there is none; 0 = ENOMEM,
 * CACHE_BEYOND_END. The word `note` notes a table until the cache has it.
 */
export function* cacheSlot(
  machine: Machine,
  cache: PageCache,
  offset: number,
  note: number,
): Task<number> {
  if (offset >= cachePages(machine, cache.at)) return CACHE_BEYOND_END;
  // Another thread may have made the directory, and grown the heap for it.
  machine.memory.ensure(cache.directory + cache.directoryWords);
  const top = Math.floor(offset / LEAF_WORDS);
  const table = yield* tableAt(machine, cache.directory + top, LEAF_WORDS, note);
  return table === 0 ? 0 : table + (offset % LEAF_WORDS);
}

/** Word index of the entry of page `offset`, or 0 where there is no table. @stepped page table */
export function slotIfThere(memory: SharedMemory, cache: PageCache, offset: number): number {
  memory.ensure(cache.directory + cache.directoryWords);
  const table = wordAt(memory.words, cache.directory + Math.floor(offset / LEAF_WORDS));
  if (table !== 0) memory.ensure(table + LEAF_WORDS);
  return table === 0 ? 0 : table + (offset % LEAF_WORDS);
}

/**
 * The entry of page `offset`, 0 where there is none. Without pageCacheLock it may be old.
 *
 * @stepped page cache
 */
export function cacheEntryAt(memory: SharedMemory, cache: PageCache, offset: number): number {
  const slot = slotIfThere(memory, cache, offset);
  return slot === 0 ? 0 : atomicLoad(memory.words, slot);
}

/**
 * The first page of [startPage, endPage) whose entry has one of the bits `flags`, or with
 * `isWithout` none of them; `endPage` if there is none. Table by table, for a call a page costs
 * more than the look. Without pageCacheLock the answer may be old.
 *
 * @stepped page cache
 */
export function findEntry(
  memory: SharedMemory,
  cache: PageCache,
  startPage: number,
  endPage: number,
  flags: number,
  isWithout: boolean = false,
): number {
  for (let page = startPage; page < endPage;) {
    const end = Math.min(nextLeafPage(page), endPage);
    const slot = slotIfThere(memory, cache, page);
    if (slot === 0 && isWithout) return page;
    for (let i = 0; i < (slot === 0 ? 0 : end - page); i++)
      if (((wordAt(memory.words, slot + i) & flags) === 0) === isWithout) return page + i;
    page = end;
  }
  return endPage;
}

/**
 * How many of `pages` pages from `offset` on are up to date, and in frames in a row from `pfn` on.
 * Holding pageCacheLock.
 *
 * @stepped page cache
 */
export function rowLength(
  memory: SharedMemory,
  cache: PageCache,
  offset: number,
  pfn: number,
  pages: number,
): number {
  for (let done = 0; done < pages;) {
    const end = Math.min(nextLeafPage(offset + done) - offset, pages);
    const slot = slotIfThere(memory, cache, offset + done);
    if (slot === 0) return done;
    for (const first = done; done < end; done++) {
      const entry = wordAt(memory.words, slot + (done - first));
      if ((entry & CACHE_UPTODATE) === 0 || cacheEntryPfn(entry) !== pfn + done) return done;
    }
  }
  return pages;
}

/** What `cacheFrame` answers beyond the cache's end. */
export const CACHE_BEYOND_END = -1;
/** What `cacheFrame` answers for a page of a backing store that is not in the cache. */
export const CACHE_ABSENT = -2;

/** Words that `cacheFrame` needs. */
export const CACHE_HANDS = 2;

/**
 * The frame at page `offset`, with a count for the caller's entry. Anonymous memory makes it
 * (zeroed) on first touch. 0 = ENOMEM, CACHE_BEYOND_END, CACHE_ABSENT. The word `hand` notes the
 * count from the step on that gets it, and the one behind it a new frame, which may be left there;
 * the word `table` a table, as of `cacheSlot`.
 */
export function* cacheFrame(
  machine: Machine,
  at: number,
  offset: number,
  hand: number,
  table: number,
): Task<number> {
  const { memory, ram } = machine;
  const cache = PageCache.at(memory, at);
  const slot = yield* cacheSlot(machine, cache, offset, table);
  if (slot <= 0) return slot;
  const found = yield* takeEntry(machine, cache, slot, 0, hand);
  if (found !== 0) return found;
  if (cache.backing !== 0) return CACHE_ABSENT;
  const fresh = yield* ram.allocFrame(true, hand + 1);
  return fresh === 0 ? 0 : yield* takeEntry(machine, cache, slot, fresh, hand);
}

/**
 * The entry's frame, with a count for the caller (H2); 0 for one that is not up to date. Where
 * there is none, `fresh` becomes it, and the cache gets the count that `fresh` has.
 *
 * @stepped page cache
 */
function* takeEntry(
  machine: Machine,
  cache: PageCache,
  slot: number,
  fresh: number,
  hand: number,
): Task<number> {
  const { memory, ram } = machine;
  yield* cache.lock.lock();
  let entry = wordAt(memory.words, slot);
  if (entry === 0 && fresh !== 0) {
    entry = makeCacheEntry(fresh, CACHE_UPTODATE);
    storeNoted(memory.words, slot, entry, memory.words, hand + 1);
  }
  const pfn = (entry & CACHE_UPTODATE) === 0 ? 0 : cacheEntryPfn(entry);
  if (pfn !== 0) ram.refs.pageGetNoted(pfn, hand, notedFrame(pfn));
  yield* cache.lock.unlock();
  return pfn;
}

/** What `cacheMove` answers when others use the frame. */
export const CACHE_BUSY = -3;

/**
 * Migrates page `offset` into frame `pfn`: the cache gets its count, and the caller another one
 * for its entry, before any other thread can find the frame. 0: if there was an old frame, the
 * cache's count of it is the caller's now; `notes` note both, and the word `note`, which noted the
 * new frame, is 0. CACHE_BUSY: the old frame has more references than the cache's. CACHE_ABSENT: a
 * backing store has not been read, or ends before; or `cacheSlot` has not been called before.
 * Nothing has changed then.
 *
 * @stepped page cache
 */
export function* cacheMove(
  machine: Machine,
  at: number,
  offset: number,
  pfn: number,
  note: number,
  notes: CacheNotes,
): Task<number> {
  const { memory, ram } = machine;
  const cache = PageCache.at(memory, at);
  const slot = offset < cachePages(machine, at) ? slotIfThere(memory, cache, offset) : 0;
  if (slot === 0) return CACHE_ABSENT;
  yield* cache.lock.lock();
  const entry = wordAt(memory.words, slot);
  const from = cacheEntryPfn(entry);
  const isAbsent = from === 0 ? cache.backing !== 0 : (entry & CACHE_READING) !== 0;
  const isOurs = !isAbsent && (from === 0 || (yield* ram.refs.pageHas(from, 1)));
  if (isOurs) {
    if (from !== 0) yield* ram.copyFrame(from, pfn);
    if (cache.backing !== 0) ram.refs.setMapping(pfn, at);
    ram.refs.pageGetNoted(pfn, notes.fresh, notedFrame(pfn));
    const flags = from === 0 ? CACHE_UPTODATE : entry & 0xff;
    const noted = from === 0 ? 0 : notedFrame(from);
    yield* nameFrame(memory.words, slot, makeCacheEntry(pfn, flags), note, notes.old, noted);
  }
  yield* cache.lock.unlock();
  if (isAbsent) return CACHE_ABSENT;
  return isOurs ? 0 : CACHE_BUSY;
}

/** The entry at `slot` becomes `fresh`, the word `note` 0, if there is one, and `old` `noted`. */
function* nameFrame(
  words: Int32Array,
  slot: number,
  fresh: number,
  note: number,
  old: number,
  noted: number,
): Task<void> {
  storeEntry(words, slot, fresh, note === 0 ? old : note);
  words[old] = noted; // in a row (H1 of sync/lockdep/held-locks.ts)
}

/** @stepped page cache */
function storeEntry(words: Int32Array, slot: number, fresh: number, note: number): void {
  storeNoted(words, slot, fresh, words, note);
}
