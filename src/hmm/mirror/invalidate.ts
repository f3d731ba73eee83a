/**
 * @module hmm/mirror/invalidate
 * What happens at a hmm when the CPU's page tables change, and when the address space dies. Follows
 * Linux 5.3 `hmm_invalidate_range_start`, `hmm_invalidate_range_end`, `notifiers_decrement` and
 * `hmm_release` after patches 1, 11 and 12.
 *
 *   V1  A start marks the ranges first (new sequence, invalid) and calls the drivers then. The
 *       count stays raised across those calls and until the end: an unrelated pair that ends in
 *       between must not make a range valid whose pages are about to change.
 *   V2  A start that does not return 0 leaves every count as it found it, since no end follows
 *       (patch 12). Ranges that it marked keep their new sequence: their users look again, no more.
 *   V3  Only a non-blockable start fails, and only with EAGAIN: when mirrorsSem cannot be had at
 *       once, or a driver says so. Any other answer of a driver is counted (`mirrorErrors`) and
 *       taken for 0, as Linux warns and goes on.
 *   V4  Drivers are called with mirrorsSem held for reading, so a mirror's unregister waits for the
 *       call (patch 11 for release).
 *
 * Of the three, none takes the mmap lock or drops the last mm user. They may drop the last
 * reference of the hmm.
 */

