/**
 * @module memory/heap/heap-pages
 * The kernel heap as pages of 4 KiB (1024 words): which of them are used for what, and how the heap
 * grows. The slab caches (slab-cache.ts) and the blocks for page tables (heap-blocks.ts) are made
 * of these pages. The buddy system is buddy.ts.
 *
 *     page 0 ...        control block of sync/ | HeapHeader | names | page map | pages for all
 *
 * The page map has four words for each page that the heap can ever have: the buddy's three, and
 * OWNER. The owner's bits of STATE say what a page is, so that any pointer can be checked:
 *
 *   P1  kind NONE: free, or never allocated. RESERVED: the heap's own. SLAB, BLOCK, HALVES: first
 *       page of such. TAIL: a later page of one. OWNER is the first page; on the first page of
 *       BLOCK it is the size class, and on that of HALVES the allocated halves.
 *   P2  The page's owner changes its kind, under heapLock. Whoever owns an object on the page may
 *       read it without the lock.
 *
 *   P3  A thread that dies with heapLock has changed nothing (sync/words/undo-log.ts).
 *
 * Lock: heapLock (a leaf; it may be taken inside slabLock). The heap only grows: a page's words
 * stay readable for ever, whatever they are used for later.
 */

import { CONTROL_WORDS } from "../../sync/control-block.ts";
import { bug } from "../../sync/errors.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { Spinlock } from "../../sync/primitives/spinlock.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { undoStore } from "../../sync/words/undo-log.ts";
import type { WordSpan } from "./arenas.ts";
import { Buddy, OWNER_STATE_MASK } from "./buddy.ts";
import { List } from "../layout/list.ts";
import { NameTable, type NameTableShape } from "../layout/name-table.ts";
import type { Struct, StructView, WordArray } from "../layout/struct.ts";
import { array, embed, pointer, struct, u32 } from "../layout/struct.ts";

/** Words of a heap page. */
export const HEAP_PAGE_WORDS = 1024;
export const HEAP_PAGE_BYTES = 4096;

export type PageKind = 0 | 1 | 2 | 3 | 4 | 5;
export const KIND_NONE: PageKind = 0;
export const KIND_RESERVED: PageKind = 1;
export const KIND_SLAB: PageKind = 2;
export const KIND_BLOCK: PageKind = 3;
export const KIND_HALVES: PageKind = 4;
export const KIND_TAIL: PageKind = 5;

const KIND_SHIFT = 8;
const KIND_MASK = 0xf;

/** Words of the page map for one page: the buddy's three and OWNER. */
const MAP_WORDS = 4;
const MAP_STATE = 0;
const MAP_LINK = 1;
const MAP_OWNER = 3;

/** Size classes of heap-blocks.ts: half a page, then 2^0 .. 2^4 pages. */
export const BLOCK_CLASSES = 6;
/** Payload of a cache's name: the slab cache's record (slab-cache.ts checks that it fits). */
export const CACHE_RECORD_WORDS = 24;
/** Structs that a program may have objects of, by name. */
const CACHE_TABLE: NameTableShape = {
  capacity: 128,
  nameWords: 8,
  payloadWords: CACHE_RECORD_WORDS,
};
/** Well-known pointers, by name. */
const ROOT_TABLE: NameTableShape = { capacity: 128, nameWords: 8, payloadWords: 1 };

export interface HeapHeader extends StructView {
  readonly lock: Spinlock;
  mapAt: number;
  maxPages: number;
  peakPages: number;
  readonly halves: List;
  readonly blocksLive: WordArray;
  readonly buddy: WordArray;
  readonly caches: WordArray;
  readonly roots: WordArray;
}

export const HeapHeader: Struct<HeapHeader> = struct<HeapHeader>(
  "heapHeader",
  {
    lock: embed(Spinlock, "the page map, the buddy's lists, growth, both name tables", "heapLock"),
    mapAt: pointer("const", "the page map"),
    maxPages: u32("const", "pages that the budget allows in all"),
    peakPages: u32("heapLock", "most pages that were ever in use at once"),
    halves: embed(List, "pages that have one free half; guarded by heapLock"),
    blocksLive: array(BLOCK_CLASSES, "heapLock", "blocks alive by size class"),
    buddy: array(Buddy.WORDS, "heapLock", "free pages"),
    caches: array(NameTable.wordsFor(CACHE_TABLE), "heapLock to add", "slab caches by name"),
    roots: array(NameTable.wordsFor(ROOT_TABLE), "heapLock to add", "well-known pointers by name"),
  },
  { embedded: true },
);

