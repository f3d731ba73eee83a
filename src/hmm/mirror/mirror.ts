/**
 * @module hmm/mirror/mirror
 * Registers a device's mirror on an address space, and unregisters it. Follows Linux 5.3
 * `hmm_mirror_register` and `hmm_mirror_unregister` after patches 4, 8 and 9.
 *
 *   K1  A registered mirror owns one reference of its hmm. So whoever keeps it registered may use
 *       `record.hmm` without taking one (patch 2).
 *   K2  After `hmmMirrorUnregister` returned, no call-back of the mirror runs or will run: it waits
 *       on mirrorsSem for those that run, and release runs under that lock too (patch 11). Only
 *       then may the driver free the memory.
 *   K3  A mirror is unregistered exactly once for each time that it was registered. In Linux the
 *       second time is undefined (patch 9 removed a test that did not protect). Here the status is
 *       changed under `claim`: one thread succeeds, and every other call is an assertion, as is a
 *       call on a mirror that was never registered.
 *   K4  A mirror whose thread has died is orphaned: a reaper unregisters it. Other threads of its
 *       driver may be about to register a range on it. So it keeps its reference of the hmm until
 *       the driver, which knows when they are gone, calls `hmmMirrorForget`. And hmmRangeRegister
 *       rechecks the status under rangesLock, which the reaper takes after it has changed the
 *       status. Either that range is refused, or it is in the list when the reaper makes the
 *       mirror's ranges invalid for ever.
 *
 *       a driver's other thread                 reaper
 *       status? registered
 *                                               status := orphaned
 *                                               ranges := invalid for ever
 *                                               [drops the hmm's last reference: it is freed]
 *       rangesLock of the hmm, still there
 *       status? orphaned: ENODEV
 *
 *   K5  Before an orphaned mirror is unlinked, its release ends all access of the device: other
 *       threads of the device still use its translations, which nobody takes out once the mirror is
 *       unlinked. None is added, since its ranges are invalid by then.
 *
 *   K6  A thread that dies while it registers or unregisters a mirror leaves what the reaper gives
 *       back: `owns` says in each step what there is, and the list of mirrors is undone with
 *       mirrorsSem. So is the space's first hmm, while it is made (get-or-create.ts).
 *
 *       old guard, two callers                            here
 *       both read mirror->hmm, not NULL                   both take `claim`, one after the other
 *       one unlinks, clears, drops the last reference     one finds REGISTERED, unregisters
 *       the other locks freed memory, unlinks again       the other finds UNREGISTERED and throws
 */

