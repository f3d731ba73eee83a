/**
 * @module devices/webgpu/page-map
 * The GPU's page table as the Worker keeps it (wgsl/layout.ts has its two forms), and which of its
 * words the GPU has not been told of yet. Of the Worker alone.
 */

import {
  DIRECTORY_WORDS,
  GPU_READ,
  GPU_WRITE,
  LEAF_ENTRIES,
  LOW_WORD_ENTRIES,
  type TableLayout,
} from "./wgsl/layout.ts";

/** Changed words that are nearer to each other than this go in one write: it costs some us. */
const GAP_WORDS = 1024;
/** Entries of a flat table at first, 4 GiB of addresses, and at most, 16 GiB. */
const FLAT_FIRST: number = LOW_WORD_ENTRIES;
const FLAT_MAX: number = 2 ** 22;
const FLAT_GROWTH = 4;

export class PageMap {
  #words: Uint32Array<ArrayBuffer>;
  #isFlat = true;
  /** Words of the directory and the leaves that are used. */
  #usedWords = 0;
  readonly #leavesMax: number;
  /** Indices that have changed since the last flush; or all of them have. */
  #changed: number[] = [];
  #isNew = true;

  /**
   * `leavesMax`: leaves of 64 MiB of addresses each that the GPU's buffer may have. `flatEntries`:
   * entries of the flat table at first.
   */
  constructor(leavesMax: number, flatEntries: number = FLAT_FIRST) {
    this.#words = new Uint32Array(flatEntries);
    this.#leavesMax = leavesMax;
  }

  get layout(): TableLayout {
    return { isFlat: this.#isFlat, words: this.#words.length };
  }

  /** The entry of a page, 0 if it is not on the device. */
  entryOf(page: number): number {
    if (this.#isFlat) return this.#words[page] ?? 0;
    const leaf = this.#words[Math.floor(page / LEAF_ENTRIES)] ?? DIRECTORY_WORDS;
    return this.#words[leaf + (page % LEAF_ENTRIES)] ?? 0;
  }

  /** False: the table has no room. Clearing never fails. */
  set(page: number, entry: number): boolean {
    const index = this.#indexOf(page, entry !== 0);
    if (index < 0) return entry === 0;
    // Without rights before and after, it is all the same to the GPU: pages of rows.
    const isSame = (((this.#words[index] ?? 0) | entry) & (GPU_READ | GPU_WRITE)) === 0;
    this.#words[index] = entry;
    if (!this.#isNew && !isSame) this.#changed.push(index);
    return true;
  }

  /** Index of the page's entry; -1: there is none, and none is made or can be made. */
  #indexOf(page: number, isMade: boolean): number {
    // The last entry of a flat table is 0 for ever: an index beyond the end means it in WGSL.
    if (this.#isFlat && page < this.#words.length - 1) return page;
    if (this.#isFlat) {
      if (!isMade) return -1;
      if (page < FLAT_MAX - 1) {
        this.#growFlat(page);
        return page;
      }
      if (!this.#becomeDeep()) return -1;
    }
    const place = Math.floor(page / LEAF_ENTRIES);
    let leaf = this.#words[place] ?? DIRECTORY_WORDS;
    if (leaf === DIRECTORY_WORDS) leaf = isMade ? this.#addLeaf(place) : -1;
    return leaf < 0 ? -1 : leaf + (page % LEAF_ENTRIES);
  }

  #growFlat(page: number): void {
    let words = this.#words.length;
    while (page >= words - 1) words *= FLAT_GROWTH;
    const grown = new Uint32Array(Math.min(words, FLAT_MAX));
    grown.set(this.#words);
    this.#replace(grown);
  }

  /** The flat table becomes a directory with leaves. False: it has no room for them. */
  #becomeDeep(): boolean {
    const flat = this.#words;
    this.#words = new Uint32Array(DIRECTORY_WORDS + 2 * LEAF_ENTRIES);
    this.#words.fill(DIRECTORY_WORDS, 0, DIRECTORY_WORDS);
    this.#usedWords = DIRECTORY_WORDS + LEAF_ENTRIES;
    this.#isFlat = false;
    const hasRoom = flat.every((entry, page) => entry === 0 || this.set(page, entry));
    if (hasRoom) {
      this.#replace(this.#words);
      return true;
    }
    this.#isFlat = true;
    this.#replace(flat);
    return false;
  }

  #addLeaf(place: number): number {
    const leaf = this.#usedWords;
    const most = DIRECTORY_WORDS + this.#leavesMax * LEAF_ENTRIES;
    if (leaf + LEAF_ENTRIES > most) return -1;
    this.#usedWords += LEAF_ENTRIES;
    if (this.#usedWords > this.#words.length) {
      const grown = new Uint32Array(Math.min(this.#words.length * 2, most));
      grown.set(this.#words);
      this.#replace(grown);
    }
    this.#words[place] = leaf;
    if (!this.#isNew) this.#changed.push(place);
    return leaf;
  }

  #replace(words: Uint32Array<ArrayBuffer>): void {
    this.#words = words;
    this.#changed = [];
    this.#isNew = true;
  }

  /** The GPU has nothing: the next flush tells it everything. */
  forget(): void {
    this.#replace(this.#words);
  }

  /** Hands every word that has changed to `write`, in runs; all of them where the layout is new. */
  flush(write: (firstWord: number, words: Uint32Array<ArrayBuffer>) => void): void {
    const changed = Uint32Array.from(this.#changed).toSorted();
    this.#changed = [];
    if (this.#isNew) {
      this.#isNew = false;
      write(0, this.#words);
      return;
    }
    if (changed.length === 0) return;
    let first = changed[0] ?? 0;
    let last = first;
    for (const index of changed) {
      if (index > last + GAP_WORDS) {
        write(first, this.#words.subarray(first, last + 1));
        first = index;
      }
      last = index;
    }
    write(first, this.#words.subarray(first, last + 1));
  }
}
