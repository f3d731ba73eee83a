/**
 * @module Seeded bugs in locking: order, recursion, sleeping, forgetting, and waits that nobody
 * ends.
 */

import { Cell } from "../../../src/checker/primitives/program.ts";
import { HARNESS_PAGE } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import {
  addResource,
  registerReleaser,
  removeResource,
  resourceKind,
} from "../../../src/sync/lockdep/resources.ts";
import { lockClass } from "../../../src/sync/lock-class.ts";
import { Spinlock } from "../../../src/sync/primitives/spinlock.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../../src/sync/primitives/wait-queue.ts";
import { discard } from "./discard.ts";
import { twins } from "./twins.ts";

function* underBoth(device: HarnessDevice, { mm }: HmmHarness, driverFirst: boolean): Task<void> {
  const { driverLock } = device;
  if (driverFirst) yield* driverLock.lock();
  yield* mm.mmapLock.downRead();
  if (!driverFirst) yield* driverLock.lock();
  yield* driverLock.unlock();
  yield* mm.mmapLock.upRead();
}

/** The driver lock is what an invalidation waits for, with the mmap lock held. */
const heldAcross = twins<HarnessDevice>("deadlock", (isBroken) => ({
  summary: "a driver takes the mmap lock with its own lock held, while pages are taken away",
  harness: { pages: 1, present: 0 },
  exploration: { lockdep: false },
  setup: (harness) => HarnessDevice.registered(harness),
  tasks: {
    program: (device, harness) => underBoth(device, harness, isBroken),
    *unmap(device, { mm }) {
      yield* mm.mmapLock.downWrite();
      yield* device.driverLock.lock();
      yield* device.driverLock.unlock();
      yield* mm.mmapLock.upWrite();
    },
  },
}));

/** One thread alone never deadlocks: only the order tells. */
const inverted = twins<HarnessDevice>("lock-order", (isBroken) => ({
  summary: "one thread takes the mmap lock with the driver lock held",
  harness: { pages: 0 },
  setup: (harness) => HarnessDevice.registered(harness),
  tasks: { program: (device, harness) => underBoth(device, harness, isBroken) },
}));

const recursive = twins<HarnessDevice>("lock-recursion", (isBroken) => ({
  summary: "a driver asks its own table with its own lock held, and the question takes that lock",
  harness: { pages: 0 },
  setup: (harness) => HarnessDevice.registered(harness),
  tasks: {
    *program(device) {
      yield* device.driverLock.lock();
      if (isBroken) yield* device.use(HARNESS_PAGE);
      else device.entry(HARNESS_PAGE);
      yield* device.driverLock.unlock();
    },
  },
}));

/** The ranges' lock is a spinlock; drivers' locks are mutexes. */
const sleeping = twins<HarnessDevice>("sleep-in-atomic", (isBroken) => ({
  summary:
    "the ranges of an address space are marked, and the driver is called before their spinlock is released",
  harness: { pages: 0 },
  setup: (harness) => HarnessDevice.registered(harness),
  tasks: {
    *mark(device, { machine, mm }) {
      const { rangesLock } = Hmm.at(machine.memory, mm.hmm);
      yield* rangesLock.lock();
      if (!isBroken) yield* rangesLock.unlock();
      yield* device.driverLock.lock();
      yield* device.driverLock.unlock();
      if (isBroken) yield* rangesLock.unlock();
    },
  },
}));

/** A translation is there already: the short way out. */
const forgotten = twins<HarnessDevice>("lock-misuse", (isBroken) => ({
  summary: "a fault finds the page in the device's table already, and returns with the driver lock",
  harness: { pages: 1 },
  setup: (harness) => HarnessDevice.registered(harness),
  tasks: {
    *first(device) {
      yield* device.serve(HARNESS_PAGE, 1);
    },
    *second(device) {
      yield* device.driverLock.lock();
      if (device.entry(HARNESS_PAGE) !== 0 && isBroken) return;
      yield* device.driverLock.unlock();
    },
  },
}));

const racing = twins<HarnessDevice>("data-race", (isBroken) => ({
  summary: "a driver looks into its table without its lock while an invalidation sweeps it",
  harness: { pages: 1 },
  setup: (harness) => HarnessDevice.registered(harness),
  tasks: {
    *look(device) {
      if (!isBroken) yield* device.driverLock.lock();
      device.entry(HARNESS_PAGE);
      if (!isBroken) yield* device.driverLock.unlock();
    },
    discard: (_device, harness) => discard(harness),
  },
}));

interface Waiting {
  readonly queue: WaitQueue;
  readonly lock: Spinlock;
  readonly inFlight: Cell;
}

/**
 * The end of an invalidation as it is in hmm/mirror/invalidate.ts, but for the order of its two
 * halves.
 */
const wokenEarly = twins<Waiting>("lost-wakeup", (isBroken) => ({
  summary:
    "the end of an invalidation wakes who waits for it, and takes it out of the accounting after that",
  harness: { pages: 0 },
  setup(harness) {
    const { memory } = harness.machine;
    const at = harness.run(harness.machine.heap.allocWords(512));
    const inFlight = new Cell(memory, at + 8, "notifiers");
    inFlight.init(1);
    return {
      queue: new WaitQueue(memory, at),
      lock: new Spinlock(memory, at + 4, lockClass("rangesLock")),
      inFlight,
    };
  },
  tasks: {
    *end({ queue, lock, inFlight }) {
      if (isBroken) yield* queue.wakeAll();
      yield* lock.lock();
      yield* inFlight.fetchAdd(-1);
      yield* lock.unlock();
      if (!isBroken) yield* queue.wakeAll();
    },
    wait: ({ queue, inFlight }) => queue.waitEvent(() => inFlight.peek() === 0),
  },
}));

const PINNED = resourceKind("watchPinned");
registerReleaser(PINNED, (memory, at) => dropPin(new Cell(memory, at, "pins")));

function* dropPin(pins: Cell): Task<void> {
  yield* pins.fetchAdd(-1);
}

interface Pinning {
  readonly lock: Spinlock;
  readonly pins: Cell;
}

/**
 * A pin is taken under a lock, or with one atomic step and an entry on the list of what the thread
 * owns.
 */
const diedHolding = twins<Pinning>("owner-died", (isBroken) => ({
  summary: "a thread that holds a pin is terminated, and the machine must go on",
  harness: { pages: 0 },
  exploration: { deaths: 1 },
  mustSurvive: true,
  setup(harness) {
    const { memory } = harness.machine;
    const at = harness.run(harness.machine.heap.allocWords(512));
    return {
      lock: new Spinlock(memory, at, lockClass("pinLock")),
      pins: new Cell(memory, at + 2, "pins"),
    };
  },
  tasks: {
    *pin({ lock, pins }, { machine }) {
      if (isBroken) yield* lock.lock();
      yield* pins.fetchAdd(1);
      const slot = addResource(machine.memory, PINNED, pins.at);
      if (isBroken) yield* lock.unlock();
      yield* pins.fetchAdd(-1);
      removeResource(machine.memory, slot);
    },
  },
  check({ pins }) {
    if (pins.peek() !== 0) throw new Error(`${pins.peek()} pins are left`);
  },
}));

export const locking: readonly AnyScenario[] = [
  ...heldAcross,
  ...inverted,
  ...recursive,
  ...sleeping,
  ...forgotten,
  ...racing,
  ...wokenEarly,
  ...diedHolding,
];
