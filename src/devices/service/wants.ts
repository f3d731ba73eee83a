/** @module devices/service/wants: what is wanted of a page, and what is said of one that failed. */

import type { Errno } from "../../driver-interface.ts";

/** What is wanted of a page. From WANT_READ on somebody has asked for it. */
export type Want = 0 | 1 | 2 | 3 | 4 | 5;
/** Nothing is wanted of the page. */
export const WANT_NOTHING: Want = 0;
/**
 * If it costs nothing: a copy, where the page is present and there is a free frame; a translation
 * of what is present and cannot be copied, which stays where it is.
 */
export const WANT_PREFETCH: Want = 1;
/**
 * A translation of the frame in RAM, if the page may be written: it is present, or a frame for its
 * first touch is at hand.
 */
export const WANT_AROUND: Want = 2;
/** To be read: a copy if it may be copied, else the frame in RAM. */
export const WANT_READ: Want = 3;
/** To be read where it is, in RAM. */
export const WANT_REMOTE: Want = 4;
/** The page is to be written, in RAM. */
export const WANT_WRITE: Want = 5;

/** A page that cannot be had, and why. */
export interface PageFailure {
  /** The virtual page number. */
  readonly page: number;
  /** Why it cannot be had: a positive number of sync/errno.ts. */
  readonly errno: Errno;
}

/** What came of bringing pages. */
export interface Brought {
  /** The pages that could not be had. */
  readonly failures: readonly PageFailure[];
  /** Copies that were made of pages that somebody had asked for. */
  readonly copies: number;
}
