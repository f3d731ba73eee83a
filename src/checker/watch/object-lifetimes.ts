/**
 * @module The lifetimes of objects in an execution: where each was allocated and freed. So a use
 * after free is found when it happens, and a leak at the end.
 */

import type { Wait } from "../../sync/tasks/task.ts";
import { kindCode } from "../steps/kinds.ts";
import type { Footprints } from "../steps/footprint.ts";

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

export class ObjectLifetimes {
  readonly #footprints: Footprints;
  /** For each place: the step that freed it, + 1. */
  #freedBy: Int32Array = new Int32Array(256);
  /** Something has been freed in this execution. */
  anyFreed = false;
  /** The objects that were allocated or freed in this execution, in that order. */
  readonly all: ObjectLifetime[] = [];

  constructor(footprints: Footprints) {
    this.#footprints = footprints;
  }

  /** A new execution begins. */
  reset(): void {
    if (this.anyFreed) this.#freedBy.fill(0);
    this.anyFreed = false;
    this.all.length = 0;
  }

  /** Records the step that is about to be performed. Returns whether it touches freed memory. */
  step(code: number, step: number, wait: Wait): BadAccess | undefined {
    if (code === ALLOC) {
      this.#mark(wait, 0);
      const { index, words, label } = wait;
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
  freedBefore(wait: Wait): number | undefined {
    for (let i = 0; i < Math.max(wait.words, 1); i++) {
      const place = this.#footprints.placeOf(wait.index + i);
      const freedBy = place < this.#freedBy.length ? this.#freedBy[place]! : 0;
      if (freedBy !== 0) return freedBy - 1;
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
    this.#mark(wait, step + 1);
    const known = this.all.findLast((life) => life.at === index && life.freeStep === undefined);
    if (known !== undefined) known.freeStep = step;
    else this.all.push({ at: index, words, label, allocStep: undefined, freeStep: step });
  }

  #mark(wait: Wait, value: number): void {
    if (value === 0 && !this.anyFreed) return;
    for (let i = 0; i < wait.words; i++) {
      const place = this.#footprints.placeOf(wait.index + i);
      if (place >= this.#freedBy.length) {
        const wider = new Int32Array(place * 2);
        wider.set(this.#freedBy);
        this.#freedBy = wider;
      }
      this.#freedBy[place] = value;
    }
  }
}
