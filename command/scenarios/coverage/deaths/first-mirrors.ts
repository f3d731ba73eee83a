/**
 * @module A thread that dies while it registers the first mirror of a space, for which the hmm is
 * made, or unregisters it, which ends the hmm; and the same of a bare notifier that may be called
 * again. What it had is given back (hmm/mirror/get-or-create.ts, hmm.ts, driver-notifier.ts). In
 * the twins nobody knows of the hmm that is being made, the count of the mm is noted a step late,
 * or a call-back may not be called again.
 */

import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import {
  DriverNotifier,
  driverNotifierRegister,
  driverNotifierUnregister,
  registerDriverNotifierOps,
} from "../../../../src/hmm/mirror/driver-notifier.ts";
import { hmmMirrorUnregister } from "../../../../src/hmm/mirror/mirror.ts";
import { Hmm, hmmInit } from "../../../../src/hmm/hmm-struct.ts";
import { embedStruct, struct, u32 } from "../../../../src/memory/layout/struct.ts";
import type { Struct, StructView } from "../../../../src/memory/layout/struct.ts";
import { mmgrab } from "../../../../src/mm/lifetime/mm.ts";
import { viewOpen } from "../../../../src/mm/view/view-open.ts";
import { atomicAdd } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, ONE_DIES, coveringOnHarness } from "../on-harness.ts";
import { ONE_STORE_OPS } from "./told-device.ts";

interface First {
  /** Not registered at the beginning, as no other is. */
  readonly device: HarnessDevice;
}

const comeAndGo: HarnessBody<First> = function* ({ device }) {
  assert((yield* device.register()) === 0, "there is memory for a mirror");
  yield* hmmMirrorUnregister(device.mirror);
};

/** Makes a hmm that no list names until it is published. */
const makeUnlisted: HarnessBody<First> = function* (_world, { machine, mm }) {
  yield* mm.mmapLock.downWrite();
  const hmm = Hmm.at(machine.memory, yield* machine.heap.alloc(Hmm));
  hmmInit(hmm, mm.at);
  yield* mmgrab(mm);
  yield* mm.mmapLock.upWrite();
};

/** As at the beginning: no hmm, and the users' count of the mm alone. */
function requireNone({ machine, mm }: HmmHarness): void {
  const { words } = machine.memory;
  assert(mm.hmm === 0, "a hmm is left");
  assert(mm.count.read() === 1, `the mm is counted ${mm.count.read()} times`);
  assert(mm.notifiers.headAt !== 0 && words[mm.notifiers.headAt] === 0, "a notifier is linked");
  assert(words[mm.mmapLock.at] === 0, "somebody still holds the mmap lock");
}

function requireGone(harness: HmmHarness): void {
  requireNone(harness);
  const left = harness.machine.heap.accounting().filter(({ name }) => name === "hmm");
  assert(left.length === 0, "the memory of a hmm is left");
}

/** A driver that has nothing but a notifier. Its starts and ends need not be counted exactly. */
interface Hearing extends StructView {
  readonly notifier: DriverNotifier;
  heard: number;
}

const Hearing: Struct<Hearing> = struct<Hearing>("hearingDriver", {
  notifier: embedStruct(DriverNotifier, "hmm", "the notifier"),
  heard: u32("atomic", "how often it was called"),
});

const HEARD = Hearing.offset.heard;

function* hear(memory: SharedMemory, notifier: number): Task<void> {
  const at = Hearing.containerOf(notifier, "notifier") + HEARD;
  yield* access(memory, "update", at, 1, "heard");
  atomicAdd(memory.words, at, 1);
}

const CALLED = {
  *invalidateRangeStart({ memory }: HmmHarness["machine"], notifier: number): Task<number> {
    yield* hear(memory, notifier);
    return 0;
  },
  invalidateRangeEnd: ({ memory }: HmmHarness["machine"], notifier: number): Task<void> =>
    hear(memory, notifier),
  release: ({ memory }: HmmHarness["machine"], notifier: number): Task<void> =>
    hear(memory, notifier),
};

const AGAIN_OPS: number = registerDriverNotifierOps("driver that may be called again", {
  ...CALLED,
  isRepeatable: true,
});

const ONCE_OPS: number = registerDriverNotifierOps("driver that may be called once", CALLED);

interface Bare {
  readonly driver: Hearing;
}

