/**
 * @module memory/frames/frame-allocator
 * Which frames of the machine's own RAM are free (Linux `mm/page_alloc.c`, with its per-cpu page
 * lists): a buddy system for each section under one lock (frame-zones.ts), and before it a free
 * list for each thread, so that threads which fault at the same time do not contend for the lock.
 *
 * A free list is a row of words, one for each thread of the machine: TOP (a hint that only its
 * owner writes), slots that hold a frame or 0, and LAST (the end of its last refill, written and
 * read under ramLock). The owner takes and puts without a lock, so every
 * slot changes hands by an atomic exchange:
 *
 *     owner (pop)                        a thread that found nothing else (steal, holding ramLock)
 *     -----------                        ---------------------------------------------------------
 *     x = exchange(slot[TOP - 1], 0)     y = exchange(slot[i], 0)
 *     [one of x and y is the frame, the other is 0]
 *
 *   A1  A free frame is in exactly one place: a buddy list or a slot. Between the two it moves
 *       under ramLock only. So a thread that holds ramLock and finds none in either place knows
 *       that no frame is free: ENOMEM is exact, however full other threads' free lists are.
 *   A2  A thread that dies leaves its row as it is. The frames in it are free: other threads may
 *       steal them, and the next thread with its id may take them.
 *       One that dies holding ramLock has changed nothing (B4 of heap/buddy.ts), but for a frame
 *       that it has just stolen: that one is lost.
 *   A3  Rows have no slots on small machines (SLOTS_SHARE), where contiguous frames matter more
 *       than speed.
 *   A4  In EXPLORED mode after `stockRows`, a task takes frames from its own row only, and a freed
 *       frame is not reused (as in arenas.ts, for the same reasons). The row's last slot then
 *       counts the frames that its task has freed.
 *   A5  Threads are refilled from different blocks of 2 MiB as long as there are free ones: a
 *       thread goes on behind its last refill, and takes no block in which another thread was
 *       refilled last. The reason lies below us. The operating system has a page table and a lock
 *       for each 2 MiB of a buffer, and commits a fresh page under it. Two threads that were
 *       refilled by turns from one such block had 0.85 of the speed-up of fresh buffers.
 */

import {
  atomicExchange,
  atomicLoad,
  atomicStore,
  exchangeNoted,
  storeNoted,
} from "../../sync/atomics.ts";
import { AGENTS_USED, AGENT_LIMIT } from "../../sync/control-block.ts";
import { EXPLORED, REAL } from "../../sync/shared-memory.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { bug } from "../../sync/errors.ts";
import { undoStore } from "../../sync/words/undo-log.ts";
import type { Spinlock } from "../../sync/primitives/spinlock.ts";
import { DONE, DONE_TRUE, doneNumber } from "../../sync/tasks/task.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { orderFor } from "../heap/buddy.ts";
import { FrameZones } from "./frame-zones.ts";
import type { Shortage } from "../heap/shortage.ts";

/** A row: TOP, up to 62 slots, and LAST. */
const ROW_WORDS = 64;
const SLOTS_MAX: number = ROW_WORDS - 2;
const LAST: number = ROW_WORDS - 1;
/** A5: 2^9 frames, 2 MiB. */
const APART_ORDER = 9;
/** One slot for so many pages of RAM. */
const SLOTS_SHARE = 256;
/** A free list is filled with 2^5 frames at a time, and emptied by half. */
const REFILL_ORDER = 5;

/** Rows of fewer pages on average are sorted first, and may become longer ones. */
const FEW_IN_ROW = 8;

export const FREE_LISTS_WORDS: number = AGENT_LIMIT * ROW_WORDS;

/** Slots of each thread's free list on a machine with so many pages. */
function freeListSlots(totalPages: number): number {
  return Math.min(SLOTS_MAX, Math.floor(totalPages / SLOTS_SHARE));
}

/** Of a word that notes a frame: as an entry of a page table has it. */
export const NOTED_PFN_SHIFT = 8;
const NOTED_BITS = 1;

/** The note of a frame that this thread has in hand. */
export function notedFrame(pfn: number): number {
  return (pfn << NOTED_PFN_SHIFT) | NOTED_BITS;
}

export class FrameAllocator {
  readonly #memory: SharedMemory;
  readonly #lock: Spinlock;
  readonly #freeListsAt: number;
  readonly #slots: number;
  /** A4: rows 1 to this are stocked. */
  #stocked = 0;
  /** The frames that are in no row. */
  readonly zones: FrameZones;
  /** Checked before each allocation of a task with a stocked row, if there is one. */
  shortage: Shortage | undefined;

