/**
 * @module devices/service/block-work
 * What is to be done in one 2 MiB block of pages, and what is known about it so far: scratch of the
 * service owner, used for block after block.
 */

import { BLOCK_PAGES } from "../policy/prefetch.ts";
import type { Errno } from "../../sync/errno.ts";

/** What is wanted of a page. */
export type Want = 0 | 1 | 2 | 3 | 4;
export const WANT_NOTHING: Want = 0;
/** A copy, if it costs nothing: it is present, and there is a free frame. */
export const WANT_PREFETCH: Want = 1;
/** To be read: a copy if it may be copied, else the frame in RAM. */
export const WANT_READ: Want = 2;
/** To be read where it is, in RAM. */
export const WANT_REMOTE: Want = 3;
/** To be written, in RAM. */
export const WANT_WRITE: Want = 4;

/** A page that could not be had, and why. */
export interface PageFailure {
  readonly page: number;
  readonly errno: Errno;
}

export class BlockWork {
  /** First page of the block. */
  basePage = 0;
  /** A Want for each page of the block; set by `setWant`. */
  readonly wanted: Uint8Array = new Uint8Array(BLOCK_PAGES);
  /** First page of which something was wanted, and one past the last. */
  firstPage = 0;
  endPage = 0;
  /** The page that somebody waits for, or -1: it gets a frame first. */
  urgentPage = -1;
  /** Pages that could not be had. */
  readonly failures: PageFailure[] = [];
  /** Frames that this round may still fill. */
  copiesLeft = 0;

  /** Begins with a block. `copiesLeft` goes on. */
  start(basePage: number, urgentPage: number): void {
    this.basePage = basePage;
    this.urgentPage = urgentPage;
    this.failures.length = 0;
    this.firstPage = basePage + BLOCK_PAGES;
    this.endPage = basePage;
    this.wanted.fill(WANT_NOTHING);
  }

  wantOf(page: number): number {
    return this.wanted[page - this.basePage]!;
  }

  setWant(page: number, want: Want): void {
    this.wanted[page - this.basePage] = want;
    if (page < this.firstPage) this.firstPage = page;
    if (page >= this.endPage) this.endPage = page + 1;
  }

  /** First page of [startPage, endPage) that somebody asked for, or -1. */
  firstDemanded(startPage: number, endPage: number): number {
    for (let page = startPage; page < endPage; page++)
      if (this.wantOf(page) >= WANT_READ) return page;
    return -1;
  }

  /** Pages of [startPage, endPage) that somebody asked for. */
  demanded(startPage: number, endPage: number): number {
    let count = 0;
    for (let page = startPage; page < endPage; page++) if (this.wantOf(page) >= WANT_READ) count++;
    return count;
  }

  /** Why `page` could not be had; 0 when that is not known to be so. */
  failureOf(page: number): Errno {
    return this.failures.find((failure) => failure.page === page)?.errno ?? 0;
  }

  /**
   * The lowest page that could not be had. They are noted in the order in which they were tried,
   * which is another.
   */
  firstFailure(): PageFailure | undefined {
    let first: PageFailure | undefined;
    for (const failure of this.failures)
      if (first === undefined || failure.page < first.page) first = failure;
    return first;
  }

  /** The page cannot be had: nothing more is tried for it in this round. */
  fail(page: number, errno: Errno): void {
    this.setWant(page, WANT_NOTHING);
    this.failures.push({ page, errno });
  }
}
