/**
 * @module devices/service/device-table
 * The device's page table: a radix table (mmu/radix-table.ts) as the CPU's, with entries of its
 * own.
 *
 *     31                           8 7  6  5           4     3         2       1       0
 *     +-----------------------------+-----+-----------+-----+---------+-------+-------+-------+
 *     | frame number (pfn), 24 bits |     | EXCLUSIVE | OWN | PRESENT | LOCAL | WRITE | YOUNG |
 *     +-----------------------------+-----+-----------+-----+---------+-------+-------+-------+
 *
 * LOCAL: a read copy in device memory. Else the frame is the CPU's own, reached over the bus; WRITE
 * only there. A page has one entry: as soon as a thread of the device writes it, all read it in
 * RAM, and the copy is gone. OWN: in private memory of the device, where the page itself is.
 * EXCLUSIVE: in RAM, and the CPU is kept out.
 *
 * Changed under the driver lock (D1, D2 of device-record.ts), which is the table's lock. Read
 * without it as hints, and by device threads that check afterwards whether the entry was flushed
 * (mmu/soft-tlb.ts; W3 of mmu/radix-table.ts). If the device has a table of its own, its
 * TranslationUnit is notified of each change.
 */

import {
  atomicAnd,
  atomicStore,
  ENTRY_PFN_SHIFT,
  ENTRY_READABLE,
  forEachLeaf,
  freeEmptyLeaves,
  freeTables,
  leafAlloc,
  leafOf,
  PGD_WORDS,
  pteIndex,
  speculativeAtomicLoad,
  TASK_SIZE_PAGES,
  wordAt,
  type LeafVisitor,
  type Machine,
  type Mutex,
  type Task,
} from "../../driver-interface.ts";
import type { TranslationUnit } from "./device-hardware.ts";
import { count } from "./device-stats.ts";
import { DeviceRecord } from "./device-record.ts";
import { Frames } from "./frames.ts";

/** ENTRY_READABLE is YOUNG here. */
export const ENTRY_PRESENT = 0x08;
/** The device may store to the frame. Never together with ENTRY_LOCAL. */
export const ENTRY_WRITE = 0x02;
/** A read copy in device memory. */
export const ENTRY_LOCAL = 0x04;
/** In private memory of the device: the page itself, not a copy. */
export const ENTRY_OWN = 0x10;
/** In RAM, and the CPU is kept out (`hmmRangeExclusive`). */
export const ENTRY_EXCLUSIVE = 0x20;
/**
 * A thread may load by this entry without a word to anybody. A copy is not young at first, nor
 * after the eviction's hand came by (eviction.ts): then the thread that needs it marks its frame as
 * used.
 */
export const ENTRY_YOUNG: number = ENTRY_READABLE;

/** Whether an entry allows the access. */
export function entryAllows(entry: number, isWrite: boolean): boolean {
  const wanted = isWrite ? ENTRY_PRESENT | ENTRY_WRITE : ENTRY_PRESENT;
  return (entry & wanted) === wanted;
}

/**
 * The entry of frame `pfn` with ENTRY_ bits: present, and young unless it is a copy.
 */
export function makeDeviceEntry(pfn: number, flags: number): number {
  const young = (flags & ENTRY_LOCAL) === 0 ? ENTRY_YOUNG : 0;
  return (pfn << ENTRY_PFN_SHIFT) | flags | young | ENTRY_PRESENT;
}

/** The frame number (pfn) of an entry of the device's table. */
export function entryFrameNumber(entry: number): number {
  return entry >>> ENTRY_PFN_SHIFT;
}

/** Makes the top table of a new device. False: ENOMEM. */
export function* allocDeviceTable(machine: Machine, record: DeviceRecord): Task<boolean> {
  return (yield* machine.heap.allocWords(PGD_WORDS, record.at + DeviceRecord.offset.pgd)) !== 0;
}

/** Frees all tables. Nobody uses the device any more. */
export function* freeDeviceTable(machine: Machine, record: DeviceRecord): Task<void> {
  const note = record.at + DeviceRecord.offset.pgd;
  if (record.pgd !== 0) yield* freeTables(machine, record.pgd, note);
}

/** What a walk has cleared so far, and the pages between the first and the last of it. */
interface Dropped {
  pages: number;
  startPage: number;
  endPage: number;
}

/** One thread's view of a device's page table. */
export class DeviceTable {
  /** The machine that the device belongs to. */
  readonly machine: Machine;
  /** The device's record in the kernel heap. */
  readonly record: DeviceRecord;
  /** Its frame table. */
  readonly frames: Frames;
  /** Pointer of the top table. */
  readonly pgd: number;
  /** What frame 0 of device memory is called in the entries. */
  readonly firstPfn: number;
  /** The record's lock, made once. */
  readonly driverLock: Mutex;
  /** The hardware that drops translations. */
  readonly unit: TranslationUnit;

  constructor(machine: Machine, record: DeviceRecord, unit: TranslationUnit) {
    this.machine = machine;
    this.record = record;
    this.frames = new Frames(record);
    this.pgd = record.pgd;
    this.firstPfn = record.firstPfn;
    this.driverLock = record.driverLock;
    this.unit = unit;
    machine.memory.ensure(this.pgd + PGD_WORDS);
  }

