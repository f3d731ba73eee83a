/**
 * @module memory/heap/buddy
 * The buddy system (Knuth, TAOCP 1, 2.5; Linux `mm/page_alloc.c`): which pages of a range are free,
 * kept as blocks of 2^order pages that split and join. It has two users: the frames of a RAM
 * section, and the pages of the kernel heap itself. It knows pages by number only, never touches
 * their contents, and takes no lock: every function is called with the owner's lock held (ramLock,
 * heapLock).
 *
 * State lies in shared words: a head block (counts, and the first free block of each order) and
 * three words for each page in the owner's table:
 *
 *     STATE   order of the block (bits 0..4) | FREE (bit 5) | bits 8..31: the owner's, kept
 *     NEXT, PREV   neighbours in the list of free blocks of that order, as page + 1; 0 is none
 *
 *   B1  FREE is set on the first page of a free block and on no other page. The order beside it is
 *       the block's.
 *   B2  A free block starts at a multiple of its size.
 *   B3  Two free buddies of the same order are joined at once.
 *   B4  Every store of an owner with an undo log is in it: a thread that dies with the lock has
 *       changed nothing.
 */

import { bug } from "../../sync/errors.ts";
import type { PlainWatch, SharedMemory } from "../../sync/shared-memory.ts";
import { noteUndo, undoStore } from "../../sync/words/undo-log.ts";

/**
 * Largest block: 2^18 pages, 1 GiB. So `1 << order` has room. `2 ** order` would be a call, 20 ns.
 */
export const MAX_ORDER = 18;

const ORDER_MASK = 0x1f;
const FREE = 0x20;
/** Bits of STATE that the owner of the table may use. */
export const OWNER_STATE_MASK: number = ~0xff;

const STATE = 0;
const NEXT = 1;
const PREV = 2;

const PAGES = 0;
const FREE_PAGES = 1;
const LISTS = 2;

/** Shared words whose view may be replaced: a SharedMemory, or a frame table. */
export interface WordsHolder {
  readonly words: Int32Array;
}

/** Such words, whose plain accesses an explorer may watch. */
interface WatchedWords extends WordsHolder {
  readonly plainWatch?: PlainWatch | undefined;
}

export interface BuddyPlace {
  /** Where the head block lies: `Buddy.WORDS` words, zeroed. */
  readonly heads: WatchedWords;
  readonly headsAt: number;
  /** Where page 0's STATE lies, and from one page's to the next. */
  readonly table: WordsHolder;
  readonly tableAt: number;
  readonly strideWords: number;
  /** Check, at every free, that the page lies in no free block. */
  readonly debug: boolean;
  /** How changes are undone whose thread dies with the lock; undefined: they are not. */
  readonly undo?: BuddyUndo;
}

/** For the undo log (sync/words/undo-log.ts). The heads lie in the heap. */
export interface BuddyUndo {
  readonly memory: SharedMemory;
  /** The owner's lock. */
  readonly lock: number;
  /** The place of page 0's STATE. */
  readonly tablePlace: number;
}

export interface FreeBlock {
  readonly page: number;
  readonly order: number;
}

/** Smallest order whose blocks hold `pages`. */
export function orderFor(pages: number): number {
  return pages <= 1 ? 0 : 32 - Math.clz32(pages - 1);
}

export class Buddy {
  static readonly WORDS: number = LISTS + MAX_ORDER + 1;

  readonly #heads: WatchedWords;
  readonly #headsAt: number;
  readonly #table: WordsHolder;
  readonly #tableAt: number;
  readonly #strideWords: number;
  readonly #debug: boolean;
  readonly #undo: BuddyUndo | undefined;

  constructor(place: BuddyPlace) {
    this.#heads = place.heads;
    this.#headsAt = place.headsAt;
    this.#table = place.table;
    this.#tableAt = place.tableAt;
    this.#strideWords = place.strideWords;
    this.#debug = place.debug;
    this.#undo = place.undo;
  }

