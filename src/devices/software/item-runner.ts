/**
 * @module devices/software/item-runner
 * Runs a kernel's work items on one device thread, as exactly as if each ran once from start to
 * end, and with few stops:
 *
 *   - The thread has a window of items under way. It runs each from its start. One that faults
 *     before it has changed anything is given up, and stays in the window; its fault is recorded.
 *     After a pass over the window all recorded faults, of all threads, are served as one batch,
 *     and the items that are left run again.
 *   - Why that is exact: until its first store or read-modify-write an item has had no effect on
 *     memory, so giving it up leaves no trace, and its loads are made anew from the start. From
 *     that store on it is never given up: a fault stalls it in the middle (device-translator.ts).
 *     So no store is lost and none is made twice.
 *   - Why it ends: an item that faults on the same page twice running, or REPLAYS_MAX times, runs
 *     stalling from then on, and needs one frame at a time only.
 *
 * Whether giving up pays, and how many items to have under way, is for replay-policy.ts to say.
 */

import { HmmError, hasPanicked, runBlocking, type TypedMemory } from "../../driver-interface.ts";
import { type KernelFailure, kernelThrew, refusedKernel, refusedResult } from "../device-fault.ts";
import type { Kernel } from "./kernel.ts";
import { noteKernelLines } from "./kernel-stack.ts";
import { countAtomically } from "../service/device-stats.ts";
import type { WorkItem } from "./device-translator.ts";
import { chunkOf, isStopped, stopDispatch, takeItems } from "./dispatch-state.ts";
import type { DeviceRecord } from "../service/device-record.ts";
import type { FaultRing } from "../service/fault-ring.ts";
import type { FaultService } from "../service/fault-service.ts";
import { ReplayPolicy, WINDOW_MAX } from "./replay-policy.ts";
import type { SoftwareRecord } from "./software-record.ts";

/** Times that an item is given up, until it runs stalling. */
export const REPLAYS_MAX = 24;
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
  readonly #memory: TypedMemory;
  readonly #policy = new ReplayPolicy();
  /** The window: item, page of its last fault (-1 none), times it was given up. */
  readonly #items = new Float64Array(WINDOW_MAX);
  readonly #lastPages = new Float64Array(WINDOW_MAX);
  readonly #replays = new Uint8Array(WINDOW_MAX);
  #count = 0;
  /** Items taken from the dispatch that are not in the window yet. */
  #next = 0;
  #end = 0;

  constructor(
    record: SoftwareRecord,
    service: FaultService,
    ring: FaultRing,
    work: WorkItem,
    memory: TypedMemory,
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
   * then the other threads stop too.
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
    while (this.#count < this.#policy.windowSize) {
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
   * the policy says so: then the batch is as large as it will get.
   *
   * @stepped dispatch
   */
  #pass(dispatch: Dispatch): Error | undefined {
    const policy = this.#policy;
    policy.startPass();
    let kept = 0;
    let ran = 0;
    let isOver = false;
    let failure: Error | undefined;
    for (; ran < this.#count && failure === undefined && !isOver; ran++) {
      if (isStopped(this.#record)) return undefined;
      const item = this.#items[ran]!;
      const replays = this.#replays[ran]!;
      const mustStall = policy.takeStall() || !dispatch.mayReplay || replays >= REPLAYS_MAX;
      failure = this.#attempt(dispatch.kernel, dispatch.args, item, mustStall);
      const page = this.#work.faultedPage;
      if (page < 0) continue;
      // One more replay promises nothing when the last one got no further.
      const isStuck = page === this.#lastPages[ran];
      this.#keep(kept++, item, page, isStuck ? REPLAYS_MAX : replays + 1);
      isOver = policy.noteFault(page, isStuck);
    }
    policy.endPass();
    countAtomically(this.#device, "items", ran - kept - (failure === undefined ? 0 : 1));
    countAtomically(this.#device, "replays", kept);
    for (; ran < this.#count; ran++)
      this.#keep(kept++, this.#items[ran]!, this.#lastPages[ran]!, this.#replays[ran]!);
    this.#count = kept;
    return failure;
  }

  #keep(slot: number, item: number, page: number, replays: number): void {
    this.#items[slot] = item;
    this.#lastPages[slot] = page;
    this.#replays[slot] = replays;
  }

  /** @stepped kernel */
  #attempt(
    kernel: Kernel,
    args: readonly number[],
    item: number,
    mustStall: boolean,
  ): Error | undefined {
    const work = this.#work;
    const { mark } = this.#memory;
    work.begin(item, mustStall);
    mark.openSection();
    try {
      // A kernel returns nothing, but nothing keeps it from returning something.
      const result: unknown = kernel(this.#memory, item, args);
      if (result !== undefined) {
        const refused = refusedResult(item, result);
        if (refused !== undefined) return this.#refuse(refused, result);
      }
    } catch (error) {
      // What an item throws that is over already is its kernel's answer to our own exception.
      if (!work.isOver) {
        if (hasPanicked(this.#record.memory) && error instanceof Error) return error;
        const threw = kernelThrew(item, error);
        noteKernelLines(threw, error, new Error("in the runner"));
        return threw;
      }
    } finally {
      mark.closeSection();
    }
    const { failure } = work;
    if (failure instanceof HmmError) noteKernelLines(failure, failure, new Error("in the runner"));
    return failure;
  }

  /**
   * Whatever the item did, it is not run again. A promise that it returned may still be rejected;
   * that is ignored.
   */
  #refuse(refused: KernelFailure, result: unknown): KernelFailure {
    this.#work.faultedPage = -1;
    if (result instanceof Promise) result.catch(() => {});
    return refused;
  }
}
