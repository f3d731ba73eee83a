/**
 * @module hmm/mirror/invalidate
 * What a hmm does when the CPU's page tables change, and when the address space dies. Follows
 * Linux 5.3 `hmm_invalidate_range_start`, `hmm_invalidate_range_end`, `notifiers_decrement` and
 * `hmm_release` after patches 1, 11 and 12.
 *
 *   V1  A start first marks the ranges invalid, with a new sequence, and then calls the drivers.
 *       The counts stay raised until the end. So an unrelated invalidation that ends in between
 *       does not make a range valid whose pages are about to change.
 *   V2  A start that does not return 0 leaves every count as it found it, since no end follows
 *       (patch 12). Ranges that it marked keep their new sequence: their users have to retry.
 *   V3  Only a non-blockable start fails, and only with EAGAIN: when mirrorsSem is not free, or
 *       when a driver answers so. Any other answer of a driver is counted (`mirrorErrors`) and
 *       taken for 0, as Linux warns and goes on.
 *   V4  Drivers are called with mirrorsSem held for reading. So a mirror's unregister waits for the
 *       call (patch 11 for release).
 *   V5  A range that is excepted keeps its number: its user makes the change, and has begun to read
 *       before it (hmm/walk/exclusive.ts). Until the end it is invalid as the others are.
 *   V6  A thread that dies in a start or an end has not changed the accounting, or has changed all
 *       of it: what rangesLock guards is undone (sync/words/undo-log.ts), and with it MARKED or
 *       UNMARKED of the notice (notifier/notice.ts), which tell the recoverer. Sequences are not
 *       undone: a range with a newer number than it needs makes its user read again, and a
 *       recoverer sets or clears bit 0 by what is in flight. Drivers are called again. The notice
 *       knows of the hmm's reference, too.
 *
 * None of start, end and release takes the mmap lock or drops the last mm user. Each may drop the
 * last reference of the hmm.
 */