import { Machine } from "../../memory/machine.ts";
import type { Mm } from "../../mm/mm-struct.ts";
import { atomicStore } from "../../sync/atomics.ts";
import { EINVAL, EMFILE, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import { assertNoLockHeld } from "../../sync/lockdep/held-locks.ts";
import {
  addResource,
  changeResource,
  kindWord,
  registerHeir,
  removeResource,
} from "../../sync/lockdep/resources.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { hmmGetOrCreate } from "./get-or-create.ts";
import { Hmm } from "../hmm-struct.ts";
import { hmmPut } from "./hmm.ts";
import {
  HmmMirror,
  HmmMirrorRecord,
  MIRROR_ORPHANED,
  MIRROR_RAW,
  MIRROR_READY,
  MIRROR_REGISTERED,
  MIRROR_RESOURCE,
  MIRROR_UNREGISTERED,
  OWNS_HMM_ENDING,
  OWNS_HMM_REFERENCE,
  OWNS_OPS_USE,
  isMirror,
  mirrorStatus,
  setMirrorStatus,
} from "../mirror-record.ts";
import { dropMirrorOps, mirrorOps, useMirrorOps } from "./mirror-ops.ts";
import { HmmRangeRecord, orphanSequence } from "../range-record.ts";
import { rangesOf } from "../range-tree.ts";

/**
 * Registers `mirror` on `mm`: its driver is called for every change of a mapping, even before this
 * returns. The mirror has been `init`ed and is not registered. Holding the mmap lock of `mm` for
 * writing, and an mm user (patch 8: asserted). The calling thread owns the registration: when the
 * thread dies, a reaper unregisters the mirror.
 *
 * | result | meaning |
 * | --- | --- |
 * | 0 | registered |
 * | ENOMEM | no memory for the hmm, or more drivers in use than MIRROR_OPS_IN_USE_MAX |
 * | EINVAL | `mm` belongs to another machine than the mirror |
 * | EMFILE | the thread owns as many things as it may |
 *
 * After an error the mirror is as before and its `record.hmm` is 0. Linux: `hmm_mirror_register`.
 *
 * `place`: of a resource of this thread, -1 if there is none, that becomes the mirror's in the step
 * that registers it. If the thread dies before, its releaser calls `hmmMirrorAbandon`. So whoever
 * makes a device owns it, or its mirror, all the time.
 */
export function* hmmMirrorRegister(mirror: HmmMirror, mm: Mm, place: number = -1): Task<Errno> {
  mm.mmapLock.assertHeldWrite();
  const { machine, record } = mirror;
  if (mirrorStatus(record) !== MIRROR_READY) {
    bug(
      `Cannot register ${String(mirror)}: it is not a fresh mirror; call init before each register`,
    );
  }
  if (mm.users.read() === 0) {
    bug(`Cannot register ${String(mirror)}: the address space has died; hold an mm user`);
  }
  if (mm.memory !== machine.memory) return EINVAL;
  mirrorOps.get(record.opsId); // throws where this thread has not loaded them
  const slot = place < 0 ? addResource(machine.memory, MIRROR_RESOURCE, record.at) : place;
  if (slot < 0) return EMFILE;
  const errno = yield* registerOwned(mirror, mm, slot);
  if (errno === 0) return 0;
  yield* dropOpsUse(mirror);
  if (place < 0) removeResource(machine.memory, slot);
  return errno;
}

/** K6. The mirror is in the list of what this thread owns, at `slot`. */
function* registerOwned(mirror: HmmMirror, mm: Mm, slot: number): Task<Errno> {
  const { machine, record } = mirror;
  const { hmm: hmmAt, owns } = HmmMirrorRecord.offset;
  const use = { at: record.at + owns, noted: OWNS_OPS_USE };
  const errno = yield* useMirrorOps(machine, record.opsId, use);
  if (errno !== 0) return errno;
  const hmm = yield* hmmGetOrCreate(machine, mm, {
    hmm: record.at + hmmAt,
    owns: record.at + owns,
    isOwner: OWNS_OPS_USE | OWNS_HMM_REFERENCE,
  });
  if (hmm < 0) return hmm;
  yield* linkMirror(mirror, Hmm.at(machine.memory, hmm), slot);
  return 0;
}

function* linkMirror({ machine, record }: HmmMirror, hmm: Hmm, slot: number): Task<void> {
  yield* record.claim.lock();
  record.resourceSlot = slot;
  record.ownerAgent = machine.memory.agentId;
  takePlace(record, kindWord(machine.memory, slot));
  yield* record.claim.unlock();
  yield* hmm.mirrorsSem.downWrite();
  hmm.mirrors.addTail(record.node, hmm.mirrorsSem.at);
  yield* hmm.mirrorsSem.upWrite();
}

/** The mirror is registered, and the place its own: in a row (H1 of sync/lockdep/held-locks.ts). */
function takePlace(record: HmmMirrorRecord, kindAt: number): void {
  const { words } = record.memory;
  const { at } = record;
  const statusAt = at + HmmMirrorRecord.offset.status;
  atomicStore(words, statusAt, MIRROR_REGISTERED);
  words[kindAt + 1] = at;
  words[kindAt] = MIRROR_RESOURCE;
}

/**
 * Unregisters `mirror`. When it returns, no call-back of it runs or will run, and the driver may
 * free its memory (K2). Release is not called. Call it in the thread that registered the mirror,
 * once (K3), with no range of the mirror registered, not from a call-back, holding no lock. May
 * wait. Misuse throws AssertionFailure. Linux: `hmm_mirror_unregister`.
 *
 * `kind` and `pointer`: what its place in the list of what the thread owns becomes in the last
 * step; `kind` 0: nothing.
 */
export function* hmmMirrorUnregister(
  mirror: HmmMirror,
  kind: number = 0,
  pointer: number = 0,
): Task<void> {
  const { machine, record } = mirror;
  assertNoLockHeld(
    machine.memory,
    "hmmMirrorUnregister",
    "it waits for call-backs, which may be waiting for that lock",
  );
  yield* claimUnregister(mirror);
  const hmm = Hmm.at(machine.memory, record.hmm); // our reference keeps it until the hmmPut below
  yield* checkNoRanges(mirror, hmm);
  yield* unlinkMirror(mirror, hmm);
  yield* dropOpsUse(mirror);
  yield* dropHmm(mirror, hmm);
  if (kind === 0) removeResource(machine.memory, record.resourceSlot);
  else changeResource(machine.memory, record.resourceSlot, kind, pointer);
}

/** K3: of all calls for one registration, one returns; the others throw. */
function* claimUnregister(mirror: HmmMirror): Task<void> {
  const { record, machine } = mirror;
  if (!isMirror(record)) checkMirrorStatus(mirror, MIRROR_RAW); // `claim` is no lock there
  yield* record.claim.lock();
  const status = mirrorStatus(record);
  const { ownerAgent } = record;
  const isOwner = ownerAgent === machine.memory.agentId;
  if (status === MIRROR_REGISTERED && isOwner) setMirrorStatus(record, MIRROR_UNREGISTERED);
  yield* record.claim.unlock();
  checkMirrorStatus(mirror, status);
  if (!isOwner) {
    bug(
      `Cannot unregister ${String(mirror)}: thread ${ownerAgent} registered it; let that one unregister it`,
    );
  }
}

/** Why a mirror of that status cannot be unregistered. */
const NOT_REGISTERED: ReadonlyMap<number, string> = new Map([
  [MIRROR_ORPHANED, "the thread that registered it has died, so a reaper did it; only free it"],
  [MIRROR_UNREGISTERED, "it was unregistered already; do it once for each register"],
  [MIRROR_READY, "it was never registered; look at what register returns"],
]);

function checkMirrorStatus(mirror: HmmMirror, status: number): void {
  if (status === MIRROR_REGISTERED) return;
  const why =
    NOT_REGISTERED.get(status) ?? "no mirror lives there; keep its memory until unregister";
  bug(`Cannot unregister ${String(mirror)}: ${why}`);
}

function* checkNoRanges(mirror: HmmMirror, hmm: Hmm): Task<void> {
  yield* hmm.rangesLock.lock();
  const left = rangesOf(hmm).filter(
    (at) => HmmRangeRecord.at(hmm.memory, at).mirror === mirror.at,
  ).length;
  yield* hmm.rangesLock.unlock();
  if (left > 0) {
    // registered again, so that the driver can unregister its ranges first
    setMirrorStatus(mirror.record, MIRROR_REGISTERED);
    bug(
      `Cannot unregister ${String(mirror)}: it has ${left} registered ranges; unregister those first`,
    );
  }
}

/** Unlinks the mirror. Waits for running call-backs, which hold mirrorsSem for reading. */
function* unlinkMirror({ record }: HmmMirror, hmm: Hmm): Task<void> {
  yield* hmm.mirrorsSem.downWrite();
  if (record.node.isListed()) record.node.del(hmm.mirrorsSem.at);
  yield* hmm.mirrorsSem.upWrite();
}

function* dropOpsUse({ machine, record }: HmmMirror): Task<void> {
  if ((record.owns & OWNS_OPS_USE) === 0) return;
  const note = { at: record.at + HmmMirrorRecord.offset.owns, noted: record.owns & ~OWNS_OPS_USE };
  yield* dropMirrorOps(machine, record.opsId, note);
}

function* dropHmm({ machine, record }: HmmMirror, hmm: Hmm): Task<void> {
  if ((record.owns & OWNS_HMM_REFERENCE) === 0) return;
  if (record.owns !== OWNS_HMM_ENDING) record.owns = OWNS_HMM_REFERENCE; // nothing else any more
  const note = record.at + HmmMirrorRecord.offset.owns;
  yield* hmmPut(machine, hmm, note, OWNS_HMM_ENDING);
}

/**
 * Drops what an orphaned mirror has kept (K4). A driver with an `orphaned` call-back calls it
 * directly before it frees a mirror's memory, when none of its threads can register a range on the
 * mirror any more. Does nothing for other mirrors. Holding no lock.
 */
export function* hmmMirrorForget(mirror: HmmMirror): Task<void> {
  const { record, machine } = mirror;
  const isOwner = (record.owns & OWNS_HMM_REFERENCE) !== 0;
  if (mirrorStatus(record) === MIRROR_ORPHANED && isOwner)
    yield* dropHmm(mirror, Hmm.at(machine.memory, record.hmm));
}

/**
 * Drops what a mirror has whose thread has died before it was registered, where another resource
 * had its place (`hmmMirrorRegister`). Does nothing for other mirrors. Holding no lock.
 */
export function* hmmMirrorAbandon(mirror: HmmMirror): Task<void> {
  const { record, machine } = mirror;
  if (mirrorStatus(record) !== MIRROR_READY) return;
  yield* dropOpsUse(mirror);
  if ((record.owns & OWNS_HMM_REFERENCE) !== 0)
    yield* dropHmm(mirror, Hmm.at(machine.memory, record.hmm));
}

/**
 * The thread that owned the mirror has died, perhaps in the middle of unregister. Ranges of the
 * mirror that other threads hold become invalid for ever, since no call-back would clear what they
 * program. Then the driver, whose code this thread has, frees its state, now or when its other
 * threads are gone (K4).
 */
registerHeir(MIRROR_RESOURCE, function* (memory, at, slot) {
  const mirror = new HmmMirror(Machine.of(memory), at);
  const { record } = mirror;
  if (mirrorStatus(record) === MIRROR_READY) {
    yield* hmmMirrorAbandon(mirror); // the driver does not know yet that it had a mirror
    if (slot >= 0) removeResource(memory, slot);
    return;
  }
  const ops = mirrorOps.get(record.opsId);
  setMirrorStatus(record, MIRROR_ORPHANED);
  if ((record.owns & OWNS_HMM_REFERENCE) !== 0) {
    const hmm = Hmm.at(memory, record.hmm);
    yield* orphanRanges(mirror, hmm);
    if (ops.release !== undefined) yield* ops.release(mirror); // K5
    yield* unlinkMirror(mirror, hmm);
    yield* dropOpsUse(mirror);
  }
  if (ops.orphaned === undefined) yield* hmmMirrorForget(mirror);
  if (slot >= 0 && ops.inherits !== true) removeResource(memory, slot);
  if (ops.orphaned !== undefined) yield* ops.orphaned(mirror, slot);
});

function* orphanRanges(mirror: HmmMirror, hmm: Hmm): Task<void> {
  yield* hmm.rangesLock.lock();
  for (const at of rangesOf(hmm)) {
    const range = HmmRangeRecord.at(hmm.memory, at);
    if (range.mirror !== mirror.at) continue;
    yield* orphanSequence(range);
  }
  yield* hmm.rangesLock.unlock();
  yield* hmm.wq.wakeAll();
}
