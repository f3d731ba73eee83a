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
 *       linked between a start and its end, and none gets an end whose start it missed. An
 *       invalidation that lasts longer than its caller holds the lock (a write view) is replayed to
 *       a new notifier by the thread that registers it.
 *   N4  A start that fails has been undone: the notifiers that had returned 0 got their end, in no
 *       order, and the caller calls none. Only a non-blockable start can fail, and only with
 *       EAGAIN.
 *   N5  After `mmuNotifierUnregister` returned, no call-back of that notifier runs or will run.
 *       `mmuNotifierUnregisterNoRelease` does not promise this: the notifier's memory is freed by a
 *       deferred call of `notifierSrcu`.
 *
 * The node of a notifier is in shared memory, and its code in every thread: each thread registers
 * the call-backs by name, and the node has a hash of the name. A registered notifier holds a grab
 * of the mm. Locks: `notifierLock` around changes of a list; the read side of the machine's
 * `notifierSrcu` around walks.
 */

import type { Machine } from "../memory/machine.ts";
import { counterPlace } from "../memory/space-counters.ts";
import { type Struct, type StructView, embed, struct } from "../memory/layout/struct.ts";
import { EAGAIN, type Errno } from "../sync/errno.ts";
import { bug } from "../sync/errors.ts";
import { NameRegistry } from "../sync/name-registry.ts";
import { Srcu } from "../sync/primitives/srcu.ts";
import { DONE, type Task, doneNumber } from "../sync/tasks/task.ts";
import { type InvalidateRange, eventName } from "./events.ts";
import { MmuNotifier, type NotifierSubscriptions } from "./subscriptions.ts";

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
  const section = yield* srcu.readLock();
  yield* releaseOnce(machine, node);
  yield* mmuNotifierUnregisterNoRelease(subscriptions, node);
  yield* srcu.readUnlock(section);
  yield* srcu.synchronize();
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
 * It does so inside a read section, so the `synchronize` of the other waits for it.
 */
function* releaseOnce(machine: Machine, node: MmuNotifier): Task<void> {
  const { release } = opsOf(node);
  if (release === undefined) return;
  if (yield* node.claimRelease()) yield* release(machine, node.at);
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
  const section = yield* srcu.readLock();
  let failed: Errno = 0;
  const agreed: number[] = [];
  for (let at = yield* subscriptions.first(); at !== 0 && failed === 0;) {
    const node = new MmuNotifier(machine.memory, at);
    const start = opsOf(node).invalidateRangeStart;
    const answer = start === undefined ? 0 : yield* start(machine, at, range);
    if (answer === 0) agreed.push(at);
    else checkRefusal(range, answer);
    failed = answer;
    at = yield* node.next();
  }
  if (failed !== 0) yield* endThose(machine, range, agreed);
  yield* srcu.readUnlock(section);
  return failed;
}

/**
 * A notifier that refuses where it may wait, or with another code, is defective, and there is no
 * safe way to go on.
 */
function checkRefusal(range: InvalidateRange, answer: Errno): void {
  if (range.blockable || answer !== EAGAIN) {
    bug(
      `an mmu notifier answered ${answer} to a ${range.blockable ? "blockable" : "non-blockable"} start (${eventName(range.event)}); only EAGAIN to a non-blockable one is allowed`,
    );
  }
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
  return range.subscriptions.isEmptyFast() ? DONE : endAll(machine, range);
}

function* endAll(machine: Machine, range: InvalidateRange): Task<void> {
  const { subscriptions } = range;
  if ((yield* subscriptions.first()) === 0) return;
  const srcu = yield* notifierSrcu(machine);
  const section = yield* srcu.readLock();
  for (let at = yield* subscriptions.first(); at !== 0;) {
    const node = new MmuNotifier(machine.memory, at);
    const end = opsOf(node).invalidateRangeEnd;
    if (end !== undefined) yield* end(machine, at, range);
    at = yield* node.next();
  }
  yield* srcu.readUnlock(section);
}

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
  if (answer !== 0) checkRefusal(range, answer);
}

/**
 * The address space dies: calls the release of every notifier and unlinks it; returns when no
 * call-back runs any more. Exit calls this once, before it unmaps anything. So the unmapping calls
 * no notifier, and no frame is given back while a device uses it. Linux: `__mmu_notifier_release`.
 */
export function* mmuNotifierRelease(
  machine: Machine,
  subscriptions: NotifierSubscriptions,
): Task<void> {
  if ((yield* subscriptions.first()) === 0) return;
  const srcu = yield* notifierSrcu(machine);
  const section = yield* srcu.readLock();
  for (let at = yield* subscriptions.first(); at !== 0; at = yield* subscriptions.first()) {
    const node = new MmuNotifier(machine.memory, at);
    // The node is still linked here: an unregister that comes now finds it so, or waits in
    // `synchronize` for this section.
    yield* releaseOnce(machine, node);
    yield* mmuNotifierUnregisterNoRelease(subscriptions, node);
  }
  yield* srcu.readUnlock(section);
  yield* srcu.synchronize();
}
