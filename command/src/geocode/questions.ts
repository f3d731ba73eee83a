/**
 * @module The questions: seeded points, uniform over the sphere, in the order of a Hilbert curve. A
 * program with a memory budget sorts its work in such a way, so that neighbours follow each other
 * and use the same pages. In random order nearly every question would fault. The curve runs over
 * longitude and the sine of the latitude: there equal areas of the sphere are equal areas.
 */

import { QUESTION_UNITS_PER_DEGREE } from "./layout.ts";
import { Random } from "./random.ts";

/** Cells of the curve along one side, as a power of two: 2^28 cells of 1.9 km² each. */
const CURVE_BITS = 14;
const CURVE_SIDE = 2 ** CURVE_BITS;

/** A key is `cell * 2^24 + index`, exact in a double, so there are fewer questions than this. */
export const QUESTION_LIMIT: number = 2 ** 24;

/** `count` questions, longitude and latitude in turns, in units of 1e-7 degree. */
export function makeQuestions(seed: number, count: number): Int32Array {
  const random = new Random(seed);
  const unsorted = new Int32Array(2 * count);
  const keys = new Float64Array(count);
  for (let index = 0; index < count; index++) {
    const longitudeUnit = random.nextUnit();
    const heightUnit = random.nextUnit();
    const latitude = (Math.asin(2 * heightUnit - 1) * 180) / Math.PI;
    unsorted[2 * index] = Math.round((longitudeUnit * 360 - 180) * QUESTION_UNITS_PER_DEGREE);
    unsorted[2 * index + 1] = Math.round(latitude * QUESTION_UNITS_PER_DEGREE);
    const cell = hilbertIndex(
      Math.floor(longitudeUnit * CURVE_SIDE),
      Math.floor(heightUnit * CURVE_SIDE),
    );
    keys[index] = cell * QUESTION_LIMIT + index;
  }
  keys.sort();
  const sorted = new Int32Array(2 * count);
  for (let place = 0; place < count; place++) {
    const index = keys[place]! % QUESTION_LIMIT;
    sorted[2 * place] = unsorted[2 * index]!;
    sorted[2 * place + 1] = unsorted[2 * index + 1]!;
  }
  return sorted;
}

/**
 * Where on the Hilbert curve the cell (x, y) lies: 0 to CURVE_SIDE² - 1. Cells that follow each
 * other touch.
 */
export function hilbertIndex(x: number, y: number): number {
  let index = 0;
  for (let side = CURVE_SIDE >> 1; side > 0; side >>= 1) {
    const right = (x & side) === 0 ? 0 : 1;
    const upper = (y & side) === 0 ? 0 : 1;
    index = index * 4 + ((3 * right) ^ upper);
    // Turn the quarter so that the curve inside it starts where the one before it ended.
    if (upper === 0) {
      if (right === 1) {
        x = side - 1 - (x & (side - 1));
        y = side - 1 - (y & (side - 1));
      }
      [x, y] = [y, x];
    }
  }
  return index;
}
