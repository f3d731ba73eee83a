/**
 * @module hmm/hmm-struct
 * `struct hmm`: the mirrors and ranges of one address space. Follows Linux 5.3 `struct hmm` after
 * the twelve patches of June 2019. Finding or making one is get-or-create.ts, its end hmm.ts, its
 * part in an invalidation invalidate.ts.
 *
 *   H1  Memory: a call-back of its notifier runs in an SRCU read section, and there may read the
 *       hmm whatever its count is. The memory is freed a grace period after the notifier was
 *       unlinked (patch 1).
 *   H2  Use: only with one of `refs`. Each registered mirror and each registered range holds one. A
 *       running call-back holds one, taken with get-unless-zero. At 0 there is no mirror and no
 *       range, so a call-back that fails to get one has nothing to do.
 *   H3  A hmm's memory implies its mm's memory: the hmm holds an mmgrab until its own memory is
 *       freed (patch 3).
 *   H4  `mm.hmm` holds no reference, and is read and written only under pageTableLock. The mmap
 *       lock (write) serialises creation, so an mm has at most one hmm with `refs` above 0. A dying
 *       one may exist beside it for a while, with a notifier of its own (patch 4).
 *   H5  `notifiers` = starts that returned 0 and have not ended, plus starts that have not returned
 *       yet (patch 12).
 *   H6  A thread that dies with rangesLock has changed nothing but sequences, which may be newer
 *       than they need (V6 of mirror/invalidate.ts): what it changed is undone.
 *
 * Locks: rangesLock (leaf spinlock) guards ranges, their sequences, notifiers and the record of
 * in-flight invalidations. mirrorsSem guards the list of mirrors: read to call them, write to
 * change it; never taken with rangesLock held, nor the other way round.
 */

import { List } from "../memory/layout/list.ts";
import {
  type Struct,
  type StructView,
  type WordArray,
  array,
  embed,
  pointer,
  struct,
  u32,
} from "../memory/layout/struct.ts";
import { MmuNotifier } from "../notifier/subscriptions.ts";
import { RefCount } from "../sync/primitives/refcount.ts";
import { RwSem } from "../sync/primitives/rwsem.ts";
import { Spinlock } from "../sync/primitives/spinlock.ts";
import { SRCU_CALL_WORDS } from "../sync/primitives/srcu-callbacks.ts";
import { WaitQueue } from "../sync/primitives/wait-queue.ts";

/** In-flight invalidations that fit in the struct itself; more go to a table (in-flight.ts). */
export const IN_FLIGHT_INLINE = 32;

/** Words of one in-flight record: startPage, endPage. */
export const IN_FLIGHT_WORDS = 2;

export interface Hmm extends StructView {
  /** The first field: its address is the hmm's. */
  readonly notifier: MmuNotifier;
  readonly refs: RefCount;
  mm: number;
  readonly rangesLock: Spinlock;
  ranges: number;
  notifiers: number;
  inFlightCount: number;
  inFlightCapacity: number;
  inFlightTable: number;
  spare: number;
  spareWords: number;
  overflow: number;
  readonly inFlightInline: WordArray;
  readonly mirrorsSem: RwSem;
  readonly mirrors: List;
  readonly wq: WaitQueue;
  readonly rcu: WordArray;
  starts: number;
  refusals: number;
  overflows: number;
  mirrorErrors: number;
  releasedWithRanges: number;
}

export const Hmm: Struct<Hmm> = struct<Hmm>("hmm", {
  notifier: embed(MmuNotifier, "notifier of the mm; linked while refs > 0"),
  refs: embed(RefCount, "1 per mirror, 1 per range, 1 per running call-back (H2)"),
  mm: pointer("const", "the address space; holds an mmgrab (H3)"),
  rangesLock: embed(Spinlock, "ranges, sequences, notifiers, in-flight record", "rangesLock"),
  ranges: pointer("rangesLock", "root of the registered ranges' tree (range-tree.ts), or 0"),
  notifiers: u32("rangesLock", "invalidations in flight, anywhere in the mm (H5)"),
  inFlightCount: u32("rangesLock", "records in use"),
  inFlightCapacity: u32("rangesLock", "records that fit"),
  inFlightTable: pointer(
    "rangesLock",
    "table of records when the inline ones did not suffice, or 0",
  ),
  spare: pointer("rangesLock", "a table that is not used yet, or not any more, or 0"),
  spareWords: u32("rangesLock", "its size"),
  overflow: u32(
    "rangesLock",
    "invalidations in flight without a record: while there is one, no range is valid",
  ),
  inFlightInline: array(
    IN_FLIGHT_INLINE * IN_FLIGHT_WORDS,
    "rangesLock",
    "records: startPage, endPage",
  ),
  mirrorsSem: embed(
    RwSem,
    "mirrors; held for reading across the drivers' call-backs",
    "mirrorsSem",
  ),
  mirrors: embed(List, "head of the registered mirrors; guarded by mirrorsSem"),
  wq: embed(WaitQueue, "tasks that wait for a range to become valid"),
  rcu: array(SRCU_CALL_WORDS, "SRCU", "for the deferred call that frees the memory"),
  starts: u32("rangesLock", "statistics: invalidations begun"),
  refusals: u32("rangesLock", "statistics: non-blockable starts that ended with EAGAIN"),
  overflows: u32("rangesLock", "statistics: invalidations without a record"),
  mirrorErrors: u32("rangesLock", "statistics: answers of mirrors that were wrong and ignored"),
  releasedWithRanges: u32(
    "rangesLock",
    "statistics: releases that found a registered range: never, by R2",
  ),
});

/**
 * Sets up a zeroed hmm with one reference, the creator's. Not linked, not published. `mmPointer` 0:
 * it has no count of its mm yet, and nobody but the creator knows it.
 */
export function hmmInit(hmm: Hmm, mmPointer: number): void {
  hmm.refs.init(1);
  hmm.notifier.init();
  hmm.mm = mmPointer;
  hmm.rangesLock.init();
  hmm.inFlightCapacity = IN_FLIGHT_INLINE;
  hmm.mirrorsSem.init();
  hmm.mirrors.init();
  hmm.wq.init();
}
