/**
 * @module devices/webgpu/evicted-pages
 * Which pages were evicted lately, to count those that are missed again: Linux's refaults
 * (mm/workingset.c). As many are remembered as the device has frames: a page that is missed later
 * than that had not fitted anyway. Of the device's Worker.
 */

export class EvictedPages {
  /** Evictions that were a mistake, so far. */
  refaults = 0;
  readonly #most: number;
  /** Those evicted last are last. */
  readonly #pages = new Set<number>();

  constructor(most: number) {
    this.#most = most;
  }

  add(page: number): void {
    this.#pages.delete(page);
    this.#pages.add(page);
    if (this.#pages.size <= this.#most) return;
    const [first] = this.#pages;
    if (first !== undefined) this.#pages.delete(first);
  }

  /** A kernel has missed the page. */
  miss(page: number): void {
    if (this.#pages.delete(page)) this.refaults++;
  }
}
