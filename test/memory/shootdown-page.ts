/** @module Constants of both sides of the shootdown tests. */

/** The page that is loaded from and shot down. */
export const PAGE_UNDER_FIRE = 1_000_003;
/** The page's data, in either frame. */
export const GOOD = 0x600d;
/** What the next owner of a frame writes into it. */
export const BAD = 0xbad;
