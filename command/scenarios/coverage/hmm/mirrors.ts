/**
 * @module Several mirrors: two of one driver are registered and unregistered; one is registered
 * while another is unregistered; a thread unregisters the mirror of another thread, which is an
 * assertion and changes nothing; a thread dies while others wait on its mirror.
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import {
  type HmmHarness,
  HARNESS_PAGE,
  harnessScenario,
} from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { Hmm } from "../../../../src/hmm/hmm-struct.ts";
import { MIRROR_ORPHANED, mirrorStatus } from "../../../../src/hmm/mirror-record.ts";
import {
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../../../../src/hmm/range/range.ts";
import {
  hmmRangeValid,
  hmmRangeWaitUntilValid,
  isOrphaned,
} from "../../../../src/hmm/range/valid.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { EVENT_CLEAR, invalidateRange } from "../../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../../../src/notifier/mmu-notifier.ts";
import {
  AGENTS_USED,
  AGENT_DEAD,
  AGENT_STATE,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { reapTask } from "../../../../src/sync/death/reaper.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { AssertionFailure, assert } from "../../../../src/sync/errors.ts";
import { listedResources } from "../../../../src/sync/lockdep/resources.ts";
import { DONE, type Task } from "../../../../src/sync/tasks/task.ts";
import { IDLE_OPS, type OwnRange, deviceOf, rangeOf } from "../../patches/stage.ts";
import type { Covered } from "../covered.ts";
import { fillDrivers, hasRoomForDriver, requireNoDrivers } from "./drivers.ts";

const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
const BOUNDED: ScenarioExploration = { engine: "bounded", preemptions: 2 };
const REGISTER = [
  "hmm/mirror/mirror.hmmMirrorRegister",
  "hmm/mirror/mirror-ops.useMirrorOps",
] as const;
const UNREGISTER = ["hmm/mirror/mirror.hmmMirrorUnregister", "hmm/mirror/mirror-ops.dropMirrorOps"];

/** The misuse throws. */
function* mustBeTold(what: string, mistake: () => Task<unknown>): Task<void> {
  try {
    yield* mistake();
  } catch (error) {
    if (error instanceof AssertionFailure) return;
    throw error;
  }
  assert(false, `${what} does not throw`);
}

/** Two mirrors of one driver, in a thread that owns a range already. */
function* twoComeAndGo([one, other]: readonly HarnessDevice[], harness: HmmHarness): Task<void> {
  const { machine } = harness;
  assert(one !== undefined && other !== undefined, "there are two devices");
  const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
  assert(typeof range !== "number", "there is no memory for a range");
  for (const device of [one, other])
    assert((yield* device.register()) === 0, "a device could not be registered");
  assert(
    (yield* hmmRangeRegister(range, one.mirror, ADDRESS, ADDRESS + PAGE_BYTES)) === 0,
    "no range",
  );
  yield* other.unregister();
  // it is listed where the mirror was
  const late = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
  assert(typeof late !== "number", "there is no memory for a range");
  yield* mustBeTold("unregistering twice", () => other.unregister());
  yield* hmmRangeFree(late);
  yield* mustBeTold("unregistering a mirror with a range", () => one.unregister());
  assert(one.record.mirror.node.isListed(), "a mirror that stays registered is not listed");
  assert(yield* hmmRangeValid(range), "a range is not valid, and nothing has changed");
  yield* hmmRangeUnregister(range);
  yield* one.unregister();
  yield* hmmRangeFree(range);
  const { memory } = machine;
  assert(
    listedResources(memory, memory.record).length === 0,
    "the thread is still said to own something",
  );
  yield* requireNoDrivers(harness);
}

const two: Covered = {
  layer: "hmm",
  scenario: harnessScenario<readonly HarnessDevice[]>({
    name: "coverage/hmm/two-mirrors",
    summary: "Two mirrors of one driver are registered and unregistered, and misuse throws.",
    harness: { pages: 1 },
    setup: (harness) => [new HarnessDevice(harness), new HarnessDevice(harness)],
    tasks: { devices: twoComeAndGo },
    check: (_devices, harness) => assert(harness.mm.hmm === 0, "the space still names its hmm"),
  }),
  twins: [],
  runs: { devices: [...REGISTER, ...UNREGISTER] },
};

