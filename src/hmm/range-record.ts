/**
 * @module hmm/range-record
 * One watched stretch of an address space as it lies in shared memory, and the one word of it that
 * says whether what was read there may still be used. Follows the shared part of Linux `struct
 * hmm_range`; the rest of it, which only the range's one user touches, is the handle in range.ts.
 * In the kernel heap because the thread that invalidates marks it while its user runs elsewhere.
 *
 * Why a boolean is not enough (the flaw that the series of 2019 still had). `valid` answers "is an
 * invalidation running?"; the question is "has one run since I read the page table?":
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
 * The mmap lock held for reading does not keep I away: copy-on-write and madvise run under it too.
 * So the word is a sequence, as Linux's interval notifiers have one (`mmu_interval_read_begin`):
 *
 *     31                                                        1             0
 *     +---------------------------------------------------------+-------------+
 *     | number: a new one for each invalidation that overlaps   | invalid now |
 *     +---------------------------------------------------------+-------------+
 *
 *   S1  A start that overlaps gives the range a new number and sets bit 0, before any driver is
 *       called.
 *   S2  Bit 0 is clear iff no invalidation in flight overlaps the range, and none is in flight that
 *       could only be counted.
 *   S3  Read-begin: the user keeps the sequence (`notifierSeq`) before it reads the page table, and
 *       only one with bit 0 clear. Under the driver lock the range is valid iff the sequence is
 *       still the one that was kept. If I's call-back had the driver lock first, T sees the new
 *       sequence; if T has it first, the call-back comes after and sweeps what T programmed.
 *   S4  ORPHANED is for ever: the mirror is gone, so nobody would be told to sweep.
 *
 * The sequence is written under rangesLock and read without, so always atomically; one word, so no
 * reader can put two moments together. 2^31 overlapping invalidations between read-begin and the
 * check would bring the same sequence back.
 */

import { List } from "../memory/layout/list.ts";
import {
  type Struct,
  type StructView,
  embed,
  pointer,
  struct,
  u32,
} from "../memory/layout/struct.ts";
import { atomicLoad } from "../sync/atomics.ts";
import { resourceKind } from "../sync/death/resources.ts";
import type { Task } from "../sync/tasks/task.ts";
import { readWord, writeWord } from "../sync/primitives/word-steps.ts";
import type { Hmm } from "./hmm-struct.ts";
import { countInFlight } from "./in-flight.ts";

/** Bit 0 of a sequence. */
export const SEQUENCE_INVALID = 1;

/** The sequence of a range whose mirror is gone (S4). Has bit 0 set. */
export const SEQUENCE_ORPHANED = -1;

/** What a user that has noted nothing has noted: equal to no valid sequence. */
export const NOTHING_READ = 1;

/** Bytes of 0x5a where the hmm pointer was (Linux: POISON_INUSE). No heap is that large. */
export const RANGE_POISON = 0x5a5a5a5a;

/**
 * `owns`: what a reaper must give back for a thread that died. Each is given up directly before the
 * thing itself: lost at worst, never dropped twice.
 */
export const OWNS_NOTHING = 0;
/** A reference of the hmm. */
export const OWNS_HMM = 1;
/** That and an mm user. */
export const OWNS_USER = 2;
/** Those and a place in the hmm's list: registered. */
export const OWNS_REGISTRATION = 3;

/** What a thread's resource list calls a record, from hmmRangeAlloc to hmmRangeFree. */
export const RANGE_RESOURCE: number = resourceKind("hmm range");

export interface HmmRangeRecord extends StructView {
  hmm: number;
  mirror: number;
  readonly node: List;
  startPage: number;
  endPage: number;
  pageShift: number;
  sequence: number;
  invalidators: number;
  owns: number;
}

export const HmmRangeRecord: Struct<HmmRangeRecord> = struct<HmmRangeRecord>("hmmRange", {
  hmm: pointer("its user", "0 when not registered, poison after unregister"),
  mirror: pointer("const while registered", "the mirror that hears the invalidations"),
  node: embed(List, "in the hmm's ranges; guarded by rangesLock"),
  startPage: u32("const while registered", "first page; kept after unregister"),
  endPage: u32("const while registered", "one past the last page; kept after unregister"),
  pageShift: u32("const while registered", "log2 of the device's page size"),
  sequence: u32(
    "rangesLock to write; read atomically without",
    "sequence and invalid bit (S1 to S4)",
  ),
  invalidators: u32("rangesLock", "recorded invalidations in flight that overlap"),
  owns: u32("rangesLock; its user", "what a reaper must give back"),
});

const SEQUENCE = HmmRangeRecord.offset.sequence;

/** Pointer of the record whose list node is at `node`. */
export function rangeOfNode(node: number): number {
  return HmmRangeRecord.containerOf(node, "node");
}

/** What reports call it. */
export const SEQUENCE_LABEL = "range sequence";

/** Word index of the sequence, for who names what a condition reads. */
export function sequenceIndex(record: HmmRangeRecord): number {
  return record.at + SEQUENCE;
}

/** The sequence, where it does not change (holding rangesLock), or in a condition that names it. */
export function readSequence(record: HmmRangeRecord): number {
  return atomicLoad(record.memory.words, record.at + SEQUENCE);
}

/** The sequence, as whoever holds no rangesLock reads it. */
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

/** The next sequence, invalid. Never ORPHANED. */
export function nextSequence(sequence: number): number {
  const next = ((sequence | SEQUENCE_INVALID) + 2) | 0;
  return next === SEQUENCE_ORPHANED ? SEQUENCE_INVALID : next;
}

/** S1. Holding rangesLock. `isRecorded`: the end will find the invalidation's interval. */
export function* invalidateSequence(record: HmmRangeRecord, isRecorded: boolean): Task<void> {
  if (isRecorded) record.invalidators++;
  const sequence = readSequence(record);
  if (sequence !== SEQUENCE_ORPHANED) yield* writeSequence(record, nextSequence(sequence));
}

/**
 * Brings bit 0 in line with what is in flight (S2). True when the range became valid by it. Holding
 * rangesLock.
 */
export function* settleSequence(hmm: Hmm, record: HmmRangeRecord): Task<boolean> {
  const sequence = readSequence(record);
  if (sequence === SEQUENCE_ORPHANED) return false;
  const settled = settledSequence(hmm, record, sequence);
  if (settled === sequence) return false;
  yield* writeSequence(record, settled);
  return sequenceIsValid(settled);
}

/**
 * The sequence of a range that is being listed: a new sequence, so that nothing noted in an earlier
 * life fits. Holding rangesLock.
 */
export function* startSequence(hmm: Hmm, record: HmmRangeRecord): Task<void> {
  record.invalidators = countInFlight(hmm, record.startPage, record.endPage);
  const old = readSequence(record);
  const sequence = nextSequence(old === SEQUENCE_ORPHANED ? 0 : old);
  yield* writeSequence(record, settledSequence(hmm, record, sequence));
}

function settledSequence(hmm: Hmm, record: HmmRangeRecord, sequence: number): number {
  const isValid = record.invalidators === 0 && hmm.overflow === 0;
  return isValid ? sequence & ~SEQUENCE_INVALID : sequence | SEQUENCE_INVALID;
}

/** S4. Holding rangesLock. */
export function orphanSequence(record: HmmRangeRecord): Task<void> {
  return writeSequence(record, SEQUENCE_ORPHANED);
}

/** Pointers of the registered ranges, in order of registration. Holding rangesLock. */
export function rangesOf(hmm: Hmm): number[] {
  return [...hmm.ranges.nodes()].map(rangeOfNode);
}
