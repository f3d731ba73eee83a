/**
 * @module The second opinion: for each row of the raster, which borders cross it, and from which
 * column on each lies west. It reads the file itself, anew, needs no tree and no path, and counts
 * with BigInt where a double might err. So it has nothing in common with the search but the rule
 * for places on a border (crossing.ts, C1), which decides alone here: from far in the west, a place
 * lies in a country if an odd number of the country's edges lie west of it or at it.
 */

import type { BorderListener } from "./borders.ts";
import type { Raster } from "./raster.ts";

/** A border lies west of all columns from here on. */
interface Crossing {
  readonly column: number;
  readonly country: number;
}

export class RowCheck implements BorderListener {
  readonly #raster: Raster;
  readonly #rows: (Crossing[] | undefined)[];
  /** Of the last ring: a row's country is checked only for rows that it reaches. */
  crossings = 0;

  constructor(raster: Raster) {
    this.#raster = raster;
    this.#rows = Array.from({ length: raster.height });
  }

  onRing(country: number, places: Uint32Array, count: number): void {
    for (let edge = 0; edge + 1 < count; edge++) {
      const at = 2 * edge;
      // an edge has two places
      const [ax, ay, bx, by] = [places[at]!, places[at + 1]!, places[at + 2]!, places[at + 3]!];
      if (ay < by) this.#addEdge(country, ax, ay, bx, by);
      else if (by < ay) this.#addEdge(country, bx, by, ax, ay);
    }
  }

  onCountry(): void {}

  /** The answers for one row. */
  answersOf(row: number): Uint32Array {
    const { width } = this.#raster;
    const answers = new Uint32Array(width);
    const crossings = (this.#rows[row] ?? []).toSorted((a, b) => a.column - b.column);
    const inside = new Set<number>();
    let done = 0;
    for (const { column, country } of crossings) {
      if (column > done) answers.fill(firstOf(inside), done, column);
      done = column;
      if (!inside.delete(country)) inside.add(country);
    }
    return answers.fill(firstOf(inside), done);
  }

  /** Of an edge that rises from low to high: on rows from its lower end to below its upper one. */
  #addEdge(country: number, lowX: number, lowY: number, highX: number, highY: number): void {
    const { ys, xs, height, width } = this.#raster;
    for (let row = firstBelow(ys, highY); row < height; row++) {
      const y = ys[row]!; // row is below the height
      if (y < lowY) return;
      const isWestOf = (column: number): boolean => {
        const left = (BigInt(xs[column]!) - BigInt(lowX)) * BigInt(highY - lowY); // below the width
        return left >= (BigInt(highX) - BigInt(lowX)) * BigInt(y - lowY);
      };
      const x = lowX + ((highX - lowX) * (y - lowY)) / (highY - lowY);
      let column = firstFrom(xs, x);
      while (column > 0 && isWestOf(column - 1)) column--;
      while (column < width && !isWestOf(column)) column++;
      if (column === width) continue;
      (this.#rows[row] ??= []).push({ column, country });
      this.crossings++;
    }
  }
}

function firstOf(countries: ReadonlySet<number>): number {
  return countries.size === 0 ? 0 : Math.min(...countries) + 1;
}

/** The first of descending numbers that is below `limit`. */
function firstBelow(numbers: Uint32Array, limit: number): number {
  return search(numbers.length, (i) => numbers[i]! < limit);
}

/** The first of ascending numbers that is not below `limit`. */
function firstFrom(numbers: Uint32Array, limit: number): number {
  return search(numbers.length, (i) => numbers[i]! >= limit);
}

/** The first index for which `isThere` holds, as it does for all after it; `count` if none. */
function search(count: number, isThere: (index: number) => boolean): number {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isThere(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
