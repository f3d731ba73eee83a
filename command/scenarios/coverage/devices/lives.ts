/**
 * @module Devices from their beginning to their end, as their owners open and close them
 * (devices/software/open-device.ts): alone, where each thing that one needs cannot be had, against
 * one another, and against a CPU that takes pages or the whole space away. In the end nothing of a
 * device is left, whatever it came to.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import type { AnyScenario, ScenarioExploration } from "../../../../src/checker/scenario.ts";
import type { DevicePlace } from "../../../../src/devices/service/device-list.ts";
import type { DeviceRecord } from "../../../../src/devices/service/device-record.ts";
import {
  createDevice,
  endDevice,
  joinDevice,
  leaveDevice,
  putDevice,
} from "../../../../src/devices/software/device-state.ts";
import { ADVICE_PREFERRED } from "../../../../src/devices/policy/placement.ts";
import { takeAdvice } from "../../../../src/devices/service/device.ts";
import { viewDevice } from "../../../../src/devices/software/view-device.ts";
import { DeviceThread } from "../../../../src/devices/software/device-thread.ts";
import { closeDevice, openDevice } from "../../../../src/devices/software/open-device.ts";
import { mmget, mmput } from "../../../../src/mm/lifetime/mm.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { notifierSrcu } from "../../../../src/notifier/mmu-notifier.ts";
import { EBUSY, EFAULT, EMFILE, ENODEV, ESRCH } from "../../../../src/sync/errno.ts";
import { HmmError, assert } from "../../../../src/sync/errors.ts";
import {
  addResource,
  listedResources,
  removeResource,
  resourceKind,
} from "../../../../src/sync/lockdep/resources.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { makeDevice } from "./stage.ts";

const PAGE_BYTES = 4096;
const OPTIONS = { memoryBytes: PAGE_BYTES, threads: 1, faultTimeoutMs: 2 ** 30 };

interface World {
  /**
   * A device that was closed in the set-up: so what a machine makes once is made, and its place
   * names nothing.
   */
  readonly place: DevicePlace;
  /** One that is there, where the set-up has left one. */
  readonly record?: DeviceRecord;
  /** Numbers of the devices that tasks have made. */
  readonly serials: number[];
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

function makeWorld(harness: HmmHarness): World {
  const opened = harness.run(openDevice(harness.machine, harness.mm, OPTIONS));
  if (typeof opened === "number") throw new Error(`no device: ${opened}`);
  const { at: recordAt, serial } = opened.record.device;
  harness.run(closeDevice(harness.machine, opened));
  return { place: { recordAt, serial }, serials: [] };
}

function makeWorldWithDevice(harness: HmmHarness): World {
  return { ...makeWorld(harness), ...makeDevice(harness, 1) };
}

function makeWorldWithUser(harness: HmmHarness): World {
  harness.run(mmget(harness.mm));
  return makeWorld(harness);
}

/** What was freed when nobody looks any more is free by now. */
function* settle({ machine }: HmmHarness): Task<void> {
  yield* (yield* notifierSrcu(machine)).barrier();
}

/** The frames of a device that is gone are no frames. */
function requireNoMemory({ machine }: HmmHarness, firstPfn: number): void {
  try {
    machine.ram.sections.of(firstPfn);
  } catch (error) {
    if (error instanceof HmmError && error.code === "ENXIO") return;
    throw error;
  }
  assert(false, "the device is gone, and its memory is not");
}

/** Opens a device, has it bring a page, and closes it. */
const live: Body = function* ({ serials }, harness) {
  const { machine, mm } = harness;
  const opened = yield* openDevice(machine, mm, OPTIONS);
  assert(typeof opened !== "number", "the device can be had");
  const { service } = opened;
  const { firstPfn, serial } = opened.record.device;
  serials.push(serial);
  const errno = yield* service.resolve(HARNESS_PAGE, false, false);
  assert([0, EBUSY, EFAULT, ESRCH].includes(errno), `the fault was answered ${errno}`);
  yield* closeDevice(machine, opened);
  yield* settle(harness);
  requireNoMemory(harness, firstPfn);
};

const discard: Body = (_world, harness) => harness.discard(HARNESS_PAGE, 1);
const munmap: Body = (_world, { machine, mm }) =>
  doMunmap(machine, mm, HARNESS_PAGE * PAGE_BYTES, PAGE_BYTES);

/** The space has another user, who goes; the device's owner goes before its device. */
const liveWithoutSpace: Body = function* ({ serials }, harness) {
  const { machine, mm } = harness;
  const opened = yield* openDevice(machine, mm, OPTIONS);
  assert(typeof opened !== "number", "the device can be had");
  serials.push(opened.record.device.serial);
  yield* mmput(machine, mm);
  const errno = yield* opened.service.resolve(HARNESS_PAGE, false, false);
  assert([0, ESRCH].includes(errno), `the fault was answered ${errno}`);
  yield* closeDevice(machine, opened);
  yield* settle(harness);
};

