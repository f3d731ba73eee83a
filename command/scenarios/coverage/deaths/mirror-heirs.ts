/**
 * @module A thread has died that had a mirror, or was registering one, or had a bare notifier, or
 * was making a space's first hmm; and who releases it dies, too (inheriting.ts). The driver's state
 * is given up in the order that K4 and K5 of hmm/mirror/mirror.ts say, and the driver is told once.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { Hmm, hmmInit } from "../../../../src/hmm/hmm-struct.ts";
import {
  DriverNotifier,
  driverNotifierRegister,
  driverNotifierUnregister,
  registerDriverNotifierOps,
} from "../../../../src/hmm/mirror/driver-notifier.ts";
import { hmmGetOrCreate } from "../../../../src/hmm/mirror/get-or-create.ts";
import { HMM_NOTIFIER_OPS } from "../../../../src/hmm/mirror/invalidate.ts";
import {
  type HmmMirrorOps,
  registerMirrorOps,
  useMirrorOps,
} from "../../../../src/hmm/mirror/mirror-ops.ts";
import { hmmMirrorForget } from "../../../../src/hmm/mirror/mirror.ts";
import {
  HmmMirrorRecord,
  MIRROR_RESOURCE,
  OWNS_HMM_REFERENCE,
  OWNS_OPS_USE,
} from "../../../../src/hmm/mirror-record.ts";
import {
  HmmRangeRecord,
  SEQUENCE_ORPHANED,
  readSequence,
} from "../../../../src/hmm/range-record.ts";
import { rangesOf } from "../../../../src/hmm/range-tree.ts";
import { hmmRangeAlloc } from "../../../../src/hmm/range/range.ts";
import { embedStruct, struct, u32 } from "../../../../src/memory/layout/struct.ts";
import type { Struct, StructView } from "../../../../src/memory/layout/struct.ts";
import { mmgrab } from "../../../../src/mm/lifetime/mm.ts";
import { mmuNotifierRegister } from "../../../../src/notifier/mmu-notifier.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { addResource, resourceKind } from "../../../../src/sync/lockdep/resources.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { DONE, type Task, access, doneNumber } from "../../../../src/sync/tasks/task.ts";
import { registerOver } from "../../patches/stage.ts";
import type { Covered } from "../covered.ts";
import { requireNoDrivers } from "../hmm/drivers.ts";
import { inheriting } from "./inheriting.ts";

/** Adds 1 to a word, which only the thread does that has claimed what is told; then it may die. */
function* told(memory: SharedMemory, at: number): Task<void> {
  yield* access(memory, "update", at, 1, "told");
  memory.words[at]! += 1;
  yield* access(memory, "read", at, 1, "told");
}

/* Mirrors. */

/**
 * K5 of hmm/mirror/mirror.ts: when the device is stopped, no range of it can become valid any more.
 */
const STOPPING_OPS: number = registerMirrorOps("driver that is stopped", {
  invalidate: () => doneNumber(0),
  release({ record, machine }) {
    const { memory } = machine;
    for (const at of rangesOf(Hmm.at(memory, record.hmm)))
      assert(
        readSequence(HmmRangeRecord.at(memory, at)) === SEQUENCE_ORPHANED,
        "the device is stopped, and it may still use a range",
      );
    return DONE;
  },
});

const TOLD_AT = 0;

/** Of a driver with other threads: it forgets the hmm when they are gone. */
const toldOps: HmmMirrorOps = {
  invalidate: () => doneNumber(0),
  *orphaned(mirror) {
    const { memory, table } = HarnessDevice.recordOf(mirror);
    yield* told(memory, table.at + TOLD_AT);
  },
};
const TOLD_OPS: number = registerMirrorOps("driver that is told of deaths", toldOps);

/** The directory of drivers, and what else is made once; no hmm. */
function prepareDevice(harness: HmmHarness, opsId: number): HarnessDevice {
  harness.run(HarnessDevice.registered(harness, opsId).unregister());
  return new HarnessDevice(harness, opsId);
}

function ownMirror(harness: HmmHarness, device: HarnessDevice): void {
  assert(harness.run(device.register()) === 0, "the mirror can be registered");
}

/** The range comes after the mirror in the list, and is released after it. */
function ownMirrorAndRange(harness: HmmHarness, device: HarnessDevice): void {
  ownMirror(harness, device);
  const range = harness.run(hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) }));
  assert(typeof range !== "number", "a range can be had");
  assert(harness.run(registerOver(range, device)) === 0, "the range can be registered");
}

const OWNS = HmmMirrorRecord.offset.owns;

/** All that it gets, up to the step that registers it (K6 of hmm/mirror/mirror.ts). */
function ownUnregistered(harness: HmmHarness, { mirror }: HarnessDevice): void {
  const { machine, mm } = harness;
  const { at, opsId } = mirror.record;
  addResource(machine.memory, MIRROR_RESOURCE, at);
  const note = { at: at + OWNS, noted: OWNS_OPS_USE };
  assert(harness.run(useMirrorOps(machine, opsId, note)) === 0, "a driver may be in use");
  const owner = {
    hmm: at + HmmMirrorRecord.offset.hmm,
    owns: at + OWNS,
    isOwner: OWNS_OPS_USE | OWNS_HMM_REFERENCE,
  };
  const hmm = harness.run(underMmapLock(harness, hmmGetOrCreate(machine, mm, owner)));
  assert(hmm > 0, "there is memory for an hmm");
}

function* underMmapLock<T>({ mm }: HmmHarness, task: Task<T>): Task<T> {
  yield* mm.mmapLock.downWrite();
  const result = yield* task;
  yield* mm.mmapLock.upWrite();
  return result;
}

