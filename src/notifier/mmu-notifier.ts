/**
 * @module notifier/mmu-notifier
 * Calls notifiers before and after the CPU's page table changes, and when the address space dies.
 * Follows Linux `mm/mmu_notifier.c`: register, unregister, release, invalidate start and end, with
 * the unwinding that Linux has had since 2021.
 *
 * N1 and N2 of subscriptions.ts allow walks of the list without its lock.
 *
 *   N3  Every start and every end is called holding the mmap lock, for reading or writing. Only
 *       exit holds none: it is alone. Registration holds the lock for writing, so no notifier is
 *       linked between a start and its end, and none gets an end whose start it missed. If the
 *       thread dies in between, another one brings the invalidation to its end (notice.ts). An
 *       invalidation that lasts longer than its caller holds the lock (a write view) is replayed to
 *       a new notifier by the thread that registers it.
 *   N4  A start that fails has been undone: the notifiers that had returned 0 got their end, in no
 *       order, and the caller calls none. Only a non-blockable start can fail, and only with
 *       EAGAIN.
 *   N5  After `mmuNotifierUnregister` returned, no call-back of that notifier runs or will run.
 *       `mmuNotifierUnregisterNoRelease` does not promise this: the notifier's memory is freed by a
 *       deferred call of `notifierSrcu`.
 *   N6  A release is claimed in the name of the thread that calls it. If that dies in it, the claim
 *       is anybody's. A node is unlinked only when its release has returned: who finds another
 *       thread about it waits for that thread's read section, and looks again. So neither exit nor
 *       unregister returns before, and who takes a space down for a dead thread finds the node. A
 *       release that may not be called again is a critical section.
 *
 * The node of a notifier is in shared memory, and its code in every thread: each thread registers
 * the call-backs by name, and the node has a hash of the name. A registered notifier holds a grab
 * of the mm. Locks: `notifierLock` around changes of a list; the read side of the machine's
 * `notifierSrcu` around walks.
 */

import { Machine } from "../memory/machine.ts";
import { counterPlace } from "../memory/space-counters.ts";
import { type Struct, type StructView, embed, struct } from "../memory/layout/struct.ts";
import { registerNoticeFinisher } from "../sync/death/recovery.ts";
import { EAGAIN, type Errno } from "../sync/errno.ts";
import { bug } from "../sync/errors.ts";
import { lockClass } from "../sync/lock-class.ts";
import {
  HELD_CALLBACK,
  enterCritical,
  heldTag,
  leaveCritical,
} from "../sync/lockdep/held-locks.ts";
import { NameRegistry } from "../sync/name-registry.ts";
import { Srcu } from "../sync/primitives/srcu.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { DONE, type Task, doneNumber } from "../sync/tasks/task.ts";
import { type InvalidateRange, eventName } from "./events.ts";
import {
  ENDED,
  ENDING,
  RETURNED,
  STARTED,
  STARTING,
  beginNotice,
  deadRecordOf,
  endNotice,
  nodeOf,
  notePhase,
  noteProgress,
  noticedRange,
  phaseOf,
  progressOf,
} from "./notice.ts";
import {
  CLAIM_OURS,
  CLAIM_OVER,
  MmuNotifier,
  type NotifierSubscriptions,
} from "./subscriptions.ts";

/**
 * The call-backs of a notifier. Each gets the address of the notifier's struct.
 * `invalidateRangeStart` returns 0 after all access to the range has ended. It may return EAGAIN
 * only if the range is not blockable, and then its own accounting is as before. No call-back may
 * take the mmap lock, or drop the last user of the address space.
 */
export interface MmuNotifierOps {
  readonly invalidateRangeStart?: (
    machine: Machine,
    notifier: number,
    range: InvalidateRange,
  ) => Task<Errno>;
  readonly invalidateRangeEnd?: (
    machine: Machine,
    notifier: number,
    range: InvalidateRange,
  ) => Task<void>;
  readonly release?: (machine: Machine, notifier: number) => Task<void>;
  /**
   * Start and end may be called again if a thread died in them, for the same invalidation: they
   * note what must not be done twice (W2 of notice.ts). So may the release. Default: a death in
   * them stops the machine.
   */
  readonly isRepeatable?: boolean;
}

const notifierOps: NameRegistry<MmuNotifierOps> = new NameRegistry(
  "notifier operations",
  "import their module before attaching",
);

/**
 * Makes `ops` callable in this thread under `name`; the id is the same in every thread. Registering
 * a name again replaces its code.
 */
