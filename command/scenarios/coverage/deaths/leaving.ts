/**
 * @module A thread that dies at any point of giving up what it has: a range, then the mirror under
 * it. What it still had is given up by the releasers, nothing is dropped twice, and the mirror and
 * the range of another thread, of the same driver and on the same hmm, have all of their own.
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { Hmm } from "../../../../src/hmm/hmm-struct.ts";
import { dropMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import { hmmMirrorUnregister } from "../../../../src/hmm/mirror/mirror.ts";
import { hmmRangeFree, hmmRangeUnregister } from "../../../../src/hmm/range/range.ts";
import type { HmmRange } from "../../../../src/hmm/range/range.ts";
import { rangesOf } from "../../../../src/hmm/range-tree.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { removeResource } from "../../../../src/sync/lockdep/resources.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { IDLE_OPS, type OwnRange, deviceOf, rangeOf } from "../../patches/stage.ts";
import type { Covered } from "../covered.ts";

interface World {
  readonly device: HarnessDevice;
  readonly range: OwnRange;
  /** Of another thread, which never runs. */
  readonly other: HarnessDevice;
  readonly otherRange: HmmRange;
  readonly hmm: Hmm;
  /** 1 once the thread has begun to give up what it has. */
  readonly leaves: Cell;
}

const OWNER = 0;
/** The thread of the set-up. */
const SET_UP = -1;

function makeWorld(harness: HmmHarness): World {
  const { machine } = harness;
  const other = deviceOf(harness, SET_UP, IDLE_OPS);
  const device = deviceOf(harness, OWNER, IDLE_OPS);
  return {
    device,
    range: rangeOf(harness, OWNER, device),
    other,
    otherRange: rangeOf(harness, SET_UP, other).handle,
    hmm: Hmm.at(machine.memory, harness.mm.hmm),
    leaves: new Cell(machine.memory, harness.run(machine.heap.allocWords(512)), "leaves"),
  };
}

function* leave({ device, range, leaves }: World): Task<void> {
  yield* leaves.store(1);
  yield* hmmRangeUnregister(range.handle);
  yield* hmmRangeFree(range.handle);
  yield* hmmMirrorUnregister(device.mirror);
}

/** The reaper does not hear of the mirror. */
function* leaveUnlisted(world: World, { machine }: HmmHarness): Task<void> {
  removeResource(machine.memory, world.device.record.mirror.resourceSlot);
  yield* leave(world);
}

/** Whether somebody still uses the driver, in whose name one use is given up here. */
function* isDriverUsed({ machine }: HmmHarness): Task<boolean> {
  try {
    yield* dropMirrorOps(machine, IDLE_OPS);
    return true;
  } catch {
    return false;
  }
}

/**
 * What the other thread has is all that is left, but for one reference at most, which the thread
 * dropped when it died.
 */
function* requireGone(
  { device, other, otherRange, hmm, leaves }: World,
  harness: HmmHarness,
): Task<void> {
  const { machine, mm } = harness;
  assert([...hmm.mirrors.nodes()].length === 1, "a mirror of a thread that is gone is listed");
  assert(device.record.mirror.owns === 0, "nobody has given up what a mirror owned");
  assert(rangesOf(hmm).length === 1, "a range of a thread that is gone is listed");
  const records = machine.heap.accounting().find(({ name }) => name === "hmmRange")?.live ?? 0;
  // the set-up's user, the other mirror, and the other range, which has one of each
  const left = mm.users.read() - 2 + (hmm.refs.read() - 2) + (records - 1);
  yield* hmmRangeUnregister(otherRange);
  yield* hmmRangeFree(otherRange);
  yield* hmmMirrorUnregister(other.mirror);
  const all = left + ((yield* isDriverUsed(harness)) ? 1 : 0);
  assert(all >= 0 && all <= leaves.peek(), `${all} references are left of a thread that is gone`);
  yield* mmput(machine, mm);
}

const UNREGISTER = [
  "hmm/range/range.hmmRangeUnregister",
  "hmm/range/range.hmmRangeFree",
  "hmm/mirror/mirror.hmmMirrorUnregister",
  "sync/death/reaper.reapTask",
] as const;

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

function make(name: string, summary: string, owner: Body, isTwin: boolean = false): AnyScenario {
  return harnessScenario<World>({
    name: `coverage/hmm/death/${name}`,
    summary,
    exploration: { deaths: 1, engine: "bounded", preemptions: 0 },
    ...(isTwin ? { expects: "assertion" } : {}),
    harness: { pages: 1 },
    killable: ["owner"],
    setup: makeWorld,
    reopen: ({ range }) => range.reopen(),
    tasks: {
      owner,
      madvise: (_world, harness) => harness.discard(HARNESS_PAGE, 1),
    },
    check: (world, harness) => harness.runAfterwards(requireGone(world, harness)),
  });
}

const MADVISE = ["mm/calls/madvise.doMadvise"] as const;

export const deathsOfLeaving: readonly Covered[] = [
  {
    layer: "hmm",
    scenario: make(
      "leaving-vs-madvise",
      "A thread dies at any point of unregistering its range and its mirror, while the CPU discards the page.",
      leave,
    ),
    twins: [
      make(
        "leaving-vs-madvise/unlisted",
        "The thread does not list its mirror among what it owns.",
        leaveUnlisted,
        true,
      ),
    ],
    runs: { owner: UNREGISTER, madvise: MADVISE },
  },
];
