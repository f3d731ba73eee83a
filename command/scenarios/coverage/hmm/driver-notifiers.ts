/**
 * @module A driver's bare notifier (hmm/mirror/driver-notifier.ts): its whole life; without memory,
 * or in a thread that owns as much as it may; and its thread dies at any point of having it.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import {
  DriverNotifier,
  driverNotifierRegister,
  driverNotifierUnregister,
  registerDriverNotifierOps,
} from "../../../../src/hmm/mirror/driver-notifier.ts";
import type { Machine } from "../../../../src/memory/machine.ts";
import { embedStruct, struct, u32 } from "../../../../src/memory/layout/struct.ts";
import type { Struct, StructView } from "../../../../src/memory/layout/struct.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { notifierSrcu } from "../../../../src/notifier/mmu-notifier.ts";
import { listedResources } from "../../../../src/sync/lockdep/resources.ts";
import { EINVAL } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, doneNumber } from "../../../../src/sync/tasks/task.ts";
import { type Attempt, attempted, crowded } from "../attempts.ts";
import { asThreadOf } from "../../patches/stage.ts";
import type { Covered } from "../covered.ts";
import { fillDrivers, hasRoomForDriver, requireNoDrivers } from "./drivers.ts";

/** A driver that has nothing but a notifier. */
interface Bare extends StructView {
  readonly notifier: DriverNotifier;
  starts: number;
  ends: number;
  releases: number;
  orphans: number;
}

const Bare: Struct<Bare> = struct<Bare>("bareDriver", {
  notifier: embedStruct(DriverNotifier, "hmm", "the notifier"),
  starts: u32("one thread at a time changes mappings", "how many starts it was notified of"),
  ends: u32("one thread at a time changes mappings", "how many ends"),
  releases: u32("its first release only", "how often the space has died for it"),
  orphans: u32("the reaper", "how often its thread has died"),
});

const bareOf = ({ memory }: Machine, notifier: number): Bare =>
  Bare.at(memory, Bare.containerOf(notifier, "notifier"));

const OPS: number = registerDriverNotifierOps("bare harness driver", {
  invalidateRangeStart(machine, notifier) {
    bareOf(machine, notifier).starts++;
    return doneNumber(0);
  },
  *invalidateRangeEnd(machine, notifier) {
    bareOf(machine, notifier).ends++;
  },
  *release(machine, notifier) {
    bareOf(machine, notifier).releases++;
  },
  *orphaned(machine, notifier) {
    bareOf(machine, notifier).orphans++;
  },
});

function* register({ machine, mm }: HmmHarness, { notifier }: Bare): Task<number> {
  yield* mm.mmapLock.downWrite();
  const errno = yield* driverNotifierRegister(machine, mm, notifier, OPS);
  yield* mm.mmapLock.upWrite();
  return errno;
}

const REGISTER = [
  "hmm/mirror/driver-notifier.driverNotifierRegister",
  "hmm/mirror/mirror-ops.useDriverCode",
] as const;
const UNREGISTER = [
  "hmm/mirror/driver-notifier.driverNotifierUnregister",
  "hmm/mirror/mirror-ops.dropDriverCode",
] as const;

const comes: Attempt<Bare> = {
  layer: "hmm",
  name: "notifier",
  summary: "A driver's bare notifier is registered.",
  runs: REGISTER,
  harness: { pages: 1 },
  setup: (harness) => harness.alloc(Bare),
  act: register,
  also: (_harness, { notifier }) => `owns ${notifier.owns}`,
  *undo(harness, { notifier }) {
    yield* driverNotifierUnregister(harness.machine, notifier);
    yield* requireNoDrivers(harness);
  },
};

function requireCounts(
  { starts, ends, releases }: Bare,
  wanted: readonly [starts: number, ends: number, releases: number],
): void {
  const [is, shouldBe] = [[starts, ends, releases].join(", "), wanted.join(", ")];
  assert(is === shouldBe, `starts, ends and releases: ${is}, not ${shouldBe}`);
}

function* mustThrow(what: string, mistake: () => Task<unknown>): Task<void> {
  try {
    yield* mistake();
  } catch {
    return;
  }
  throw new Error(`${what} does not throw`);
}

