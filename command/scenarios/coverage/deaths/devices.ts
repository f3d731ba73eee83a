/**
 * @module A thread of the software device that dies at any point of serving a fault, or one of the
 * CPU in an invalidation of which a device is told. If it holds the driver lock, who finds it dead
 * has the device forget all entries (devices/service/repair-device.ts). A thread of the device is
 * replaced as the service owner, and the frames that it was filling and its ranges are freed;
 * another thread of the device, or a CPU that discards the page, goes on.
 */

import { type HmmHarness, HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { joinDevice, leaveDevice } from "../../../../src/devices/software/device-state.ts";
import type { DeviceRecord } from "../../../../src/devices/service/device-record.ts";
import { DEVICE_LOCK } from "../../../../src/devices/service/device-record.ts";
import { Frames } from "../../../../src/devices/service/frames.ts";
import {
  resignServiceOwner,
  becomeServiceOwner,
} from "../../../../src/devices/service/service-owner.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { registerRepairer, repairerOf } from "../../../../src/sync/death/repair.ts";
import { reapTask } from "../../../../src/sync/death/reaper.ts";
import { selectAgent } from "../../../../src/sync/runners/agents.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { DONE, type Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { resolve } from "../devices/service.ts";
import { type Body, type DeviceWorld, playing } from "../devices/stage.ts";
import { diedHolding } from "./died-holding.ts";

/** Joins the device as one of its threads, serves a fault, and leaves. */
const serve: Body = function* (world: DeviceWorld, harness: HmmHarness): Task<void> {
  const { at: recordAt, serial } = world.record;
  const joined = yield* joinDevice(harness.machine, { recordAt, serial });
  assert(typeof joined !== "number", "the device is there, and its thread owns little");
  yield* resolve(world, harness, HARNESS_PAGE, false);
  yield* leaveDevice(harness.machine, joined.record, joined.slot);
};

/** Nobody knows that it is one of the device's threads. */
const serveUnlisted: Body = (world, harness) => resolve(world, harness, HARNESS_PAGE, false);

const write: Body = (world, harness) => resolve(world, harness, HARNESS_PAGE + 1, true);
const exit: Body = (_world, { machine, mm }) => mmput(machine, mm);
const discard: Body = (_world, harness) => harness.discard(HARNESS_PAGE, 1);

/** Machines on which a driver lock is released as the dead thread has left it. */
const unrepaired = new WeakSet<SharedMemory>();
const repair = repairerOf(DEVICE_LOCK);
registerRepairer(DEVICE_LOCK, (memory, lock) =>
  unrepaired.has(memory) ? DONE : (repair?.(memory, lock) ?? DONE),
);

const serveUnrepaired: Body = (world, harness) => {
  unrepaired.add(harness.machine.memory);
  return serve(world, harness);
};

/**
 * By record: where the list of what the first task's thread owns says that it is one of the
 * device's.
 */
const slots = new WeakMap<DeviceRecord, number>();
/** The frame that it is filling. */
const FRAME = 1;

/**
 * The first task's thread is the service owner and is filling a frame. The device has the page in
 * another one.
 */
const whileServing: Body = function* (world, harness) {
  yield* resolve(world, harness, HARNESS_PAGE, false);
  const { record } = world;
  const { memory } = harness.machine;
  const self = memory.agentId;
  selectAgent(memory, 1);
  const joined = yield* joinDevice(harness.machine, { recordAt: record.at, serial: record.serial });
  assert(typeof joined !== "number", "the device is there, and its thread owns little");
  slots.set(record, joined.slot);
  yield* becomeServiceOwner(record);
  assert(new Frames(record).take() === FRAME, "the device has a free frame");
  selectAgent(memory, self);
};

/** Resigns as the service owner, and leaves. */
const endService: Body = function* ({ software, record }, { machine }) {
  yield* record.driverLock.lock();
  new Frames(record).give(FRAME);
  yield* record.driverLock.unlock();
  yield* resignServiceOwner(record);
  yield* leaveDevice(machine, software, slots.get(record) ?? -1);
};

/** Finds who has died with the driver lock: all frames become free that nobody is filling. */
const reap: Body = (_world, { machine }) => reapTask(machine.memory);

/** A death is no preemption: with none, threads still change wherever one waits, ends or dies. */
const ONE_DEATH: ScenarioExploration = {
  deaths: 1,
  timeouts: 1,
  engine: "bounded",
  preemptions: 0,
};
const ONE_DEATH_BETWEEN: ScenarioExploration = { ...ONE_DEATH, preemptions: 1 };
const SERVE = [
  "devices/software/device-state.joinDevice",
  "devices/software/device-state.leaveDevice",
  "devices/service/fault-service.resolve",
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
    name: "death/invalidating-vs-read",
    summary:
      "A thread dies at any step of a discard, while a device that has a copy of the page serves a fault on it.",
    frames: 1,
    pages: 1,
    before: (world, harness) => resolve(world, harness, HARNESS_PAGE, false),
    exploration: ONE_DEATH_BETWEEN,
    killable: ["madvise"],
    mustSurvive: true,
    tasks: {
      madvise: [["mm/calls/madvise.doMadvise"], discard],
      read: [["devices/service/fault-service.resolve"], serveUnlisted],
    },
  }),
  playing({
    name: "death/serving-vs-write",
    summary: "A thread of the device dies while it serves a fault; another one serves one, too.",
    frames: 1,
    pages: 2,
    exploration: ONE_DEATH,
    killable: ["serve"],
    check: checkReferences,
    tasks: {
      serve: [SERVE, serve],
      write: [["devices/service/service-owner.becomeServiceOwner"], write],
    },
    twins: [
      [
        "unlisted",
        "The thread does not list that it is one of the device's: nobody replaces it as the service owner.",
        { serve: serveUnlisted },
        "lost-wakeup",
      ],
      [
        "unrepaired",
        "The driver lock is released as the dead thread has left it: a frame is nobody's.",
        { serve: serveUnrepaired },
      ],
    ],
  }),
  playing({
    name: "death/serving-vs-madvise",
    summary: "A thread of the device dies while it serves a fault on a page that the CPU discards.",
    frames: 1,
    pages: 1,
    exploration: ONE_DEATH_BETWEEN,
    killable: ["serve"],
    check: checkReferences,
    tasks: { serve: [SERVE, serve], madvise: [["mm/calls/madvise.doMadvise"], discard] },
  }),
  playing({
    name: "death/filling-vs-madvise",
    summary:
      "A thread of the device dies as the service owner, while it fills a frame; another frame comes free meanwhile, whose page the CPU discards.",
    frames: 2,
    pages: 1,
    before: whileServing,
    exploration: { ...ONE_DEATH_BETWEEN, timeouts: 0 },
    killable: ["serve"],
    check: checkReferences,
    tasks: {
      serve: [
        ["devices/software/device-state.forgetDead", "devices/service/service-owner.resignForDead"],
        endService,
      ],
      madvise: [["mm/calls/madvise.doMadvise"], discard],
    },
  }),
  playing({
    name: "death/filling-vs-reaper",
    summary:
      "A thread of the device dies as the service owner, and two threads find what it has left: one of them ends its service, once.",
    frames: 2,
    pages: 1,
    before: whileServing,
    exploration: { ...ONE_DEATH, preemptions: 2, timeouts: 0 },
    killable: ["serve"],
    check: checkReferences,
    tasks: {
      serve: [["devices/service/service-owner.resignForDead"], endService],
      reap: [["sync/death/reaper.releaseList"], reap],
    },
  }),
  playing({
    name: "death/filling-vs-exit",
    summary:
      "A thread of the device dies as the service owner, while it fills a frame; the space goes, and with it what another frame holds.",
    frames: 2,
    pages: 1,
    before: whileServing,
    exploration: { ...ONE_DEATH_BETWEEN, timeouts: 0 },
    killable: ["serve"],
    check: checkReferences,
    tasks: {
      serve: [["devices/service/service-owner.resignForDead"], endService],
      exit: [["mm/lifetime/mm.mmput"], exit],
    },
  }),
  playing({
    name: "death/holding-vs-filling",
    summary:
      "A thread has died with the driver lock, and another one repairs what that guards, while the service owner fills a frame.",
    frames: 2,
    pages: 1,
    before: whileServing,
    since: diedHolding,
    exploration: { engine: "bounded", preemptions: 1, timeouts: 0 },
    tasks: {
      serve: [["devices/service/service-owner.resignServiceOwner"], endService],
      reap: [["devices/service/repair-device.repairDevice"], reap],
    },
  }),
  playing({
    name: "death/exit-vs-read",
    summary:
      "A thread dies at any point of dropping the space's last user, which takes the space down: the device serves a fault before it, or hears that the space is gone.",
    frames: 1,
    pages: 1,
    exploration: ONE_DEATH_BETWEEN,
    killable: ["exit"],
    tasks: {
      exit: [["mm/lifetime/mm.mmput"], exit],
      read: [["devices/service/fault-service.resolve"], serveUnlisted],
    },
  }),
];
