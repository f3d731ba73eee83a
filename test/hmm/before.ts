/**
 * @module The code as it was before each patch of June 2019, on this project's structs: for twins only, which must see
 * it fail. Each function is the old one with the one defect that its patch took away; what the defect does not need is
 * left out.
 */

import { Hmm, hmmInit } from "../../src/hmm/hmm-struct.ts";
import { forgetInFlight, recordInFlight } from "../../src/hmm/in-flight.ts";
import {
  HMM_NOTIFIER_OPS,
  hmmInvalidateRangeEnd,
  hmmInvalidateRangeStart,
  hmmRelease,
} from "../../src/hmm/invalidate.ts";
import { HmmMirror, HmmMirrorRecord } from "../../src/hmm/mirror-record.ts";
import { mirrorOpsOf } from "../../src/hmm/mirror-ops.ts";
import { HmmRangeRecord, rangeOfNode, readStamp, stampIndex, stampIsValid } from "../../src/hmm/range-record.ts";
import { type HmmRange, hmmOfRange } from "../../src/hmm/range.ts";
import { List } from "../../src/memory/list.ts";
import type { Machine } from "../../src/memory/machine.ts";
import type { Mm } from "../../src/mm/mm-struct.ts";
import { mmdrop, mmgrab } from "../../src/mm/mm.ts";
import type { InvalidateRange } from "../../src/notifier/events.ts";
import {
  type MmuNotifierOps,
  mmuNotifierRegister,
  mmuNotifierUnregisterNoRelease,
  registerNotifierOps,
} from "../../src/notifier/mmu-notifier.ts";
import { EAGAIN, type Errno } from "../../src/sync/errno.ts";
import { DONE, type Task, access, doneBoolean } from "../../src/sync/task.ts";

const shipped: MmuNotifierOps = {
  invalidateRangeStart: hmmInvalidateRangeStart,
  invalidateRangeEnd: hmmInvalidateRangeEnd,
  release: hmmRelease,
};

/** Runs `run` with some of the hmm's call-backs replaced by old ones in this thread. */
export function withCallbacks<T>(old: Partial<MmuNotifierOps>, run: () => T): T {
  const id = registerNotifierOps("hmm", { ...shipped, ...old });
  if (id !== HMM_NOTIFIER_OPS) throw new Error("the id belongs to the name");
  try {
    return run();
  } finally {
    registerNotifierOps("hmm", shipped);
  }
}

/** Patch 1: unlinked, and freed at once, while call-backs may still be reading it. */
export function* freeAtOnce(machine: Machine, mm: Mm, hmm: Hmm): Task<void> {
  if (!(yield* hmm.refs.put())) return;
  yield* mm.pageTableLock.lock();
  mm.hmm = 0;
  yield* mm.pageTableLock.unlock();
  yield* mmuNotifierUnregisterNoRelease(mm.notifiers, hmm.notifier);
  yield* machine.heap.free(Hmm, hmm.at);
  yield* mmdrop(machine, mm);
}

/**
 * Patch 4: looked up without a lock, published before it is registered, and a lost race is a failure. 0 = "no memory".
 */
export function* getOrCreateRacily(machine: Machine, mm: Mm): Task<number> {
  const seen = mm.hmm;
  yield* access(machine.memory, "read", mm.at, 1, "mm.hmm");
  if (seen !== 0 && (yield* Hmm.at(machine.memory, seen).refs.getNotZero())) return seen;
  const at = yield* machine.heap.alloc(Hmm);
  if (at === 0) return 0;
  const hmm = Hmm.at(machine.memory, at);
  hmmInit(hmm, mm.at);
  yield* mm.pageTableLock.lock();
  const isFirst = mm.hmm === 0;
  if (isFirst) mm.hmm = at;
  yield* mm.pageTableLock.unlock();
  if (!isFirst) {
    yield* machine.heap.free(Hmm, at);
    return 0;
  }
  yield* mmgrab(mm);
  yield* mmuNotifierRegister(machine, mm.notifiers, hmm.notifier, HMM_NOTIFIER_OPS);
  return at;
}

/** Patch 5: waits for one thing, and answers with a second look. */
export function* waitAndLookAgain(range: HmmRange): Task<boolean> {
  yield* hmmOfRange(range).wq.waitEvent(() => stampIsValid(readStamp(range.record)), Infinity);
  yield* access(range.machine.memory, "read", stampIndex(range.record), 1, "range->valid");
  return stampIsValid(readStamp(range.record));
}

