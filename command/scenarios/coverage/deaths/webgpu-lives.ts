/**
 * @module A thread that dies while it makes a WebGPU device's record with private memory, or ends
 * it, or becomes the device's Worker and leaves, and an owner that dies before the Worker begins
 * (devices/webgpu-record/record-life.ts): nothing is left, and the machine goes on. In the twins
 * something is nobody's for a step, or the Worker believes what it was told.
 */

import { type HmmHarness, HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { DevicePlace } from "../../../../src/devices/service/listed-devices.ts";
import { WEBGPU_DEVICE_OPS } from "../../../../src/devices/webgpu-record/mirror-ops.ts";
import {
  createRecord,
  endRecord,
  joinRecord,
  placeOfRecord,
  putRecord,
  registerRecord,
  unregisterRecord,
} from "../../../../src/devices/webgpu-record/record-life.ts";
import { PrivateChunk } from "../../../../src/devices/webgpu-record/private-memory.ts";
import { WebGpuRecord } from "../../../../src/devices/webgpu-record/record.ts";
import { notifierSrcu } from "../../../../src/notifier/mmu-notifier.ts";
import { ENODEV } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { removeResource } from "../../../../src/sync/lockdep/resources.ts";
import { selectAgent } from "../../../../src/sync/runners/agents.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";

interface World {
  /** A device that the first task's thread has made. */
  readonly place: DevicePlace;
  /** What there is without any device. */
  readonly accounting: string;
}

type Body = HarnessBody<World>;

/** What was freed when nobody looks any more is free by now. */
function* settled(harness: HmmHarness): Task<string> {
  yield* (yield* notifierSrcu(harness.machine)).barrier();
  const sections = harness.machine.ram.sections.handles.length;
  return `${harness.accounting()}, ${sections} sections`;
}

/** `pages`: of its private memory. */
function* open({ machine, mm }: HmmHarness, pages: number): Task<WebGpuRecord> {
  const record = yield* createRecord(machine, pages);
  assert(typeof record !== "number", "a record can be had");
  assert((yield* registerRecord(machine, record, mm, WEBGPU_DEVICE_OPS)) === 0, "and a mirror");
  return record;
}

function* close({ machine }: HmmHarness, record: WebGpuRecord): Task<void> {
  yield* unregisterRecord(machine, record);
  yield* endRecord(machine, record);
}

/** `isOwned`: with a device of the first task's thread. The first device makes the lists. */
function makeWorld(harness: HmmHarness, isOwned: boolean): World {
  const { memory } = harness.machine;
  harness.run(close(harness, harness.run(open(harness, 1))));
  const accounting = harness.run(settled(harness));
  if (!isOwned) return { place: { recordAt: 0, serial: 0 }, accounting };
  const self = memory.agentId;
  selectAgent(memory, 1);
  const record = harness.run(open(harness, 0));
  selectAgent(memory, self);
  return { place: placeOfRecord(record), accounting };
}

const lives: Body = function* (_world, harness) {
  yield* close(harness, yield* open(harness, 1));
};

/** Its memory is nobody's for a step. */
const livesUnlisted: Body = function* (_world, harness) {
  const { machine, mm } = harness;
  const at = yield* machine.heap.alloc(PrivateChunk);
  yield* access(machine.memory, "read", mm.at, 1, "between");
  yield* machine.heap.free(PrivateChunk, at);
};

const owns: Body = function* ({ place }, harness) {
  const { machine } = harness;
  yield* close(harness, WebGpuRecord.at(machine.memory, place.recordAt));
};

const joins: Body = function* ({ place }, { machine }) {
  const joined = yield* joinRecord(machine, place);
  if (typeof joined === "number") assert(joined === ENODEV, `joining was answered ${joined}`);
  else yield* putRecord(machine, joined.record, joined.slot);
};

const joinsUnlisted: Body = function* ({ place }, { machine }) {
  const joined = yield* joinRecord(machine, place);
  if (typeof joined === "number") return;
  removeResource(machine.memory, joined.slot);
  yield* joined.record.refs.put();
};

/** Believes the message. */
const joinsUnasked: Body = function* ({ place }, { machine }) {
  const record = WebGpuRecord.at(machine.memory, place.recordAt);
  yield* record.refs.get();
  yield* putRecord(machine, record);
};

const discards: Body = (_world, harness) => harness.discard(HARNESS_PAGE, 1);

/** Nothing is lost. */
function check({ accounting }: World, harness: HmmHarness): void {
  const left = harness.runAfterwards(settled(harness));
  assert(left === accounting, `there was ${accounting}; and now there is ${left}`);
  const { users } = harness.mm;
  assert(users.read() === 1, `the space has ${users.read()} users`);
}

const COMMON = {
  layer: "devices",
  harness: { pages: 1, present: 0, arenaWords: 16_384 },
  mustSurvive: true,
  mayRemain: "anything",
  check,
} as const;

export const deathsInWebGpuLives: readonly Covered[] = [
  coveringOnHarness<World>({
    ...COMMON,
    name: "death/webgpu-life",
    summary:
      "A thread dies at any step of making a WebGPU device with private memory, or of ending it.",
    exploration: { engine: "bounded", preemptions: 0, deaths: 1 },
    killable: ["dies"],
    setup: (harness) => makeWorld(harness, false),
    tasks: {
      dies: [
        [
          "devices/webgpu-record/record-life.createRecord",
          "devices/webgpu-record/record-life.unregisterRecord",
          "devices/webgpu-record/private-memory.makePrivateMemory",
          "devices/webgpu-record/private-memory.endPrivateMemory",
        ],
        lives,
      ],
      discards: [["mm/calls/madvise.doMadvise"], discards],
    },
    twins: [["unlisted", "A chunk is nobody's for a step.", "assertion", { dies: livesUnlisted }]],
  }),
  coveringOnHarness<World>({
    ...COMMON,
    name: "death/webgpu-owner-vs-join",
    summary:
      "A WebGPU device's owner dies, or ends the device, while a thread becomes its Worker and leaves, or dies.",
    exploration: { engine: "bounded", preemptions: 1, deaths: 1 },
    killable: ["owns", "joins"],
    setup: (harness) => makeWorld(harness, true),
    tasks: {
      owns: [["devices/webgpu-record/record-life.endRecord"], owns],
      joins: [
        [
          "devices/webgpu-record/record-life.joinRecord",
          "devices/webgpu-record/record-life.putRecord",
        ],
        joins,
      ],
    },
    twins: [
      ["unlisted", "The reference is nobody's for a step.", "assertion", { joins: joinsUnlisted }],
      [
        "unasked",
        "The Worker believes that the device is where it was told.",
        "use-after-free",
        { joins: joinsUnasked },
      ],
    ],
  }),
];