  /** Pages that the buddy knows, free or not. */
  get pages(): number {
    return this.#heads.words[this.#headsAt + PAGES]!;
  }

  /** May be read without the lock; then it may be old. */
  get freePages(): number {
    return this.#heads.words[this.#headsAt + FREE_PAGES]!;
  }

  /** Pages below `pages` are the owner's and will never be free. On a new buddy. */
  skip(pages: number): void {
    this.#heads.words[this.#headsAt + PAGES] = pages;
  }

  /** The range now reaches to `pages`; the new pages are free. */
  extend(pages: number): void {
    const startPage = this.pages;
    this.#writeHead(PAGES, pages);
    this.freeRange(startPage, pages);
  }

  /**
   * First page of a block of 2^order pages, or -1. The lowest-order block of 2^leastOrder pages or
   * more that fits is split.
   */
  allocBlock(order: number, leastOrder: number = order): number {
    this.#heads.plainWatch?.note(this.#headsAt + FREE_PAGES, false, "free pages");
    const k = this.#lowestOrder(leastOrder);
    if (k > MAX_ORDER) return -1;
    const page = this.#heads.words[this.#headsAt + LISTS + k]! - 1;
    this.#split(page, k, page, order);
    return page;
  }

  /** What `allocBlock(order)` would answer. */
  nextBlock(order: number): number {
    this.#heads.plainWatch?.note(this.#headsAt + FREE_PAGES, false, "free pages");
    const k = this.#lowestOrder(order);
    return k > MAX_ORDER ? -1 : this.#heads.words[this.#headsAt + LISTS + k]! - 1;
  }

