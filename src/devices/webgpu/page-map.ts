/**
 * @module devices/webgpu/page-map
 * The GPU's page table as the Worker keeps it (wgsl/layout.ts has its form), and which of its words
 * the GPU has not been told of yet. Of the Worker alone.
 */

import { DIRECTORY_WORDS, LEAF_ENTRIES } from "./wgsl/layout.ts";

/** Changed words that are nearer to each other than this go in one write. */
const GAP_WORDS = 64;

export class PageMap {
  #words: Uint32Array<ArrayBuffer> = new Uint32Array(DIRECTORY_WORDS + 2 * LEAF_ENTRIES);
  #usedWords: number = DIRECTORY_WORDS + LEAF_ENTRIES;
  readonly #leavesMax: number;
  /** Indices that have changed since the last flush. */
  #changed: number[] = [];

  /** `leavesMax`: leaves of 64 MiB of addresses each that the GPU's buffer may have. */
  constructor(leavesMax: number) {
    this.#leavesMax = leavesMax;
    this.#words.fill(DIRECTORY_WORDS, 0, DIRECTORY_WORDS);
  }

  /** Words that the GPU's buffer must have. */
  get words(): number {
    return this.#words.length;
  }

  /** The entry of a page, 0 if it is not on the device. */
  entryOf(page: number): number {
    const leaf = this.#words[Math.floor(page / LEAF_ENTRIES)] ?? DIRECTORY_WORDS;
    return this.#words[leaf + (page % LEAF_ENTRIES)] ?? 0;
  }

  /** False: there are too many leaves. Clearing never fails. */
  set(page: number, entry: number): boolean {
    const place = Math.floor(page / LEAF_ENTRIES);
    let leaf = this.#words[place] ?? DIRECTORY_WORDS;
    if (leaf === DIRECTORY_WORDS) {
      if (entry === 0) return true;
      if (this.#usedWords >= DIRECTORY_WORDS + this.#leavesMax * LEAF_ENTRIES) return false;
      leaf = this.#addLeaf(place);
    }
    const index = leaf + (page % LEAF_ENTRIES);
    this.#words[index] = entry;
    this.#changed.push(index);
    return true;
  }

  #addLeaf(place: number): number {
    const leaf = this.#usedWords;
    this.#usedWords += LEAF_ENTRIES;
    if (this.#usedWords > this.#words.length) {
      const most = DIRECTORY_WORDS + this.#leavesMax * LEAF_ENTRIES;
      const grown = new Uint32Array(Math.min(this.#words.length * 2, most));
      grown.set(this.#words);
      this.#words = grown;
    }
    this.#words[place] = leaf;
    this.#changed.push(place);
    return leaf;
  }

  /** Hands every word that has changed to `write`, in runs. */
  flush(write: (firstWord: number, words: Uint32Array<ArrayBuffer>) => void): void {
    if (this.#changed.length === 0) return;
    const changed = Uint32Array.from(this.#changed).toSorted();
    this.#changed = [];
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

  /** The GPU has a new buffer: it needs all of it. */
  all(): Uint32Array<ArrayBuffer> {
    this.#changed = [];
    return this.#words.subarray(0, this.#usedWords);
  }
}