import type { Machine } from "../../memory/machine.ts";
import type { InvalidateRange } from "../../notifier/events.ts";
import { registerNotifierOps } from "../../notifier/mmu-notifier.ts";
import { deadRecordOf, heldNote, noteProgress, progressOf } from "../../notifier/notice.ts";
import { EAGAIN, ENOTRECOVERABLE, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import { returnedTask } from "../../sync/tasks/call-backs.ts";
import { declarePanic, hasPanicked, panicError } from "../../sync/death/panic.ts";
import { heldSlots, sharesBeneath } from "../../sync/lockdep/held-locks.ts";
import { DONE, type Task } from "../../sync/tasks/task.ts";
import { NOTICE_ALSO } from "../../sync/words/operations.ts";
import { Hmm } from "../hmm-struct.ts";
import { hmmHold, hmmPut, hmmRelinquish } from "./hmm.ts";
import {
  NOT_IN_FLIGHT,
  WAS_RECORDED,
  forgetInFlight,
  growInFlight,
  inFlightIsFull,
  recordInFlight,
} from "../in-flight.ts";
import { mirrorOps } from "./mirror-ops.ts";
import { HmmMirror, HmmMirrorRecord } from "../mirror-record.ts";
import { HmmRangeRecord, invalidateSequence, settleSequence } from "../range-record.ts";
import { overlappingRanges, rangesOf } from "../range-tree.ts";

/** PROGRESS of a notice: the accounting of a start, and of an end, is done. */
const MARKED = 1;
const UNMARKED = 2;

/** Pages are about to change. 0, or EAGAIN when the range is not blockable (V3). */
export function* hmmInvalidateRangeStart(
  machine: Machine,
  notifier: number,
  range: InvalidateRange,
): Task<Errno> {
  const hmm = Hmm.at(machine.memory, notifier); // its memory: H1 of hmm-struct.ts
  // H2 of hmm-struct.ts: it is being freed, so no mirror is left to notify
  const held = yield* holdHmm(hmm, range);
  if (held === 0) return 0;
  if (progressOf(range) !== MARKED) yield* markRanges(machine, hmm, range);
  const answer = yield* callMirrors(machine, hmm, range);
  if (answer !== 0) {
    if (deadRecordOf(range) !== 0) return answer; // later: V6
    yield* notifiersDecrement(hmm, range);
    yield* count(hmm, "refusals");
  }
  yield* dropHmm(machine, hmm, range, held);
  return answer;
}

/**
 * A reference, unless the dead thread of the notice has left one. 0: the hmm is dying. The notice
 * knows of it; without one it is a resource of this thread. Pairs with {@link dropHmm}.
 */
function* holdHmm(hmm: Hmm, range: InvalidateRange): Task<number> {
  const note = heldNote(range);
  if (note === 0) return yield* hmmHold(hmm);
  if (hmm.memory.words[note] !== 0) return note;
  return (yield* hmm.refs.getNotZero(note, hmm.at)) ? note : 0;
}

function dropHmm(machine: Machine, hmm: Hmm, range: InvalidateRange, held: number): Task<void> {
  const note = heldNote(range);
  return note === 0 ? hmmRelinquish(machine, hmm, held) : hmmPut(machine, hmm, note);
}

/** V1: marks the ranges, before any driver is called. */
function* markRanges(machine: Machine, hmm: Hmm, range: InvalidateRange): Task<void> {
  const { startPage, endPage, blockable, exceptRange } = range;
  yield* hmm.rangesLock.lock();
  if (blockable && inFlightIsFull(hmm)) {
    const capacity = hmm.inFlightCapacity;
    yield* hmm.rangesLock.unlock();
    yield* growInFlight(machine, hmm, capacity); // if it does not succeed, the coarse rule holds
    yield* hmm.rangesLock.lock();
  }
  noteProgress(range, MARKED, hmm.rangesLock.at);
  hmm.starts++;
  const isRecorded = recordInFlight(hmm, startPage, endPage);
  for (const at of overlappingRanges(hmm, startPage, endPage))
    yield* invalidateSequence(HmmRangeRecord.at(hmm.memory, at), at === exceptRange);
  // The coarse rule (I2 of hmm/in-flight.ts): no range is valid. Of those above it changes nothing.
  if (!isRecorded)
    for (const at of rangesOf(hmm)) yield* settleSequence(hmm, HmmRangeRecord.at(hmm.memory, at));
  yield* hmm.rangesLock.unlock();
}

/**
 * Calls every driver (V4). Stops at the first that refuses a non-blockable range. Drivers that were
 * called before it have dropped translations for nothing, which is harmless.
 */
function* callMirrors(machine: Machine, hmm: Hmm, range: InvalidateRange): Task<Errno> {
  const shelter = yield* enterMirrors(hmm, range);
  if (shelter === REFUSED) return EAGAIN;
  let refusal: Errno = 0;
  for (const mirror of mirrorsOf(machine, hmm)) {
    const answer = yield* guarded(mirror, "invalidate", () =>
      mirrorOps.get(mirror.record.opsId).invalidate(mirror, range),
    );
    if (answer === 0) continue;
    if (!range.blockable && answer === EAGAIN) {
      refusal = EAGAIN;
      break;
    }
    yield* count(hmm, "mirrorErrors");
  }
  if (shelter === OWN) yield* leaveMirrors(hmm, range);
  return refusal;
}

/** How a walk of the mirrors has mirrorsSem: not, in its own right, or by another's. */
const REFUSED = 0;
const OWN = 1;
const LENT = 2;

/**
 * Takes mirrorsSem for reading, unless this thread, which goes on for a dead one, may not wait for
 * it. It need not where the dead thread has it, which keeps it until all is finished, nor where
 * this thread itself has it, in whose wait it goes on for the other.
 */
function* enterMirrors({ mirrorsSem }: Hmm, range: InvalidateRange): Task<number> {
  const { memory, at } = mirrorsSem;
  const dead = deadRecordOf(range);
  if (dead !== 0) {
    const isLent =
      heldSlots(memory, dead).some((slot) => slot.at === at) || sharesBeneath(memory, at);
    if (isLent) return LENT;
  }
  if (dead === 0 && range.blockable) {
    if (range.notice > 0) memory.words[range.notice + NOTICE_ALSO] = at;
    yield* mirrorsSem.downRead();
    return OWN;
  }
  return (yield* mirrorsSem.tryDownRead()) ? OWN : REFUSED;
}

function* leaveMirrors({ mirrorsSem }: Hmm, range: InvalidateRange): Task<void> {
  yield* mirrorsSem.upRead();
  if (range.notice > 0 && deadRecordOf(range) === 0)
    mirrorsSem.memory.words[range.notice + NOTICE_ALSO] = 0;
}

/** The registered mirrors. Holding mirrorsSem. */
function* mirrorsOf(machine: Machine, hmm: Hmm): Generator<HmmMirror, void, undefined> {
  for (const node of hmm.mirrors.nodes())
    yield new HmmMirror(machine, HmmMirrorRecord.containerOf(node, "node"));
}

/**
 * Runs a driver's call-back. If it throws, or this thread has not loaded its code, the device may
 * still reach pages that are about to become another mapping's. The change of the mapping cannot be
 * undone here, so the machine stops, with one error in every thread.
 */
function* guarded<T>(mirror: HmmMirror, call: string, run: () => Task<T>): Task<T> {
  try {
    return yield* returnedTask(run());
  } catch (error) {
    const { memory } = mirror.machine;
    if (hasPanicked(memory)) throw error;
    const what = `Cannot go on: the ${call} call-back of ${driverOf(mirror)} failed, and its device may still reach those pages`;
    const text = `${what}: ${String(error)}`;
    declarePanic(memory, ENOTRECOVERABLE, text);
    const stopped = panicError(memory);
    stopped.cause = error; // with its stack, for this thread
    throw stopped;
  }
}

function driverOf(mirror: HmmMirror): string {
  return `driver "${mirrorOps.nameOf(mirror.record.opsId)}" (${String(mirror)})`;
}

/** Pages have changed. Pairs with a start that returned 0. */
export function* hmmInvalidateRangeEnd(
  machine: Machine,
  notifier: number,
  range: InvalidateRange,
): Task<void> {
  const hmm = Hmm.at(machine.memory, notifier);
  const held = yield* holdHmm(hmm, range);
  if (held === 0) return; // H2 of hmm-struct.ts
  if (progressOf(range) !== UNMARKED) yield* notifiersDecrement(hmm, range);
  else yield* hmm.wq.wakeAll(); // the dead thread may not have
  yield* dropHmm(machine, hmm, range, held);
}

/**
 * Takes an invalidation out of the accounting, and wakes those who wait for it. rangesLock is a
 * spinlock, so a start that may not wait can unwind too (patch 12). Linux makes all ranges valid
 * when the count reaches 0; here a range becomes valid with the end of the last invalidation that
 * overlaps it.
 */
function* notifiersDecrement(hmm: Hmm, range: InvalidateRange): Task<void> {
  const { startPage, endPage } = range;
  let becameValid = false;
  yield* hmm.rangesLock.lock();
  const forgotten = forgetInFlight(hmm, startPage, endPage);
  if (forgotten !== NOT_IN_FLIGHT) {
    noteProgress(range, UNMARKED, hmm.rangesLock.at);
    const wasRecorded = forgotten === WAS_RECORDED;
    for (const at of wasRecorded ? overlappingRanges(hmm, startPage, endPage) : rangesOf(hmm))
      if (yield* settleSequence(hmm, HmmRangeRecord.at(hmm.memory, at))) becameValid = true;
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
 * The address space dies: calls each mirror's release once, under mirrorsSem. The mirrors stay
 * listed until their drivers unregister them. By R2 no range is registered any more; a release that
 * finds one is counted. If the thread dies in here, another one calls them all once more.
 */
function* hmmRelease(machine: Machine, notifier: number): Task<void> {
  const hmm = Hmm.at(machine.memory, notifier);
  const held = yield* hmmHold(hmm);
  if (held === 0) return;
  yield* hmm.rangesLock.lock();
  if (hmm.ranges !== 0) hmm.releasedWithRanges++;
  yield* hmm.rangesLock.unlock();
  yield* hmm.mirrorsSem.downRead();
  for (const mirror of mirrorsOf(machine, hmm)) {
    yield* guarded(
      mirror,
      "release",
      () => mirrorOps.get(mirror.record.opsId).release?.(mirror) ?? DONE,
    );
  }
  yield* hmm.mirrorsSem.upRead();
  yield* hmmRelinquish(machine, hmm, held);
}

function* count(hmm: Hmm, counter: "refusals" | "mirrorErrors"): Task<void> {
  yield* hmm.rangesLock.lock();
  hmm[counter]++;
  yield* hmm.rangesLock.unlock();
}

/** Id of this module's code at the mmu notifiers. */
export const HMM_NOTIFIER_OPS: number = registerNotifierOps("hmm", {
  invalidateRangeStart: hmmInvalidateRangeStart,
  invalidateRangeEnd: hmmInvalidateRangeEnd,
  release: hmmRelease,
  isRepeatable: true, // V6
});