export function registerNotifierOps(name: string, ops: MmuNotifierOps): number {
  return notifierOps.register(name, ops);
}

/** Sections in which a death stops the machine: a call-back that cannot be done again. */
const callTag = heldTag(lockClass("notifier call-back"), HELD_CALLBACK);

function opsOf(node: MmuNotifier): MmuNotifierOps {
  return notifierOps.get(node.opsId());
}

interface NotifierCore extends StructView {
  readonly srcu: Srcu;
}
const NotifierCore: Struct<NotifierCore> = struct<NotifierCore>("notifierCore", {
  srcu: embed(Srcu, "read side around every walk of a list of notifiers", "notifierSrcu"),
});

const srcuByMachine = new WeakMap<Machine, Srcu>();

/**
 * The SRCU domain of all lists of notifiers on the machine. The first thread that needs it makes
 * it.
 */
export function* notifierSrcu(machine: Machine): Task<Srcu> {
  const known = srcuByMachine.get(machine);
  if (known !== undefined) return known;
  const core = yield* machine.heap.singleton(NotifierCore, (view) => view.srcu.init());
  srcuByMachine.set(machine, core.srcu);
  return core.srcu;
}

/**
 * Links a notifier. Holding the mmap lock for writing, an mm user, and a grab of the mm that lasts
 * until unregister. Call-backs can begin before this returns. Linux: `__mmu_notifier_register`.
 */
export function* mmuNotifierRegister(
  machine: Machine,
  subscriptions: NotifierSubscriptions,
  node: MmuNotifier,
  opsId: number,
): Task<void> {
  yield* notifierSrcu(machine);
  node.init(opsId);
  yield* subscriptions.lock.lock();
  yield* subscriptions.link(node);
  yield* subscriptions.lock.unlock();
}

/**
 * Calls the release of a notifier, if exit has not, and unlinks it. Returns when none of its
 * call-backs runs any more (N5). May wait, so not inside a call-back. Linux:
 * `mmu_notifier_unregister`.
 */
export function* mmuNotifierUnregister(
  machine: Machine,
  subscriptions: NotifierSubscriptions,
  node: MmuNotifier,
): Task<void> {
  const srcu = yield* notifierSrcu(machine);
  for (let isOver = false; !isOver;) {
    const section = yield* srcu.readLock();
    isOver = yield* releaseOnce(machine, node);
    if (isOver) yield* mmuNotifierUnregisterNoRelease(subscriptions, node);
    yield* srcu.readUnlock(section);
    yield* srcu.synchronize();
  }
}

/**
 * Unlinks a notifier, without its release and without waiting. Call-backs may still run, so its
 * memory must be freed by a deferred call of `notifierSrcu` (N2 of subscriptions.ts). Allowed
 * inside a call-back. Linux: `mmu_notifier_unregister_no_release`.
 */
export function* mmuNotifierUnregisterNoRelease(
  subscriptions: NotifierSubscriptions,
  node: MmuNotifier,
): Task<void> {
  yield* subscriptions.lock.lock();
  yield* subscriptions.unlink(node);
  yield* subscriptions.lock.unlock();
}

/**
 * Exit and unregister may come here at the same time. The one that claims the node makes the call.
 * It does so inside a read section, so the `synchronize` of the other waits for it. False: another
 * one is about it.
 */
function* releaseOnce(machine: Machine, node: MmuNotifier): Task<boolean> {
  const { release, isRepeatable } = opsOf(node);
  if (release === undefined) return true;
  const claim = yield* node.claimRelease();
  if (claim !== CLAIM_OURS) return claim === CLAIM_OVER;
  const isCritical = isRepeatable !== true;
  if (isCritical) enterCritical(machine.memory, node.at, callTag);
  yield* release(machine, node.at);
  yield* node.setReleased();
  if (isCritical) leaveCritical(machine.memory, node.at, callTag);
  return true;
}

const INVALIDATIONS = counterPlace("invalidations");

/**
 * Calls every notifier before the range changes. Linux: `__mmu_notifier_invalidate_range_start`.
 * N3, N4.
 */
export function mmuNotifierInvalidateRangeStart(
  machine: Machine,
  range: InvalidateRange,
): Task<Errno> {
  noteInvalidationOf(range);
  return range.subscriptions.isEmptyFast() ? doneNumber(0) : startAll(machine, range);
}

/** Of an invalidation that no notifier is told of: all of its start, and there is no end. */
export function noteInvalidationOf({ counters }: InvalidateRange): void {
  counters.add(INVALIDATIONS);
}