/** Twice, the second time over the end of the space. */
function* wholeLife(bare: Bare, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  const { memory } = machine;
  const view = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
  assert((yield* register(harness, bare)) === 0, "the notifier could not be registered");
  requireCounts(bare, [1, 0, 0]); // of the view, which is open
  yield* viewClose(machine, view);
  requireCounts(bare, [1, 1, 0]);
  assert((yield* register(harness, bare)) === EINVAL, "it can be registered twice");
  yield* harness.discard(HARNESS_PAGE, 1);
  requireCounts(bare, [2, 2, 0]);
  yield* driverNotifierUnregister(machine, bare.notifier);
  requireCounts(bare, [2, 2, 1]);
  yield* mustThrow("unregistering twice", () => driverNotifierUnregister(machine, bare.notifier));
  yield* harness.discard(HARNESS_PAGE, 1);
  requireCounts(bare, [2, 2, 1]);
  assert((yield* register(harness, bare)) === 0, "it could not be registered again");
  yield* mmput(machine, mm);
  requireCounts(bare, [2, 2, 2]);
  yield* driverNotifierUnregister(machine, bare.notifier);
  requireCounts(bare, [2, 2, 2]);
  assert(listedResources(memory, memory.record).length === 0, "the thread still owns something");
  yield* (yield* notifierSrcu(machine)).barrier();
  const left = machine.heap.accounting().filter(({ name }) => /^(mm|vma|viewHold)$/.test(name));
  assert(left.length === 0, `left behind: ${left.map(({ name }) => name).join(", ")}`);
  yield* requireNoDrivers(harness);
}

const life: Covered = {
  layer: "hmm",
  scenario: harnessScenario<Bare>({
    name: "coverage/hmm/notifier-whole-life",
    summary:
      "A bare notifier is registered beside an open view, is called, is unregistered, and registered again until the space ends.",
    harness: { pages: 1 },
    exploration: { maxSteps: 40_000 },
    setup: (harness) => harness.alloc(Bare),
    tasks: { driver: wholeLife },
  }),
  twins: [],
  runs: { driver: [...REGISTER, ...UNREGISTER] },
};

interface Dying {
  readonly bare: Bare;
  /** Another one, of a thread that lives. */
  readonly other: Bare;
}

function* comeAndGo({ bare }: Dying, harness: HmmHarness): Task<void> {
  assert((yield* register(harness, bare)) === 0, "the notifier could not be registered");
  yield* driverNotifierUnregister(harness.machine, bare.notifier);
}

/**
 * What the owner had is given up, but for one thing at worst (Q2 of driver-notifier.ts), and the
 * other notifier has all of its own.
 */
function* requireGivenUp({ bare, other }: Dying, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  assert(bare.notifier.owns === 0, `the notifier still owns ${bare.notifier.owns}`);
  const grabs = mm.count.read();
  assert(grabs === 2 || grabs === 3, `the mm is counted ${grabs} times`);
  const { starts } = bare;
  yield* harness.discard(HARNESS_PAGE, 1);
  assert(bare.starts === starts, "a notifier is called that was given up");
  assert(other.starts === other.ends && other.starts === 2, "the other one is not called");
  yield* driverNotifierUnregister(machine, other.notifier);
}

const dying: Covered = {
  layer: "hmm",
  scenario: harnessScenario<Dying>({
    name: "coverage/hmm/death/notifier-vs-madvise",
    summary:
      "A thread dies at any point of registering a bare notifier, or of unregistering it, while the CPU discards the page.",
    exploration: { deaths: 1, engine: "bounded", preemptions: 0 },
    harness: { pages: 1 },
    killable: ["owner"],
    setup: (harness) => {
      const world = { bare: harness.alloc(Bare), other: harness.alloc(Bare) };
      harness.run(register(harness, world.other));
      return world;
    },
    tasks: {
      owner: comeAndGo,
      madvise: (_world, harness) => harness.discard(HARNESS_PAGE, 1),
    },
    check: (world, harness) => harness.runAfterwards(requireGivenUp(world, harness)),
  }),
  twins: [],
  runs: { owner: [...REGISTER, ...UNREGISTER], madvise: ["mm/calls/madvise.doMadvise"] },
};

/** As `last-mirror-of-driver`: a thread that attaches must have the code of what it may call. */
const lastOfDriver: Covered = {
  layer: "hmm",
  scenario: harnessScenario<Bare>({
    name: "coverage/hmm/last-notifier-of-driver",
    summary: "A driver's last notifier is unregistered: until then the driver counts as in use.",
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 1 },
    setup: (harness) => {
      const bare = harness.alloc(Bare);
      asThreadOf(harness, 0, register(harness, bare));
      fillDrivers(harness, 1);
      return bare;
    },
    tasks: {
      unregister: ({ notifier }, { machine }) => driverNotifierUnregister(machine, notifier),
      *another({ notifier }, harness) {
        if (!(yield* hasRoomForDriver(harness))) return;
        assert(!notifier.node.isLinked(), "a linked notifier's driver is not in use");
      },
    },
  }),
  twins: [],
  runs: { unregister: UNREGISTER, another: [REGISTER[1]] },
};

export const driverNotifiers: readonly Covered[] = [
  lastOfDriver,
  attempted(comes),
  crowded(comes),
  life,
  dying,
];