/** What the driver has kept, it gives up now. */
function* settleTold(harness: HmmHarness, device: HarnessDevice, survived: boolean): Task<void> {
  const times = device.record.table.get(TOLD_AT);
  assert(times === 1 || (times === 0 && !survived), `the driver is told ${times} times`);
  yield* hmmMirrorForget(device.mirror);
  yield* requireNoDrivers(harness);
}

/* A bare notifier. */

interface Bare extends StructView {
  readonly notifier: DriverNotifier;
  orphans: number;
}

const Bare: Struct<Bare> = struct<Bare>("inheritedNotifier", {
  notifier: embedStruct(DriverNotifier, "hmm", "the notifier"),
  orphans: u32("the reaper", "how often the driver was told of the death"),
});

const BARE_OPS: number = registerDriverNotifierOps("driver that is told of its thread's death", {
  isRepeatable: true,
  orphaned({ memory }, at) {
    const bare = Bare.at(memory, Bare.containerOf(at, "notifier"));
    assert(bare.notifier.owns === 0, "the driver is told before all is given up");
    return told(memory, bare.at + Bare.offset.orphans);
  },
});

const registerBare = (harness: HmmHarness, { notifier }: Bare): Task<number> =>
  underMmapLock(harness, driverNotifierRegister(harness.machine, harness.mm, notifier, BARE_OPS));

function prepareBare(harness: HmmHarness): Bare {
  const bare = harness.alloc(Bare);
  assert(harness.run(registerBare(harness, bare)) === 0, "the notifier can be registered");
  harness.run(driverNotifierUnregister(harness.machine, bare.notifier));
  return bare;
}

function ownBare(harness: HmmHarness, bare: Bare): void {
  assert(harness.run(registerBare(harness, bare)) === 0, "the notifier can be registered");
}

function* settleBare(
  harness: HmmHarness,
  { notifier, orphans }: Bare,
  survived: boolean,
): Task<void> {
  const { words } = harness.machine.memory;
  const { mm } = harness;
  assert(notifier.owns === 0, `the notifier still owns ${notifier.owns}`);
  assert(words[mm.notifiers.headAt] === 0, "the notifier is still linked");
  assert(mm.count.read() === 1, `the mm is counted ${mm.count.read()} times`);
  assert(orphans === 1 || (orphans === 0 && !survived), `the driver is told ${orphans} times`);
  yield* requireNoDrivers(harness);
}

/* A hmm that is being made. */

const MAKING: number = resourceKind("hmm being made");

/** One that is memory only, and one whose notifier is registered. */
function ownHmms(harness: HmmHarness): void {
  const { machine, mm } = harness;
  const [memoryOnly, hmm] = [makeHmm(harness), makeHmm(harness)];
  assert(memoryOnly.mm === 0, "a hmm begins without its mm");
  harness.run(mmgrab(mm, hmm.at + Hmm.offset.mm, mm.at));
  harness.run(
    underMmapLock(
      harness,
      mmuNotifierRegister(machine, mm.notifiers, hmm.notifier, HMM_NOTIFIER_OPS),
    ),
  );
}

function makeHmm(harness: HmmHarness): Hmm {
  const { machine } = harness;
  const at = harness.run(machine.heap.alloc(Hmm, MAKING));
  assert(at > 0, "there is memory for a hmm");
  const hmm = Hmm.at(machine.memory, at);
  hmmInit(hmm, 0);
  return hmm;
}

export const mirrorHeirs: readonly Covered[] = [
  inheriting("hmm", {
    name: "mirrors",
    summary:
      "A thread that releases a dead one's mirror and range dies at any step, and another goes on.",
    runs: ["hmm/mirror/mirror.orphanRanges", "hmm/mirror/mirror.hmmMirrorForget"],
    prepare: (harness) => prepareDevice(harness, STOPPING_OPS),
    own: ownMirrorAndRange,
    settles: requireNoDrivers,
  }),
  inheriting("hmm", {
    name: "told-mirrors",
    summary:
      "A thread that releases a dead one's mirror dies at any step: the driver is told once of a death.",
    runs: ["hmm/mirror/mirror.orphanRanges"],
    prepare: (harness) => prepareDevice(harness, TOLD_OPS),
    own: ownMirror,
    settles: settleTold,
  }),
  inheriting("hmm", {
    name: "mirrors-being-registered",
    summary:
      "A thread has died before its mirror was registered; who gives back what it got dies, too.",
    runs: ["hmm/mirror/mirror.hmmMirrorAbandon"],
    prepare: (harness) => prepareDevice(harness, STOPPING_OPS),
    own: ownUnregistered,
    settles: requireNoDrivers,
  }),
  inheriting("hmm", {
    name: "notifiers",
    summary:
      "A thread that unregisters a dead one's bare notifier dies at any step, and another goes on.",
    runs: ["notifier/mmu-notifier.mmuNotifierUnregister", "hmm/mirror/mirror-ops.dropDriverCode"],
    prepare: prepareBare,
    own: ownBare,
    settles: settleBare,
  }),
  inheriting("hmm", {
    name: "hmms-being-made",
    summary: "A thread has died while it made a hmm; who gives that back dies, too.",
    runs: ["hmm/mirror/hmm.hmmFree"],
    prepare: (harness) => prepareDevice(harness, STOPPING_OPS),
    own: ownHmms,
    *settles({ machine, mm }) {
      assert(mm.count.read() === 1, `the mm is counted ${mm.count.read()} times`);
      assert(machine.memory.words[mm.notifiers.headAt] === 0, "a notifier is still linked");
    },
  }),
];
