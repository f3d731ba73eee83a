/**
 * @module hmm/range-record
 * A range: a span of an address space that one device watches, and the word of it that says whether
 * what was read there may still be used. Follows the shared part of Linux `struct hmm_range`. It
 * lies in the kernel heap, because the thread that invalidates marks it while its user runs in
 * another thread. The part that only the user touches is the handle in range.ts.
 *
 * A boolean is not enough: that is the flaw of the series of 2019. `valid` says whether an
 * invalidation is in flight. The user must know whether one has run since it read the page table:
 *
 *     T, faults                                     I, changes the mapping
 *     range valid
 *     snapshot: page V is frame P
 *                                                   start: valid = false
 *                                                   driver's call-back sweeps V, finds nothing
 *                                                   page V becomes frame Q; frame P is freed
 *                                                   end: valid = true
 *     takes the driver lock, reads valid: true
 *     programs V -> P                               [never swept: the device reaches a freed frame]
 *
 * The mmap lock held for reading does not exclude I: copy-on-write and madvise run under it too. So
 * the word is a sequence, as Linux's interval notifiers have one (`mmu_interval_read_begin`):
 *
 *     31                                                        1             0
 *     +---------------------------------------------------------+-------------+
 *     | number: a new one for each invalidation that overlaps   | invalid now |
 *     +---------------------------------------------------------+-------------+
 *
 *   S1  A start that overlaps the range gives it a new number and sets bit 0, before any driver is
 *       called. The range whose user makes the invalidation keeps its number (V5 of invalidate.ts).
 *   S2  Bit 0 is clear iff no recorded invalidation in flight overlaps the range, and no
 *       invalidation without a record is in flight.
 *   S3  Read-begin: before the user reads the page table, it reads the sequence and keeps it
 *       (`notifierSeq`), if bit 0 is clear. Recheck: under the driver lock the range is valid iff
 *       the sequence equals the one that was kept. If I's call-back took the driver lock first, T
 *       sees the new sequence. If T took it first, the call-back comes later and clears what T
 *       programmed.
 *   S4  ORPHANED never changes: the mirror is gone, so no call-back would clear translations.
 *
 * The sequence is written under rangesLock and read without it, so all accesses are atomic. After
 * 2^31 overlapping invalidations between read-begin and the recheck, the same sequence returns.
 */

import { type Struct, type StructView, pointer, struct, u32 } from "../memory/layout/struct.ts";
import { atomicLoad } from "../sync/atomics.ts";
import { resourceKind } from "../sync/lockdep/resources.ts";
import type { Task } from "../sync/tasks/task.ts";
import { readWord, writeWord } from "../sync/primitives/word-steps.ts";
import type { Hmm } from "./hmm-struct.ts";
import { countInFlight } from "./in-flight.ts";

/** Bit 0 of a sequence. */
export const SEQUENCE_INVALID = 1;

/** The sequence of a range whose mirror is gone (S4). Has bit 0 set. */
export const SEQUENCE_ORPHANED = -1;

/** `notifierSeq` without a read-begin that succeeded: equal to no valid sequence. */
export const NOTHING_READ = 1;

/** Bytes of 0x5a where the hmm pointer was (Linux: POISON_INUSE). No heap is that large. */
export const RANGE_POISON = 0x5a5a5a5a;

/**
 * `owns`: what a reaper drops for a thread that died. It is lowered directly before each drop. So a
 * thread that dies in between leaks one at worst, and none is dropped twice.
 */
export const OWNS_NOTHING = 0;
/** A reference of the hmm. */
export const OWNS_HMM = 1;
/** That and an mm user. */
export const OWNS_USER = 2;
/** Those, and the range is in the hmm's tree: registered. */
export const OWNS_REGISTRATION = 3;
/** The last reference of the hmm was dropped, and it is about to end. */
export const OWNS_HMM_ENDING = 4;

/** A record from hmmRangeAlloc to hmmRangeFree, in the list of what a thread owns. */
export const RANGE_RESOURCE: number = resourceKind("hmm range");

export interface HmmRangeRecord extends StructView {
  hmm: number;
  mirror: number;
  startPage: number;
  endPage: number;
  pageShift: number;
  sequence: number;
  owns: number;
  left: number;
  right: number;
  height: number;
  lastEndPage: number;
}

