/**
 * @module hmm/in-flight
 * The pages that are being invalidated now: for each hmm the intervals of all invalidations that
 * have started and not ended. Linux 5.3 keeps only their number (`hmm->notifiers`), so one
 * invalidation makes every range of the address space wait. With the intervals a range waits for
 * those that overlap it, and an open write view keeps devices out of its own pages alone.
 *
 * A start must not fail for lack of memory, and a non-blockable start must not allocate:
 *
 *   I1  IN_FLIGHT_INLINE records are part of the hmm. When they are full, a blockable start first
 *       moves them to a larger table (`growInFlight`), up to IN_FLIGHT_RECORDS_MAX.
 *   I2  An invalidation that finds no room is only counted (`overflow`). Until all of these have
 *       ended, the rule of 2019 holds: no range of the address space is valid. That is coarse, and
 *       never wrong.
 *   I3  Records are a multiset of intervals. An end removes any record equal to its range, or, when
 *       there is none, one of the overflow. Equal intervals invalidate equal ranges, so it does not
 *       matter which one.
 *
 *   I4  What rangesLock guards here is undone, if a thread dies with the lock
 *       (sync/words/undo-log.ts): an invalidation has begun or ended as a whole.
 *   I5  The hmm names the larger table from the change on that takes it from the heap, and the old
 *       one until the heap has it (`spare`). So the death of the thread loses neither: who grows
 *       the table next, or ends the hmm, frees it.
 *
 * Everything but `growInFlight` is called with rangesLock held.
 */

import type { Machine } from "../memory/machine.ts";
import type { Task } from "../sync/tasks/task.ts";
import { commitUndo, undoStore } from "../sync/words/undo-log.ts";
import { Hmm, IN_FLIGHT_INLINE, IN_FLIGHT_WORDS } from "./hmm-struct.ts";

/** Sizes of the tables that replace the inline records: sizes that the heap has for page tables. */
const TABLE_WORDS: readonly number[] = [512, 2048, 4096];

/** Further invalidations in flight have no record (I2). */
export const IN_FLIGHT_RECORDS_MAX: number = 4096 / IN_FLIGHT_WORDS;

/** Word index of record 0. */
function recordsAt(hmm: Hmm): number {
  const table = hmm.inFlightTable;
  if (table === 0) return hmm.inFlightInline.at;
  // another thread may have allocated it
  hmm.memory.ensure(table + hmm.inFlightCapacity * IN_FLIGHT_WORDS);
  return table;
}

export function inFlightIsFull(hmm: Hmm): boolean {
  return hmm.inFlightCount === hmm.inFlightCapacity;
}

/** I4. Watched as a store to a field is. */
function store(hmm: Hmm, index: number, value: number): void {
  hmm.memory.plainWatch?.note(index, true, "invalidations in flight");
  undoStore(hmm.memory, hmm.rangesLock.at, index, value);
}

const NOTIFIERS = Hmm.offset.notifiers;
const COUNT = Hmm.offset.inFlightCount;
const CAPACITY = Hmm.offset.inFlightCapacity;
const TABLE = Hmm.offset.inFlightTable;
const OVERFLOW = Hmm.offset.overflow;
const SPARE = Hmm.offset.spare;
const SPARE_WORDS = Hmm.offset.spareWords;

/** Records an invalidation. False: there is no room, so it is counted (I2). */
export function recordInFlight(hmm: Hmm, startPage: number, endPage: number): boolean {
  store(hmm, hmm.at + NOTIFIERS, hmm.notifiers + 1);
  if (inFlightIsFull(hmm)) {
    store(hmm, hmm.at + OVERFLOW, hmm.overflow + 1);
    hmm.overflows++;
    return false;
  }
  const count = hmm.inFlightCount;
  const at = recordsAt(hmm) + count * IN_FLIGHT_WORDS;
  hmm.memory.words[at] = startPage;
  hmm.memory.words[at + 1] = endPage;
  store(hmm, hmm.at + COUNT, count + 1);
  return true;
}

/** What `forgetInFlight` removed. */
export type Forgotten = 0 | 1 | 2;
/** Nothing: no such invalidation is in flight. */
export const NOT_IN_FLIGHT: Forgotten = 0;
export const WAS_RECORDED: Forgotten = 1;
/** One of the overflow (I3). */
export const WAS_COUNTED: Forgotten = 2;

