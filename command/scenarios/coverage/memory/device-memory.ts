/**
 * @module Memory of a device, whose frames threads take and give back while another one closes and
 * removes it (memory/frames/device-frames.ts, memory/device-memory.ts).
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { makeDeviceMemory, removeDeviceMemory } from "../../../../src/memory/device-memory.ts";
import {
  DEVICE_PRIVATE,
  DeviceMemory,
  RUN_PAGES,
  closeDeviceMemory,
  deviceFrameOps,
  isDeviceMemoryFull,
  takeDeviceFrame,
  takeDeviceFrames,
  takeDeviceRun,
  usedDeviceFrames,
  waitUntilUnused,
} from "../../../../src/memory/frames/device-frames.ts";
import type { Machine } from "../../../../src/memory/machine.ts";
import { EBUSY } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { lockClass } from "../../../../src/sync/lock-class.ts";
import { Spinlock } from "../../../../src/sync/primitives/spinlock.ts";
import { runInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { type Attempt, attempted } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";

/** The driver counts the frames that become free, under a lock that is not taken inside others. */
const driverLock = lockClass("mirrorClaim");
const OPS: number = deviceFrameOps.register("coverage device memory that counts", {
  *pageFree(memory, { data }) {
    const lock = new Spinlock(memory, data, driverLock);
    yield* lock.lock();
    yield* freedOf(memory, data).fetchAdd(1);
    yield* lock.unlock();
  },
});

function freedOf(memory: SharedMemory, data: number): Cell {
  return new Cell(memory, data + Spinlock.WORDS, "frames that became free");
}

const DATA_WORDS = 512;

interface World {
  readonly device: DeviceMemory;
  readonly freed: Cell;
  /** One more of its frames is in use at the beginning. */
  readonly pfn: number;
  readonly sections: number;
}

type Body = HarnessBody<World>;

function make(harness: HmmHarness, pages: number, opsId: number, data = 0): DeviceMemory {
  const options = { pages, type: DEVICE_PRIVATE, owner: 1, opsId, data } as const;
  const device = harness.run(makeDeviceMemory(harness.machine, options));
  return typeof device === "number" ? bug(`Cannot make a device's memory: ${device}`) : device;
}

/** A device's memory with so many pages, the first of which is in use if `isUsed`. */
function worldOf(pages: number, isUsed: boolean): (harness: HmmHarness) => World {
  return (harness) => {
    const { machine } = harness;
    const sections = machine.ram.sections.handles.length;
    const data = harness.run(machine.heap.allocWords(DATA_WORDS));
    const device = make(harness, pages, OPS, data);
    const pfn = isUsed ? harness.run(takeDeviceFrame(device)) : 0;
    return { device, freed: freedOf(machine.memory, data), pfn, sections };
  };
}

function* put({ ram }: Machine, pfn: number): Task<void> {
  yield* ram.refs.pagePut(pfn);
}

const takeOne: Body = function* ({ device }, { machine }) {
  const pfn = yield* takeDeviceFrame(device);
  assert(pfn !== 0, "a frame is free, and not to be had");
  yield* put(machine, pfn);
};

const takeSome: Body = function* ({ device }, { machine }) {
  const frames = new Uint32Array(1);
  const end = yield* takeDeviceFrames(device, frames, 0);
  assert(end === 1 && frames[0] !== 0, "a frame is free, and not to be had");
  yield* put(machine, frames[0]!);
};

const TAKE = "memory/frames/device-frames.takeDeviceFrames";
const GIVE = "memory/frames/device-frames.giveDeviceFrames";
const CLOSE = [
  "memory/frames/device-frames.closeDeviceMemory",
  "memory/frames/device-frames.waitUntilUnused",
] as const;

