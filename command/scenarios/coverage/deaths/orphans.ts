/**
 * @module The thread that registered a device's mirror dies while another thread of the device is
 * about to register a range on it: the range is registered and orphaned, or not registered, and
 * nobody reads a hmm that is gone.
 */

import { Cell } from "../../../../src/checker/pieces/program.ts";
import { RIG_PAGE, rigScenario } from "../../../../src/checker/rig/hmm-rig.ts";
import type { HmmRig } from "../../../../src/checker/rig/hmm-rig.ts";
import { RigDevice } from "../../../../src/checker/rig/rig-device.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { registerMirrorOps } from "../../../../src/hmm/mirror-ops.ts";
import type { HmmMirrorOps } from "../../../../src/hmm/mirror-ops.ts";
import type { HmmMirror } from "../../../../src/hmm/mirror-record.ts";
import { hmmMirrorForget } from "../../../../src/hmm/mirror.ts";
import { selectAgent } from "../../../../src/sync/agents.ts";
import { bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/task.ts";
import type { Covered } from "../covered.ts";

interface World {
  readonly device: RigDevice;
  /** What the owner does until it dies. */
  readonly idles: Cell;
}

/** The set-up registers the mirror in the name of the first task's thread. */
function makeWorld(rig: HmmRig, opsId: number): World {
  const { memory } = rig.machine;
  const idles = new Cell(memory, rig.run(rig.machine.heap.allocWords(512)), "idles");
  const device = new RigDevice(rig, opsId);
  const self = memory.agentId;
  selectAgent(memory, 1);
  const errno = rig.run(device.register());
  selectAgent(memory, self);
  if (errno !== 0) bug(`Cannot register the device: ${errno}`);
  return { device, idles };
}

function* sweepAll(mirror: HmmMirror): Task<void> {
  const record = RigDevice.recordOf(mirror);
  yield* record.driverLock.lock();
  RigDevice.sweep(record, { startPage: 0, endPage: Infinity });
  yield* record.driverLock.unlock();
}

const shared: Omit<HmmMirrorOps, "orphaned"> = {
  *invalidate(mirror, range) {
    const record = RigDevice.recordOf(mirror);
    yield* record.driverLock.lock();
    RigDevice.sweep(record, range);
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
  return rigScenario<World>({
    name,
    summary,
    exploration: { deaths: 1, engine: "bounded", preemptions },
    ...(opsId === SOUND_OPS ? {} : { expects: "use-after-free" }),
    rig: { pages: 1 },
    mortals: ["owner"],
    setup: (rig) => makeWorld(rig, opsId),
    tasks: {
      *owner({ idles }) {
        yield* idles.load();
      },
      other: ({ device }) => device.serve(RIG_PAGE, 1),
      ...(discards ? { discard: (_world: World, rig: HmmRig) => rig.discard(RIG_PAGE, 1) } : {}),
    },
    check: ({ device }) => device.requireCoherent(),
  });
}

const NAME = "coverage/hmm/death/owner-vs-range";
const RUNS = {
  owner: ["sync/death.declareDead", "sync/reaper.reapTask", "hmm/mirror.orphanRanges"],
  other: ["hmm/range.hmmRangeRegister", "hmm/fault.hmmRangeFault", "hmm/valid.hmmRangeValid"],
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
    runs: { ...RUNS, discard: ["mm/madvise.doMadvise", "hmm/invalidate.hmmInvalidateRangeStart"] },
  },
];