/** Removes an invalidation that ends. */
export function forgetInFlight(hmm: Hmm, startPage: number, endPage: number): Forgotten {
  const first = recordsAt(hmm);
  const { words } = hmm.memory; // after recordsAt, which may have made the view longer
  const last = first + (hmm.inFlightCount - 1) * IN_FLIGHT_WORDS;
  for (let at = first; at <= last; at += IN_FLIGHT_WORDS) {
    if (words[at]! >>> 0 !== startPage || words[at + 1]! >>> 0 !== endPage) continue;
    store(hmm, at, words[last]!);
    store(hmm, at + 1, words[last + 1]!);
    store(hmm, hmm.at + COUNT, hmm.inFlightCount - 1);
    store(hmm, hmm.at + NOTIFIERS, hmm.notifiers - 1);
    return WAS_RECORDED;
  }
  if (hmm.overflow === 0) return NOT_IN_FLIGHT;
  store(hmm, hmm.at + OVERFLOW, hmm.overflow - 1);
  store(hmm, hmm.at + NOTIFIERS, hmm.notifiers - 1);
  return WAS_COUNTED;
}

/** How many recorded invalidations overlap [startPage, endPage). */
export function countInFlight(hmm: Hmm, startPage: number, endPage: number): number {
  const first = recordsAt(hmm);
  const { words } = hmm.memory; // after recordsAt, which may have made the view longer
  const end = first + hmm.inFlightCount * IN_FLIGHT_WORDS;
  let count = 0;
  for (let at = first; at < end; at += IN_FLIGHT_WORDS) {
    if (pagesOverlap(words[at]! >>> 0, words[at + 1]! >>> 0, startPage, endPage)) count++;
  }
  return count;
}

/**
 * Ends are exclusive: ranges that only touch do not overlap. (Linux 5.3 was off by one here, on the
 * safe side.)
 */
function pagesOverlap(
  startPage: number,
  endPage: number,
  otherStartPage: number,
  otherEndPage: number,
): boolean {
  return startPage < otherEndPage && otherStartPage < endPage;
}

/** Makes room for more records, if there is memory for it. May wait; not holding rangesLock. */
export function* growInFlight(machine: Machine, hmm: Hmm, fullCapacity: number): Task<void> {
  const tableWords = TABLE_WORDS.find((words) => words / IN_FLIGHT_WORDS > fullCapacity);
  if (tableWords === undefined) return;
  yield* hmm.rangesLock.lock();
  // another start may have grown it meanwhile
  if (tableWords / IN_FLIGHT_WORDS > hmm.inFlightCapacity) yield* grow(machine, hmm, tableWords);
  yield* hmm.rangesLock.unlock();
}

/** I5. Holding rangesLock. */
function* grow(machine: Machine, hmm: Hmm, tableWords: number): Task<void> {
  const { memory } = machine;
  yield* freeSpare(machine, hmm); // of a thread that has died in here
  hmm.spareWords = tableWords;
  const fresh = yield* machine.heap.allocWords(tableWords, hmm.at + SPARE);
  if (fresh === 0) return;
  memory.ensure(fresh + tableWords);
  const from = recordsAt(hmm);
  memory.words.copyWithin(fresh, from, from + hmm.inFlightCount * IN_FLIGHT_WORDS);
  const old = hmm.inFlightTable;
  const oldWords = hmm.inFlightCapacity * IN_FLIGHT_WORDS;
  store(hmm, hmm.at + TABLE, fresh);
  store(hmm, hmm.at + CAPACITY, tableWords / IN_FLIGHT_WORDS);
  store(hmm, hmm.at + SPARE, old);
  store(hmm, hmm.at + SPARE_WORDS, oldWords);
  commitUndo(memory, hmm.rangesLock.at); // what is freed must not be named again
  yield* freeSpare(machine, hmm);
}

/** I5. May be done again. Holding rangesLock, or alone. */
function* freeSpare({ heap }: Machine, { at, spare, spareWords }: Hmm): Task<void> {
  if (spare !== 0) yield* heap.freeWords(spare, spareWords, at + SPARE);
}

/**
 * Gives back what growing took. Nobody uses the hmm any more. May be done again, for a thread that
 * died in it.
 */
export function* freeInFlight(machine: Machine, hmm: Hmm): Task<void> {
  yield* freeSpare(machine, hmm);
  if (hmm.inFlightTable === 0) return;
  const tableWords = hmm.inFlightCapacity * IN_FLIGHT_WORDS;
  yield* machine.heap.freeWords(hmm.inFlightTable, tableWords, hmm.at + TABLE);
  hmm.inFlightCapacity = IN_FLIGHT_INLINE;
}