  /**
   * The entry of `page`, 0 when there is none. Without the driver lock it is a hint, or is checked
   * by its generation.
   *
   * @stepped device entry
   */
  entryOf(page: number): number {
    const { memory } = this.machine;
    const leaf = leafOf(memory, this.pgd, page);
    return leaf === 0 ? 0 : speculativeAtomicLoad(memory.words, pteIndex(leaf, page));
  }

  /**
   * The frame of `page` is not known to be in use any more. The caller flushes, so that no thread
   * goes on by a translation that it remembers. Holding the driver lock.
   *
   * @stepped device entry
   */
  makeOld(page: number): void {
    const index = this.indexOf(page);
    if (index !== 0) atomicAnd(this.machine.memory.words, index, ~ENTRY_YOUNG);
  }

  /** Word index of the entry of `page`, 0 when it has no leaf. Holding the driver lock. */
  indexOf(page: number): number {
    const leaf = leafOf(this.machine.memory, this.pgd, page);
    return leaf === 0 ? 0 : pteIndex(leaf, page);
  }

  /**
   * Word index of the entry of `page`, its leaf made if need be; 0 = ENOMEM. Holding the driver
   * lock.
   */
  *makeIndex(page: number): Task<number> {
    const leaf = yield* leafAlloc(this.machine, this.pgd, page);
    return leaf === 0 ? 0 : pteIndex(leaf, page);
  }

  /**
   * Sets the entry at `index`. The caller has the device install it (TranslationUnit); D1 of
   * device-record.ts.
   *
   * @stepped device entry
   */
  setEntry(index: number, entry: number): void {
    atomicStore(this.machine.memory.words, index, entry);
  }

  /**
   * Clears the entry at `index` and frees its frame, if it has one. The caller flushes before the
   * driver lock is dropped (D2 of device-record.ts).
   *
   * @stepped device entry
   */
  drop(index: number): void {
    const { words } = this.machine.memory;
    const entry = wordAt(words, index);
    atomicStore(words, index, 0);
    if ((entry & ENTRY_LOCAL) !== 0) this.frames.give(entryFrameNumber(entry) - this.firstPfn);
  }

  /**
   * Clears the page's entry; its frame is the caller's. The caller flushes.
   *
   * @stepped device entry
   */
  clearEntry(page: number): void {
    const index = this.indexOf(page);
    if (index !== 0) atomicStore(this.machine.memory.words, index, 0);
  }

  /**
   * Clears every entry of [startPage, endPage), and flushes. `onLost` is called for each that has
   * one of the bits `lost`. Returns how many entries there were. Holding the driver lock.
   */
  *dropRange(
    startPage: number,
    endPage: number,
    lost: number = 0,
    onLost: (page: number) => void = () => {},
  ): Task<number> {
    const dropped: Dropped = { pages: 0, startPage: endPage, endPage: startPage };
    const visit: LeafVisitor = (leaf, from, to) =>
      this.#dropLeaf(leaf, from, to, dropped, (page, entry) => {
        if ((entry & lost) !== 0) onLost(page);
      });
    yield* forEachLeaf(this.machine.memory, this.pgd, startPage, endPage, visit, true);
    if (dropped.pages > 0) yield* this.unit.flush(dropped.startPage, dropped.endPage);
    count(this.record, "dropped", dropped.pages);
    return dropped.pages;
  }

  /**
   * Clears every entry and leaves the frames as they are. Returns how many there were. The caller
   * flushes, and sees to the frames. Of a thread that died with the driver lock.
   *
   * @stepped device entry
   */
  *forget(): Task<number> {
    let entries = 0;
    const { memory } = this.machine;
    const visit: LeafVisitor = function* (leaf, from, to): Task<number> {
      for (let page = from; page < to; page++) {
        const index = pteIndex(leaf, page);
        if (wordAt(memory.words, index) === 0) continue;
        atomicStore(memory.words, index, 0);
        entries++;
      }
      return 0;
    };
    yield* forEachLeaf(memory, this.pgd, 0, TASK_SIZE_PAGES, visit, true);
    return entries;
  }

  *#dropLeaf(
    leaf: number,
    startPage: number,
    endPage: number,
    dropped: Dropped,
    onDrop: (page: number, entry: number) => void,
  ): Task<number> {
    for (let page = startPage; page < endPage; page++) {
      const index = pteIndex(leaf, page);
      const entry = wordAt(this.machine.memory.words, index);
      if (entry === 0) continue;
      onDrop(page, entry);
      this.drop(index);
      dropped.startPage = Math.min(dropped.startPage, page);
      dropped.endPage = page + 1;
      dropped.pages++;
    }
    return 0;
  }

  /**
   * Frees the leaves that lie wholly inside [startPage, endPage), whose entries have been dropped:
   * a program that maps and unmaps in ever new places must not fill the heap with empty tables.
   * Holding the driver lock.
   */
  freeLeaves(startPage: number, endPage: number): Task<void> {
    return freeEmptyLeaves(
      this.machine,
      { pgd: this.pgd, shootdown: this.unit },
      startPage,
      endPage,
    );
  }
}
