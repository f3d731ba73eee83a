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
 *                                                   start: valid = false; driver's call-back sweeps
 *                                                   V, finds nothing page V becomes frame Q; frame
 *                                                   P is freed end: valid = true
 *     takes the driver lock, reads valid: true
 *     programs V -> P                               [never swept: the device reaches a freed frame]
 *
 * The mmap lock held for reading does not keep I away: copy-on-write and madvise run under it too.
 * So the word is a stamp,
 *
 *     31                                                        1             0
 *     +---------------------------------------------------------+-------------+
 *     | sequence: a new one for each invalidation that overlaps | invalid now |
 *     +---------------------------------------------------------+-------------+
 *
 *   S1  A start that overlaps gives the range a new sequence and sets bit 0, before any driver is
 *       called.
 *   S2  Bit 0 is clear iff no invalidation in flight overlaps the range, and none is in flight that
 *       could only be counted.
 *   S3  The user notes the stamp before it reads the page table ("arms" the range), and only a
 *       stamp with bit 0 clear. Under the driver lock the range is valid iff the stamp is still the
 *       noted one. If I's call-back had the driver lock first, T sees the new stamp; if T has it
 *       first, the call-back comes after and sweeps what T programmed.
 *   S4  ORPHANED is for ever: the mirror is gone, so nobody would be told to sweep.
 *
 * The stamp is written under rangesLock and read without, so always atomically; one word, so no
 * reader can put two moments together. 2^31 overlapping invalidations between noting and asking
 * would bring the same stamp back.
 */

import { List } from "../memory/list.ts";
import { type Struct, type StructView, embed, pointer, struct, u32 } from "../memory/struct.ts";
import { atomicLoad } from "../sync/atomics.ts";
import { resourceKind } from "../sync/resources.ts";
import type { Task } from "../sync/task.ts";
import { readWord, writeWord } from "../sync/word-steps.ts";
import type { Hmm } from "./hmm-struct.ts";
import { countInFlight } from "./in-flight.ts";

/** Bit 0 of a stamp. */
export const STAMP_INVALID = 1;

/** The stamp of a range whose mirror is gone (S4). Has bit 0 set. */
export const STAMP_ORPHANED = -1;

/** What a user that has noted nothing has noted: equal to no valid stamp. */
export const NOT_ARMED = 1;

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
  stamp: number;
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
  stamp: u32("rangesLock to write; read atomically without", "sequence and invalid bit (S1 to S4)"),
  invalidators: u32("rangesLock", "recorded invalidations in flight that overlap"),
  owns: u32("rangesLock; its user", "what a reaper must give back"),
});

const STAMP = HmmRangeRecord.offset.stamp;

/** Pointer of the record whose list node is at `node`. */
export function rangeOfNode(node: number): number {
  return HmmRangeRecord.containerOf(node, "node");
}

/** What reports call it. */
export const STAMP_LABEL = "range stamp";

/** Word index of the stamp, for who names what a condition reads. */
export function stampIndex(record: HmmRangeRecord): number {
  return record.at + STAMP;
}

/** The stamp, where it does not change (holding rangesLock), or in a condition that names it. */
export function readStamp(record: HmmRangeRecord): number {
  return atomicLoad(record.memory.words, record.at + STAMP);
}

/** The stamp, as whoever holds no rangesLock reads it. */
export function loadStamp(record: HmmRangeRecord): Task<number> {
  return readWord(record.memory, record.at + STAMP, STAMP_LABEL);
}

/** Holding rangesLock. */
function writeStamp(record: HmmRangeRecord, stamp: number): Task<void> {
  return writeWord(record.memory, record.at + STAMP, stamp, STAMP_LABEL);
}

export function stampIsValid(stamp: number): boolean {
  return (stamp & STAMP_INVALID) === 0;
}

/** The next sequence, invalid. Never ORPHANED. */
export function nextStamp(stamp: number): number {
  const next = ((stamp | STAMP_INVALID) + 2) | 0;
  return next === STAMP_ORPHANED ? STAMP_INVALID : next;
}

/** S1. Holding rangesLock. `isRecorded`: the end will find the invalidation's interval. */
export function* invalidateStamp(record: HmmRangeRecord, isRecorded: boolean): Task<void> {
  if (isRecorded) record.invalidators++;
  const stamp = readStamp(record);
  if (stamp !== STAMP_ORPHANED) yield* writeStamp(record, nextStamp(stamp));
}

/**
 * Brings bit 0 in line with what is in flight (S2). True when the range became valid by it. Holding
 * rangesLock.
 */
export function* settleStamp(hmm: Hmm, record: HmmRangeRecord): Task<boolean> {
  const stamp = readStamp(record);
  if (stamp === STAMP_ORPHANED) return false;
  const settled = settledStamp(hmm, record, stamp);
  if (settled === stamp) return false;
  yield* writeStamp(record, settled);
  return stampIsValid(settled);
}

/**
 * The stamp of a range that is being listed: a new sequence, so that nothing noted in an earlier
 * life fits. Holding rangesLock.
 */
export function* startStamp(hmm: Hmm, record: HmmRangeRecord): Task<void> {
  record.invalidators = countInFlight(hmm, record.startPage, record.endPage);
  const old = readStamp(record);
  const stamp = nextStamp(old === STAMP_ORPHANED ? 0 : old);
  yield* writeStamp(record, settledStamp(hmm, record, stamp));
}

function settledStamp(hmm: Hmm, record: HmmRangeRecord, stamp: number): number {
  const isValid = record.invalidators === 0 && hmm.overflow === 0;
  return isValid ? stamp & ~STAMP_INVALID : stamp | STAMP_INVALID;
}

/** S4. Holding rangesLock. */
export function orphanStamp(record: HmmRangeRecord): Task<void> {
  return writeStamp(record, STAMP_ORPHANED);
}

/** Pointers of the registered ranges, in order of registration. Holding rangesLock. */
export function rangesOf(hmm: Hmm): number[] {
  return [...hmm.ranges.nodes()].map(rangeOfNode);
}
