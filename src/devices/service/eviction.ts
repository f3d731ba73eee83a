/**
 * @module devices/service/eviction
 * Makes room in device memory: a clock with a second chance, which goes by real use. UVM evicts
 * what was brought in longest ago and AMD what faulted longest ago, so both throw out pages that
 * are hot and therefore never fault; here a page is used when a thread fetches its translation, and
 * the hand takes care that hot pages are fetched again and again:
 *
 *     device thread                                  hand, in whoever makes room
 *     cache miss: fetches the entry, ACCESSED = 1
 *     hits, hits, hits (no trace)
 *                                                    ACCESSED was 1: clears it,
 *                                                    generation of the block + 1
 *     generation changed: fetches again, ACCESSED = 1
 *                                                    next time round: still in use
 *
 * A generation belongs to many pages, so raising it costs every thread a few fetches; one raise
 * serves all pages of its block that the hand has passed. Copies are never written, so evicting one
 * moves nothing.
 *
 * As the service owner, holding the driver lock.
 */

import { GENERATIONS, generationIndex } from "../../sync/primitives/shootdown.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { EVICTIONS, count } from "./device-stats.ts";
import type { DeviceTable } from "./device-table.ts";
import { FRAME_MAPPED } from "./frames.ts";

export class Evictor {
  readonly #table: DeviceTable;
  /** Generations that are to be raised, each by one of its pages. */
  readonly #raisedPages = new Float64Array(GENERATIONS);
  readonly #isRaised = new Uint8Array(GENERATIONS);
  #raisedCount = 0;

  constructor(table: DeviceTable) {
    this.#table = table;
  }

  /**
   * Takes up to `wanted` frames for the caller, who fills them: free ones first, then those of
   * pages that nobody uses. Puts them into `into` and returns how many: fewer than `wanted` when
   * the device has no more.
   */
  *reserve(wanted: number, into: Int32Array): Task<number> {
    const free = this.takeFree(wanted, into);
    if (free === wanted) return free;
    const taken = yield* this.#evict(free, wanted, into);
    yield* this.#raise();
    return taken;
  }

  /**
   * As `reserve`, but takes no page that is in use, nor a chance from one: of the frames before the
   * hand only those that it would take at once, as far as `wanted` frames reach.
   */
  *reserveCold(wanted: number, into: Int32Array): Task<number> {
    const free = this.takeFree(wanted, into);
    if (free === wanted) return free;
    const taken = yield* this.#evictCold(free, wanted, into);
    yield* this.#raise();
    return taken;
  }

  /**
   * Before a frame gets its new content: readers of its old page look at the generation after they
   * have read.
   */
  *#raise(): Task<void> {
    for (let i = 0; i < this.#raisedCount; i++) {
      const page = this.#raisedPages[i]!;
      yield* this.#table.shootdown.flush(page, page + 1);
    }
    this.#isRaised.fill(0);
    this.#raisedCount = 0;
  }

  /** Takes up to `wanted` frames that are free. */
  takeFree(wanted: number, into: Int32Array): number {
    const { frames } = this.#table;
    for (let taken = 0; taken < wanted; taken++) {
      const frame = frames.take();
      if (frame < 0) return taken;
      into[taken] = frame;
    }
    return wanted;
  }

  /** Twice round at most: the first time may do no more than clear marks. */
  *#evict(already: number, wanted: number, into: Int32Array): Task<number> {
    const { record, frames } = this.#table;
    let taken = already;
    let { hand } = record;
    for (let steps = 2 * frames.frames; steps > 0 && taken < wanted; steps--) {
      const frame = hand;
      hand = hand + 1 === frames.frames ? 0 : hand + 1;
      if (frames.stateOf(frame) !== FRAME_MAPPED) continue;
      const page = frames.pageOf(frame);
      this.#raiseLater(page);
      if (frames.isAccessed(frame)) {
        frames.clearAccessed(frame);
        continue;
      }
      this.#take(frame, page);
      into[taken++] = frame;
    }
    record.hand = hand;
    count(record, EVICTIONS, taken - already);
    return taken;
  }

  *#evictCold(already: number, wanted: number, into: Int32Array): Task<number> {
    const { record, frames } = this.#table;
    let taken = already;
    let frame = record.hand;
    for (let steps = Math.min(2 * wanted, frames.frames); steps > 0 && taken < wanted; steps--) {
      if (frames.stateOf(frame) === FRAME_MAPPED && !frames.isAccessed(frame)) {
        const page = frames.pageOf(frame);
        this.#raiseLater(page);
        this.#take(frame, page);
        into[taken++] = frame;
      }
      frame = frame + 1 === frames.frames ? 0 : frame + 1;
    }
    count(record, EVICTIONS, taken - already);
    return taken;
  }

  /** @stepped */
  #take(frame: number, page: number): void {
    const { frames } = this.#table;
    frames.judge(frame);
    this.#table.clearEntry(page);
    frames.unbind(frame);
  }

  #raiseLater(page: number): void {
    const index = generationIndex(page);
    if (this.#isRaised[index] !== 0) return;
    this.#isRaised[index] = 1;
    this.#raisedPages[this.#raisedCount++] = page;
  }
}