const takes = coveringOnHarness<World>({
  layer: "memory",
  name: "device-memory/take-vs-take",
  summary:
    "Two take one frame each, and give it back: the driver hears of each, with no lock held.",
  harness: { pages: 0 },
  setup: worldOf(2, false),
  tasks: {
    one: [["memory/frames/device-frames.takeDeviceFrame", GIVE], takeOne],
    some: [[TAKE, GIVE], takeSome],
  },
  check: ({ device, freed }) => {
    assert(device.usedPages === 0, `${device.usedPages} frames are said to be in use`);
    assert(freed.peek() === 2, `the driver heard of ${freed.peek()} frames, not 2`);
  },
  twins: [
    [
      "twice",
      "A frame is given back twice.",
      "assertion",
      {
        *one({ device }, { machine }) {
          const pfn = yield* takeDeviceFrame(device);
          yield* put(machine, pfn);
          yield* put(machine, pfn);
        },
      },
    ],
  ],
});

interface Taken extends World {
  readonly got: Cell;
}

/** All frames in a row, or one of them: not both. */
const rows = coveringOnHarness<Taken>({
  layer: "memory",
  name: "device-memory/row-vs-frame",
  summary: "One takes all frames in a row, another one of them: one of the two gets nothing.",
  harness: { pages: 0 },
  setup: (harness) => {
    const device = make(harness, RUN_PAGES, 0);
    const data = harness.run(harness.machine.heap.allocWords(DATA_WORDS));
    const { memory } = harness.machine;
    const got = new Cell(memory, data, "got");
    return { device, freed: freedOf(memory, data), pfn: 0, sections: 0, got };
  },
  tasks: {
    row: [
      ["memory/frames/device-frames.takeDeviceRun"],
      function* ({ device, got }) {
        if ((yield* takeDeviceRun(device)) !== 0) yield* got.fetchAdd(RUN_PAGES);
      },
    ],
    one: [
      ["memory/frames/device-frames.takeDeviceFrame"],
      function* ({ device, got }) {
        if ((yield* takeDeviceFrame(device)) !== 0) yield* got.fetchAdd(1);
      },
    ],
  },
  check: ({ device, got }) => {
    const had = got.peek();
    assert(had === 1 || had === RUN_PAGES, `the two got ${had} frames`);
    assert(device.usedPages === had, `${device.usedPages} frames are in use, and ${had} were got`);
  },
  twins: [],
});

/** Nobody looks a frame up without a reference. */
function* noGrace(): Task<void> {}

/** Closes it, and waits until nobody uses it. */
const waits: Body = function* ({ device }) {
  yield* closeDeviceMemory(device);
  assert(yield* waitUntilUnused(device, Infinity), "the wait without an end timed out");
};

/** As `waits`; then removes it. */
const remove: Body = function* (world, harness) {
  const { device } = world;
  const { machine } = harness;
  yield* waits(world, harness);
  const errno = yield* removeDeviceMemory(machine, device, noGrace);
  assert(errno === 0, `nobody uses it, and removing it answers ${errno}`);
};

const removed = coveringOnHarness<World>({
  layer: "memory",
  name: "device-memory/last-put-vs-remove",
  summary: "A thread closes the memory, waits for the last frame, and removes it at once.",
  exploration: { spuriousWakes: 0 },
  harness: { pages: 0 },
  setup: worldOf(2, true),
  tasks: {
    remove: [[...CLOSE, "memory/device-memory.removeDeviceMemory"], remove],
    // Who has a frame may take more (D2 of memory/frames/device-frames.ts).
    take: [
      [TAKE, GIVE],
      function* ({ device, pfn }, { machine }) {
        const frames = new Uint32Array(1);
        const end = yield* takeDeviceFrames(device, frames, 0);
        yield* put(machine, pfn);
        if (end > 0) yield* put(machine, frames[0]!);
      },
    ],
  },
  check: ({ sections }, { machine }) => {
    const { length } = machine.ram.sections.handles;
    assert(length === sections, `${length - sections} sections are left`);
    const left = machine.heap.accounting().filter(({ name }) => name === DeviceMemory.name);
    assert(left.length === 0, "the device's memory is left");
  },
  twins: [],
});

