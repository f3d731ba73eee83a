/**
 * @module notifier/mmu-notifier
 * Tells listeners before and after the CPU's page tables change, and when the address space dies.
 * Follows Linux `mm/mmu_notifier.c` (register, unregister, release, invalidate start and end) with
 * the unwinding that Linux got in 2021.
 *
 * N1 and N2 of subscriptions.ts say why the list may be walked without its lock.
 *
 *   N3  Every start and every end is called holding the mmap lock (read or write), except by exit,
 *       which is alone. Registration holds it for writing: so no listener is linked between a start
 *       and its end, and it never hears an end whose start it missed. An invalidation that outlives
 *       its caller's lock (a write view) is told to a new listener by whoever registers it.
 *   N4  A start that fails has been undone: the listeners that had agreed got their end, in no
 *       order; the caller owes none. Only a non-blockable start can fail, and only with EAGAIN.
 *   N5  After `mmuNotifierUnregister` returned, no call-back of that listener runs or will run.
 *       `...NoRelease` gives no such promise: the listener's memory is freed by a deferred call of
 *       `notifierSrcu`.
 *
 * A listener's node sits in shared memory, its code is in every thread: operations are registered
 * by name in each thread, and the node carries a hash of the name. The listener must hold the mm
 * (mmgrab) for as long as it is registered. Locks: `notifierLock` around changes of a list; the
 * read side of the one `notifierSrcu` of the machine around walks.
 */

import type { Machine } from "../memory/machine.ts";
import { type Struct, type StructView, embed, struct } from "../memory/layout/struct.ts";
import { EAGAIN, type Errno } from "../sync/errno.ts";
import { bug } from "../sync/errors.ts";
import { NameRegistry } from "../sync/name-registry.ts";
import { Srcu } from "../sync/primitives/srcu.ts";
import type { Task } from "../sync/tasks/task.ts";
import { type InvalidateRange, eventName } from "./events.ts";
import { MmuNotifier, type NotifierSubscriptions } from "./subscriptions.ts";

/**
 * A listener's code. Each receives the address of the listener's struct. `invalidateRangeStart`
 * must have ended all access to the range when it returns 0; it may answer EAGAIN only when the
 * range is not blockable, and then must have left its own accounting as it found them. None of them
 * may take the mmap lock, or drop the last user of the address space.
 */
export interface MmuNotifierOps {
  readonly invalidateRangeStart?: (
    machine: Machine,
    listener: number,
    range: InvalidateRange,
  ) => Task<Errno>;
  readonly invalidateRangeEnd?: (
    machine: Machine,
    listener: number,
    range: InvalidateRange,
  ) => Task<void>;
  readonly release?: (machine: Machine, listener: number) => Task<void>;
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
  srcu: embed(Srcu, "read side around every walk of a listener list", "notifierSrcu"),
});

const srcuByMachine = new WeakMap<Machine, Srcu>();

/** The machine's one SRCU domain for listener lists. Made by the first thread that needs it. */
export function* notifierSrcu(machine: Machine): Task<Srcu> {
  const known = srcuByMachine.get(machine);
  if (known !== undefined) return known;
  const core = yield* machine.heap.singleton(NotifierCore, (view) => view.srcu.init());
  srcuByMachine.set(machine, core.srcu);
  return core.srcu;
}

/**
 * Links a listener. Holding the mmap lock for writing, with an mm user, and a grab of the mm that
 * lasts until unregister. Callbacks can begin before this returns. Linux:
 * `__mmu_notifier_register`.
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
 * Unlinks a listener, calling its release first if exit has not; returns when none of its
 * call-backs runs any more (N5). May wait; not from inside a call-back. Linux:
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
  yield* unlinkNode(subscriptions, node);
  yield* srcu.readUnlock(section);
  yield* srcu.synchronize();
}

/**
 * Unlinks a listener and returns at once: no release, no waiting. Call-backs may still be running,
 * so its memory must be freed by a deferred call of `notifierSrcu` (N2 of subscriptions.ts). Legal
 * inside a call-back. Linux: `mmu_notifier_unregister_no_release`.
 */
export function* mmuNotifierUnregisterNoRelease(
  subscriptions: NotifierSubscriptions,
  node: MmuNotifier,
): Task<void> {
  yield* unlinkNode(subscriptions, node);
}

/**
 * Exit and unregister may both come here at once; the one that claims the node makes the call, and
 * the other's `synchronize` waits for it, since both call inside a read section.
 */
function* releaseOnce(machine: Machine, node: MmuNotifier): Task<void> {
  const { release } = opsOf(node);
  if (release === undefined) return;
  if (yield* node.claimRelease()) yield* release(machine, node.at);
}

function* unlinkNode(subscriptions: NotifierSubscriptions, node: MmuNotifier): Task<boolean> {
  yield* subscriptions.lock.lock();
  const unlinked = yield* subscriptions.unlink(node);
  yield* subscriptions.lock.unlock();
  return unlinked;
}

/**
 * Tells every listener that the range is about to change. Linux:
 * `__mmu_notifier_invalidate_range_start`. N3, N4.
 */
export function* mmuNotifierInvalidateRangeStart(
  machine: Machine,
  range: InvalidateRange,
): Task<Errno> {
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
 * A listener that refuses where it may wait, or with another code, has a defect of its own: there
 * is no way to go on safely.
 */
function checkRefusal(range: InvalidateRange, answer: Errno): void {
  if (range.blockable || answer !== EAGAIN) {
    bug(
      `an mmu notifier answered ${answer} to a ${range.blockable ? "blockable" : "non-blockable"} start (${eventName(range.event)}); only EAGAIN to a non-blockable one is allowed`,
    );
  }
}

/**
 * Unwinds a start that a listener refused: an end for those who had `agreed`. Without this their
 * counts stay raised for ever, since a start that failed gets no end (the hole that the 2019 series
 * left with two notifiers). By their names and not by another walk up to the one that refused: that
 * one may have been unlinked meanwhile, and then the walk would go on to listeners that were never
 * asked. One that has unregistered meanwhile is still readable (we are in the read section) and
 * wants its end or ignores it.
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
 * Tells every listener that the range has changed. Pairs with a start that returned 0. Never fails,
 * never waits for long.
 */
export function* mmuNotifierInvalidateRangeEnd(
  machine: Machine,
  range: InvalidateRange,
): Task<void> {
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
 * Starts a lasting invalidation at one new listener (N3's exception). Holding the mmap lock for
 * writing.
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
 * The address space dies: calls every listener's release, unlinks them all, and returns when no
 * call-back runs any more. Called once, by exit, before anything is unmapped: so the unmapping that
 * follows reaches no listener, and no frame is given back before every device has let go. Linux:
 * `__mmu_notifier_release`.
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
    // Called while still linked: an unregister that comes now finds it linked, or waits in
    // synchronize for this section.
    yield* releaseOnce(machine, node);
    yield* unlinkNode(subscriptions, node);
  }
  yield* srcu.readUnlock(section);
  yield* srcu.synchronize();
}