  /** Takes the 2^order pages at `page`, a multiple of their number, if all of them are free. */
  takeBlock(page: number, order: number): boolean {
    this.#heads.plainWatch?.note(this.#headsAt + FREE_PAGES, false, "free pages");
    if (page + (1 << order) > this.pages) return false;
    for (let k = order; k <= MAX_ORDER; k++) {
      const first = page - (page % (1 << k));
      if ((this.#state(first) & (FREE | ORDER_MASK)) !== (FREE | k)) continue;
      this.#split(first, k, page, order);
      return true;
    }
    return false;
  }

  /**
   * First of `pages` contiguous pages, or -1. A block of the next power of two is taken, and its
   * end is given back.
   */
  allocRun(pages: number): number {
    const order = orderFor(pages);
    if (order > MAX_ORDER) return -1;
    const page = this.allocBlock(order);
    if (page >= 0) this.freeRange(page + pages, page + (1 << order));
    return page;
  }

  /** Frees [startPage, endPage), which need not be one allocation. */
  freeRange(startPage: number, endPage: number): void {
    for (let page = startPage; page < endPage;) {
      const alignedOrder =
        page === 0 ? MAX_ORDER : Math.min(31 - Math.clz32(page & -page), MAX_ORDER);
      const order = Math.min(alignedOrder, 31 - Math.clz32(endPage - page));
      this.freeBlock(page, order);
      page += 1 << order;
    }
  }

  /**
   * Frees one block, joining it with its buddy for as long as that is free (B3). The owners notice
   * a double free before it gets here (frame counts, page kinds). The full check is for debug
   * builds: its scattered reads would cost four times as much as the rest.
   */
  freeBlock(startPage: number, startOrder: number): void {
    if (this.#debug ? this.isFree(startPage) : (this.#state(startPage) & FREE) !== 0) {
      bug(`Cannot free page ${startPage}: it is free already; free it once`);
    }
    this.#count(1 << startOrder);
    let page = startPage;
    let order = startOrder;
    while (order < MAX_ORDER) {
      const buddy = page ^ (1 << order);
      if (
        buddy + (1 << order) > this.pages ||
        (this.#state(buddy) & (FREE | ORDER_MASK)) !== (FREE | order)
      )
        break;
      this.#unlink(buddy, order);
      page = Math.min(page, buddy);
      order++;
    }
    this.#link(page, order);
  }

  /**
   * Whether the page lies in a free block. Such a block starts at the page with some of its low
   * bits cleared (B2): one read for each bit that is set.
   */
  isFree(page: number): boolean {
    for (let startPage = page; ; startPage &= startPage - 1) {
      const state = this.#state(startPage);
      if ((state & FREE) !== 0 && startPage + (1 << (state & ORDER_MASK)) > page) return true;
      if (startPage === 0) return false;
    }
  }

  /** All free blocks, by address. For tests and reports. */
  freeBlocks(): FreeBlock[] {
    const blocks: FreeBlock[] = [];
    for (let order = 0; order <= MAX_ORDER; order++) {
      for (
        let link = this.#heads.words[this.#headsAt + LISTS + order]!;
        link !== 0;
        link = this.#read(link - 1, NEXT)
      ) {
        blocks.push({ page: link - 1, order });
      }
    }
    return blocks.toSorted((a, b) => a.page - b.page);
  }

  /** The order of the first block of that order or more that is free; above MAX_ORDER: none. */
  #lowestOrder(order: number): number {
    for (let k = order; k <= MAX_ORDER; k++) {
      const first = this.#heads.words[this.#headsAt + LISTS + k]!;
      if (first !== 0) return k;
    }
    return MAX_ORDER + 1;
  }

  /** Takes 2^order pages at `page` out of the free block at `first`, and leaves the rest free. */
  #split(first: number, firstOrder: number, page: number, order: number): void {
    this.#unlink(first, firstOrder);
    let start = first;
    for (let half = firstOrder - 1; half >= order; half--) {
      const upper = start + (1 << half);
      this.#link(page < upper ? upper : start, half);
      if (page >= upper) start = upper;
    }
    this.#count(-(1 << order));
  }

  #link(page: number, order: number): void {
    const first = this.#heads.words[this.#headsAt + LISTS + order]!;
    this.#write(page, STATE, (this.#state(page) & OWNER_STATE_MASK) | FREE | order);
    this.#write(page, NEXT, first);
    this.#write(page, PREV, 0);
    if (first !== 0) this.#write(first - 1, PREV, page + 1);
    this.#writeHead(LISTS + order, page + 1);
  }

  #unlink(page: number, order: number): void {
    const next = this.#read(page, NEXT);
    const prev = this.#read(page, PREV);
    if (next !== 0) this.#write(next - 1, PREV, prev);
    if (prev !== 0) this.#write(prev - 1, NEXT, next);
    else this.#writeHead(LISTS + order, next);
    this.#write(page, STATE, this.#state(page) & OWNER_STATE_MASK);
  }

  #count(pages: number): void {
    const index = this.#headsAt + FREE_PAGES;
    // Every operation changes this word under the owner's lock, so it stands for all the others.
    this.#heads.plainWatch?.note(index, true, "free pages");
    this.#writeHead(FREE_PAGES, this.#heads.words[index]! + pages);
  }

  #writeHead(word: number, value: number): void {
    const index = this.#headsAt + word;
    if (this.#undo === undefined) this.#heads.words[index] = value;
    else undoStore(this.#undo.memory, this.#undo.lock, index, value);
  }

  #state(page: number): number {
    return this.#read(page, STATE);
  }

  #read(page: number, word: number): number {
    return this.#table.words[this.#tableAt + page * this.#strideWords + word]!;
  }

  #write(page: number, word: number, value: number): void {
    const offset = page * this.#strideWords + word;
    const { words } = this.#table;
    const index = this.#tableAt + offset;
    if (this.#undo !== undefined) {
      const { memory, lock, tablePlace } = this.#undo;
      noteUndo(memory, lock, tablePlace + offset, words[index]!);
    }
    words[index] = value;
  }
}
