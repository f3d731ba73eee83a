/**
 * @module mm/entries/words
 * What an operation on entries of a page table notes (invalidation.ts): the words of its record,
 * from that of sync/words/operations.ts on.
 */

/** Words of an operation, after its lock. */
export const MM = 1;
export const START_PAGE = 2;
export const END_PAGE = 3;
export const TABLE = 4;
export const GIVEN = 5;
/** A mid table that is not linked yet; TABLE names a leaf, then. */
export const MID_TABLE = 6;
/** First of frames in a row that the pages are about to get (K6 of run.ts); 0: none. */
export const RUN = 7;
/** 1: each of them has a reference for the entry of its page. */
export const RUN_USED = 8;
/** How many pages of the run a finisher has seen to. */
export const RUN_NEXT = 9;
/** 1: BATCH notes leaves, not frames (K5 of batch.ts). */
export const LEAVES = 10;
/** 1: the entries of the pages move to TARGET (K7 of move.ts). */
export const MOVES = 11;
export const TARGET = 12;
/** 1: leaves of the page table do, as they are. */
export const TAKES_LEAVES = 13;
/** Of an entry that is at neither place: where it comes. Of leaves: the page of the first. */
export const MOVED_TO = 14;
/** The entry that is at neither place. Leaves are noted in BATCH, or in the table. */
export const MOVED = 15;
export const BATCH = 16;
/** First of the frames of a row in hand (K8 of row.ts); those from ROW_SET to ROW_END are. */
export const ROW = 32;
/** How many entries have got their frame. */
export const ROW_SET = 33;
export const ROW_END = 34;
/** First of the frames that those entries had; 0: of none. These are in hand up to ROW_SET. */
export const ROW_OLD = 35;
/** How many frames of the row are noted in BATCH, or have been put. */
export const ROW_NEXT = 36;
/** 1: the leaf that TABLE notes is linked with the row's frames; if it is 0, it has been. */
export const LINKS = 37;
/** Of a page that moves in its cache: the reference of its new frame that its entry is to get. */
export const CACHE_FRESH = 38;
/** And that of its old frame which the cache had. */
export const CACHE_OLD = 39;
/** Frames of RUN. */
export const RUN_PAGES = 40;
