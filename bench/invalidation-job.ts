/**
 * @module What invalidation.ts and the kernel in invalidation-kernel.ts say to each other: in words
 * of one shared array, which has nothing to do with the address space, so that asking and answering
 * costs neither side a fault.
 */

/** The channel on which a kernel's module asks for the array. */
export const CHANNEL = "hmm-ts bench: invalidation";

/**
 * Words, each on a cache line of its own. What the kernel is to do; it sets it back to IDLE when it
 * is done.
 */
export const ORDER = 0;
/** How often, or over how many pages. */
export const COUNT = 16;
/** Page number of the first of them. */
export const FIRST_PAGE = 96;
/**
 * Pages that the kernel has loaded from so far in this order: the next one waits for its value to
 * change.
 */
export const USING = 32;
/** Pages whose new value the kernel has seen so far. */
export const SEEN = 48;
/** Pages that the owner is done with: for orders that do not wait for a value. */
export const GO = 64;
/** Ping-pong: even, it is the owner's turn; odd, the kernel's. */
export const BALL = 80;
export const CONTROL_WORDS = 112;

/** ORDER: nothing. */
export const IDLE = 0;
/** Ping-pong COUNT times. */
export const PING_PONG = 1;
/** Page after page: load its first word until that changes. */
export const WATCH = 2;
/** Page after page: load its first word once, then keep loading from the steady page until GO. */
export const LOAD_ONCE = 3;
/** Return. */
export const LEAVE = 4;
/** Ping-pong COUNT times, neither side asleep. */
export const SPIN_PONG = 5;
