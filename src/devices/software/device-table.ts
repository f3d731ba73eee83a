/**
 * @module devices/software/device-table
 * The device's page table: the same radix tree as the CPU's (mm/page-table.ts), with entries of its own.
 *
 *     31                                8 7    3  2       1       0
 *     +----------------------------------+------+-------+-------+---------+
 *     | frame number (pfn), 24 bits      |      | LOCAL | WRITE | PRESENT |
 *     +----------------------------------+------+-------+-------+---------+
 *
 * LOCAL: a read copy in device memory. Else the frame is the CPU's own, reached over the bus; WRITE only there. A page has one entry, so it is read where it
 * is written as soon as anybody on the device writes it, and the copy is gone.
 *
 * Changed under the driver lock (D1, D2 of device-record.ts). Read without a lock by the device's threads, as the CPU's table is by CPU threads: they noted the
 * shootdown generation before, and look at it again after the access (mmu/soft-tlb.ts), so a word read from a leaf that is being freed is used for
 * nothing (W3 of mm/page-table.ts holds here too).
 */

import type { Machine } from "../../memory/machine.ts";
import {
  LEAF_SHIFT,
  LEAF_WORDS,
  MID_SHIFT,
  MID_SPAN_PAGES,
  MID_WORDS,
  PGD_WORDS,
  freeTables,
  leafOf,
  nextLeafPage,
  pteIndex,
  wordAt,
} from "../../mm/page-table.ts";
import { atomicStore, speculativeLoad } from "../../sync/atomics.ts";
import type { Mutex } from "../../sync/mutex.ts";
import type { Shootdown } from "../../sync/shootdown.ts";
import type { Task } from "../../sync/task.ts";
import { DROPPED, count } from "./device-stats.ts";
import type { DeviceRecord } from "./device-record.ts";
import { Frames } from "./frames.ts";

export const ENTRY_PRESENT = 0x01;
export const ENTRY_WRITE = 0x02;
export const ENTRY_LOCAL = 0x04;
export const ENTRY_PFN_SHIFT = 8;

/** The entry of a frame. */
export function makeDeviceEntry(pfn: number, flags: number): number {
  return (pfn << ENTRY_PFN_SHIFT) | flags | ENTRY_PRESENT;
}

export function entryFrameNumber(entry: number): number {
  return entry >>> ENTRY_PFN_SHIFT;
}

/** Makes the top table of a new device. False: ENOMEM. */
export function* allocDeviceTable(machine: Machine, record: DeviceRecord): Task<boolean> {
  record.pgd = yield* machine.heap.allocWords(PGD_WORDS);
  return record.pgd !== 0;
}

/** Frees all tables. Nobody uses the device any more. */
export function* freeDeviceTable(machine: Machine, record: DeviceRecord): Task<void> {
  if (record.pgd !== 0) yield* freeTables(machine, record.pgd);
}

/** One thread's view of a device's page table. */
export class DeviceTable {
  readonly machine: Machine;
  readonly record: DeviceRecord;
  readonly frames: Frames;
  readonly pgd: number;
  readonly firstPfn: number;
  /** The record's lock and shootdown, made once. */
  readonly driverLock: Mutex;
  readonly shootdown: Shootdown;

  constructor(machine: Machine, record: DeviceRecord) {
    this.machine = machine;
    this.record = record;
    this.frames = new Frames(record);
    this.pgd = record.pgd;
    this.firstPfn = record.firstPfn;
    this.driverLock = record.driverLock;
    this.shootdown = record.shootdown;
    machine.memory.ensure(this.pgd + PGD_WORDS);
  }

  /**
   * The entry of `page`, 0 when there is none. Without the driver lock it is a hint, or is checked by its generation.
   *
   * @stepped device entry
   */
  entryOf(page: number): number {
    const { memory } = this.machine;
    const leaf = leafOf(memory, this.pgd, page);
    return leaf === 0 ? 0 : speculativeLoad(memory.words, pteIndex(leaf, page));
  }

  /** Word index of the entry of `page`, 0 when it has no leaf. Holding the driver lock. */
  indexOf(page: number): number {
    const leaf = leafOf(this.machine.memory, this.pgd, page);
    return leaf === 0 ? 0 : pteIndex(leaf, page);
  }

