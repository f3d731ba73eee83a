/** @module Seeded bugs in lifetimes: who frees what, who counts what, and what is left. */

import { Cell } from "../../../src/checker/primitives/program.ts";
import { HARNESS_PAGE } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import { hmmRangeAlloc, hmmRangeFree } from "../../../src/hmm/range/range.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { mmgetNotZero, mmput } from "../../../src/mm/lifetime/mm.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import { discard } from "./discard.ts";
import { twins } from "./twins.ts";

/** The device's memory goes before its mirror has left the list that an invalidation walks. */
const usedAfterFree = twins<HarnessDevice>("use-after-free", (isBroken) => ({
  summary:
    "a driver closes its device while pages are taken away: unregister, then free, in the wrong order",
  harness: { pages: 1, present: 0 },
  setup: (harness) => new HarnessDevice(harness),
  tasks: {
    *close(device) {
      if ((yield* device.register()) !== 0) return;
      if (isBroken) yield* device.free();
      yield* device.unregister();
      if (!isBroken) yield* device.free();
    },
    discard: (_device, harness) => discard(harness),
  },
}));

interface Closing {
  readonly device: HarnessDevice;
  readonly closed: Cell;
}

/** Two threads close the same device; who is first is asked in one step, or in two. */
const freedTwice = twins<Closing>("double-free", (isBroken) => {
  const close = function* ({ device, closed }: Closing): Task<void> {
    if (isBroken) {
      if ((yield* closed.load()) !== 0) return;
      yield* closed.store(1);
    } else if (!(yield* closed.compareExchange(0, 1))) return;
    yield* device.free();
  };
  return {
    summary: "two threads close one device, and each looks whether the other one has",
    harness: { pages: 0 },
    setup(harness) {
      const at = harness.run(harness.machine.heap.allocWords(512));
      return {
        device: new HarnessDevice(harness),
        closed: new Cell(harness.machine.memory, at, "closed"),
      };
    },
    tasks: { one: close, two: close },
  };
});

/** Up the chain without asking whether the address space is still used (R2). */
const gotOnZero = twins<undefined>("refcount", (isBroken) => ({
  summary: "a driver takes a user of an address space whose process is exiting",
  harness: { pages: 0 },
  setup: () => undefined,
  tasks: {
    *exit(_shared, { mm }) {
      yield* mm.users.put();
    },
    *fault(_shared, { mm }) {
      if (isBroken) yield* mm.users.get();
      else if (!(yield* mmgetNotZero(mm))) return;
      yield* mm.users.put();
    },
  },
}));

/** What every change of mappings does. */
function* writeLocked({ mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downWrite();
  yield* mm.mmapLock.upWrite();
}

/** The way out when the address space is busy. */
const rangeLeft = twins<HarnessDevice>("leak", (isBroken) => ({
  summary: "a fault that finds the address space busy returns, and does not give its range back",
  harness: { pages: 0 },
  setup: (harness) => HarnessDevice.registered(harness),
  mayRemain: [],
  tasks: {
    *fault(_device, harness) {
      const range = yield* hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) });
      if (typeof range === "number") return;
      const isIdle = yield* harness.mm.mmapLock.tryDownRead();
      if (!isIdle && isBroken) return;
      if (isIdle) yield* harness.mm.mmapLock.upRead();
      yield* hmmRangeFree(range);
    },
    unmap: (_device, harness) => writeLocked(harness),
  },
}));

/** A user taken for a walk, and one way out without the put. */
const userLeft = twins<HarnessDevice>("refcount-leak", (isBroken) => ({
  summary: "a walk that finds the address space busy returns with the user that it took",
  harness: { pages: 1, present: 0 },
  setup: (harness) => HarnessDevice.registered(harness),
  mayRemain: [],
  tasks: {
    *walk(_device, { machine, mm }) {
      if (!(yield* mmgetNotZero(mm))) return;
      const isIdle = yield* mm.mmapLock.tryDownRead();
      if (!isIdle && isBroken) return;
      if (isIdle) yield* mm.mmapLock.upRead();
      yield* mmput(machine, mm);
    },
    unmap: (_device, harness) => writeLocked(harness),
  },
}));

/** A program that gets an errno and does not look at it. */
const thrown = twins<HarnessDevice>("error", (isBroken) => ({
  summary:
    "a thread takes for granted that its device has a translation, which an invalidation may have taken",
  harness: { pages: 1 },
  setup: (harness) => HarnessDevice.registered(harness),
  tasks: {
    *device(device) {
      yield* device.serve(HARNESS_PAGE, 1);
      const frame = yield* device.use(HARNESS_PAGE);
      if (frame < 0 && isBroken) throw new RangeError("there is no frame for the page");
    },
    discard: (_device, harness) => discard(harness),
  },
}));

export const lifetimes: readonly AnyScenario[] = [
  ...usedAfterFree,
  ...freedTwice,
  ...gotOnZero,
  ...rangeLeft,
  ...userLeft,
  ...thrown,
];
