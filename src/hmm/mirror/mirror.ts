/**
 * @module hmm/mirror/mirror
 * Registering a device's mirror on an address space, and taking it off again. Follows Linux 5.3
 * `hmm_mirror_register` and `hmm_mirror_unregister` after patches 4, 8 and 9.
 *
 *   K1  A registered mirror owns one reference of its hmm, so whoever keeps it registered may use
 *       `record.hmm` without asking (patch 2).
 *   K2  After `hmmMirrorUnregister` returned, no call-back of the mirror runs or will run: it waits
 *       on mirrorsSem for those that do, and release runs under that lock too (patch 11). Only then
 *       may the driver free the memory.
 *   K3  A mirror is unregistered exactly once for each time that it was registered. Linux leaves
 *       the second time to chance (patch 9 removed a test that only looked like protection); here
 *       one thread wins `claim`, and every other call is an assertion, as is one on a mirror that
 *       was never registered.
 *   K4  A mirror whose thread has died is orphaned: unregistered by a reaper, while other threads
 *       of its driver may be about to register a range on it. So it keeps its reference of the hmm
 *       until the driver, which alone knows when they are gone, calls `hmmMirrorForget`; and who
 *       registers a range looks at the status once more under rangesLock, which the reaper takes
 *       after it has changed it. Either that range is refused, or it is in the list when the reaper
 *       makes the mirror's ranges invalid for ever.
 *
 *       a driver's other thread                 reaper
 *       status? registered
 *                                               status := orphaned
 *                                               ranges := invalid for ever
 *                                               [drops the hmm's last reference: it is freed]
 *       rangesLock of the hmm, still there
 *       status? orphaned: ENODEV
 *
 *       old guard, two callers                            here
 *       both read mirror->hmm, not NULL                   both take `claim`, one after the other
 *       one unlinks, clears, drops the last reference     one finds REGISTERED, unregisters
 *       the other locks freed memory, unlinks again       the other finds UNREGISTERED and throws
 */