function* startAll(machine: Machine, range: InvalidateRange): Task<Errno> {
  const { subscriptions } = range;
  if ((yield* subscriptions.first()) === 0) return 0;
  const srcu = yield* notifierSrcu(machine);
  beginNotice(range, STARTING);
  const section = yield* srcu.readLock();
  const agreed: number[] = [];
  const failed = yield* startFrom(machine, range, yield* subscriptions.first(), agreed);
  if (failed !== 0) yield* endThose(machine, range, agreed);
  yield* srcu.readUnlock(section);
  if (failed !== 0) endNotice(range);
  return failed;
}

/** Calls the notifiers from `first` on, in a read section; lists in `agreed` who answered 0. */
function* startFrom(
  machine: Machine,
  range: InvalidateRange,
  first: number,
  agreed: number[],
): Task<Errno> {
  for (let at = first; at !== 0;) {
    notePhase(range, STARTING, at);
    const failed = yield* startOne(machine, range, at);
    if (failed !== 0) return failed;
    agreed.push(at);
    at = yield* new MmuNotifier(machine.memory, at).next();
  }
  notePhase(range, STARTED, 0);
  return 0;
}

/** Calls one notifier, or goes on where a dead thread was. W2 and W3 of notice.ts. */
function* startOne(machine: Machine, range: InvalidateRange, at: number): Task<Errno> {
  const ops = opsOf(new MmuNotifier(machine.memory, at));
  const start = ops.invalidateRangeStart;
  if (start === undefined || progressOf(range) === RETURNED) return 0;
  if (ops.isRepeatable === true) return checkRefusal(range, yield* start(machine, at, range));
  enterCritical(machine.memory, at, callTag);
  const answer = checkRefusal(range, yield* start(machine, at, range));
  noteProgress(range, RETURNED);
  leaveCritical(machine.memory, at, callTag);
  return answer;
}

/**
 * A notifier that refuses where it may wait, or with another code, is defective, and there is no
 * safe way to go on. Who goes on for a dead thread may be refused. Returns the answer.
 */
function checkRefusal(range: InvalidateRange, answer: Errno): Errno {
  const mayRefuse = !range.blockable || deadRecordOf(range) !== 0;
  if (answer !== 0 && (!mayRefuse || answer !== EAGAIN)) {
    bug(
      `an mmu notifier answered ${answer} to a ${range.blockable ? "blockable" : "non-blockable"} start (${eventName(range.event)}); only EAGAIN to a non-blockable one is allowed`,
    );
  }
  return answer;
}

/**
 * Unwinds a start that a notifier refused: those that had `agreed` get an end. Without it their
 * counts would stay raised for ever, because a start that failed gets no end from its caller. The
 * 2019 series had this hole with two notifiers. Another walk up to the notifier that refused would
 * be wrong: it may have been unlinked meanwhile, and the walk would go on to notifiers that got no
 * start. A notifier that has unregistered meanwhile is still readable inside the read section, and
 * ignores an end that it does not need.
 */
function* endThose(
  machine: Machine,
  range: InvalidateRange,
  agreed: readonly number[],
): Task<void> {
  for (const at of agreed) {
    const end = opsOf(new MmuNotifier(machine.memory, at)).invalidateRangeEnd;
    if (end !== undefined) yield* end(machine, at, range);
  }
}

/**
 * Calls every notifier after the range has changed. Pairs with a start that returned 0. Never
 * fails, never waits for long.
 */
export function mmuNotifierInvalidateRangeEnd(
  machine: Machine,
  range: InvalidateRange,
): Task<void> {
  const isUntold = range.notice === 0 && range.subscriptions.isEmptyFast();
  return isUntold ? DONE : endAll(machine, range);
}

function* endAll(machine: Machine, range: InvalidateRange): Task<void> {
  const { subscriptions } = range;
  if (range.notice === 0 && (yield* subscriptions.first()) === 0) return;
  const srcu = yield* notifierSrcu(machine);
  if (range.notice === 0) beginNotice(range, ENDING);
  const section = yield* srcu.readLock();
  notePhase(range, ENDING, 0);
  yield* endFrom(machine, range, yield* subscriptions.first());
  yield* srcu.readUnlock(section);
  endNotice(range);
}

/** Calls the notifiers from `first` on, in a read section. */
function* endFrom(machine: Machine, range: InvalidateRange, first: number): Task<void> {
  for (let at = first; at !== 0;) {
    notePhase(range, ENDING, at);
    yield* endOne(machine, range, at);
    at = yield* new MmuNotifier(machine.memory, at).next();
  }
  notePhase(range, ENDED, 0);
}

