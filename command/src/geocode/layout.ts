/**
 * @module What the geocode job keeps in the address space, byte by byte. A pointer is an address of
 * 64 bits (`ptr`), as a program in another language would store it.
 *
 * Three kinds of memory, apart on purpose:
 *  - nodes and leaves: what the search reads. Written by the builders, never again.
 *  - cities: what is rewritten while the device asks. A population in a leaf would cost the device
 *    a page of the tree for each rewrite. Here a rewrite costs it one page of 256 cities. A real
 *    program does the same: hot and cold fields of one record in two places, and a pointer.
 *  - questions, answers and the log: streams, each page touched once.
 *
 * A node is two levels of a k-d tree: it halves its cities, and each half again. Its four children
 * lie side by side, so one pointer leads to all of them. After some levels of nodes come leaves,
 * which hold the places of a few cities. A search reads little of each thing, and what it reads
 * lies together: so it loads records, not words.
 *
 *     byte 0            24        32                        56      60
 *          +------------+---------+-------------------------+-------+
 *     node | box, 6 f32 | children| three planes, f64       | axes  |
 *          +------------+---------+-------------------------+-------+
 *     leaf | box, 6 f32 | cities  | nine points, x, y and z as f64, up to byte 248 ...
 *          +------------+---------+------------------------------------------------
 */

/**
 * Node and leaf: f32 box around the cities below, rounded outwards: least x, y, z, then greatest.
 */
export const BOX = 0;

/** Node: ptr to the first of its four children. */
export const NODE_CHILDREN = 24;
/**
 * Node: f64 planes. The first parts the first two children from the last two; the second parts the
 * first two, the third the last two. What lies below a plane comes before what lies above it.
 */
export const NODE_PLANES = 32;
/** Node: u8 for each plane, the axis that it is square to. */
export const NODE_AXES = 56;
/** Node: u8, 1 if the children are leaves. */
export const NODE_ABOVE_LEAVES = 59;
export const NODE_BYTES = 64;
export const CHILDREN = 4;

/** Leaf: ptr to its first city. The others follow. */
export const LEAF_CITIES = 24;
/** Leaf: f64 x, y, z of each city on the unit sphere; Infinity where it has fewer. */
export const LEAF_POINTS = 32;
export const POINTS = 9;
export const LEAF_BYTES = 256;

/** City: f64 population cell (population.ts), rewritten at any time. */
export const CITY_POPULATION = 0;
/** City: u32 index in the list of cities. */
export const CITY_INDEX = 8;
export const CITY_BYTES = 16;

/** Question: i32 longitude, i32 latitude, in units of 1e-7 degree. */
export const QUESTION_LONGITUDE = 0;
export const QUESTION_LATITUDE = 4;
export const QUESTION_BYTES = 8;
export const QUESTION_UNITS_PER_DEGREE = 1e7;

/**
 * Answer: ptr to the nearest city, f64 its population cell as read, u32 clock before and after.
 */
export const ANSWER_CITY = 0;
export const ANSWER_POPULATION = 8;
export const ANSWER_BEFORE = 16;
export const ANSWER_AFTER = 20;
export const ANSWER_BYTES = 24;

/**
 * Control page, u32 each on a cache line of its own: the census clock, questions answered, the
 * latest of them.
 */
export const CONTROL_CLOCK = 0;
export const CONTROL_ANSWERED = 64;
export const CONTROL_LATEST = 128;
export const CONTROL_BYTES = 4096;
/** The kernel reports progress once for so many questions (a power of two). */
export const PROGRESS_STEP = 256;

/** Log entry, u32 each: city index, version, clock before the rewrite and after it. */
export const LOG_CITY = 0;
export const LOG_VERSION = 4;
export const LOG_BEFORE = 8;
export const LOG_AFTER = 12;
export const LOG_BYTES = 16;

export const PAGE_BYTES = 4096;

/** The pointer whose lower half is element `index` of `words`. */
export function pointerAt(words: Uint32Array, index: number): number {
  return words[index + 1]! * 2 ** 32 + words[index]!;
}

/** Pairs with {@link pointerAt}. */
export function writePointer(words: Uint32Array, index: number, pointer: number): void {
  words[index] = pointer;
  words[index + 1] = Math.floor(pointer / 2 ** 32);
}

/** `lengthBytes` rounded up to whole pages, at least one. */
export function wholePages(lengthBytes: number): number {
  return Math.max(1, Math.ceil(lengthBytes / PAGE_BYTES)) * PAGE_BYTES;
}

/**
 * Where everything is. Plain data: goes to Workers as it is, and to the kernel as its arguments.
 */
export interface GeocodeMap {
  readonly cityCount: number;
  readonly questionCount: number;
  /** Addresses. The root of the tree is the node at `nodes`. */
  readonly nodes: number;
  readonly cities: number;
  readonly questions: number;
  readonly answers: number;
  readonly control: number;
  readonly log: number;
  readonly logCapacity: number;
  /** Memory right beside the nodes that is unmapped and mapped all the time. */
  readonly restless: number;
  readonly restlessBytes: number;
}