function* exit(_world: World, harness: HmmHarness): Task<void> {
  yield* mmput(harness.machine, harness.mm);
  yield* settle(harness);
}

const SOMETHING: number = resourceKind("scenario's thing");

/** Fills the list of what the thread owns, but for `left` places. */
function fillList({ memory }: HmmHarness["machine"], left: number): number[] {
  const slots: number[] = [];
  for (
    let slot = addResource(memory, SOMETHING, 1);
    slot >= 0;
    slot = addResource(memory, SOMETHING, 1)
  )
    slots.push(slot);
  for (const slot of slots.splice(0, left)) removeResource(memory, slot);
  return slots;
}

/**
 * A thread that owns as much as it may gets no device, and becomes no thread of one; nothing of
 * either remains.
 */
const ownsTooMuch: Body = function* (_world, harness) {
  const { machine, mm } = harness;
  // No place for the mirror; then one for the mirror and none for the service's range.
  for (const left of [0, 1]) {
    const slots = fillList(machine, left);
    const opened = yield* openDevice(machine, mm, OPTIONS);
    assert(opened === EMFILE, `with ${left} places a device was answered otherwise`);
    for (const slot of slots) removeResource(machine.memory, slot);
  }
  yield* settle(harness);
};

/** Joins the device of the set-up. Another one was there before, and a third comes and goes. */
const joins: Body = function* ({ place, record }, harness) {
  const { machine } = harness;
  const { memory } = machine;
  assert(record !== undefined, "the set-up has made a device");
  const here = { recordAt: record.at, serial: record.serial };
  assert(place.serial !== here.serial, "two devices have one number");
  assert(
    (yield* joinDevice(machine, place)) === ENODEV,
    "a thread has joined a device that is gone",
  );

  const other = yield* createDevice(machine, OPTIONS);
  assert(typeof other !== "number", "another device can be had");
  const { at: recordAt, serial } = other.device;
  const otherPlace = { recordAt, serial };
  assert(serial !== here.serial, "two devices have one number");
  yield* endDevice(machine, other);
  assert(
    (yield* joinDevice(machine, otherPlace)) === ENODEV,
    "a thread has joined a device that is gone",
  );

  const slots = fillList(machine, 0);
  assert(
    (yield* joinDevice(machine, here)) === EMFILE,
    "a thread has joined that owns as much as it may",
  );
  assert(record.refs.read() === 1, `${record.refs.read()} references of the device are left`);
  for (const slot of slots) removeResource(memory, slot);

  const most = fillList(machine, 1);
  assert(
    (yield* DeviceThread.join(machine, here, 0)) === EMFILE,
    "a thread of a device has no place for its range",
  );
  assert(record.refs.read() === 1, `${record.refs.read()} references of the device are left`);
  for (const slot of most) removeResource(memory, slot);

  const joined = yield* joinDevice(machine, here);
  assert(typeof joined !== "number" && record.refs.read() === 2, "the device can be joined");
  yield* leaveDevice(machine, joined.record, joined.slot);
  assert(record.refs.read() === 1, `${record.refs.read()} references of the device are left`);
  assert(
    listedResources(memory, memory.record).length === 0,
    "the thread is still said to own something",
  );
};

/** What a device was advised ends with it. */
const livesAdvised: Body = function* (_world, harness) {
  const { machine, mm } = harness;
  const opened = yield* openDevice(machine, mm, OPTIONS);
  assert(typeof opened !== "number", "the device can be had");
  const device = viewDevice(machine, opened.record);
  const errno = yield* takeAdvice(device, HARNESS_PAGE, HARNESS_PAGE + 1, ADVICE_PREFERRED);
  assert(errno === 0, `the advice was answered ${errno}`);
  yield* closeDevice(machine, opened);
  yield* settle(harness);
};

/** Makes one that nothing is registered of, and lets it go. */
const makes: Body = function* ({ serials }, { machine }) {
  const record = yield* createDevice(machine, OPTIONS);
  assert(typeof record !== "number", "the device can be had");
  serials.push(record.device.serial);
  yield* endDevice(machine, record);
};

function checkSerials({ serials }: World): void {
  assert(new Set(serials).size === serials.length, "two devices have one number");
}

