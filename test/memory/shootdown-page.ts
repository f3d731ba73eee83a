/** @module What both sides of the shootdown tests agree on. */

/** The page that is loaded from and shot down. */
export const PAGE_UNDER_FIRE = 1_000_003;
/** What the page contains, in whichever frame. */
export const GOOD = 0x600d;
/** What the frame's next owner writes into it. */
export const BAD = 0xbad;