const comeBesideGo: Covered = {
  layer: "hmm",
  scenario: harnessScenario<readonly HarnessDevice[]>({
    name: "coverage/hmm/mirror-vs-last-unregister",
    summary:
      "A mirror is registered while the only other one is unregistered: it finds the hmm, or makes one.",
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 1 },
    setup: (harness) => [new HarnessDevice(harness), deviceOf(harness, 1)],
    tasks: {
      *come([device], harness) {
        assert(
          device !== undefined && (yield* device.register()) === 0,
          "a device could not be registered",
        );
        assert((yield* device.serve(HARNESS_PAGE, 1)) === 0, "the device was not served");
        yield* harness.discard(HARNESS_PAGE, 1);
        assert(device.entry(HARNESS_PAGE) === 0, "the device was not notified");
      },
      go: ([, device]) => device?.unregister() ?? DONE,
    },
    check: (_devices, { machine, mm }) => {
      const { mirrors, refs } = Hmm.at(machine.memory, mm.hmm);
      assert([...mirrors.nodes()].length === 1, "there is not one mirror");
      assert(
        refs.read() === 1,
        `one mirror is registered, and the hmm has ${refs.read()} references`,
      );
    },
  }),
  twins: [],
  runs: { come: [...REGISTER, "hmm/mirror/get-or-create.hmmGetOrCreate"], go: UNREGISTER },
};

/** In every state of the other thread's mirror, unregistering it throws. */
const mistaken: Covered = {
  layer: "hmm",
  scenario: harnessScenario<HarnessDevice>({
    name: "coverage/hmm/unregister-of-anothers",
    summary:
      "A thread unregisters the mirror that another one is registering: it throws, and the mirror stays.",
    harness: { pages: 1 },
    exploration: BOUNDED,
    setup: (harness) => new HarnessDevice(harness),
    tasks: {
      *owner(device, harness) {
        assert((yield* device.register()) === 0, "the device could not be registered");
        assert((yield* device.serve(HARNESS_PAGE, 1)) === 0, "the device was not served");
        yield* harness.discard(HARNESS_PAGE, 1);
        assert(device.entry(HARNESS_PAGE) === 0, "the device was not notified");
        yield* device.unregister();
      },
      other: (device) =>
        mustBeTold("unregistering another thread's mirror", () => device.unregister()),
    },
    check: (_device, harness) => assert(harness.mm.hmm === 0, "the space still names its hmm"),
  }),
  twins: [],
  runs: { owner: [...REGISTER, ...UNREGISTER], other: ["hmm/mirror/mirror.claimUnregister"] },
};

interface Orphans {
  readonly device: HarnessDevice;
  /** Two ranges on the mirror of the thread that dies, and one on another mirror. */
  readonly ranges: readonly OwnRange[];
  readonly idles: Cell;
}

const OWNER = 0;
const WAITERS = [1, 2] as const;
const [STRANGER] = WAITERS;

/** An invalidation of the page is in flight, which only the owner would end. */
function makeOrphans(harness: HmmHarness, owner: number = OWNER): Orphans {
  const device = deviceOf(harness, owner, IDLE_OPS);
  const others = deviceOf(harness, STRANGER, IDLE_OPS);
  const ranges = [
    ...WAITERS.map((task) => rangeOf(harness, task, device)),
    rangeOf(harness, STRANGER, others),
  ];
  harness.run(mmuNotifierInvalidateRangeStart(harness.machine, underWay(harness)));
  return {
    device,
    ranges,
    idles: new Cell(
      harness.machine.memory,
      harness.run(harness.machine.heap.allocWords(512)),
      "idles",
    ),
  };
}

const underWay = ({ mm }: HmmHarness): ReturnType<typeof invalidateRange> =>
  invalidateRange(mm, HARNESS_PAGE, HARNESS_PAGE + 1, EVENT_CLEAR);

function* waitFor(range: OwnRange | undefined, { device }: Orphans): Task<void> {
  const { handle } = range ?? assertRange();
  const isValid = yield* hmmRangeWaitUntilValid(handle, Infinity);
  assert(
    isValid || mirrorStatus(device.mirror.record) === MIRROR_ORPHANED,
    "a wait ended, and no thread has died",
  );
  assert(isValid || isOrphaned(handle), "a wait ended, and the range is not orphaned");
  if (!isOrphaned(handle)) return;
  // It may have been valid when the wait tested it: the owner, or a recoverer, had ended the
  // invalidation before the mirror went.
  const isValidAgain = yield* hmmRangeWaitUntilValid(handle, Infinity);
  assert(!isValidAgain, "a range became valid although its mirror is gone");
}

function assertRange(): never {
  throw new AssertionFailure("there is no such range");
}

