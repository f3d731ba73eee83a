/**
 * @module devices/service/block-service
 * One 2 MiB block of pages: what is wanted of each, what is prefetched beside them, and bringing
 * them span by span.
 *
 *   B1  Progress. A span that collides is cut in two, down to single pages, without what nobody has
 *       asked for. A single page that collides is read in RAM, which needs no write protection and
 *       so does not collide with stores any more. What still collides (its mapping is being changed
 *       all the time, or a write view is open) is left out.
 *   B3  Prefetch takes frames that are free. When none is, device memory is under pressure: then a
 *       fault is grown to its 64 KiB and no further, and few cold pages make room, if any
 *       (policy/prefetch.ts). Pages that thrash are left alone. A device that makes no copies, for
 *       it has pages of its own, gets translations of what is there beside the pages that it reads
 *       in RAM (Linux: fault-around): they take no frame.
 *
 * Scratch of one thread, used as the service owner: `start` begins with a block, `want` notes what
 * is wanted, `serve` brings it and returns what came of it.
 */

import { access, sharedMs, wordAt, type Task } from "../../driver-interface.ts";
import { BLOCK_PAGES, GROWN_PAGES, growBlock, prefetchRoom } from "../policy/prefetch.ts";
import { type ServedDevice, noteLoss } from "./device.ts";
import { DeviceRecord } from "./device-record.ts";
import { ENTRY_PRESENT } from "./device-table.ts";
import type { SpanResult, SpanService } from "./span-service.ts";
import {
  type Brought,
  type PageFailure,
  WANT_AROUND,
  WANT_NOTHING,
  WANT_PREFETCH,
  WANT_READ,
  WANT_REMOTE,
  type Want,
} from "./wants.ts";

/** First page of the page's block. */
export function blockOf(page: number): number {
  return page - (page % BLOCK_PAGES);
}

/** The first page of the 64 KiB that page `i` of a block lies in. */
function floorToPart(i: number): number {
  return i & ~(GROWN_PAGES - 1);
}

export class BlockService {
  readonly #device: ServedDevice;
  readonly #spans: SpanService;
  #basePage = 0;
  /** First page of which something is wanted, and one past the last. */
  #firstPage = 0;
  #endPage = 0;
  #urgentPage = -1;
  #copiesLeft = 0;
  #failures: PageFailure[] = [];
  /** A Want for each page of the block. */
  readonly #wants = new Uint8Array(BLOCK_PAGES);
  readonly #growing = new Uint8Array(BLOCK_PAGES);
  readonly #resident = new Uint8Array(BLOCK_PAGES);
  readonly #grown = new Uint8Array(BLOCK_PAGES);

  constructor(device: ServedDevice, spans: SpanService) {
    this.#device = device;
    this.#spans = spans;
  }

  /** Begins with the block of `page`. Somebody waits for `urgentPage`, if it is not -1. */
  start(page: number, urgentPage: number = -1): void {
    this.#basePage = blockOf(page);
    this.#urgentPage = urgentPage;
    this.#firstPage = this.#basePage + BLOCK_PAGES;
    this.#endPage = this.#basePage;
    this.#wants.fill(WANT_NOTHING);
  }

