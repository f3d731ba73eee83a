/** @module Seeded bugs in lifetimes: who frees what, who counts what, and what is left. */

import { Cell } from "../../../src/checker/pieces/program.ts";
import { RIG_PAGE } from "../../../src/checker/rig/hmm-rig.ts";
import type { HmmRig } from "../../../src/checker/rig/hmm-rig.ts";
import { RigDevice } from "../../../src/checker/rig/rig-device.ts";
import { hmmRangeAlloc, hmmRangeFree } from "../../../src/hmm/range.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { mmgetNotZero, mmput } from "../../../src/mm/mm.ts";
import type { Task } from "../../../src/sync/task.ts";
import { discard } from "./discard.ts";
import { twins } from "./twins.ts";

/** The device's memory goes before its mirror has left the list that an invalidation walks. */
const usedAfterFree = twins<RigDevice>("use-after-free", (isBroken) => ({
  summary:
    "a driver closes its device while pages are taken away: unregister, then free, in the wrong order",
  rig: { pages: 1, present: 0 },
  setup: (rig) => new RigDevice(rig),
  tasks: {
    *close(device) {
      if ((yield* device.register()) !== 0) return;
      if (isBroken) yield* device.free();
      yield* device.unregister();
      if (!isBroken) yield* device.free();
    },
    discard: (_device, rig) => discard(rig),
  },
}));

interface Closing {
  readonly device: RigDevice;
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
    rig: { pages: 0 },
    setup(rig) {
      const at = rig.run(rig.machine.heap.allocWords(512));
      return { device: new RigDevice(rig), closed: new Cell(rig.machine.memory, at, "closed") };
    },
    tasks: { one: close, two: close },
  };
});

/** Up the chain without asking whether the address space is still used (R2). */
const gotOnZero = twins<undefined>("refcount", (isBroken) => ({
  summary: "a driver takes a user of an address space whose process is exiting",
  rig: { pages: 0 },
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
function* writeLocked({ mm }: HmmRig): Task<void> {
  yield* mm.mmapLock.downWrite();
  yield* mm.mmapLock.upWrite();
}

/** The way out when the address space is busy. */
const rangeLeft = twins<RigDevice>("leak", (isBroken) => ({
  summary: "a fault that finds the address space busy returns, and does not give its range back",
  rig: { pages: 0 },
  setup: (rig) => RigDevice.registered(rig),
  mayRemain: [],
  tasks: {
    *fault(_device, rig) {
      const range = yield* hmmRangeAlloc(rig.machine, { pfns: new Uint32Array(1) });
      if (typeof range === "number") return;
      const isIdle = yield* rig.mm.mmapLock.tryDownRead();
      if (!isIdle && isBroken) return;
      if (isIdle) yield* rig.mm.mmapLock.upRead();
      yield* hmmRangeFree(range);
    },
    unmap: (_device, rig) => writeLocked(rig),
  },
}));

/** A user taken for a walk, and one way out without the put. */
const userLeft = twins<RigDevice>("refcount-leak", (isBroken) => ({
  summary: "a walk that finds the address space busy returns with the user that it took",
  rig: { pages: 1, present: 0 },
  setup: (rig) => RigDevice.registered(rig),
  mayRemain: [],
  tasks: {
    *walk(_device, { machine, mm }) {
      if (!(yield* mmgetNotZero(mm))) return;
      const isIdle = yield* mm.mmapLock.tryDownRead();
      if (!isIdle && isBroken) return;
      if (isIdle) yield* mm.mmapLock.upRead();
      yield* mmput(machine, mm);
    },
    unmap: (_device, rig) => writeLocked(rig),
  },
}));

/** A program that gets an errno and does not look at it. */
const thrown = twins<RigDevice>("error", (isBroken) => ({
  summary:
    "a thread takes for granted that its device has a translation, which an invalidation may have taken",
  rig: { pages: 1 },
  setup: (rig) => RigDevice.registered(rig),
  tasks: {
    *device(device) {
      yield* device.serve(RIG_PAGE, 1);
      const frame = yield* device.use(RIG_PAGE);
      if (frame < 0 && isBroken) throw new RangeError("there is no frame for the page");
    },
    discard: (_device, rig) => discard(rig),
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