/** Even, so that everything on it can be. */
const HEADER_AT: number = CONTROL_WORDS + (CONTROL_WORDS % 2);

/** Pages that a heap of at most `maxPages` needs for itself. */
function reservedPages(maxPages: number): number {
  return Math.ceil((HEADER_AT + HeapHeader.sizeWords + maxPages * MAP_WORDS) / HEAP_PAGE_WORDS);
}

/** Smallest heap budget that leaves `pages` pages for objects, in bytes. */
export function heapBytesFor(pages: number): number {
  let maxPages = pages;
  while (maxPages - reservedPages(maxPages) < pages) maxPages++;
  return maxPages * HEAP_PAGE_BYTES;
}

export class HeapPages {
  readonly memory: SharedMemory;
  readonly lock: Spinlock;
  readonly header: HeapHeader;
  readonly caches: NameTable;
  readonly roots: NameTable;
  readonly #buddy: Buddy;
  readonly #mapAt: number;

  /** On a heap that `HeapPages.format` has prepared, here or in another thread. */
  constructor(memory: SharedMemory) {
    this.memory = memory;
    this.header = HeapHeader.at(memory, HEADER_AT);
    this.lock = this.header.lock;
    this.#mapAt = this.header.mapAt;
    this.caches = new NameTable(memory, this.header.caches.at, CACHE_TABLE);
    this.roots = new NameTable(memory, this.header.roots.at, ROOT_TABLE);
    this.#buddy = new Buddy({
      heads: memory,
      headsAt: this.header.buddy.at,
      table: memory,
      tableAt: this.#mapAt,
      strideWords: MAP_WORDS,
      debug: memory.debug,
      undo: { memory, lock: this.lock.at, tablePlace: this.#mapAt },
    });
  }

  /** Bytes that the heap needs before `format`. */
  static initialBytes(maxBytes: number): number {
    const maxPages = Math.floor(maxBytes / HEAP_PAGE_BYTES);
    return Math.min(reservedPages(maxPages) + 16, maxPages) * HEAP_PAGE_BYTES;
  }

  /**
   * Prepares a new heap of at least `initialBytes(maxBytes)`, before another thread knows of it.
   */
  static format(memory: SharedMemory): void {
    const maxPages = Math.floor(memory.maxBytes / HEAP_PAGE_BYTES);
    const header = HeapHeader.at(memory, HEADER_AT);
    header.lock.init();
    header.halves.init();
    header.maxPages = maxPages;
    header.mapAt = HEADER_AT + HeapHeader.sizeWords;
    const pages = new HeapPages(memory);
    const reserved = reservedPages(maxPages);
    pages.#buddy.skip(reserved);
    pages.#buddy.extend(Math.floor(memory.words.length / HEAP_PAGE_WORDS));
    pages.#mark(0, reserved, KIND_RESERVED);
  }

  /**
   * First of 2^order pages of that kind, or 0 when the budget is spent. Their words hold anything.
   */
  *alloc(order: number, kind: PageKind): Task<number> {
    yield* this.lock.lock();
    const page = this.allocLocked(order, kind);
    yield* this.lock.unlock();
    return page;
  }

  /** Holding heapLock. */
  allocLocked(order: number, kind: PageKind): number {
    const buddy = this.#buddy;
    this.memory.ensure(buddy.pages * HEAP_PAGE_WORDS); // another thread may have grown the heap
    let page = buddy.allocBlock(order);
    while (page < 0 && this.#grow(1 << order)) page = buddy.allocBlock(order);
    if (page < 0) return 0;
    this.#mark(page, page + (1 << order), kind);
    const used = buddy.pages - buddy.freePages;
    if (used > this.header.peakPages) this.header.peakPages = used;
    return page;
  }

  *free(page: number, order: number): Task<void> {
    yield* this.lock.lock();
    this.freeLocked(page, order);
    yield* this.lock.unlock();
  }

  /** Holding heapLock. */
  freeLocked(page: number, order: number): void {
    this.memory.ensure(this.#buddy.pages * HEAP_PAGE_WORDS);
    this.#mark(page, page + (1 << order), KIND_NONE);
    this.#buddy.freeBlock(page, order);
  }

  /** What the page is (P1). KIND_NONE for pages that the heap does not have. */
  kindOf(page: number): PageKind {
    if (!(page >= 0 && page < this.#buddy.pages)) return KIND_NONE;
    return ((this.#state(page) >>> KIND_SHIFT) & KIND_MASK) as PageKind; // written by #mark only
  }

  /** The spans of words that are free pages, in order. Exact while nobody allocates. */
  freeSpans(): WordSpan[] {
    const spans: WordSpan[] = [];
    for (let page = 0; page < this.#buddy.pages; page++) {
      if (this.kindOf(page) !== KIND_NONE) continue;
      const start = page * HEAP_PAGE_WORDS;
      const last = spans.at(-1);
      if (last?.end === start) spans.pop();
      spans.push({
        start: last?.end === start ? last.start : start,
        end: start + HEAP_PAGE_WORDS,
      });
    }
    return spans;
  }

  /**
   * OWNER word: after `alloc` the first page of the block. The block's owner may set that of the
   * first page to something else.
   */
  ownerOf(page: number): number {
    return this.memory.words[this.#mapAt + page * MAP_WORDS + MAP_OWNER]!;
  }

  /** Holding heapLock. */
  setOwner(page: number, value: number): void {
    this.#store(this.#mapAt + page * MAP_WORDS + MAP_OWNER, value);
  }

  /** The page's list node: two words that its owner may use while it is not free. */
  nodeOf(page: number): List {
    return new List(this.memory, this.#mapAt + page * MAP_WORDS + MAP_LINK);
  }

  pageOfNode(node: number): number {
    return (node - MAP_LINK - this.#mapAt) / MAP_WORDS;
  }

  /** The payload of `name` in `table`, added if need be. `init`: see NameTable.add. */
  *named(table: NameTable, name: string, init?: (at: number) => void): Task<number> {
    const found = yield* table.find(name);
    if (found !== 0) return found;
    yield* this.lock.lock();
    const at = yield* table.add(name, init);
    yield* this.lock.unlock();
    if (at === 0) bug(`Cannot enter the name "${name}": the table is full; use fewer names`);
    return at;
  }

  get usedPages(): number {
    return this.#buddy.pages - this.#buddy.freePages;
  }

  /**
   * Doubles the heap, or takes what the budget still allows. False when that is less than
   * `neededPages` more. Holding heapLock.
   */
  #grow(neededPages: number): boolean {
    const { pages } = this.#buddy;
    const wanted = Math.max(pages * 2, pages + neededPages);
    for (const target of [wanted, pages + neededPages]) {
      const newPages = Math.min(target, this.header.maxPages);
      if (newPages <= pages) return false;
      if (this.memory.grow(newPages * HEAP_PAGE_BYTES)) {
        this.#buddy.extend(newPages);
        return true;
      }
    }
    return false;
  }

  /** P3. The list node of a page that is not the first of its block means nothing yet. */
  #mark(startPage: number, endPage: number, kind: PageKind): void {
    const { words } = this.memory;
    for (let page = startPage; page < endPage; page++) {
      const entry = this.#mapAt + page * MAP_WORDS;
      const pageKind =
        page === startPage || kind === KIND_NONE || kind === KIND_RESERVED ? kind : KIND_TAIL;
      const state = (words[entry + MAP_STATE]! & ~OWNER_STATE_MASK) | (pageKind << KIND_SHIFT);
      this.#store(entry + MAP_STATE, state);
      if (page === startPage || kind === KIND_NONE) {
        this.#store(entry + MAP_OWNER, startPage);
      } else words[entry + MAP_OWNER] = startPage;
      if (page === startPage) {
        this.#store(entry + MAP_LINK, 0);
        this.#store(entry + MAP_LINK + 1, 0);
      } else {
        words[entry + MAP_LINK] = 0;
        words[entry + MAP_LINK + 1] = 0;
      }
    }
  }

  /** Holding heapLock (P3). */
  #store(index: number, value: number): void {
    undoStore(this.memory, this.lock.at, index, value);
  }

  #state(page: number): number {
    return this.memory.words[this.#mapAt + page * MAP_WORDS + MAP_STATE]!;
  }
}
