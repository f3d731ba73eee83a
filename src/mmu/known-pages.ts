/**
 * @module mmu/known-pages
 * The pages that a section of stores knows, and where their data is (SM4 of store-mark.ts). A store
 * to a known page reads one word here and the data's place is known: no table walk, no entry.
 *
 *     KnownPages.table, by page:   0, or (frame - page) * PAGE_BYTES + KNOWN
 *
 * `frame` counts from the start of one buffer of RAM, the same for all pages: so a width adds the
 * address and has the place in its array. Pages in other buffers stay unknown, and their stores
 * look them up each time.
 *
 * One for each thread and machine, used by one section at a time: 4 MiB of which the host commits
 * what is touched. Only pages below address 2^31 become known.
 */

import { PAGE_BYTES } from "../memory/frames/ram-section.ts";
import type { FrameArrays, RamSection } from "../memory/frames/ram-section.ts";
import { AGENT_ASKED } from "../sync/control-block.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";

/** Whatever the low 32 bits of an address are, its page has a word. */
const PAGES = 2 ** 20;
/** Pages below address 2^31: others have addresses that are no integers of 32 bits. */
const ADDED_PAGES: number = PAGES / 2;
const KNOWN = 1;
/** Stands for the table where no page is known. Never written. */
export const NO_PAGES: Int32Array = new Int32Array(PAGES);
const PAGES_MIN = 64;

/** A width, which stores to known pages by itself. */
export interface PageUser {
  /**
   * From now on `table` tells of known pages, which lie in `arrays`. `asked[0]` is not 0 when the
   * section of stores is to let go (S4 of sync/primitives/shootdown.ts).
   */
  joinPages(table: Int32Array, asked: Int32Array, arrays: FrameArrays): void;
  /** From now on no page is known. */
  partPages(): void;
}

/** By agent: more than one only under an explorer. */
const ofMemory = new WeakMap<SharedMemory, Map<number, KnownPages>>();

export class KnownPages {
  /** The ASKED word of the thread. */
  readonly asked: Int32Array;
  readonly #table: Int32Array = new Int32Array(PAGES);
  /** The pages whose words are not 0. */
  #pages: Int32Array = new Int32Array(PAGES_MIN);
  #count = 0;
  #arrays: FrameArrays | undefined = undefined;
  #owner: object | undefined = undefined;
  readonly #users: PageUser[] = [];

  private constructor({ buffer, record }: SharedMemory) {
    this.asked = new Int32Array(buffer, (record + AGENT_ASKED) * 4, 1);
  }

  /** This thread's. */
  static of(memory: SharedMemory): KnownPages {
    let byAgent = ofMemory.get(memory);
    if (byAgent === undefined) ofMemory.set(memory, (byAgent = new Map()));
    let known = byAgent.get(memory.agentId);
    if (known === undefined) byAgent.set(memory.agentId, (known = new KnownPages(memory)));
    return known;
  }

  /** `owner` begins to use it. Who used it before knows no page any more. */
  claim(owner: object): void {
    if (owner === this.#owner) return;
    this.forget();
    this.#setArrays(undefined);
    this.#owner = owner;
  }

  /** `user` has found that `page` may be written, and is frame number `frame` of `section`. */
  add(page: number, frame: number, { whole, wholePage }: RamSection, user: PageUser): void {
    if (page >= ADDED_PAGES) return;
    if (whole !== this.#arrays) {
      if (this.#count > 0) return;
      this.#setArrays(whole);
    }
    if (!this.#users.includes(user)) {
      this.#users.push(user);
      user.joinPages(this.#table, this.asked, whole);
    }
    if (this.#table[page] !== 0) return;
    this.#table[page] = ((wholePage + frame - page) * PAGE_BYTES) | KNOWN;
    if (this.#count === this.#pages.length) this.#grow();
    this.#pages[this.#count++] = page;
  }

  /** No page is known. Takes as long as it took to get to know them, at most. */
  forget(): void {
    const table = this.#table;
    const pages = this.#pages;
    for (let i = 0, count = this.#count; i < count; i++) table[pages[i]!] = 0;
    this.#count = 0;
  }

  #setArrays(arrays: FrameArrays | undefined): void {
    for (const user of this.#users) user.partPages();
    this.#users.length = 0;
    this.#arrays = arrays;
  }

  #grow(): void {
    const pages = new Int32Array(this.#pages.length * 2);
    pages.set(this.#pages);
    this.#pages = pages;
  }
}
