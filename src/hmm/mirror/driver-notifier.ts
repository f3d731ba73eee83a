/**
 * @module hmm/mirror/driver-notifier
 * A bare mmu notifier of a driver: told before and after each change of a mapping, and when the
 * address space dies, without a mirror and without ranges. Follows Linux `mmu_notifier_register`.
 * As a mirror, it is called in whichever thread changes a mapping, so a thread that lacks its code
 * may not attach (mirror-ops.ts), and it is unregistered for a thread that dies.
 *
 *   Q1  A registered notifier owns a grab of its mm, a use of its code, and a place in the list of
 *       what its thread owns. Each is given up after the notifier was unlinked, and no call-back
 *       runs (N5 of notifier/mmu-notifier.ts).
 *   Q2  `owns` says which of grab and use there are; it changes in the step that gets or drops
 *       each. The owner's calls change it, and after its death the reaper. Of the link it says
 *       nothing: as long as there is the grab, the reaper unlinks the notifier, which does nothing
 *       if it is not linked.
 *   Q3  A thread that dies while it registers a notifier has registered it, or leaves what the
 *       reaper gives back; `orphaned` is called either way, for a notifier that it began to
 *       register. But in a call-back that is not `isRepeatable` the machine stops: so it does if
 *       the thread dies while it starts, at the new notifier, the open write views.
 */

