/**
 * @module The lifetimes of objects in an execution: where each was allocated and freed. So a use
 * after free is found when it happens, and a leak at the end.
 */

import type { Wait } from "../../sync/tasks/task.ts";
import { kindCode } from "../steps/kinds.ts";

const ALLOC = kindCode("alloc");
const FREE = kindCode("free");
const PEEK = kindCode("peek");

/** One object. */
export interface ObjectLifetime {
  readonly at: number;
  readonly words: number;
  /** The name that the code gives: a struct. */
  readonly label: string;
  /** The step that allocated it; undefined for one of the set-up. */
  readonly allocStep: number | undefined;
  /** The step that freed it, undefined while it lives. */
  freeStep: number | undefined;
}

/** A step touches freed memory. */
export interface BadAccess {
  readonly kind: "use-after-free" | "double-free";
  readonly freeStep: number;
}

/** Most objects are small, and page tables are not: they are looked at block by block. */
const BLOCK_SHIFT = 6;
const BLOCK_WORDS = 1 << BLOCK_SHIFT;

export class ObjectLifetimes {
  /** For each word of the heap: the step that freed it, + 1. */
  #freedBy: Int32Array = new Int32Array(256);
  /** For each block of words of the heap: 1 once something in it was freed. */
  #freedBlocks: Uint8Array = new Uint8Array(64);
  /** The same as #freedBy for words outside the heap, which have negative numbers. */
  readonly #freedOutside = new Map<number, number>();
  /** Something has been freed in this execution. */
  anyFreed = false;
  /** The objects that were allocated or freed in this execution, in that order. */
  readonly all: ObjectLifetime[] = [];

  /** A new execution begins. */
  reset(): void {
    for (const { at, words, freeStep } of this.all)
      if (freeStep !== undefined) {
        this.#mark(at, words, 0);
        this.#markBlocks(at, words, 0);
      }
    this.anyFreed = false;
    this.all.length = 0;
  }

  /** Records the step that is about to be performed. Returns whether it touches freed memory. */
  step(code: number, step: number, wait: Wait): BadAccess | undefined {
    if (code === ALLOC) {
      const { index, words, label } = wait;
      if (this.anyFreed) this.#mark(index, words, 0);
      this.all.push({ at: index, words, label, allocStep: step, freeStep: undefined });
    } else if (code !== PEEK && (this.anyFreed || code === FREE)) {
      const freeStep = this.freedBefore(wait);
      if (code === FREE && freeStep === undefined) this.#free(wait, step);
      if (freeStep !== undefined)
        return { kind: code === FREE ? "double-free" : "use-after-free", freeStep };
    }
    return undefined;
  }

  /** The step that freed a word that the operation touches, if there is one. */
  freedBefore({ index, words }: Wait): number | undefined {
    const end = index + Math.max(words, 1);
    for (let word = index; word < end; word++) {
      if (word >= 0 && this.#freedBlocks[word >>> BLOCK_SHIFT] !== 1) {
        word |= BLOCK_WORDS - 1; // on to the next block
        continue;
      }
      const freedBy = word < 0 ? this.#freedOutside.get(word) : this.#freedBy[word];
      if (freedBy !== undefined && freedBy !== 0) return freedBy - 1;
    }
    return undefined;
  }

  /** The latest object that contains the word, if a step of the execution allocated or freed it. */
  holding(word: number): ObjectLifetime | undefined {
    return this.all.findLast(({ at, words }) => word >= at && word < at + words);
  }

  #free(wait: Wait, step: number): void {
    const { index, words, label } = wait;
    this.anyFreed = true;
    this.#mark(index, words, step + 1);
    this.#markBlocks(index, words, 1);
    const known = this.all.findLast((life) => life.at === index && life.freeStep === undefined);
    if (known !== undefined) known.freeStep = step;
    else this.all.push({ at: index, words, label, allocStep: undefined, freeStep: step });
  }

  #mark(at: number, words: number, value: number): void {
    const end = at + words;
    for (let word = at; word < Math.min(end, 0); word++) this.#freedOutside.set(word, value);
    if (end <= 0) return;
    if (end > this.#freedBy.length) {
      const wider = new Int32Array(end * 2);
      wider.set(this.#freedBy);
      this.#freedBy = wider;
    }
    this.#freedBy.fill(value, Math.max(at, 0), end);
  }

  #markBlocks(at: number, words: number, value: 0 | 1): void {
    const end = Math.ceil((at + words) / BLOCK_WORDS);
    if (end > this.#freedBlocks.length) {
      const wider = new Uint8Array(end * 2);
      wider.set(this.#freedBlocks);
      this.#freedBlocks = wider;
    }
    if (end > 0) this.#freedBlocks.fill(value, Math.max(at, 0) >>> BLOCK_SHIFT, end);
  }
}
