/**
 * @module devices/webgpu/evicted-pages
 * Which pages were evicted lately, to count those that are missed again: Linux's refaults
 * (mm/workingset.c). Linux leaves the number of the eviction in the place of the page; here it is
 * in a table by the low bits of the page, twice as many as the device has frames, so a page that
 * was evicted later may take the place of another. A page is forgotten when as many others have
 * been evicted since as there are frames: it had not fitted anyway. A Set in the order of evictions
 * took a tenth of the time that it takes to bring a page. Of the device's Worker.
 */

export class EvictedPages {
  /** Evictions that were a mistake, so far. */
  refaults = 0;
  readonly #most: number;
  readonly #pages: Uint32Array;
  /** The number of each page's eviction, from 1 on; 0: the place is free. */
  readonly #numbers: Float64Array;
  #evictions = 0;

  constructor(most: number) {
    this.#most = most;
    const places = 2 ** Math.ceil(Math.log2(2 * Math.max(most, 1)));
    this.#pages = new Uint32Array(places);
    this.#numbers = new Float64Array(places);
  }

  #placeOf(page: number): number {
    return page & (this.#pages.length - 1);
  }

  add(page: number): void {
    const place = this.#placeOf(page);
    this.#pages[place] = page;
    this.#numbers[place] = ++this.#evictions;
  }

  /** A kernel has missed the page. */
  miss(page: number): void {
    const place = this.#placeOf(page);
    const number = this.#numbers[place] ?? 0;
    if (number === 0 || this.#pages[place] !== page) return;
    this.#numbers[place] = 0;
    if (this.#evictions - number < this.#most) this.refaults++;
  }
}
