/**
 * @module devices/software/item-runner
 * Runs a kernel's work items on one device thread, as exactly as if each ran once from start to
 * end. The way to that with few stops:
 *
 *   - The thread has a window of items under way. It runs each from its start; one that faults
 *     before it has changed anything is given up, its fault recorded, and stays in the window.
 *     After a pass over the window all recorded faults, of all threads, are served as one batch,
 *     and the items that are left run again.
 *   - Why that is exact: until its first store or read-modify-write an item has had no effect on
 *     memory, so giving it up leaves no trace, and its loads are made anew from the start. From
 *     that store on it is never given up: a fault stalls it in the middle (device-translator.ts).
 *     So no store is lost and none is made twice.
 *   - Why it ends: an item that faults on the same page twice running, or REPLAYS_MAX times, runs
 *     stalling from then on, and needs one frame at a time only.
 *
 * Served pages may be evicted again before their items run, when the window wants more of them than
 * device memory holds. Then the window shrinks, down to one item; it grows again while replays find
 * what they need.
 *
 * Giving up does not always pay: when neighbouring items want the same page, a batch has one page
 * in it, and every item given up was run for nothing. So a pass ends when most of its items wait
 * for pages that it has met before, and after a batch of few pages the next items stall. Measured
 * on two cores of a shared machine, a page brought by a batch costs 2 to 3 us, one that is stalled
 * for 6 to 7 us. Searches in a tree of which a quarter fits, in random order: 4.5 us each by
 * replaying, 6.0 us by stalling; along a curve that keeps neighbours together: 1.6 us either way,
 * where giving up without these two rules took 2.2 us.
 */

import { hasPanicked } from "../../sync/death/panic.ts";
import { runBlocking } from "../../sync/runners/run-blocking.ts";
import { type KernelFailure, kernelThrew, refusedKernel, refusedResult } from "../device-fault.ts";
import type { TypedAccess } from "../../mmu/access.ts";
import type { Kernel } from "./kernel.ts";
import { countAtomically } from "../service/device-stats.ts";
import type { WorkItem } from "./device-translator.ts";
import { chunkOf, isStopped, stopDispatch, takeItems } from "./dispatch-state.ts";
import type { DeviceRecord } from "../service/device-record.ts";
import type { FaultRing } from "../service/fault-ring.ts";
import type { FaultService } from "../service/fault-service.ts";
import type { SoftwareRecord } from "./software-record.ts";

/** Items under way at most. */
export const WINDOW_MAX = 256;
/** Times that an item is given up, until it runs stalling. */
export const REPLAYS_MAX = 24;
/**
 * Faults of one pass on pages that it has met before: with more of them than this, and than a
 * quarter of the pages met, the pass ends.
 */
const REPEATS_MIN = 2;
/** Pages that a batch must have had for giving items up to have been worth it. */
const WORTHWHILE_PAGES = 4;
/**
 * After a batch that was not, so many items stall instead; twice as many each time, up to the
 * second number.
 */
const STALLING_ITEMS_MIN = 64;
const STALLING_ITEMS_MAX = 4096;
const MET_PAGES = 1024;

/** One dispatch, as its threads see it. */
export interface Dispatch {
  readonly kernel: Kernel;
  readonly args: readonly number[];
  readonly items: number;
  /** False: every fault stalls its item. For kernels that have effects outside of memory. */
  readonly mayReplay: boolean;
}

/** One thread's runner. */
export class ItemRunner {
  readonly #record: SoftwareRecord;
  readonly #device: DeviceRecord;
  readonly #service: FaultService;
  readonly #ring: FaultRing;
  readonly #work: WorkItem;
  readonly #memory: TypedAccess;
  /** The window: item, page of its last fault (-1 none), times it was given up. */
  readonly #items = new Float64Array(WINDOW_MAX);
  readonly #lastPages = new Float64Array(WINDOW_MAX);
  readonly #replays = new Uint8Array(WINDOW_MAX);
  /**
   * Pages that this pass has met, direct-mapped: a page that is pushed out counts as new when it
   * comes again.
   */
  readonly #metPages = new Float64Array(MET_PAGES).fill(-1);
  readonly #metPasses = new Float64Array(MET_PAGES);
  #passes = 0;
  #count = 0;
  #windowSize = WINDOW_MAX;
  /** Items that will stall, since giving up did not pay; and how many it will be next time. */
  #stallingItems = 0;
  #stallingNext = STALLING_ITEMS_MIN;
  /** Items taken from the dispatch that are not in the window yet. */
  #next = 0;
  #end = 0;

  constructor(
    record: SoftwareRecord,
    service: FaultService,
    ring: FaultRing,
    work: WorkItem,
    memory: TypedAccess,
  ) {
    this.#record = record;
    this.#device = service.device.record;
    this.#service = service;
    this.#ring = ring;
    this.#work = work;
    this.#memory = memory;
  }