const orphanedWaiters: Covered = {
  layer: "hmm",
  scenario: harnessScenario<Orphans>({
    name: "coverage/hmm/death/owner-vs-waiters",
    summary:
      "A thread dies that would end an invalidation, and two threads wait on its mirror: both are woken.",
    exploration: { deaths: 1, engine: "bounded", preemptions: 1 },
    killable: ["owner"],
    harness: { pages: 1 },
    setup: (harness) => makeOrphans(harness),
    reopen: ({ ranges }) => {
      for (const range of ranges) range.reopen();
    },
    tasks: {
      *owner({ idles }, harness) {
        yield* idles.load();
        yield* mmuNotifierInvalidateRangeEnd(harness.machine, underWay(harness));
      },
      first: (world) => waitFor(world.ranges[0], world),
      second: (world) => waitFor(world.ranges[1], world),
    },
    check: ({ device, ranges }, harness) => {
      assert(
        !isOrphaned(ranges[2]?.handle ?? assertRange()),
        "the range of another mirror is orphaned",
      );
      if (mirrorStatus(device.mirror.record) !== MIRROR_ORPHANED) return;
      const { refs } = Hmm.at(harness.machine.memory, harness.mm.hmm);
      // three ranges and the other mirror
      assert(refs.read() === 4, `the hmm has ${refs.read()} references`);
    },
  }),
  twins: [],
  runs: { owner: [], first: ["hmm/range/valid.hmmRangeWaitUntilValid"], second: [] },
};

/** Of no task. */
const DEAD_OWNER = 5;

/** The thread has died before the beginning. No reaper has come by. */
function makeDead({ words }: SharedMemory, agentId: number): void {
  words[agentRecord(agentId) + AGENT_STATE] = AGENT_DEAD;
  words[AGENTS_USED] = Math.max(words[AGENTS_USED]!, agentId + 1);
}

const sleepers: Covered = {
  layer: "hmm",
  scenario: harnessScenario<Orphans>({
    name: "coverage/hmm/dead-owner-vs-sleepers",
    summary: "Two threads wait on the mirror of a dead one: who releases that wakes both.",
    exploration: { engine: "bounded", preemptions: 0 },
    harness: { pages: 1 },
    setup: (harness) => {
      const world = makeOrphans(harness, DEAD_OWNER);
      makeDead(harness.machine.memory, DEAD_OWNER + 1);
      return world;
    },
    reopen: ({ ranges }) => {
      for (const range of ranges) range.reopen();
    },
    tasks: {
      reaps: (_world, { machine }) => reapTask(machine.memory),
      first: (world) => waitFor(world.ranges[0], world),
      second: (world) => waitFor(world.ranges[1], world),
    },
  }),
  twins: [],
  runs: {
    reaps: ["hmm/mirror/mirror.orphanRanges"],
    first: ["hmm/range/valid.hmmRangeWaitUntilValid"],
    second: [],
  },
};

interface Full {
  readonly device: HarnessDevice;
  /** Of a thread that never runs: it keeps the hmm. */
  readonly hmm: Hmm;
}

/**
 * A thread that attaches asks which drivers are in use (missingMirrorOps), and must have the code
 * of every mirror that it may have to call. So a driver whose last mirror is still listed is still
 * in use.
 */
const lastOfDriver: Covered = {
  layer: "hmm",
  scenario: harnessScenario<Full>({
    name: "coverage/hmm/death/last-mirror-of-driver",
    summary:
      "A driver's last mirror is unregistered, and its thread may die: until then the driver counts as in use.",
    harness: { pages: 1 },
    exploration: { deaths: 1, engine: "bounded", preemptions: 1 },
    killable: ["unregister"],
    setup: (harness) => {
      const device = deviceOf(harness, OWNER);
      HarnessDevice.registered(harness, IDLE_OPS);
      fillDrivers(harness, 2);
      return { device, hmm: Hmm.at(harness.machine.memory, harness.mm.hmm) };
    },
    tasks: {
      unregister: ({ device }) => device.unregister(),
      *another({ device, hmm }, harness) {
        if (!(yield* hasRoomForDriver(harness))) return;
        yield* hmm.mirrorsSem.downRead();
        assert(!device.record.mirror.node.isListed(), "a listed mirror's driver is not in use");
        yield* hmm.mirrorsSem.upRead();
      },
    },
  }),
  twins: [],
  runs: { unregister: [...UNREGISTER, "sync/death/reaper.reapTask"], another: [REGISTER[1]] },
};

export const mirrorsBesideEachOther: readonly Covered[] = [
  lastOfDriver,
  two,
  comeBesideGo,
  mistaken,
  orphanedWaiters,
  sleepers,
];
