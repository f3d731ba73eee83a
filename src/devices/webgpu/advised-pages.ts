/**
 * @module devices/webgpu/advised-pages
 * What the program has advised about the pages that a batch asks for (madvise), as it was found
 * when they were brought. Prefetch and eviction go by it; nothing depends on it. Of the device's
 * Worker.
 */

import { ADVICE_NORMAL, ADVICE_RANDOM, ADVICE_SEQUENTIAL } from "../../driver-interface.ts";

/** Mappings that are remembered from one batch. */
const MAPPINGS_MAX = 64;

interface Advised {
  readonly startPage: number;
  readonly endPage: number;
  readonly advice: number;
}

export class AdvisedPages {
  #mappings: Advised[] = [];
  #last: Advised | undefined;

  /** A batch begins. */
  clear(): void {
    this.#mappings = [];
    this.#last = undefined;
  }

  /** A mapping of [startPage, endPage) has this advice. */
  readonly note = (startPage: number, endPage: number, advice: number): void => {
    if (advice === ADVICE_NORMAL || this.#mappings.length === MAPPINGS_MAX) return;
    if (this.#of(startPage) !== undefined) return;
    this.#mappings.push({ startPage, endPage, advice });
  };

  /** They will be used at random: nothing is brought along. */
  isRandom(page: number): boolean {
    return this.#of(page)?.advice === ADVICE_RANDOM;
  }

  /** They will be used in order, once: much is brought along, and leaves before others. */
  isSequential(page: number): boolean {
    return this.#of(page)?.advice === ADVICE_SEQUENTIAL;
  }

  /** Where the mapping of the page ends, if it is known. */
  endOf(page: number): number {
    return this.#of(page)?.endPage ?? Infinity;
  }

  #of(page: number): Advised | undefined {
    if (this.#mappings.length === 0) return undefined;
    const holds = (one: Advised): boolean => page >= one.startPage && page < one.endPage;
    if (this.#last !== undefined && holds(this.#last)) return this.#last;
    const found = this.#mappings.find(holds);
    if (found !== undefined) this.#last = found;
    return found;
  }
}