import type { Machine } from "../../memory/machine.ts";
import type { InvalidateRange } from "../../notifier/events.ts";
import { registerNotifierOps } from "../../notifier/mmu-notifier.ts";
import { EAGAIN, ENOTRECOVERABLE, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import { hasPanicked, panic } from "../../sync/death/panic.ts";
import { DONE, type Task } from "../../sync/tasks/task.ts";
import { Hmm } from "../hmm-struct.ts";
import { hmmPut } from "./hmm.ts";
import {
  NOT_IN_FLIGHT,
  WAS_RECORDED,
  forgetInFlight,
  growInFlight,
  inFlightIsFull,
  pagesOverlap,
  recordInFlight,
} from "../in-flight.ts";
import { mirrorOps } from "./mirror-ops.ts";
import { HmmMirror, HmmMirrorRecord } from "../mirror-record.ts";
import { HmmRangeRecord, invalidateSequence, rangesOf, settleSequence } from "../range-record.ts";

/** Pages are about to change. 0, or EAGAIN when the range is not blockable (V3). */
export function* hmmInvalidateRangeStart(
  machine: Machine,
  listener: number,
  range: InvalidateRange,
): Task<Errno> {
  const hmm = Hmm.at(machine.memory, listener); // its memory: H1 of hmm-struct.ts
  // H2 of hmm-struct.ts: being freed, so nobody is left to tell
  if (!(yield* hmm.refs.getNotZero())) return 0;
  yield* markRanges(machine, hmm, range);
  const answer = yield* callMirrors(machine, hmm, range);
  if (answer !== 0) {
    yield* notifiersDecrement(hmm, range);
    yield* countRefusal(hmm);
  }
  yield* hmmPut(machine, hmm);
  return answer;
}

/** V1's first half. */
function* markRanges(
  machine: Machine,
  hmm: Hmm,
  { startPage, endPage, blockable }: InvalidateRange,
): Task<void> {
  yield* hmm.rangesLock.lock();
  if (blockable && inFlightIsFull(hmm)) {
    const capacity = hmm.inFlightCapacity;
    yield* hmm.rangesLock.unlock();
    yield* growInFlight(machine, hmm, capacity); // if it does not succeed, the coarse rule holds
    yield* hmm.rangesLock.lock();
  }
  hmm.notifiers++;
  hmm.starts++;
  const isRecorded = recordInFlight(hmm, startPage, endPage);
  for (const at of rangesOf(hmm)) {
    const record = HmmRangeRecord.at(hmm.memory, at);
    const overlaps = pagesOverlap(startPage, endPage, record.startPage, record.endPage);
    if (overlaps) yield* invalidateSequence(record, isRecorded);
    else if (!isRecorded) yield* settleSequence(hmm, record);
  }
  yield* hmm.rangesLock.unlock();
}

/**
 * Calls every driver (V4). Stops at the first that may refuse and does; those called before have
 * swept in vain, which is harmless.
 */
function* callMirrors(machine: Machine, hmm: Hmm, range: InvalidateRange): Task<Errno> {
  if (range.blockable) yield* hmm.mirrorsSem.downRead();
  else if (!(yield* hmm.mirrorsSem.tryDownRead())) return EAGAIN;
  let refusal: Errno = 0;
  for (const node of hmm.mirrors.nodes()) {
    const mirror = mirrorOfNode(machine, node);
    const answer = yield* guarded(mirror, "invalidate", () =>
      mirrorOps.get(mirror.record.opsId).invalidate(mirror, range),
    );
    if (answer === 0) continue;
    if (!range.blockable && answer === EAGAIN) {
      refusal = EAGAIN;
      break;
    }
    yield* countMirrorError(hmm);
  }
  yield* hmm.mirrorsSem.upRead();
  return refusal;
}

function mirrorOfNode(machine: Machine, node: number): HmmMirror {
  return new HmmMirror(machine, HmmMirrorRecord.containerOf(node, "node"));
}

/**
 * Runs a driver's call-back. One that throws, or whose code this thread has not loaded, leaves a
 * device that may still reach pages which are about to become somebody else's, and there is no way
 * back from here: the machine stops, with one clear error everywhere.
 */
function* guarded<T>(mirror: HmmMirror, call: string, run: () => Task<T>): Task<T> {
  try {
    return yield* run();
  } catch (error) {
    const { memory } = mirror.machine;
    if (hasPanicked(memory)) throw error;
    const what = `Cannot go on: the ${call} call-back of the ${String(mirror)} failed, and its device may still reach those pages`;
    return panic(memory, ENOTRECOVERABLE, `${what}: ${String(error)}`);
  }
}

/** Pages have changed. Pairs with a start that returned 0. */
export function* hmmInvalidateRangeEnd(
  machine: Machine,
  listener: number,
  range: InvalidateRange,
): Task<void> {
  const hmm = Hmm.at(machine.memory, listener);
  if (!(yield* hmm.refs.getNotZero())) return; // H2 of hmm-struct.ts
  yield* notifiersDecrement(hmm, range);
  yield* hmmPut(machine, hmm);
}

/**
 * Takes an invalidation back out of the accounting and wakes whoever waited for it. A spinlock, so
 * that a start that may not wait can unwind too (patch 12). Linux makes all ranges valid when the
 * count reaches 0; here each becomes valid with the last invalidation that overlaps it.
 */
function* notifiersDecrement(hmm: Hmm, { startPage, endPage }: InvalidateRange): Task<void> {
  let becameValid = false;
  yield* hmm.rangesLock.lock();
  const forgotten = forgetInFlight(hmm, startPage, endPage);
  if (forgotten !== NOT_IN_FLIGHT) {
    hmm.notifiers--;
    const wasRecorded = forgotten === WAS_RECORDED;
    for (const at of rangesOf(hmm)) {
      const record = HmmRangeRecord.at(hmm.memory, at);
      const overlaps = pagesOverlap(startPage, endPage, record.startPage, record.endPage);
      if (wasRecorded && overlaps) record.invalidators--;
      if ((overlaps || !wasRecorded) && (yield* settleSequence(hmm, record))) becameValid = true;
    }
  }
  yield* hmm.rangesLock.unlock();
  if (forgotten === NOT_IN_FLIGHT) {
    bug(
      `Cannot end the invalidation of pages ${startPage} to ${endPage}: it is not in flight; end each start that returned 0 once`,
    );
  }
  if (becameValid) yield* hmm.wq.wakeAll();
}

/**
 * The address space dies: every mirror's release, once each, under mirrorsSem. The mirrors stay
 * listed: their drivers must still unregister them. By R2 there is no range any more; one that is
 * there all the same is counted.
 */
function* hmmRelease(machine: Machine, listener: number): Task<void> {
  const hmm = Hmm.at(machine.memory, listener);
  if (!(yield* hmm.refs.getNotZero())) return;
  yield* hmm.rangesLock.lock();
  if (!hmm.ranges.isEmpty()) hmm.releasedWithRanges++;
  yield* hmm.rangesLock.unlock();
  yield* hmm.mirrorsSem.downRead();
  for (const node of hmm.mirrors.nodes()) {
    const mirror = mirrorOfNode(machine, node);
    yield* guarded(
      mirror,
      "release",
      () => mirrorOps.get(mirror.record.opsId).release?.(mirror) ?? DONE,
    );
  }
  yield* hmm.mirrorsSem.upRead();
  yield* hmmPut(machine, hmm);
}

function* countRefusal(hmm: Hmm): Task<void> {
  yield* hmm.rangesLock.lock();
  hmm.refusals++;
  yield* hmm.rangesLock.unlock();
}

function* countMirrorError(hmm: Hmm): Task<void> {
  yield* hmm.rangesLock.lock();
  hmm.mirrorErrors++;
  yield* hmm.rangesLock.unlock();
}

/** Id of this module's code at the mmu notifiers. */
export const HMM_NOTIFIER_OPS: number = registerNotifierOps("hmm", {
  invalidateRangeStart: hmmInvalidateRangeStart,
  invalidateRangeEnd: hmmInvalidateRangeEnd,
  release: hmmRelease,
});
