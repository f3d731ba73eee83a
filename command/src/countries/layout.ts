/**
 * @module What the countries job keeps in the address space, word by word. A pointer is an address
 * of 64 bits (`ptr`).
 *
 * A place is two u32, x and y: longitude and latitude in units of 1e-7 degree, OpenStreetMap's own,
 * each plus 2^31. So all places lie in one square of 2^32 by 2^32, whose quadtree is walked bit by
 * bit: the child of a node at depth d is told by bit 31 - d of x and of y.
 *
 *     word      0        2       3
 *     node    | ptr    | runs  | answer |     runs = INNER: ptr leads to the four children
 *                                             runs = 0: the whole cell has one answer
 *                                             else a leaf: ptr leads to so many runs
 *     run     | head   | edges | x y of the first place | x y | ...  one place more than edges
 *
 * A run is a piece of one border, `edges` segments in a row; `head` is `country << 1 | inside`. The
 * runs of a leaf stand in the order of their countries. `inside`, in the first run of a country,
 * says whether the corner of the cell lies in that country. A country that the cell lies in whole
 * has a run without edges (and one place, which says nothing).
 *
 * A place's answer is the number of its country, counted from 1 in the order of the file: of the
 * first one, where borders overlap; 0 for none.
 */

export const NODE_RUNS = 8;
export const NODE_ANSWER = 12;
export const NODE_BYTES = 16;
export const CHILDREN = 4;
/** `runs` of a node that has children. */
export const INNER = 0xffff_ffff;

export const RUN_HEAD_WORDS = 2;
export const PLACE_WORDS = 2;

/** Bits of a coordinate: the depth of a tree is below it. */
export const COORDINATE_BITS = 32;

export const UNITS_PER_DEGREE = 1e7;
const OFFSET = 2 ** 31;

/** The coordinate of a longitude or a latitude. */
export function coordinateOf(degrees: number): number {
  return Math.round(degrees * UNITS_PER_DEGREE) + OFFSET;
}

/** Pairs with {@link coordinateOf}. */
export function degreesOf(coordinate: number): number {
  return (coordinate - OFFSET) / UNITS_PER_DEGREE;
}