  /**
   * Runs items until the dispatch has no more, or is stopped. What ended it early, if anything did:
   * then the others are told to stop too.
   *
   * @stepped dispatch
   */
  run(dispatch: Dispatch): Error | undefined {
    const failure = refusedKernel(dispatch.kernel) ?? this.#runItems(dispatch);
    this.#work.end();
    if (failure !== undefined) stopDispatch(this.#record);
    return failure;
  }

  /** @stepped dispatch */
  #runItems(dispatch: Dispatch): Error | undefined {
    this.#count = 0;
    this.#next = 0;
    this.#end = 0;
    const { memory } = this.#record;
    while (this.#refill(dispatch)) {
      if (isStopped(this.#record)) return undefined;
      const failure = this.#pass(dispatch);
      if (failure !== undefined) return failure;
      if (this.#ring.countWaiting() > 0)
        runBlocking(memory, this.#service.serveWaiting(this.#ring), "device faults");
    }
    return undefined;
  }

  /**
   * Fills the window up. False: nothing is left.
   *
   * @stepped dispatch
   */
  #refill({ items }: Dispatch): boolean {
    while (this.#count < this.#windowSize) {
      if (this.#next === this.#end) {
        const chunk = chunkOf(items, this.#device.threads);
        const first = takeItems(this.#record, items, chunk);
        if (first === items) break;
        this.#next = first;
        this.#end = Math.min(first + chunk, items);
      }
      this.#items[this.#count] = this.#next++;
      this.#lastPages[this.#count] = -1;
      this.#replays[this.#count] = 0;
      this.#count++;
    }
    return this.#count > 0;
  }

  /**
   * Runs the items of the window, each once, and keeps those that were given up. Ends early when
   * most of them wait for the same pages: then the batch is as large as it will get, and giving up
   * more items would be work for nothing.
   *
   * @stepped dispatch
   */
  #pass(dispatch: Dispatch): Error | undefined {
    this.#passes++;
    let kept = 0;
    let ran = 0;
    let stuck = 0;
    let repeats = 0;
    let failure: Error | undefined;
    for (; ran < this.#count && failure === undefined; ran++) {
      if (isStopped(this.#record)) return undefined;
      const lastPage = this.#lastPages[ran]!;
      const replays = this.#replays[ran]!;
      const item = this.#items[ran]!;
      const mustStall = !dispatch.mayReplay || replays >= REPLAYS_MAX || this.#stallingItems > 0;
      if (this.#stallingItems > 0) this.#stallingItems--;
      failure = this.#attempt(dispatch.kernel, dispatch.args, item, mustStall);
      const page = this.#work.faultedPage;
      if (page < 0) continue;
      // One more replay promises nothing when the last one got no further.
      const isStuck = page === lastPage;
      if (isStuck) stuck++;
      this.#keep(kept++, item, page, isStuck ? REPLAYS_MAX : replays + 1);
      if (this.#hasMet(page)) repeats++;
      if (repeats > REPEATS_MIN && repeats * 4 > kept) {
        ran++;
        this.#judge(kept - repeats);
        break;
      }
    }
    countAtomically(this.#device, "items", ran - kept - (failure === undefined ? 0 : 1));
    countAtomically(this.#device, "replays", kept);
    this.#resize(stuck, kept);
    for (; ran < this.#count; ran++)
      this.#keep(kept++, this.#items[ran]!, this.#lastPages[ran]!, this.#replays[ran]!);
    this.#count = kept;
    return failure;
  }

  /**
   * A pass has ended early, having met `pages` pages: with few of them a batch saves nothing, and
   * every item given up was run for nothing.
   */
  #judge(pages: number): void {
    if (pages >= WORTHWHILE_PAGES) {
      this.#stallingNext = STALLING_ITEMS_MIN;
      return;
    }
    this.#stallingItems = this.#stallingNext;
    this.#stallingNext = Math.min(this.#stallingNext * 2, STALLING_ITEMS_MAX);
  }

  #keep(slot: number, item: number, page: number, replays: number): void {
    this.#items[slot] = item;
    this.#lastPages[slot] = page;
    this.#replays[slot] = replays;
  }

  /** Whether an item of this pass has faulted on the page before; from now on one has. */
  #hasMet(page: number): boolean {
    const slot = page & (MET_PAGES - 1);
    const isMet = this.#metPages[slot] === page && this.#metPasses[slot] === this.#passes;
    this.#metPages[slot] = page;
    this.#metPasses[slot] = this.#passes;
    return isMet;
  }

  /** Many items that got no further: what was brought for them had to go again before they ran. */
  #resize(stuck: number, kept: number): void {
    if (stuck * 4 > kept) this.#windowSize = Math.max(1, this.#windowSize >>> 1);
    else if (stuck === 0) this.#windowSize = Math.min(WINDOW_MAX, this.#windowSize + 8);
  }

  /** @stepped kernel */
  #attempt(
    kernel: Kernel,
    args: readonly number[],
    item: number,
    mustStall: boolean,
  ): Error | undefined {
    const work = this.#work;
    work.begin(item, mustStall);
    try {
      // A kernel returns nothing, but nothing keeps it from returning something.
      const result: unknown = kernel(this.#memory, item, args);
      if (result !== undefined) {
        const refused = refusedResult(item, result);
        if (refused !== undefined) return this.#refuse(refused, result);
      }
    } catch (error) {
      // What an item throws that is over already is its kernel's answer to our own exception.
      if (!work.isOver)
        return hasPanicked(this.#record.memory) && error instanceof Error
          ? error
          : kernelThrew(item, error);
    }
    return work.failure;
  }

  /**
   * Whatever the item did, it is not to be run again. A promise that it returned may be rejected
   * yet, which is nobody's concern then.
   */
  #refuse(refused: KernelFailure, result: unknown): KernelFailure {
    this.#work.faultedPage = -1;
    if (result instanceof Promise) result.catch(() => {});
    return refused;
  }
}