/** The owner lets go of its device, whose mirror is registered. */
const leavesMirror: Body = function* (_world, harness) {
  const { machine, mm } = harness;
  const opened = yield* openDevice(machine, mm, OPTIONS);
  assert(typeof opened !== "number", "the device can be had");
  yield* opened.service.close();
  yield* putDevice(machine, opened.record);
};

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly exploration?: ScenarioExploration;
  readonly setup?: (harness: HmmHarness) => World;
  readonly tasks: Readonly<Record<string, readonly [runs: readonly string[], body: Body]>>;
  readonly check?: (world: World, harness: HmmHarness) => void;
  readonly twins?: readonly (readonly [
    name: string,
    summary: string,
    FindingKind,
    Readonly<Record<string, Body>>,
  ])[];
}

function living({
  name,
  summary,
  exploration,
  setup = makeWorld,
  tasks,
  check,
  twins = [],
}: Parts): Covered {
  const entries = Object.entries(tasks);
  const bodies = Object.fromEntries(entries.map(([task, [, body]]) => [task, body]));
  const parts = {
    ...(exploration === undefined ? {} : { exploration }),
    mayRemain: [],
    harness: { pages: 1, arenaWords: 16_384 },
    setup,
    reopen: ({ serials }: World): void => {
      serials.length = 0;
    },
    check: (world: World, harness: HmmHarness): void => {
      checkSerials(world);
      check?.(world, harness);
    },
  };
  const fullName = `coverage/devices/${name}`;
  return {
    layer: "devices",
    scenario: harnessScenario<World>({ ...parts, name: fullName, summary, tasks: bodies }),
    twins: twins.map(([twin, about, expects, own]): AnyScenario =>
      harnessScenario<World>({
        ...parts,
        name: `${fullName}/${twin}`,
        summary: about,
        expects,
        tasks: { ...bodies, ...own },
      }),
    ),
    runs: Object.fromEntries(entries.map(([task, [runs]]) => [task, runs])),
  };
}

const LIVE = [
  "devices/software/open-device.openDevice",
  "devices/software/open-device.closeDevice",
  "devices/software/device-state.createDevice",
] as const;
const BOUNDED: ScenarioExploration = { engine: "bounded", preemptions: 1, timeouts: 0 };

export const lives: readonly Covered[] = [
  living({
    name: "alone/life",
    summary: "A device is opened, brings a page, and is closed: nothing of it is left.",
    tasks: { owner: [LIVE, live] },
    twins: [
      [
        "mirror-stays",
        "The owner lets go of a device whose mirror is registered, and discards a page.",
        "use-after-free",
        {
          *owner(world, harness) {
            yield* leavesMirror(world, harness);
            yield* discard(world, harness);
          },
        },
      ],
    ],
  }),
  living({
    name: "alone/advised-life",
    summary: "A device is opened, advised, and closed: nothing of it is left.",
    tasks: {
      owner: [
        ["devices/service/device.takeAdvice", "devices/service/device-parts.freeDeviceParts"],
        livesAdvised,
      ],
    },
  }),
  living({
    name: "alone/owns-too-much",
    summary: "A thread that owns as much as it may owns no more when it could not get a device.",
    tasks: { owner: [["devices/software/open-device.openDevice"], ownsTooMuch] },
  }),
  living({
    name: "alone/joins",
    summary: "A thread joins a device by its place, among others that have gone.",
    setup: makeWorldWithDevice,
    tasks: {
      thread: [
        ["devices/software/device-state.joinDevice", "devices/service/device-list.findDevice"],
        joins,
      ],
    },
  }),
  living({
    name: "life-vs-life",
    summary:
      "Two threads make a device each, and let it go: each has its own number, and none is left.",
    exploration: BOUNDED,
    tasks: {
      first: [["devices/service/device-list.enlistDevice"], makes],
      second: [["devices/service/device-list.delistDevice"], makes],
    },
  }),
  living({
    name: "life-vs-discard",
    summary: "A device is opened, brings a page and is closed while the CPU discards the page.",
    exploration: BOUNDED,
    tasks: { owner: [LIVE, live], discard: [["mm/calls/madvise.doMadvise"], discard] },
  }),
  living({
    name: "life-vs-munmap",
    summary: "A device is opened, brings a page and is closed while the CPU unmaps the page.",
    exploration: BOUNDED,
    tasks: { owner: [LIVE, live], munmap: [["mm/calls/munmap.doMunmap"], munmap] },
  }),
  living({
    name: "life-vs-exit",
    summary:
      "A device is opened and closed by a thread that has let go of the space, whose last user may go meanwhile.",
    exploration: BOUNDED,
    setup: makeWorldWithUser,
    tasks: { owner: [LIVE, liveWithoutSpace], exit: [["mm/lifetime/mm.mmput"], exit] },
    check: (_world, harness) =>
      assert(!harness.accounting().includes(" mm"), "the space is still there"),
  }),
];