import { Machine } from "../../memory/machine.ts";
import {
  type Struct,
  type StructView,
  embed,
  pointer,
  struct,
  u32,
} from "../../memory/layout/struct.ts";
import { mmdrop, mmgrab } from "../../mm/lifetime/mm.ts";
import { MM_COUNT, Mm } from "../../mm/mm-struct.ts";
import { replayHolds } from "../../mm/view/view-hold.ts";
import {
  type MmuNotifierOps,
  mmuNotifierRegister,
  mmuNotifierUnregister,
  registerNotifierOps,
} from "../../notifier/mmu-notifier.ts";
import { MmuNotifier } from "../../notifier/subscriptions.ts";
import {
  addResource,
  registerHeir,
  removeResource,
  resourceKind,
  takeNoted,
} from "../../sync/lockdep/resources.ts";
import { type CallBackNames, checkCallBacks } from "../../sync/tasks/call-backs.ts";
import { EINVAL, EMFILE, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import { assertNoLockHeld } from "../../sync/lockdep/held-locks.ts";
import { NameRegistry } from "../../sync/name-registry.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { declareDriverCode, dropDriverCode, useDriverCode } from "./mirror-ops.ts";

/**
 * The call-backs of a bare notifier. Each gets the address of the notifier's record, from which
 * `containerOf` leads to the driver's struct. `invalidateRangeStart` and `invalidateRangeEnd` come
 * in pairs: before a change, and after it. The start returns 0 when all access to the range has
 * ended, or EAGAIN where the range is not blockable, and then has changed nothing and gets no end.
 * `release`: the address space dies, or the notifier is unregistered. No call-back takes the mmap
 * lock.
 */
export interface DriverNotifierOps extends MmuNotifierOps {
  /**
   * The thread that had registered the notifier has died, and a reaper has unregistered it. Frees
   * the driver's state. No lock is held.
   */
  readonly orphaned?: (machine: Machine, notifier: number) => Task<void>;
}

/** A notifier in shared memory, as a part of a driver's struct. Only hmm uses its fields. */
export interface DriverNotifier extends StructView {
  readonly node: MmuNotifier;
  mm: number;
  opsId: number;
  resourceSlot: number;
  owns: number;
}

/** A driver embeds it in its struct, in zeroed memory: `embedStruct(DriverNotifier, ...)`. */
export const DriverNotifier: Struct<DriverNotifier> = struct<DriverNotifier>(
  "driverNotifier",
  {
    node: embed(MmuNotifier, "in the mm's list"),
    mm: pointer("const while registered", "the mm, of which it owns a grab"),
    opsId: u32("const", "the driver's code"),
    resourceSlot: u32("owner", "its slot in the list of the registering thread"),
    owns: u32("owner, or the reaper of a dead one", "what is to be given up; 0: not registered"),
  },
  { embedded: true },
);

/** Bits of `owns` (Q2). */
const OWNS_NOTHING = 0;
const OWNS_USE = 1;
const OWNS_GRAB = 2;
const OWNS = DriverNotifier.offset.owns;

const NOTIFIER_RESOURCE: number = resourceKind("driver notifier");

const driverNotifierOps: NameRegistry<DriverNotifierOps> = new NameRegistry(
  "driver notifier operations",
  "import the driver's module before attaching",
);

/** Under which the code is counted in the machine's directory, and named to who lacks it. */
const countedAs = (name: string): string => `notifier ${name}`;

/**
 * Makes `ops` callable in this thread under `name` (1 to 50 ASCII characters), and returns the id
 * for `driverNotifierRegister`, which is the same in every thread. Call it where the driver's
 * module is loaded, before the thread attaches. Throws AssertionFailure on a bad name, and for what
 * is no object of such call-backs.
 */
export function registerDriverNotifierOps(name: string, ops: DriverNotifierOps): number {
  if (!/^[\x20-\x7e]{1,50}$/.test(name))
    bug(`Cannot register notifier operations "${name}": a name has 1 to 50 ASCII characters`);
  checkCallBacks("notifier operations", name, ops, CALL_BACKS);
  declareDriverCode(countedAs(name));
  registerNotifierOps(countedAs(name), ops);
  return driverNotifierOps.register(countedAs(name), ops);
}

const CALL_BACKS: CallBackNames = {
  required: [],
  optional: ["invalidateRangeStart", "invalidateRangeEnd", "release", "orphaned"],
  further: ["isRepeatable"],
};

/**
 * Registers a notifier on `mm`: it is called for every change of a mapping, even before this
 * returns. Holding the mmap lock of `mm` for writing, and an mm user. The calling thread owns it:
 * when the thread dies, a reaper unregisters it.
 *
 * | result | meaning |
 * | --- | --- |
 * | 0 | registered |
 * | ENOMEM | no memory, or more drivers in use than MIRROR_OPS_IN_USE_MAX |
 * | EINVAL | `mm` belongs to another machine, or the notifier is registered already |
 * | EMFILE | the thread owns as many things as it may |
 */
export function* driverNotifierRegister(
  machine: Machine,
  mm: Mm,
  notifier: DriverNotifier,
  opsId: number,
): Task<Errno> {
  mm.mmapLock.assertHeldWrite();
  if (mm.memory !== machine.memory || notifier.owns !== OWNS_NOTHING) return EINVAL;
  driverNotifierOps.get(opsId); // throws where this thread has not loaded it
  notifier.node.init();
  notifier.opsId = opsId;
  notifier.mm = mm.at;
  const slot = addResource(machine.memory, NOTIFIER_RESOURCE, notifier.at);
  if (slot < 0) return EMFILE;
  const note = { at: notifier.at + OWNS, noted: OWNS_USE };
  const errno = yield* useDriverCode(machine, driverNotifierOps.nameOf(opsId), note);
  if (errno !== 0) {
    removeResource(machine.memory, slot);
    return errno;
  }
  notifier.resourceSlot = slot;
  yield* mmgrab(mm, notifier.at + OWNS, OWNS_USE | OWNS_GRAB);
  yield* mmuNotifierRegister(machine, mm.notifiers, notifier.node, opsId);
  yield* replayHolds(machine, mm, notifier.node);
  return 0;
}

/**
 * Unregisters a notifier: calls its `release`, unless the address space has died. When it returns,
 * no call-back of it runs or will run, and the driver may free its memory. In the thread that
 * registered it, once, holding no lock, not from a call-back. May wait.
 */
export function* driverNotifierUnregister(machine: Machine, notifier: DriverNotifier): Task<void> {
  assertNoLockHeld(
    machine.memory,
    "driverNotifierUnregister",
    "it waits for call-backs, which may be waiting for that lock",
  );
  if (notifier.owns === OWNS_NOTHING)
    bug("Cannot unregister a notifier that is not registered; do it once for each register");
  const { resourceSlot } = notifier;
  yield* unlink(machine, notifier);
  removeResource(machine.memory, resourceSlot);
}

/** Q1, but for the place in the list of the thread. */
function* unlink(machine: Machine, notifier: DriverNotifier): Task<void> {
  const mm = Mm.at(machine.memory, notifier.mm);
  const hasGrab = (notifier.owns & OWNS_GRAB) !== 0;
  if (hasGrab) yield* mmuNotifierUnregister(machine, mm.notifiers, notifier.node);
  if ((notifier.owns & OWNS_USE) !== 0) {
    const note = { at: notifier.at + OWNS, noted: notifier.owns & ~OWNS_USE };
    yield* dropDriverCode(machine, driverNotifierOps.nameOf(notifier.opsId), note);
  }
  if (hasGrab) yield* mmdrop(machine, mm, takeGrab(notifier));
}

/** The grab is this thread's own. Returns its slot, or -1: the list is full. */
function takeGrab({ memory, at, mm }: DriverNotifier): number {
  return takeNoted(memory, MM_COUNT, mm, at + OWNS, OWNS_NOTHING);
}

registerHeir(NOTIFIER_RESOURCE, function* (memory, at, slot) {
  const machine = Machine.of(memory);
  const notifier = DriverNotifier.at(memory, at);
  const { orphaned } = driverNotifierOps.get(notifier.opsId);
  yield* unlink(machine, notifier);
  if (slot >= 0) removeResource(memory, slot); // the driver is told once
  if (orphaned !== undefined) yield* orphaned(machine, at);
});