export const HmmRangeRecord: Struct<HmmRangeRecord> = struct<HmmRangeRecord>("hmmRange", {
  hmm: pointer("its user", "0 when not registered, poison after unregister"),
  mirror: pointer("const while registered", "the mirror whose driver is called"),
  startPage: u32("const while registered", "first page; kept after unregister"),
  endPage: u32("const while registered", "one past the last page; kept after unregister"),
  pageShift: u32("const while registered", "log2 of the device's page size"),
  sequence: u32(
    "rangesLock to write; read atomically without",
    "sequence and invalid bit (S1 to S4)",
  ),
  owns: u32("rangesLock; its user", "what a reaper drops"),
  left: pointer("rangesLock", "tree: lower addresses"),
  right: pointer("rangesLock", "tree: higher addresses"),
  height: u32("rangesLock", "tree: of the subtree here, a leaf has 1"),
  lastEndPage: u32("rangesLock", "tree: highest endPage of the subtree"),
});

const SEQUENCE = HmmRangeRecord.offset.sequence;

/** The sequence in reports. */
export const SEQUENCE_LABEL = "range sequence";

/** Word index of the sequence: what a condition on it `reads`. */
export function sequenceIndex(record: HmmRangeRecord): number {
  return record.at + SEQUENCE;
}

/** The sequence. Holding rangesLock, or in a condition that declares {@link sequenceIndex}. */
export function readSequence(record: HmmRangeRecord): number {
  return atomicLoad(record.memory.words, record.at + SEQUENCE);
}

/** The sequence, read without rangesLock. */
export function loadSequence(record: HmmRangeRecord): Task<number> {
  return readWord(record.memory, record.at + SEQUENCE, SEQUENCE_LABEL);
}

/** Holding rangesLock. */
function writeSequence(record: HmmRangeRecord, sequence: number): Task<void> {
  return writeWord(record.memory, record.at + SEQUENCE, sequence, SEQUENCE_LABEL);
}

export function sequenceIsValid(sequence: number): boolean {
  return (sequence & SEQUENCE_INVALID) === 0;
}

/** The next sequence, with bit 0 set. Never ORPHANED. */
export function nextSequence(sequence: number): number {
  const next = ((sequence | SEQUENCE_INVALID) + 2) | 0;
  return next === SEQUENCE_ORPHANED ? SEQUENCE_INVALID : next;
}

/** S1. Holding rangesLock. `keepsNumber`: the range's user makes the invalidation. */
export function* invalidateSequence(record: HmmRangeRecord, keepsNumber: boolean): Task<void> {
  const sequence = readSequence(record);
  if (sequence === SEQUENCE_ORPHANED) return;
  yield* writeSequence(record, keepsNumber ? sequence | SEQUENCE_INVALID : nextSequence(sequence));
}

/** Sets or clears bit 0 (S2). True: the range became valid. Holding rangesLock. */
export function* settleSequence(hmm: Hmm, record: HmmRangeRecord): Task<boolean> {
  const sequence = readSequence(record);
  if (sequence === SEQUENCE_ORPHANED) return false;
  const settled = settledSequence(hmm, record, sequence);
  if (settled === sequence) return false;
  yield* writeSequence(record, settled);
  return sequenceIsValid(settled);
}

/**
 * The sequence of a range that is being registered: a new number, so that no sequence of an earlier
 * registration equals it. Holding rangesLock.
 */
export function* startSequence(hmm: Hmm, record: HmmRangeRecord): Task<void> {
  const old = readSequence(record);
  const sequence = nextSequence(old === SEQUENCE_ORPHANED ? 0 : old);
  yield* writeSequence(record, settledSequence(hmm, record, sequence));
}

/** By what is in flight, and not by a count of its own, which a death might leave wrong. */
function settledSequence(hmm: Hmm, record: HmmRangeRecord, sequence: number): number {
  const { startPage, endPage } = record;
  const isValid = hmm.overflow === 0 && countInFlight(hmm, startPage, endPage) === 0;
  return isValid ? sequence & ~SEQUENCE_INVALID : sequence | SEQUENCE_INVALID;
}

/** S4. Holding rangesLock. */
export function orphanSequence(record: HmmRangeRecord): Task<void> {
  return writeSequence(record, SEQUENCE_ORPHANED);
}