  constructor(memory: SharedMemory, lock: Spinlock, freeListsAt: number, totalPages: number) {
    this.#memory = memory;
    this.#lock = lock;
    this.#freeListsAt = freeListsAt;
    this.#slots = freeListSlots(totalPages);
    this.zones = new FrameZones(memory, lock);
  }

  /**
   * Takes a free frame, or 0. Its table entry and its contents are those of its last user. With a
   * `note` that word of the heap names it (`notedFrame`) from the step on that takes it.
   */
  take(note: number = 0): Task<number> {
    if (this.#isStocked())
      return this.shortage === undefined
        ? doneNumber(this.#pop(note))
        : this.#popUnless(this.shortage, note);
    const pfn = this.takeFast(note);
    return pfn === 0 ? this.#takeLocked(note) : doneNumber(pfn);
  }

  /**
   * As `take`, from this thread's own free list, for code that is not a task. It never waits. 0
   * means only that the free list is empty.
   *
   * @stepped free list
   */
  takeFast(note: number = 0): number {
    if (!this.#hasRow()) return 0;
    const pfn = this.#pop(note);
    return pfn === 0 ? this.#refillAtOnce(note) : pfn;
  }

  /**
   * Only in REAL mode: there an operation of sync/ that need not wait is done when it returns.
   */
  #refillAtOnce(note: number): number {
    if (this.#memory.mode !== REAL || this.#lock.tryLock() !== DONE_TRUE) return 0;
    const pfn = this.#refill();
    this.#note(pfn, note);
    this.#lock.unlock();
    return pfn;
  }

  /**
   * Gives explored tasks 1 to `count` a row of `pages` frames each (A4). False when there are not
   * enough frames. Takes no lock: no other thread is on the machine yet.
   */
  stockRows(count: number, pages: number): boolean {
    if (pages >= SLOTS_MAX) bug(`Cannot give a task ${pages} frames: a row holds ${SLOTS_MAX - 1}`);
    const { words } = this.#memory;
    let isEnough = true;
    for (let row = 1; row <= count; row++) {
      const at = this.#freeListsAt + row * ROW_WORDS;
      for (let slot = pages; slot > 0; slot--) {
        const pfn = this.zones.take((buddy) => buddy.allocBlock(0));
        words[at + slot] = pfn;
        isEnough &&= pfn !== 0;
      }
      words[at] = pages;
    }
    this.#stocked = count;
    return isEnough;
  }

  /**
   * Takes `pages` contiguous free frames: the first, or 0. With a `note` that word of the heap is
   * its number from the change on that takes them.
   */
  *takeRun(pages: number, note: number = 0): Task<number> {
    if (this.#isStocked() && this.shortage !== undefined && (yield* this.shortage.isOn())) return 0;
    yield* this.#lock.lock();
    let pfn = this.zones.take((buddy) => buddy.allocRun(pages));
    if (pfn === 0 && this.#collectRows()) pfn = this.zones.take((buddy) => buddy.allocRun(pages));
    if (note !== 0 && pfn !== 0) this.#store(note, pfn);
    yield* this.#lock.unlock();
    return pfn;
  }

  /** Makes frames free that `takeRun` gave, and that nobody has used. `note` becomes 0 with it. */
  *giveRun(pfn: number, pages: number, note: number): Task<void> {
    yield* this.#lock.lock();
    this.zones.give(pfn, pfn + pages);
    this.#store(note, 0);
    yield* this.#lock.unlock();
  }

  /**
   * Makes the frame free. With a `note` that word of the heap becomes 0 in the same change.
   *
   * @stepped free list
   */
  give(pfn: number, note: number = 0): Task<void> {
    if (this.#isStocked()) return this.#giveStocked(note);
    return this.#hasRow() && this.#push(pfn, note) ? DONE : this.#giveLocked(pfn, note);
  }

  #giveStocked(note: number): Task<void> {
    const { words } = this.#memory;
    words[this.#row() + SLOTS_MAX]!++;
    if (note !== 0) words[note] = 0;
    return DONE;
  }

  /**
   * Makes rows of frames free: `rows` has the first frame and the end of each. More than the free
   * list takes go to the buddy system at once.
   */
  *giveRows(rows: readonly number[]): Task<void> {
    if (pagesOf(rows) > this.#slots && !this.#isStocked()) {
      yield* this.#giveAtOnce(rows, 0);
    } else {
      for (let i = 0; i < rows.length; i += 2)
        for (let pfn = rows[i]!; pfn < rows[i + 1]!; pfn++) yield* this.give(pfn);
    }
  }

  /**
   * The same of frames that words [start, end) of the heap note, and no others; the words become 0.
   * If they go back at once, the word `given` becomes 1 in that change: then none of them is to be
   * given any more. Without such a word, 0, they do not.
   */
  *giveNoted(rows: readonly number[], start: number, end: number, given: number): Task<void> {
    const { words } = this.#memory;
    if (rows.length === 0) return;
    if (pagesOf(rows) > this.#slots && given !== 0 && !this.#isStocked()) {
      yield* this.#giveAtOnce(rows, given);
      words.fill(0, start, end);
      words[given] = 0;
      return;
    }
    for (let note = start; note < end; note++) {
      const pfn = words[note]! >>> NOTED_PFN_SHIFT;
      if (pfn !== 0) yield* this.give(pfn, note);
    }
  }

  *#giveAtOnce(rows: readonly number[], given: number): Task<void> {
    // Frames often come in rows, and to sort them takes as long as to free them.
    const areShort = pagesOf(rows) < (rows.length / 2) * FEW_IN_ROW;
    const sorted = areShort ? Int32Array.from(framesOf(rows)).toSorted() : [];
    yield* this.#lock.lock();
    if (areShort) this.zones.giveRows(sorted);
    else for (let i = 0; i < rows.length; i += 2) this.zones.give(rows[i]!, rows[i + 1]!);
    if (given !== 0) this.#store(given, 1);
    yield* this.#lock.unlock();
  }

  /** Exact while nobody allocates. */
  freePages(): number {
    const { words } = this.#memory;
    let pages = this.zones.freePages();
    for (let i = 0; i < FREE_LISTS_WORDS; i++)
      if (i % ROW_WORDS !== 0 && i % ROW_WORDS !== LAST && words[this.#freeListsAt + i] !== 0)
        pages++;
    for (let row = 1; row <= this.#stocked; row++) {
      const freed = words[this.#freeListsAt + row * ROW_WORDS + SLOTS_MAX]!;
      if (freed > 0) pages += freed - 1; // one of them was counted as a slot
    }
    return pages;
  }

  *#popUnless(shortage: Shortage, note: number): Task<number> {
    return (yield* shortage.isOn()) ? 0 : this.#pop(note);
  }

  *#takeLocked(note: number): Task<number> {
    yield* this.#lock.lock();
    let pfn = this.#hasRow() ? this.#refill() : this.zones.take((buddy) => buddy.allocBlock(0));
    if (pfn === 0) pfn = this.#steal();
    this.#note(pfn, note);
    yield* this.#lock.unlock();
    return pfn;
  }

  *#giveLocked(pfn: number, note: number): Task<void> {
    yield* this.#lock.lock();
    if (this.#hasRow()) this.#lower(this.#slots >> 1);
    if (!this.#hasRow() || !this.#pushLocked(pfn)) this.zones.give(pfn, pfn + 1);
    if (note !== 0) this.#store(note, 0);
    yield* this.#lock.unlock();
  }

  /** Holding ramLock: what was done under it is undone if the note is. */
  #note(pfn: number, note: number): void {
    if (note !== 0 && pfn !== 0) this.#store(note, notedFrame(pfn));
  }

  /**
   * Takes a frame, and puts those after it into the row: from the biggest block that fits, the
   * frame itself included, of at most 2^REFILL_ORDER. So it can be put back without a wait
   * (`FrameRefs.pagePutFast`). Holding ramLock.
   */
  #refill(): number {
    const room = this.#slots - this.#memory.words[this.#row()]!;
    let order = Math.min(REFILL_ORDER, orderFor(room + 1) - 1);
    let pfn = 0;
    for (; order >= 0 && pfn === 0; order--) pfn = this.#blockApart(order);
    if (pfn === 0) return 0;
    const end = pfn + (1 << (order + 1)); // of the block: the loop has gone one further
    this.#store(this.#row() + LAST, end);
    // Highest first, so that frames leave the free list in rising order: adjacent frames then go to
    // adjacent pages.
    for (let next = end - 1; next > pfn; next--)
      if (!this.#pushLocked(next)) this.zones.give(next, next + 1);
    return pfn;
  }

  /** First of 2^order frames for a refill, or 0: A5. Holding ramLock. */
  #blockApart(order: number): number {
    const last = this.#memory.words[this.#row() + LAST]!;
    const isInside = (last & ((1 << APART_ORDER) - 1)) !== 0 && (last & ((1 << order) - 1)) === 0;
    if (isInside && this.zones.takeAt(last, order)) return last;
    return this.zones.take((buddy, basePfn) => {
      const next = buddy.nextBlock(order);
      const isApart = next < 0 || !this.#isOfAnother((basePfn + next) >>> APART_ORDER);
      const page = isApart ? -1 : buddy.allocBlock(order, Math.max(order, APART_ORDER));
      return page < 0 ? buddy.allocBlock(order) : page;
    });
  }

  /** Whether another thread was refilled last from this block of 2 MiB. */
  #isOfAnother(block: number): boolean {
    const { words, agentId } = this.#memory;
    for (let row = 0, end = atomicLoad(words, AGENTS_USED); row < end; row++) {
      const last = words[this.#freeListsAt + row * ROW_WORDS + LAST]!;
      if (last !== 0 && row !== agentId && (last - 1) >>> APART_ORDER === block) return true;
    }
    return false;
  }

  /**
   * Takes a frame from any thread's free list, or 0. Holding ramLock (A1).
   *
   * @stepped free list
   */
  #steal(): number {
    if (this.#isStocked()) return 0;
    const { words } = this.#memory;
    for (let row = 0, end = atomicLoad(words, AGENTS_USED); row < end; row++) {
      const at = this.#freeListsAt + row * ROW_WORDS;
      for (let slot = at + this.#slots; slot > at; slot--) {
        if (words[slot] === 0) continue;
        const pfn = atomicExchange(words, slot, 0);
        if (pfn !== 0) return pfn;
      }
    }
    return 0;
  }

  /**
   * Moves the frames of all free lists to the buddy system. Returns whether there were any. Holding
   * ramLock.
   *
   * @stepped free list
   */
  #collectRows(): boolean {
    let found = false;
    for (let pfn = this.#steal(); pfn !== 0; pfn = this.#steal()) {
      this.zones.give(pfn, pfn + 1);
      found = true;
    }
    return found;
  }

  #hasRow(): boolean {
    return this.#slots > 0 && this.#memory.agentId >= 0 && !this.#isStocked();
  }

  #isStocked(): boolean {
    return (
      this.#memory.mode === EXPLORED &&
      this.#memory.agentId <= this.#stocked &&
      this.#memory.agentId > 0
    );
  }

  #row(): number {
    return this.#freeListsAt + this.#memory.agentId * ROW_WORDS;
  }

  /**
   * Takes a frame from this thread's row, or 0. TOP is lowered last: a thread that dies in between
   * leaves no frame above it.
   *
   * @stepped free list
   */
  #pop(note: number): number {
    const { words } = this.#memory;
    const row = this.#row();
    for (let top = words[row]!; top > 0; top--) {
      const pfn =
        note === 0
          ? atomicExchange(words, row + top, 0)
          : exchangeNoted(words, row + top, 0, words, note, NOTED_PFN_SHIFT, NOTED_BITS);
      words[row] = top - 1;
      if (pfn !== 0) return pfn;
    }
    return 0;
  }