const hearAndGo = (opsId: number): HarnessBody<Bare> =>
  function* ({ driver }, { machine, mm }) {
    yield* mm.mmapLock.downWrite();
    const errno = yield* driverNotifierRegister(machine, mm, driver.notifier, opsId);
    yield* mm.mmapLock.upWrite();
    assert(errno === 0, "the notifier could not be registered");
    yield* driverNotifierUnregister(machine, driver.notifier);
  };

/** A count of the mm that is noted a step after it is got. */
const grabUnnoted: HarnessBody<Bare> = function* ({ driver }, { machine, mm }) {
  yield* mmgrab(mm);
  yield* access(machine.memory, "read", driver.at + HEARD, 1, "heard");
  yield* mm.count.put();
};

const discard = (_world: unknown, harness: HmmHarness): Task<unknown> =>
  harness.discard(HARNESS_PAGE, 1);

const REGISTER = [
  "hmm/mirror/driver-notifier.driverNotifierRegister",
  "hmm/mirror/driver-notifier.driverNotifierUnregister",
] as const;

function bare(name: string, summary: string, hasView: boolean): Covered {
  return coveringOnHarness<Bare>({
    layer: "hmm",
    name,
    summary,
    harness: { pages: hasView ? 2 : 1 },
    exploration: { engine: "bounded", preemptions: 1, deaths: 1 },
    killable: ["dies"],
    mustSurvive: true,
    mayRemain: "anything",
    setup(harness) {
      const { machine, mm } = harness;
      if (hasView) harness.run(viewOpen(machine, mm, HARNESS_PAGE + 1, HARNESS_PAGE + 2, true));
      return { driver: harness.alloc(Hearing) };
    },
    tasks: {
      dies: [REGISTER, hearAndGo(AGAIN_OPS)],
      discard: [["mm/calls/madvise.doMadvise"], discard],
    },
    check({ driver }, harness) {
      const { owns } = driver.notifier;
      assert(owns === 0, `the notifier still owns ${owns}`);
      requireNone(harness);
    },
    twins: [
      [
        "unnoted",
        "It notes a step late that it counts the mm.",
        "assertion",
        { dies: grabUnnoted },
      ],
      [
        "once",
        "Its call-backs may not be called again.",
        "owner-died",
        { dies: hearAndGo(ONCE_OPS) },
      ],
    ],
  });
}

export const deathsWithFirstMirrors: readonly Covered[] = [
  coveringOnHarness<First>({
    layer: "hmm",
    name: "death/first-mirror",
    summary:
      "A thread dies at any step while it registers a space's first mirror, or unregisters it.",
    harness: { pages: 1 },
    ...ONE_DIES,
    mayRemain: "anything",
    setup: (harness) => ({ device: new HarnessDevice(harness, ONE_STORE_OPS) }),
    tasks: {
      dies: [["hmm/mirror/get-or-create.create", "hmm/mirror/hmm.hmmFree"], comeAndGo],
    },
    check: (_world, harness) => requireGone(harness),
    twins: [
      ["unlisted", "It makes a hmm that no list names.", "assertion", { dies: makeUnlisted }],
    ],
  }),
  coveringOnHarness<First>({
    layer: "hmm",
    name: "death/first-mirror-vs-discard",
    summary:
      "A thread dies at any step while it registers the first mirror of a space, or unregisters it, and another discards a page.",
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 1, deaths: 1 },
    killable: ["dies"],
    mustSurvive: true,
    mayRemain: "anything",
    setup: (harness) => ({ device: new HarnessDevice(harness, ONE_STORE_OPS) }),
    tasks: {
      dies: [
        ["hmm/mirror/get-or-create.create", "hmm/mirror/hmm.hmmFree", "hmm/mirror/hmm.hmmFreeRcu"],
        comeAndGo,
      ],
      discard: [["mm/calls/madvise.doMadvise"], discard],
    },
    check: (_world, harness) => requireGone(harness),
    twins: [
      ["unlisted", "Nobody knows of the hmm that it makes.", "assertion", { dies: makeUnlisted }],
    ],
  }),
  bare(
    "death/bare-notifier-vs-discard",
    "A thread dies at any step while it registers a bare notifier, or unregisters it, and another discards a page.",
    false,
  ),
  bare(
    "death/bare-notifier-with-view",
    "The same, beside an open write view, of which a new notifier is told.",
    true,
  ),
];
