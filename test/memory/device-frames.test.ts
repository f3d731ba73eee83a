/** @module The free frames of a device's memory, one by one and in runs, against a set. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { makeDeviceMemory } from "../../src/memory/device-memory.ts";
import {
  DEVICE_PRIVATE,
  type DeviceMemory,
  RUN_PAGES,
  takeDeviceFrame,
  takeDeviceFrames,
  takeDeviceRun,
} from "../../src/memory/frames/device-frames.ts";
import type { Machine } from "../../src/memory/machine.ts";
import { makeMachine, run, seedFor } from "./harness.ts";
import { diceOf } from "../dice.ts";

const PAGES: number = 3 * RUN_PAGES + 100;
const STEPS = 400;

function makeDevice(): [Machine, DeviceMemory] {
  const machine = makeMachine({ ramPages: 100 });
  const options = { pages: PAGES, type: DEVICE_PRIVATE, owner: 1, opsId: 0 } as const;
  const device = run(machine, makeDeviceMemory(machine, options));
  if (typeof device === "number") throw new Error(`no memory of a device: ${device}`);
  return [machine, device];
}

/** How many whole blocks of the device are free. */
function freeBlocks({ basePfn }: DeviceMemory, taken: ReadonlySet<number>): number {
  let blocks = 0;
  for (let first = basePfn; first + RUN_PAGES <= basePfn + PAGES; first += RUN_PAGES)
    if (![...taken].some((pfn) => pfn >= first && pfn < first + RUN_PAGES)) blocks++;
  return blocks;
}

test("no frame is given out twice, none is lost, and a free block can be had as a run", (t) => {
  const dice = diceOf(seedFor(t));
  const [machine, device] = makeDevice();
  const { refs } = machine.ram;
  const taken = new Set<number>();
  const take = (pfn: number): void => {
    assert.ok(pfn >= device.basePfn && pfn < device.basePfn + PAGES);
    assert.ok(!taken.has(pfn), `frame ${pfn} is given out twice`);
    assert.equal(refs.pageCount(pfn), 1);
    taken.add(pfn);
  };
  for (let step = 0; step < STEPS; step++) {
    const what = dice(5);
    if (what === 0) {
      const pfn = run(machine, takeDeviceFrame(device));
      assert.equal(pfn === 0, taken.size === PAGES);
      if (pfn !== 0) take(pfn);
    } else if (what === 1) {
      const frames = new Uint32Array(dice(300));
      const end = run(machine, takeDeviceFrames(device, frames, 0));
      assert.equal(end, Math.min(frames.length, PAGES - taken.size));
      assert.ok(frames.subarray(end).every((pfn) => pfn === 0));
      for (const pfn of frames.subarray(0, end)) take(pfn);
    } else if (what === 2) {
      const first = run(machine, takeDeviceRun(device));
      assert.equal(first !== 0, freeBlocks(device, taken) > 0);
      if (first !== 0) for (let i = 0; i < RUN_PAGES; i++) take(first + i);
    } else {
      const share = 1 + dice(4);
      const put = [...taken].filter(() => dice(share) === 0);
      for (const pfn of put) taken.delete(pfn);
      if (what === 3) run(machine, refs.pagePutAll(put));
      else for (const pfn of put) run(machine, refs.pagePut(pfn));
    }
    assert.equal(device.usedPages, taken.size);
  }
});

test("frames of a new memory are given out in their order", () => {
  const [machine, device] = makeDevice();
  const frames = new Uint32Array(PAGES + 1);
  assert.equal(run(machine, takeDeviceFrames(device, frames, 0)), PAGES);
  assert.deepEqual(
    [...frames.subarray(0, PAGES)],
    Array.from({ length: PAGES }, (_, i) => device.basePfn + i),
  );
});