  /**
   * Puts a frame into this thread's row; false when it is full. TOP is raised first, for the same
   * reason.
   *
   * @stepped free list
   */
  #push(pfn: number, note: number): boolean {
    const { words } = this.#memory;
    const row = this.#row();
    const top = words[row]! + 1;
    if (top > this.#slots) return false;
    words[row] = top;
    if (note === 0) atomicStore(words, row + top, pfn);
    else storeNoted(words, row + top, pfn, words, note);
    return true;
  }

  /**
   * As `#push`, holding ramLock: it is undone with what else is done under the lock. Nobody steals
   * meanwhile, so no store need be atomic.
   */
  #pushLocked(pfn: number): boolean {
    const row = this.#row();
    const top = this.#memory.words[row]! + 1;
    if (top > this.#slots) return false;
    this.#store(row, top);
    this.#store(row + top, pfn);
    return true;
  }

  #store(index: number, value: number): void {
    undoStore(this.#memory, this.#lock.at, index, value);
  }

  /**
   * Moves all but `keep` frames of this thread's row to the buddy system. Frames that were freed
   * together are often adjacent: sorted, they go back as a few blocks, which takes a third of the
   * time and so of the wait for the lock. Holding ramLock, so no thread steals from the slots.
   */
  #lower(keep: number): void {
    const { words } = this.#memory;
    const row = this.#row();
    const top = words[row]!;
    if (top <= keep) return;
    const frames = words.slice(row + keep + 1, row + top + 1).toSorted();
    for (let slot = row + keep + 1; slot <= row + top; slot++) this.#store(slot, 0);
    this.#store(row, keep);
    this.zones.giveRows(frames);
  }
}

function pagesOf(rows: readonly number[]): number {
  let pages = 0;
  for (let i = 0; i < rows.length; i += 2) pages += rows[i + 1]! - rows[i]!;
  return pages;
}

function framesOf(rows: readonly number[]): number[] {
  const pfns: number[] = [];
  for (let i = 0; i < rows.length; i += 2)
    for (let pfn = rows[i]!; pfn < rows[i + 1]!; pfn++) pfns.push(pfn);
  return pfns;
}
