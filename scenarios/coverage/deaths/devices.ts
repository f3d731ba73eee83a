/**
 * @module A thread of the software device that dies at any point of serving a fault. A lock that it
 * holds stops the machine; else its turn, the frames that it was filling and its ranges are given
 * back, and another thread of the device, or a CPU that takes the page away, goes on.
 */

import { type HmmRig, RIG_PAGE } from "../../../src/checker/rig/hmm-rig.ts";
import type { ScenarioExploration } from "../../../src/checker/scenario.ts";
import { joinDevice, leaveDevice } from "../../../src/devices/software/device-state.ts";
import { mmput } from "../../../src/mm/mm.ts";
import { assert } from "../../../src/sync/errors.ts";
import type { Task } from "../../../src/sync/task.ts";
import type { Covered } from "../covered.ts";
import { resolve } from "../devices/service.ts";
import { type Body, type DeviceWorld, playing } from "../devices/stage.ts";

/** Joins the device as one of its threads, serves a fault, and leaves. */
const serve: Body = function* (world: DeviceWorld, rig: HmmRig): Task<void> {
  const { at: recordAt, serial } = world.record;
  const joined = yield* joinDevice(rig.machine, { recordAt, serial });
  assert(typeof joined !== "number", "the device is there, and its thread owns little");
  yield* resolve(world, rig, RIG_PAGE, false);
  yield* leaveDevice(rig.machine, joined.record, joined.slot);
};

/** Nobody knows that it is one of the device's threads. */
const serveUnlisted: Body = (world, rig) => resolve(world, rig, RIG_PAGE, false);

const write: Body = (world, rig) => resolve(world, rig, RIG_PAGE + 1, true);
const exit: Body = (_world, { machine, mm }) => mmput(machine, mm);
const discard: Body = (_world, rig) => rig.discard(RIG_PAGE, 1);

const discardNext: Body = (_world, rig) => rig.discard(RIG_PAGE + 1, 1);
const bringNext: Body = (world, rig) => resolve(world, rig, RIG_PAGE + 1, false);

/** A death is no preemption: with none, threads still change wherever one waits, ends or dies. */
const ONE_DEATH: ScenarioExploration = { deaths: 1, timeouts: 1, engine: "bounded", preemptions: 0 };
const ONE_DEATH_BETWEEN: ScenarioExploration = { ...ONE_DEATH, preemptions: 1 };
const SERVE = [
  "devices/software/device-state.joinDevice",
  "devices/software/device-state.leaveDevice",
  "devices/software/device-state.forgetDead",
  "devices/software/service-turn.releaseTurnOfDead",
  "devices/software/fault-service.resolve",
] as const;

/**
 * The mirror's registration has one. A thread that dies between getting its own and listing it, or
 * between the other two, leaks that.
 */
function checkReferences({ record }: DeviceWorld): void {
  const references = record.refs.read();
  assert(references === 1 || references === 2, `${references} references of the device are left`);
}

export const deathsOfDeviceThreads: readonly Covered[] = [
  playing({
    name: "death/serving-vs-write",
    summary: "A thread of the device dies while it serves a fault; another one serves one, too.",
    frames: 1,
    pages: 2,
    exploration: ONE_DEATH,
    mortals: ["serve"],
    check: checkReferences,
    tasks: { serve: [SERVE, serve], write: [["devices/software/service-turn.takeTurn"], write] },
    twins: [
      [
        "unlisted",
        "The thread does not list that it is one of the device's: its turn is nobody's to give back.",
        { serve: serveUnlisted },
        "lost-wakeup",
      ],
    ],
  }),
  playing({
    name: "death/serving-vs-madvise",
    summary: "A thread of the device dies while it serves a fault on a page that the CPU discards.",
    frames: 1,
    pages: 1,
    exploration: ONE_DEATH_BETWEEN,
    mortals: ["serve"],
    check: checkReferences,
    tasks: { serve: [SERVE, serve], madvise: [["mm/madvise.doMadvise"], discard] },
  }),
  playing({
    name: "death/serving-vs-madvise-of-another",
    summary:
      "A thread of the device dies while it brings a page; the CPU discards another, whose frame comes free meanwhile.",
    frames: 2,
    pages: 2,
    before: bringNext,
    exploration: ONE_DEATH_BETWEEN,
    mortals: ["serve"],
    check: checkReferences,
    tasks: { serve: [SERVE, serve], madvise: [["mm/madvise.doMadvise"], discardNext] },
  }),
  playing({
    name: "death/exit-vs-read",
    summary:
      "A thread dies at any point of dropping the space's last user, which takes the space down: the device serves a fault before it, or hears that the space is gone.",
    frames: 1,
    pages: 1,
    exploration: ONE_DEATH_BETWEEN,
    mortals: ["exit"],
    tasks: { exit: [["mm/mm.mmput"], exit], read: [["devices/software/fault-service.resolve"], serveUnlisted] },
  }),
];
