/**
 * @module devices/webgpu/rows
 * Frames beside the pool's, for direct ranges: the pages of a range lie in a row, in a buffer of
 * its own, which a dispatch binds to a variable of the kernel as it is. Frame numbers go on behind
 * the pool's. Of the device's Worker.
 *
 *     a dispatch names the range ---> active ---> idle: a cache ---> removed for other rows
 *                                       ^            |
 *                                       +------------+  another dispatch names it
 *
 *   W4  The shader's page table has no right for a page in a row. So a pointer into an active row
 *       is a fault, which is refused; one into an idle row takes the page into the pool.
 *   W5  Before each pass every page of an active row is there: the shader has no means to miss.
 */

/** Pages [startPage, startPage + pages), in the frames from `first` on. */
export interface Row {
  readonly startPage: number;
  readonly pages: number;
  readonly first: number;
  /** The dispatch may store to it. */
  isWrite: boolean;
}

export type WantedRow = Omit<Row, "first">;

export class Rows {
  /** The first frame that is no frame of the pool, and how many there are. */
  readonly first: number;
  readonly frames: number;
  /** Those used last are last. */
  #rows: Row[] = [];
  #active: readonly Row[] = [];

  constructor(first: number, frames: number) {
    this.first = first;
    this.frames = frames;
  }

  get all(): readonly Row[] {
    return this.#rows;
  }

  get active(): readonly Row[] {
    return this.#active;
  }

  /** The frame of the page in an active row, or 0. */
  frameFor(page: number): number {
    for (const { startPage, pages, first } of this.#active)
      if (page >= startPage && page < startPage + pages) return first + page - startPage;
    return 0;
  }

  isActive(frame: number): boolean {
    return this.#active.some(({ first, pages }) => frame >= first && frame < first + pages);
  }

  /**
   * Makes exactly these rows active; they fit together, and have no page in common. Rows that are
   * in their way go: `drop` is told of each of their frames. Holding the driver lock.
   */
  activate(wanted: readonly WantedRow[], drop: (frame: number) => void): void {
    const kept = wanted.map((want) => this.#rows.find((row) => isSame(row, want)));
    const others = this.#rows.filter((row) => !kept.includes(row));
    const placed: Row[] = kept.filter((row) => row !== undefined);
    const missing = wanted.filter((_, i) => kept[i] === undefined);
    for (let next = missing[0]; next !== undefined; next = missing[0]) {
      const at = this.#roomFor(next.pages, [...placed, ...others]);
      if (at >= 0) {
        placed.push({ ...next, first: at });
        missing.shift();
        continue;
      }
      // The one that was used longest ago; at last what is kept, when only its place is wrong.
      const gone = others.shift() ?? placed.shift();
      if (gone === undefined) return;
      for (let i = 0; i < gone.pages; i++) drop(gone.first + i);
      if (wanted.some((want) => isSame(gone, want))) missing.push(gone);
    }
    for (const row of placed)
      row.isWrite = wanted.find((want) => isSame(row, want))?.isWrite ?? false;
    this.#rows = [...others, ...placed];
    this.#active = placed;
  }

  /** The dispatch is over. */
  deactivate(): void {
    this.#active = [];
  }

  /** First of `pages` frames that none of `rows` has; -1: there is no such place. */
  #roomFor(pages: number, rows: readonly Row[]): number {
    let at = this.first;
    for (const row of rows.toSorted((a, b) => a.first - b.first)) {
      if (row.first - at >= pages) return at;
      at = row.first + row.pages;
    }
    return this.first + this.frames - at >= pages ? at : -1;
  }
}

function isSame(row: Pick<Row, "startPage" | "pages">, other: WantedRow): boolean {
  return row.startPage === other.startPage && row.pages === other.pages;
}
