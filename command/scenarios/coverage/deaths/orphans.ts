/**
 * @module The thread that registered a device's mirror dies while another thread of the device is
 * about to register a range on it: the range is registered and orphaned, or not registered, and
 * nobody reads a hmm that is gone.
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { registerMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import type { HmmMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import type { HmmMirror } from "../../../../src/hmm/mirror-record.ts";
import { hmmMirrorForget } from "../../../../src/hmm/mirror/mirror.ts";
import { selectAgent } from "../../../../src/sync/runners/agents.ts";
import { bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

interface World {
  readonly device: HarnessDevice;
  /** What the owner does until it dies. */
  readonly idles: Cell;
}

/** Another thread of the device uses the page: it reaches the page's frame, or none. */
function* usesCurrent({ device }: World, harness: HmmHarness): Task<void> {
  yield* device.driverLock.lock();
  harness.requireCurrent(HARNESS_PAGE, device.entry(HARNESS_PAGE));
  yield* device.driverLock.unlock();
}

/** The set-up registers the mirror in the name of the first task's thread. */
function makeWorld(harness: HmmHarness, opsId: number): World {
  const { memory } = harness.machine;
  const idles = new Cell(memory, harness.run(harness.machine.heap.allocWords(512)), "idles");
  const device = new HarnessDevice(harness, opsId);
  const self = memory.agentId;
  selectAgent(memory, 1);
  const errno = harness.run(device.register());
  selectAgent(memory, self);
  if (errno !== 0) bug(`Cannot register the device: ${errno}`);
  return { device, idles };
}

function* sweepAll(mirror: HmmMirror): Task<void> {
  const record = HarnessDevice.recordOf(mirror);
  yield* record.driverLock.lock();
  HarnessDevice.sweep(record, { startPage: 0, endPage: Infinity });
  yield* record.driverLock.unlock();
}

const shared: Omit<HmmMirrorOps, "orphaned"> = {
  *invalidate(mirror, range) {
    const record = HarnessDevice.recordOf(mirror);
    yield* record.driverLock.lock();
    HarnessDevice.sweep(record, range);
    yield* record.driverLock.unlock();
    return 0;
  },
  release: sweepAll,
};

const SOUND_OPS: number = registerMirrorOps("coverage orphan", { ...shared, orphaned: sweepAll });

/** Lets go of the hmm while other threads of the device go on. */
const HASTY_OPS: number = registerMirrorOps("coverage orphan, hasty", {
  ...shared,
  *orphaned(mirror) {
    yield* sweepAll(mirror);
    yield* hmmMirrorForget(mirror);
  },
});

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly preemptions: number;
  readonly opsId?: number;
  readonly discards?: boolean;
}

function make({
  name,
  summary,
  preemptions,
  opsId = SOUND_OPS,
  discards = false,
}: Parts): AnyScenario {
  return harnessScenario<World>({
    name,
    summary,
    exploration: { deaths: 1, engine: "bounded", preemptions },
    ...(opsId === SOUND_OPS ? {} : { expects: "use-after-free" }),
    harness: { pages: 1 },
    killable: ["owner"],
    setup: (harness) => makeWorld(harness, opsId),
    tasks: {
      *owner({ idles }) {
        yield* idles.load();
      },
      *other(world, harness) {
        yield* world.device.serve(HARNESS_PAGE, 1);
        yield* usesCurrent(world, harness);
      },
      ...(discards
        ? { discard: (_world: World, harness: HmmHarness) => harness.discard(HARNESS_PAGE, 1) }
        : {}),
    },
    check: ({ device }) => device.requireCoherent(),
  });
}

const NAME = "coverage/hmm/death/owner-vs-range";
const RUNS = {
  owner: [
    "sync/death/death.declareDead",
    "sync/death/reaper.reapTask",
    "hmm/mirror/mirror.orphanRanges",
  ],
  other: [
    "hmm/range/range.hmmRangeRegister",
    "hmm/walk/fault.hmmRangeFault",
    "hmm/range/valid.hmmRangeValid",
  ],
} as const;

export const orphans: readonly Covered[] = [
  {
    layer: "hmm",
    scenario: make({
      name: NAME,
      summary:
        "The thread that registered a mirror dies while another one registers a range on it and serves a page.",
      preemptions: 2,
    }),
    twins: [
      make({
        name: `${NAME}/hasty`,
        summary:
          "The driver lets go of the hmm as soon as it hears of the death, although another of its threads goes on.",
        preemptions: 2,
        opsId: HASTY_OPS,
      }),
    ],
    runs: RUNS,
  },
  {
    layer: "hmm",
    scenario: make({
      name: `${NAME}-and-madvise`,
      summary:
        "As owner-vs-range, and the page is discarded: a device that nobody tells any more does not get it.",
      preemptions: 1,
      discards: true,
    }),
    twins: [],
    runs: {
      ...RUNS,
      discard: ["mm/calls/madvise.doMadvise", "hmm/mirror/invalidate.hmmInvalidateRangeStart"],
    },
  },
];