  /** What is wanted of a page of the block. */
  want(page: number, want: Want): void {
    this.#wants[page - this.#basePage] = want;
    if (page < this.#firstPage) this.#firstPage = page;
    if (page >= this.#endPage) this.#endPage = page + 1;
  }

  /**
   * B3, where `reads` pages are to be read. The free frames are counted without the driver lock:
   * when they are taken, fewer may be left.
   */
  *wantPrefetched(reads: number): Task<void> {
    const { record, table, machine } = this.#device;
    const { words } = machine.memory;
    const freeAt = record.at + DeviceRecord.offset.freeFrames;
    yield* access(machine.memory, "read", freeAt, 1, "free frames");
    const { frames, batchesBegun: batch } = record;
    const free = record.freeFrames - reads;
    let room = prefetchRoom({ frames, free, reads, score: table.frames.prefetchScore, batch });
    if (room <= 0) return;
    const index = table.indexOf(this.#basePage);
    // Hints, read without the driver lock, also out of a leaf that has just been freed: one step
    // for all of them.
    if (index !== 0) yield* access(machine.memory, "peek", index, BLOCK_PAGES, "device entries");
    const byDensity = free > 0;
    const first = byDensity ? 0 : floorToPart(this.#firstPage - this.#basePage);
    const end = byDensity
      ? BLOCK_PAGES
      : floorToPart(this.#endPage - this.#basePage - 1) + GROWN_PAGES;
    for (let i = first; i < end; i++) {
      this.#growing[i] = this.#wants[i] === WANT_READ ? 1 : 0;
      this.#resident[i] = index !== 0 && (wordAt(words, index + i) & ENTRY_PRESENT) !== 0 ? 1 : 0;
    }
    growBlock(this.#growing, this.#resident, this.#grown, byDensity, first, end);
    for (let i = first; i < end && room > 0; i++) {
      if (this.#grown[i] === 0 || this.#wants[i] !== WANT_NOTHING) continue;
      this.want(this.#basePage + i, WANT_PREFETCH);
      room--;
    }
  }

  /**
   * Beside a page that a device which makes no copies reads in RAM: its 64 KiB, and what follows up
   * to `endPage`.
   */
  wantBeside(page: number, endPage: number): void {
    for (let next = page - (page % GROWN_PAGES); next < endPage; next++)
      if (this.#wantOf(next) === WANT_NOTHING) this.want(next, WANT_PREFETCH);
  }

  /**
   * Behind a page that is to be written in RAM, where the device goes on from one page to the next:
   * up to `endPage`. Not around a page that is written at random: what is mapped for writing is not
   * copied.
   */
  wantAround(page: number, endPage: number): void {
    for (let next = page + 1; next < endPage; next++)
      if (this.#wantOf(next) === WANT_NOTHING) this.want(next, WANT_AROUND);
  }

  /**
   * Brings what is wanted, with `copiesMax` copies at most of pages that were asked for. What
   * collides to the end is in neither half of the result, and has no entry.
   */
  *serve(copiesMax: number): Task<Brought> {
    this.#copiesLeft = copiesMax;
    this.#failures = [];
    if (this.#firstPage < this.#endPage) yield* this.#serveSpan(this.#firstPage, this.#endPage);
    return { failures: this.#failures, copies: copiesMax - this.#copiesLeft };
  }

  /** B1. */
  *#serveSpan(startPage: number, endPage: number): Task<void> {
    if (!(yield* this.#tryOnce(startPage, endPage)).hasCollided) return;
    const demanded = this.#countDemanded(startPage, endPage);
    const first = this.#firstDemanded(startPage, endPage);
    if (demanded > 1) {
      const middle = this.#middleOf(startPage, endPage, demanded);
      yield* this.#serveSpan(first, middle);
      yield* this.#serveSpan(this.#firstDemanded(middle, endPage), endPage);
      return;
    }
    if (demanded === 0) return;
    if (this.#wantOf(first) === WANT_READ) {
      const { driverLock } = this.#device.table;
      yield* driverLock.lock();
      noteLoss(this.#device, first, sharedMs());
      yield* driverLock.unlock();
      this.want(first, WANT_REMOTE);
    } else if (endPage - startPage === 1) {
      return;
    }
    yield* this.#tryOnce(first, first + 1);
  }

  /** A page that has failed is not tried again. */
  *#tryOnce(startPage: number, endPage: number): Task<SpanResult> {
    const result = yield* this.#spans.serve({
      startPage,
      endPage,
      wants: this.#wants.subarray(startPage - this.#basePage, endPage - this.#basePage),
      urgentPage: this.#urgentPage,
      copiesMax: this.#copiesLeft,
    });
    for (const failure of result.failures) {
      this.#wants[failure.page - this.#basePage] = WANT_NOTHING;
      this.#failures.push(failure);
    }
    this.#copiesLeft -= result.copies;
    return result;
  }

  #wantOf(page: number): number {
    return this.#wants[page - this.#basePage]!;
  }

  /** First page of [startPage, endPage) that somebody asked for, or -1. */
  #firstDemanded(startPage: number, endPage: number): number {
    for (let page = startPage; page < endPage; page++)
      if (this.#wantOf(page) >= WANT_READ) return page;
    return -1;
  }

  /** Pages of [startPage, endPage) that somebody asked for. */
  #countDemanded(startPage: number, endPage: number): number {
    let demanded = 0;
    for (let page = startPage; page < endPage; page++)
      if (this.#wantOf(page) >= WANT_READ) demanded++;
    return demanded;
  }

  /** The page before which half of the demanded ones lie. */
  #middleOf(startPage: number, endPage: number, demanded: number): number {
    let seen = 0;
    for (let page = startPage; page < endPage; page++)
      if (this.#wantOf(page) >= WANT_READ && ++seen > demanded / 2) return page;
    return endPage;
  }
}