/**
 * Patch 6: what the _rcu list functions suggested: a reader without the lock, while the range may be freed right after
 * unregister.
 */
export function* countRangesWithoutLock(hmm: Hmm): Task<number> {
  const { memory } = hmm;
  let count = 0;
  for (let node = hmm.ranges.next; node !== hmm.ranges.at; node = new List(memory, node).next) {
    yield* access(memory, "read", node, 1, "hmm->ranges");
    const record = HmmRangeRecord.at(memory, rangeOfNode(node));
    count += record.endPage > record.startPage ? 1 : 0;
  }
  return count;
}

/** Patch 9: a guard that only looks like one. */
export function* unregisterGuarded({ machine, record }: HmmMirror): Task<void> {
  const at = record.hmm;
  yield* access(machine.memory, "read", record.at, 1, "mirror->hmm");
  if (at === 0) return;
  const hmm = Hmm.at(machine.memory, at);
  yield* hmm.mirrorsSem.downWrite();
  record.node.del();
  record.hmm = 0;
  yield* hmm.mirrorsSem.upWrite();
  yield* hmm.refs.put();
}

/** Patch 11: takes each mirror off, lets the lock go, and calls it. */
export function* releaseUnlocked(machine: Machine, listener: number): Task<void> {
  const hmm = Hmm.at(machine.memory, listener);
  yield* hmm.mirrorsSem.downWrite();
  for (let node = hmm.mirrors.first(); node !== 0; node = hmm.mirrors.first()) {
    const at = HmmMirrorRecord.containerOf(node, "node");
    new List(machine.memory, node).del();
    yield* hmm.mirrorsSem.upWrite();
    yield* access(machine.memory, "read", at, 1, "mirror->ops"); // without the lock, anything may come in between
    const mirror = new HmmMirror(machine, at);
    yield* mirrorOpsOf(mirror.record.opsId).ops.release?.(mirror) ?? DONE;
    yield* hmm.mirrorsSem.downWrite();
  }
  yield* hmm.mirrorsSem.upWrite();
}

/** The other side of patch 11: a mirror that release has taken off needs no more than the lock for a moment. */
export function* unregisterTakenOff({ machine, record }: HmmMirror): Task<void> {
  const hmm = Hmm.at(machine.memory, record.hmm);
  yield* hmm.mirrorsSem.downWrite();
  if (record.node.isListed()) record.node.del();
  yield* hmm.mirrorsSem.upWrite();
}

/** Patch 12 (A): the count goes up before the lock is tried and stays up when it cannot be had. */
export function* startWithoutUnwinding(machine: Machine, listener: number, range: InvalidateRange): Task<Errno> {
  const hmm = Hmm.at(machine.memory, listener);
  if (range.blockable) return yield* hmmInvalidateRangeStart(machine, listener, range);
  yield* hmm.rangesLock.lock();
  hmm.notifiers++;
  recordInFlight(hmm, range.startPage, range.endPage);
  yield* hmm.rangesLock.unlock();
  if (!(yield* hmm.mirrorsSem.tryDownRead())) return EAGAIN;
  yield* hmm.mirrorsSem.upRead();
  yield* hmm.rangesLock.lock();
  hmm.notifiers--;
  forgetInFlight(hmm, range.startPage, range.endPage);
  yield* hmm.rangesLock.unlock();
  return yield* hmmInvalidateRangeStart(machine, listener, range);
}

/** Patch 12 (B): the driver's EAGAIN goes into a variable of the loop's own. */
export function* startSwallowing(machine: Machine, listener: number, range: InvalidateRange): Task<Errno> {
  const hmm = Hmm.at(machine.memory, listener);
  const answer = yield* hmmInvalidateRangeStart(machine, listener, range);
  if (answer !== EAGAIN) return answer;
  yield* hmm.rangesLock.lock();
  hmm.notifiers++;
  recordInFlight(hmm, range.startPage, range.endPage);
  yield* hmm.rangesLock.unlock();
  return 0;
}

/** The thirteenth: "is an invalidation running?" for "has one run since?". */
export function validAsOf2019(range: HmmRange): Task<boolean> {
  return doneBoolean(stampIsValid(readStamp(range.record)));
}
