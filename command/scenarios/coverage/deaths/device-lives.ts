/**
 * @module A thread that dies while it makes a software device, or ends one, or joins it and leaves
 * (Y1 of devices/software/device-state.ts): nothing of it is left, and the machine goes on. In the
 * twins something is nobody's for a step.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import {
  createDevice,
  endDevice,
  joinDevice,
  leaveDevice,
  placeOf,
} from "../../../../src/devices/software/device-state.ts";
import { closeDevice, openDevice } from "../../../../src/devices/software/open-device.ts";
import { Hmm } from "../../../../src/hmm/hmm-struct.ts";
import { makeDeviceMemory } from "../../../../src/memory/device-memory.ts";
import { DEVICE_PRIVATE } from "../../../../src/memory/frames/device-frames.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { notifierSrcu } from "../../../../src/notifier/mmu-notifier.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { removeResource } from "../../../../src/sync/lockdep/resources.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";
import { type DeviceWorld, makeDevice } from "../devices/stage.ts";

/** Without threads of its own, so that it has few parts. */
const OPTIONS = { memoryBytes: PAGE_BYTES, threads: 1, faultTimeoutMs: 2 ** 30 };
const OWN_OPTIONS = { ...OPTIONS, ownType: DEVICE_PRIVATE } as const;

interface World extends DeviceWorld {
  /** What there is without what dies. */
  readonly accounting: string;
}

type Body = HarnessBody<World>;

/** What was freed when nobody looks any more is free by now. */
function* settled(harness: HmmHarness): Task<string> {
  yield* (yield* notifierSrcu(harness.machine)).barrier();
  const { machine, mm } = harness;
  const sections = machine.ram.sections.handles.length;
  const references = Hmm.at(machine.memory, mm.hmm).refs.read();
  return `${harness.accounting()}, ${sections} sections, ${references} references of the hmm`;
}

function makeWorld(harness: HmmHarness): World {
  const { machine, mm } = harness;
  const world = makeDevice(harness, 1);
  for (const options of [OPTIONS, OWN_OPTIONS]) {
    const opened = harness.run(openDevice(machine, mm, options));
    assert(typeof opened !== "number", "a device can be had");
    harness.run(closeDevice(machine, opened));
  }
  return { ...world, accounting: harness.run(settled(harness)) };
}

const lives: Body = function* (_world, { machine, mm }) {
  const opened = yield* openDevice(machine, mm, OPTIONS);
  assert(typeof opened !== "number", "a device can be had");
  yield* closeDevice(machine, opened);
};

/** One with pages of its own, which nobody registers. */
const livesWithOwn: Body = function* (_world, { machine }) {
  const record = yield* createDevice(machine, OWN_OPTIONS);
  assert(typeof record !== "number", "a device can be had");
  yield* endDevice(machine, record);
};

const livesUnlisted: Body = function* (_world, { machine, mm }) {
  const record = yield* createDevice(machine, OPTIONS);
  assert(typeof record !== "number", "a device can be had");
  removeResource(machine.memory, placeOf(machine, record.at));
  yield* access(machine.memory, "read", mm.at, 1, "between");
  yield* endDevice(machine, record);
};

/** The memory is nobody's for a step. */
const makesUnlistedMemory: Body = function* (_world, { machine, mm }) {
  const made = { pages: 1, type: DEVICE_PRIVATE, owner: 1, opsId: 0 } as const;
  yield* makeDeviceMemory(machine, made);
  yield* access(machine.memory, "read", mm.at, 1, "between");
};

const joins: Body = function* ({ record }, { machine }) {
  const joined = yield* joinDevice(machine, { recordAt: record.at, serial: record.serial });
  assert(typeof joined !== "number", "the device is there");
  yield* leaveDevice(machine, joined.record, joined.slot);
};

const joinsUnlisted: Body = function* ({ record }, { machine }) {
  const joined = yield* joinDevice(machine, { recordAt: record.at, serial: record.serial });
  assert(typeof joined !== "number", "the device is there");
  removeResource(machine.memory, joined.slot);
  yield* joined.record.device.refs.put();
};

const discards: Body = (_world, harness) => harness.discard(HARNESS_PAGE, 1);

/** Nothing is lost. */
function check({ record, accounting }: World, harness: HmmHarness): void {
  const left = harness.runAfterwards(settled(harness));
  assert(left === accounting, `there was ${accounting}; and now there is ${left}`);
  const references = record.refs.read();
  assert(references === 1, `${references} references of the device are left`);
  const { users } = harness.mm;
  assert(users.read() === 1, `the space has ${users.read()} users`);
}

const ONE_DEATH: ScenarioExploration = { engine: "bounded", preemptions: 0, deaths: 1 };

function dying(
  name: string,
  summary: string,
  [runs, dies]: readonly [runs: readonly string[], dies: Body],
  twin: readonly [name: string, summary: string, dies: Body],
): Covered {
  return coveringOnHarness<World>({
    layer: "devices",
    name: `death/${name}`,
    summary,
    harness: { pages: 1, present: 0, arenaWords: 16_384 },
    exploration: ONE_DEATH,
    killable: ["dies"],
    mustSurvive: true,
    mayRemain: "anything",
    setup: makeWorld,
    tasks: { dies: [runs, dies], discards: [["mm/calls/madvise.doMadvise"], discards] },
    check,
    twins: [[twin[0], twin[1], "assertion", { dies: twin[2] }]],
  });
}

export const deathsInDeviceLives: readonly Covered[] = [
  dying(
    "device-life",
    "A thread dies at any step of making a device, or of ending it, beside another one on the space.",
    [
      [
        "devices/software/open-device.openDevice",
        "devices/software/open-device.closeDevice",
        "hmm/mirror/mirror.hmmMirrorAbandon",
      ],
      lives,
    ],
    ["unlisted", "For a step no list names it.", livesUnlisted],
  ),
  dying(
    "own-memory-life",
    "A thread dies at any step of making a device with pages of its own, or of ending it.",
    [["memory/device-memory.makeDeviceMemory", "memory/device-memory.freeUnshared"], livesWithOwn],
    ["unlisted", "The device's memory is nobody's for a step.", makesUnlistedMemory],
  ),
  dying(
    "device-joined",
    "A thread dies at any step of becoming one of a device's threads, or of leaving.",
    [
      ["devices/software/device-state.joinDevice", "devices/software/device-state.leaveDevice"],
      joins,
    ],
    ["unlisted", "The reference is nobody's for a step.", joinsUnlisted],
  ),
];