  /**
   * Word index of the entry of `page`, its leaf made if need be; 0 = ENOMEM. Holding the driver lock, so nobody else makes or frees one.
   *
   * @stepped device entry
   */
  *makeIndex(page: number): Task<number> {
    const { heap, memory } = this.machine;
    const found = this.indexOf(page);
    if (found !== 0) return found;
    const top = this.pgd + (page >>> MID_SHIFT);
    let mid = wordAt(memory.words, top);
    if (mid === 0) {
      mid = yield* heap.allocWords(MID_WORDS);
      if (mid === 0) return 0;
      atomicStore(memory.words, top, mid); // readers without the lock find it whole
    }
    const leaf = yield* heap.allocWords(LEAF_WORDS);
    if (leaf === 0) return 0;
    atomicStore(memory.words, mid + ((page >>> LEAF_SHIFT) & (MID_WORDS - 1)), leaf);
    return this.indexOf(page);
  }

  /**
   * Takes the entry at `index` away and gives its frame, if it has one, back. The caller flushes before the driver lock is dropped (D2).
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
   * The page's frame is taken from it. The caller flushes.
   *
   * @stepped device entry
   */
  clearEntry(page: number): void {
    const index = this.indexOf(page);
    if (index !== 0) atomicStore(this.machine.memory.words, index, 0);
  }

  /**
   * Takes every entry of [startPage, endPage) away, and flushes. `onLocal` hears of each copy that is dropped. Returns how many entries there were. Holding the
   * driver lock.
   */
  *dropRange(startPage: number, endPage: number, onLocal?: (page: number) => void): Task<number> {
    let dropped = 0;
    let first = endPage;
    let end = startPage;
    for (let page = startPage; page < endPage;) {
      const leaf = this.#leafFrom(page);
      const stop = leaf < 0 ? page - (page % MID_SPAN_PAGES) + MID_SPAN_PAGES : Math.min(nextLeafPage(page), endPage);
      for (let at = leaf > 0 ? page : stop; at < stop; at++) {
        const index = pteIndex(leaf, at);
        const entry = wordAt(this.machine.memory.words, index);
        if (entry === 0) continue;
        if ((entry & ENTRY_LOCAL) !== 0) onLocal?.(at);
        this.drop(index);
        first = Math.min(first, at);
        end = at + 1;
        dropped++;
      }
      page = stop;
    }
    if (dropped > 0) yield* this.shootdown.flush(first, end);
    count(this.record, DROPPED, dropped);
    return dropped;
  }

  /** The leaf of `page`, 0 when it has none, -1 when nothing within the 4 GiB around has. */
  #leafFrom(page: number): number {
    const mid = wordAt(this.machine.memory.words, this.pgd + (page >>> MID_SHIFT));
    return mid === 0 ? -1 : leafOf(this.machine.memory, this.pgd, page);
  }

  /**
   * Frees the leaves that lie wholly inside [startPage, endPage), whose entries have been dropped: a program that maps and unmaps in ever new places must not
   * fill the heap with empty tables. Holding the driver lock.
   *
   * @stepped device entry
   */
  *freeLeaves(startPage: number, endPage: number): Task<void> {
    const { heap, memory } = this.machine;
    const first = Math.ceil(startPage / LEAF_WORDS) * LEAF_WORDS;
    for (let page = first; page + LEAF_WORDS <= endPage;) {
      const leaf = this.#leafFrom(page);
      if (leaf > 0) {
        const mid = wordAt(memory.words, this.pgd + (page >>> MID_SHIFT));
        atomicStore(memory.words, mid + ((page >>> LEAF_SHIFT) & (MID_WORDS - 1)), 0);
        // A reader that has just found the leaf is told by its generation that it found nothing.
        yield* this.shootdown.flush(page, page + 1);
        yield* heap.freeWords(leaf, LEAF_WORDS);
      }
      page = leaf < 0 ? page - (page % MID_SPAN_PAGES) + MID_SPAN_PAGES : page + LEAF_WORDS;
    }
  }
}