import { Machine } from "../../memory/machine.ts";
import type { Mm } from "../../mm/mm-struct.ts";
import { EINVAL, EMFILE, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import { assertNoLockHeld } from "../../sync/lockdep/held-locks.ts";
import { addResource, registerReleaser, removeResource } from "../../sync/death/resources.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { hmmGetOrCreate } from "./get-or-create.ts";
import { Hmm } from "../hmm-struct.ts";
import { hmmPut } from "./hmm.ts";
import {
  HmmMirror,
  MIRROR_ORPHANED,
  MIRROR_RAW,
  MIRROR_READY,
  MIRROR_REGISTERED,
  MIRROR_RESOURCE,
  MIRROR_UNREGISTERED,
  OWNS_HMM_REFERENCE,
  OWNS_OPS_USE,
  isMirror,
  mirrorStatus,
  setMirrorStatus,
} from "../mirror-record.ts";
import { dropMirrorOps, mirrorOps, useMirrorOps } from "./mirror-ops.ts";
import { HmmRangeRecord, orphanSequence, rangesOf } from "../range-record.ts";

/**
 * Puts `mirror` on `mm`: from now on its driver is called for every change there, even before this
 * returns. The mirror has been `init`ed and is not registered. Holding the mmap lock of `mm` for
 * writing, and an mm user (patch 8: asserted). The thread owns it: when the thread dies, a reaper
 * unregisters it.
 *
 * | result | meaning |
 * | --- | --- |
 * | 0 | registered |
 * | ENOMEM | no memory for the hmm, or more drivers in use than MIRROR_OPS_IN_USE_MAX |
 * | EINVAL | `mm` belongs to another machine than the mirror |
 * | EMFILE | the thread owns too much already |
 *
 * After an error the mirror is as before and its `record.hmm` is 0. Linux: `hmm_mirror_register`.
 */
export function* hmmMirrorRegister(mirror: HmmMirror, mm: Mm): Task<Errno> {
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
  const errno = yield* useMirrorOps(machine, record.opsId);
  if (errno !== 0) return errno;
  const hmm = yield* hmmGetOrCreate(machine, mm);
  if (hmm < 0) {
    yield* dropMirrorOps(machine, record.opsId);
    return hmm;
  }
  if (!(yield* ownMirror(mirror))) {
    yield* hmmPut(machine, Hmm.at(machine.memory, hmm));
    yield* dropMirrorOps(machine, record.opsId);
    return EMFILE;
  }
  yield* linkMirror(mirror, Hmm.at(machine.memory, hmm));
  return 0;
}

/** Lists the mirror with what this thread owns. */
function* ownMirror({ machine, record }: HmmMirror): Task<boolean> {
  const slot = addResource(machine.memory, MIRROR_RESOURCE, record.at);
  if (slot < 0) return false;
  yield* record.claim.lock();
  record.resourceSlot = slot;
  record.ownerAgent = machine.memory.agentId;
  yield* record.claim.unlock();
  return true;
}

/** Takes over the caller's reference of `hmm`. */
function* linkMirror({ record }: HmmMirror, hmm: Hmm): Task<void> {
  yield* record.claim.lock();
  record.hmm = hmm.at;
  setMirrorStatus(record, MIRROR_REGISTERED);
  yield* record.claim.unlock();
  yield* hmm.mirrorsSem.downWrite();
  hmm.mirrors.addTail(record.node);
  record.owns = OWNS_OPS_USE | OWNS_HMM_REFERENCE;
  yield* hmm.mirrorsSem.upWrite();
}

/**
 * Takes `mirror` off. When it returns, no call-back of it runs or will run, and the driver may free
 * its memory (K2); release is not called. In the thread that registered it, exactly once (K3), with
 * no range of the mirror registered, not from its own call-backs, and holding no lock: neither one
 * that the driver's call-backs take nor the mmap lock. May wait. Linux: `hmm_mirror_unregister`.
 */
export function* hmmMirrorUnregister(mirror: HmmMirror): Task<void> {
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
  removeResource(machine.memory, record.resourceSlot);
  yield* dropOwned(mirror, hmm);
}

/** K3: of all who call for one registration, one passes; the others throw. */
function* claimUnregister(mirror: HmmMirror): Task<void> {
  const { record, machine } = mirror;
  if (!isMirror(record)) checkMirrorStatus(mirror, MIRROR_RAW); // it has no lock either
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

function checkMirrorStatus(mirror: HmmMirror, status: number): void {
  if (status === MIRROR_REGISTERED) return;
  if (status === MIRROR_ORPHANED) {
    bug(
      `Cannot unregister ${String(mirror)}: the thread that registered it has died, so a reaper did it; only free it`,
    );
  }
  if (status === MIRROR_UNREGISTERED) {
    bug(
      `Cannot unregister ${String(mirror)}: it was unregistered already; do it once for each register`,
    );
  }
  if (status === MIRROR_READY) {
    bug(
      `Cannot unregister ${String(mirror)}: it was never registered; look at what register returns`,
    );
  }
  bug(
    `Cannot unregister ${String(mirror)}: no mirror lives there; keep its memory until unregister`,
  );
}

function* checkNoRanges(mirror: HmmMirror, hmm: Hmm): Task<void> {
  yield* hmm.rangesLock.lock();
  const left = rangesOf(hmm).filter(
    (at) => HmmRangeRecord.at(hmm.memory, at).mirror === mirror.at,
  ).length;
  yield* hmm.rangesLock.unlock();
  if (left > 0) {
    // the claim back, so that the driver may do it right
    yield* setStatus(mirror, MIRROR_REGISTERED);
    bug(
      `Cannot unregister ${String(mirror)}: it has ${left} registered ranges; unregister those first`,
    );
  }
}

function* setStatus({ record }: HmmMirror, status: number): Task<void> {
  yield* record.claim.lock();
  setMirrorStatus(record, status);
  yield* record.claim.unlock();
}

/**
 * Waits for running call-backs (they hold mirrorsSem for reading) and takes the mirror off the
 * list.
 */
function* unlinkMirror({ record }: HmmMirror, hmm: Hmm): Task<void> {
  yield* hmm.mirrorsSem.downWrite();
  if (record.node.isListed()) record.node.del();
  yield* hmm.mirrorsSem.upWrite();
}

/** Ends what `hmmMirrorRegister` began. */
function* dropOwned(mirror: HmmMirror, hmm: Hmm): Task<void> {
  yield* dropOpsUse(mirror);
  yield* dropHmm(mirror, hmm);
}

function* dropOpsUse({ machine, record }: HmmMirror): Task<void> {
  if ((record.owns & OWNS_OPS_USE) === 0) return;
  record.owns &= ~OWNS_OPS_USE;
  yield* dropMirrorOps(machine, record.opsId);
}

function* dropHmm({ machine, record }: HmmMirror, hmm: Hmm): Task<void> {
  if ((record.owns & OWNS_HMM_REFERENCE) === 0) return;
  record.owns &= ~OWNS_HMM_REFERENCE;
  yield* hmmPut(machine, hmm);
}

/**
 * The last thing before a driver that has `orphaned` frees the memory of a mirror: gives up what an
 * orphan has kept (K4). None of the driver's threads will register a range on it. Does nothing for
 * other mirrors. Holding no lock.
 */
export function* hmmMirrorForget(mirror: HmmMirror): Task<void> {
  const { record, machine } = mirror;
  if (mirrorStatus(record) === MIRROR_ORPHANED)
    yield* dropHmm(mirror, Hmm.at(machine.memory, record.hmm));
}

/**
 * The thread that owned the mirror has died, perhaps half way through unregister. Ranges of it that
 * other threads still hold become invalid for ever: nobody would sweep what they program. Then the
 * driver, whose code this thread has, frees its state, now or when its other threads are gone (K4).
 */
registerReleaser(MIRROR_RESOURCE, function* (memory, at) {
  const mirror = new HmmMirror(Machine.of(memory), at);
  const { record } = mirror;
  if ((record.owns & OWNS_HMM_REFERENCE) === 0) return;
  const ops = mirrorOps.get(record.opsId);
  const hmm = Hmm.at(memory, record.hmm);
  yield* setStatus(mirror, MIRROR_ORPHANED);
  yield* orphanRanges(mirror, hmm);
  yield* unlinkMirror(mirror, hmm);
  yield* dropOpsUse(mirror);
  if (ops.orphaned === undefined) yield* dropHmm(mirror, hmm);
  else yield* ops.orphaned(mirror);
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