function* endOne(machine: Machine, range: InvalidateRange, at: number): Task<void> {
  const ops = opsOf(new MmuNotifier(machine.memory, at));
  const end = ops.invalidateRangeEnd;
  if (end === undefined || progressOf(range) === RETURNED) return;
  const isCritical = ops.isRepeatable !== true;
  if (isCritical) enterCritical(machine.memory, at, callTag);
  yield* end(machine, at, range);
  if (!isCritical) return;
  noteProgress(range, RETURNED);
  leaveCritical(machine.memory, at, callTag);
}

/**
 * Brings the invalidation of a dead thread's notice to its end. Its entries are flushed by now
 * (W1 of notice.ts). False: a call-back has to wait for what this thread cannot wait for now.
 */
function* finishNotice(memory: SharedMemory, notice: number): Task<boolean> {
  const machine = Machine.of(memory);
  const range = noticedRange(memory, notice);
  const srcu = yield* notifierSrcu(machine);
  const section = yield* srcu.readLock(); // within the dead thread's own: W4 of notice.ts
  const isFinished = yield* finishStart(machine, range);
  if (isFinished) yield* finishEnd(machine, range);
  yield* srcu.readUnlock(section);
  return isFinished;
}

/** True: no start is left to be called. */
function* finishStart(machine: Machine, range: InvalidateRange): Task<boolean> {
  const { memory } = machine;
  if (phaseOf(memory, range.notice) !== STARTING) return true;
  const at = nodeOf(memory, range.notice);
  if (at === 0) {
    notePhase(range, ENDED, 0); // nobody was told
    return true;
  }
  if ((yield* startOne(machine, range, at)) !== 0) return false;
  const next = yield* new MmuNotifier(memory, at).next();
  return (yield* startFrom(machine, range, next, [])) === 0;
}

function* finishEnd(machine: Machine, range: InvalidateRange): Task<void> {
  const { memory } = machine;
  const phase = phaseOf(memory, range.notice);
  if (phase === ENDED) return;
  const at = phase === ENDING ? nodeOf(memory, range.notice) : 0;
  if (at !== 0) yield* endOne(machine, range, at);
  const next = at === 0 ? range.subscriptions.first() : new MmuNotifier(memory, at).next();
  yield* endFrom(machine, range, yield* next);
}

registerNoticeFinisher(finishNotice);

/**
 * Starts an invalidation that lasts, at one new notifier (N3). Holding the mmap lock for writing.
 */
export function* mmuNotifierReplayStart(
  machine: Machine,
  node: MmuNotifier,
  range: InvalidateRange,
): Task<void> {
  const start = opsOf(node).invalidateRangeStart;
  if (start === undefined) return;
  const answer = yield* start(machine, node.at, range);
  checkRefusal(range, answer);
}

/**
 * The address space dies: calls the release of every notifier and unlinks it; returns when no
 * call-back runs any more. Exit calls this once, before it unmaps anything. So the unmapping calls
 * no notifier, and no frame is given back while a device uses it. Who takes the space down for a
 * thread that died in it does it again. Linux: `__mmu_notifier_release`.
 */
export function* mmuNotifierRelease(
  machine: Machine,
  subscriptions: NotifierSubscriptions,
): Task<void> {
  const isAgain = machine.memory.reaping; // a call-back may run that the dead thread would await
  if (!isAgain && (yield* subscriptions.first()) === 0) return;
  const srcu = yield* notifierSrcu(machine);
  for (;;) {
    const section = yield* srcu.readLock();
    const isEmpty = yield* releaseAll(machine, subscriptions);
    yield* srcu.readUnlock(section);
    yield* srcu.synchronize();
    if (isEmpty) return;
  }
}

/**
 * In a read section. A node is still linked when its release is called: an unregister that comes
 * then finds it so, or waits in `synchronize` for this section. False: of some node another thread
 * calls the release now. That is over after a grace period, or the thread has died (N6).
 */
function* releaseAll(machine: Machine, subscriptions: NotifierSubscriptions): Task<boolean> {
  let isEmpty = true;
  for (let at = yield* subscriptions.first(); at !== 0;) {
    const node = new MmuNotifier(machine.memory, at);
    if (yield* releaseOnce(machine, node))
      yield* mmuNotifierUnregisterNoRelease(subscriptions, node);
    else isEmpty = false;
    at = yield* node.next();
  }
  return isEmpty;
}