const twoWait = coveringOnHarness<World>({
  layer: "memory",
  name: "device-memory/last-put-vs-two",
  summary: "Two wait until the last frame is given back, and another looks whether it is full.",
  exploration: { spuriousWakes: 0 },
  harness: { pages: 0 },
  setup: worldOf(1, true),
  tasks: {
    one: [CLOSE, waits],
    other: [CLOSE, waits],
    put: [[GIVE], ({ pfn }, { machine }) => put(machine, pfn)],
  },
  check: ({ device }) => assert(device.usedPages === 0, "a frame is in use"),
  twins: [
    [
      "full",
      "It is said to be full still when one frame has gone.",
      "assertion",
      {
        *one({ device }) {
          assert(yield* runInSteps(isDeviceMemoryFull, device), "it is full no more");
        },
      },
    ],
  ],
});

/** Alone, in the order of its life. */
const alone = coveringOnHarness<World>({
  layer: "memory",
  name: "alone/device-memory",
  summary: "It is removed when it is closed and nobody uses it, in the order that its users need.",
  harness: { pages: 0 },
  setup: worldOf(2, true),
  tasks: {
    task: [
      [
        "memory/frames/device-frames.closeDeviceMemory",
        "memory/device-memory.removeDeviceMemory",
        "memory/device-memory.removeSection",
      ],
      function* ({ device, pfn, sections }, { machine }) {
        const known = (): number => machine.ram.sections.handles.length - sections;
        const live = (): boolean =>
          machine.heap.accounting().some(({ name }) => name === DeviceMemory.name);
        let graces = 0;
        const grace = function* (): Task<void> {
          graces++;
          assert(known() === 0, "who looks the frames up after the grace period finds them");
          assert(live(), "it is freed before the grace period is over");
        };
        const ask = (): Task<number> => removeDeviceMemory(machine, device, grace);
        assert((yield* ask()) === EBUSY, "it is open, and was removed");
        yield* closeDeviceMemory(device);
        assert((yield* takeDeviceFrame(device)) === 0, "it is closed, and gave a frame");
        assert((yield* ask()) === EBUSY, "a frame is in use, and it was removed");
        yield* put(machine, pfn);
        assert((yield* usedDeviceFrames(device)) === 0, "the frame is in use still");
        assert((yield* ask()) === 0, "nobody uses it, and it was not removed");
        assert(graces === 1, `${graces} grace periods were waited for`);
        assert(known() === 0 && !live(), "something of it is left");
      },
    ],
  },
  twins: [
    [
      "too-early",
      "It is removed while a frame is in use, and nobody looks at the answer.",
      "assertion",
      {
        *task({ device }, { machine }) {
          yield* closeDeviceMemory(device);
          const errno = yield* removeDeviceMemory(machine, device, noGrace);
          assert(errno === 0, `removing it answers ${errno}`);
        },
      },
    ],
  ],
});

interface Maker {
  device: DeviceMemory | undefined;
}

const makes: Attempt<Maker> = {
  layer: "memory",
  name: "make-device-memory",
  summary: "A device's memory is made, and the heap has no room for one of its parts.",
  runs: ["memory/device-memory.makeDeviceMemory", "memory/device-memory.freeUnshared"],
  setup: () => ({ device: undefined }),
  *act({ machine }, maker) {
    const device = yield* makeDeviceMemory(machine, {
      pages: 1,
      type: DEVICE_PRIVATE,
      owner: 1,
      opsId: OPS,
    });
    if (typeof device === "number") return device;
    maker.device = device;
    return 0;
  },
  *undo({ machine }, { device }) {
    assert(device !== undefined, "it was made");
    yield* closeDeviceMemory(device);
    yield* removeDeviceMemory(machine, device, noGrace);
  },
};

export const deviceMemories: readonly Covered[] = [
  takes,
  rows,
  removed,
  twoWait,
  alone,
  attempted(makes),
];
