/**
 * @module devices/software/device-translator
 * What the software TLB of a device thread asks: the device's page table, and a fault where its
 * entry is of no use. There are two ways to take a fault. What the running work item has done so
 * far decides which:
 *
 *   - Abandon. A work item that has changed nothing yet may be given up and run again from its
 *     start: there is no trace of it. Its fault goes into the ring, an exception that was made
 *     beforehand takes the thread out of the kernel (0.2 us), and the next item runs meanwhile. One
 *     batch serves the faults of many.
 *   - Stall. The item waits here until its page is there, then goes on. Always after its first
 *     store or read-modify-write, which must be neither lost nor made twice; and when it has been
 *     given up so often that one more replay will not help.
 *
 * A stalled access needs one frame at a time, so an item gets through however small device memory
 * is. If others evict that frame before the access is made, STEALS_MAX times, the page is used in
 * RAM.
 */

import {
  atomicCompareExchange,
  atomicLoad,
  EBUSY,
  EFAULT,
  enterStore,
  leafOf,
  leaveStore,
  PAGE_BYTES,
  pteIndex,
  runBlocking,
  TASK_SIZE_PAGES,
  type Errno,
  type StoringItem,
  type Translator,
} from "../../driver-interface.ts";
import { DeviceFault, outsideItem } from "../device-fault.ts";
import { countAtomically } from "../service/device-stats.ts";
import {
  type DeviceTable,
  ENTRY_PRESENT,
  ENTRY_WRITE,
  ENTRY_YOUNG,
  entryAllows,
  entryFrameNumber,
} from "../service/device-table.ts";
import { DeviceRecord } from "../service/device-record.ts";
import type { FaultRing } from "../service/fault-ring.ts";
import type { FaultService } from "../service/fault-service.ts";

const PGD_AT: number = DeviceRecord.offset.pgd;

/**
 * Times that a page is brought for one access and is gone again before the access, until it is used
 * in RAM instead.
 */
export const STEALS_MAX = 4;

/**
 * Faults of one access: each was served, and its translation cleared again before the access. Then
 * some thread changes the mapping in a tight loop.
 */
const ACCESS_FAULTS_MAX = 10_000;

/**
 * What takes a thread out of a kernel whose work item has been given up. Made once: it says nothing
 * but that.
 */
class WorkItemAbandoned extends Error {}
export const ABANDONED: Error = new WorkItemAbandoned(
  "a work item was given up at a fault and will run again; a kernel must let this pass",
);

/** The work item that a device thread is running. */
export class WorkItem implements StoringItem {
  item = -1;
  /** Faults stall it. */
  mustStall = false;
  /** It has made a store or a read-modify-write: it cannot be run again. */
  hasStored = false;
  /**
   * It has been given up, or has failed, or there is none: nothing that is done from now on has an
   * effect.
   */
  isOver = true;
  /** The page at which it was given up, -1 if it was not. */
  faultedPage = -1;
  failure: Error | undefined;

  begin(item: number, mustStall: boolean): void {
    this.item = item;
    this.mustStall = mustStall;
    this.hasStored = false;
    this.isOver = false;
    this.faultedPage = -1;
    this.failure = undefined;
  }

  /**
   * The dispatch is over. What its kernel has left behind (promises, timers) belongs to no item.
   */
  end(): void {
    this.item = -1;
    this.isOver = true;
    this.failure = undefined;
  }

  /** Why an access of an item that is over is refused. */
  refusal(): Error {
    if (this.item < 0) return outsideItem();
    return this.failure ?? ABANDONED;
  }
}

export class DeviceTranslator implements Translator {
  /** YOUNG as well: a store is a use, too, of a page of the device's own. */
  readonly writeBits: number = ENTRY_PRESENT | ENTRY_WRITE | ENTRY_YOUNG;
  readonly #table: DeviceTable;
  readonly #service: FaultService;
  readonly #ring: FaultRing;
  readonly #work: WorkItem;

  constructor(service: FaultService, ring: FaultRing, work: WorkItem) {
    this.#table = service.device.table;
    this.#service = service;
    this.#ring = ring;
    this.#work = work;
  }

  /** @stepped */
  root(): number {
    if (this.#work.isOver) throw this.#work.refusal();
    return this.#table.pgd;
  }

  /** @stepped */
  fault(page: number, write: boolean, address: number, faults: number): void {
    if (page >= TASK_SIZE_PAGES) this.#fail(EFAULT, page, write, address);
    const entry = this.#table.entryOf(page);
    if (!entryAllows(entry, write)) {
      if (faults === ACCESS_FAULTS_MAX) this.#fail(EBUSY, page, write, address);
      this.#bring(page, write, address, faults);
    } else if ((entry & ENTRY_YOUNG) === 0) {
      this.#use(page, entry);
    }
  }

  /**
   * The copy that `entry`, the entry of `page`, names is about to be used: it is young from now on,
   * unless the entry has changed meanwhile. Inside a store's mark, for the leaf may be on its way
   * out: a leaf that is found behind the mark is not freed before this thread has left (W3 of
   * mmu/radix-table.ts).
   *
   * @stepped device entry
   */
  #use(page: number, entry: number): void {
    const { machine, record, frames, firstPfn } = this.#table;
    const { memory } = machine;
    enterStore(memory);
    // Atomic: the walk comes after the mark, which plain reads could overtake.
    const root = atomicLoad(memory.words, record.at + PGD_AT);
    const leaf = leafOf(memory, root, page);
    if (leaf !== 0)
      atomicCompareExchange(memory.words, pteIndex(leaf, page), entry, entry | ENTRY_YOUNG);
    leaveStore(memory);
    // After the entry: a hand that comes between clears both, or finds the frame in use.
    frames.touch(entryFrameNumber(entry) - firstPfn);
  }

  /** @stepped */
  #bring(page: number, write: boolean, address: number, steals: number): void {
    const work = this.#work;
    if (!work.mustStall && !work.hasStored && this.#ring.put(page, write)) {
      work.isOver = true;
      work.faultedPage = page;
      throw ABANDONED;
    }
    const { machine, record } = this.#table;
    countAtomically(record, "stalls", 1);
    const errno = runBlocking(
      machine.memory,
      this.#service.resolve(page, write, steals >= STEALS_MAX),
      "device fault",
    );
    if (errno !== 0) this.#fail(errno, page, write, address);
  }

  #fail(errno: Errno, page: number, write: boolean, address: number): never {
    const failure = new DeviceFault({
      errno,
      address: Number.isFinite(address) ? address : page * PAGE_BYTES,
      access: write ? "write" : "read",
      item: this.#work.item,
    });
    this.#work.isOver = true;
    this.#work.failure = failure;
    throw failure;
  }
}
