/**
 * @module What the geocode job keeps in the address space, byte by byte. Pointers are addresses as
 * f64: a double holds every address exactly, loads as the JavaScript number that an address is
 * anyway, and costs one load where a pair of u32 costs two.
 *
 * Three kinds of memory, apart on purpose:
 *  - nodes: what the search reads. Written by the builders, never again.
 *  - cities: what is rewritten while the device asks. A population in the node itself would cost
 *    the device a page of the tree for each rewrite; in pages of their own a rewrite costs one page
 *    of cities, which holds the 256 cities around it. It also is what a real program does: hot and
 *    cold fields of one record in two places, and a pointer.
 *  - questions, answers and the log: streams, each page touched once.
 *
 * Node and city number `i` in tree order belong together. A subtree's nodes are contiguous and two
 * siblings adjacent, so one pointer leads to both children; nodes are 64 bytes on 64-byte
 * boundaries, so the low six bits of that pointer are free: they hold how many children there are,
 * and along which axis the node parts them.
 */

/** Node: f64 x, y, z of the city on the unit sphere. */
export const NODE_X = 0;
export const NODE_Y = 8;
export const NODE_Z = 16;
/** From one coordinate to the next: coordinate `axis` is at `NODE_X + AXIS_BYTES * axis`. */
export const AXIS_BYTES = 8;
/**
 * Node: f32 box around the subtree (this city and all below), rounded outwards: least x, y, z, then
 * greatest.
 */
export const NODE_BOX = 24;
/**
 * Node: f64 link, address of the first child + number of children (1 or 2) + axis of the split <<
 * AXIS_SHIFT; 0 in a leaf. The first child's subtree lies below this node along the axis, the
 * second one's above.
 */
export const NODE_LINK = 48;
/** Node: f64 address of the city. */
export const NODE_CITY = 56;
export const NODE_BYTES = 64;
/** The low bits of a link. */
export const CHILD_COUNT_MASK = 3;
export const AXIS_SHIFT = 2;
export const LINK_TAG_MASK = 63;

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
 * Answer: f64 address of the nearest city, f64 its population cell as read, u32 clock before and
 * after.
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
