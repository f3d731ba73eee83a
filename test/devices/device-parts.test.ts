/**
 * @module The parts of the software device one by one: fault rings, batches, the table of thrashing
 * pages, frames and the clock.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { FrameReserve } from "../../src/devices/service/frame-reserve.ts";
import { FaultBatch } from "../../src/devices/service/fault-batch.ts";
import { FaultRing, RING_FAULTS } from "../../src/devices/service/fault-ring.ts";
import {
  FRAME_FREE,
  FRAME_LOADING,
  FRAME_MAPPED,
  Frames,
} from "../../src/devices/service/frames.ts";
import {
  REMOTE_LAPSE_MS,
  THRASH_EVENTS,
  THRASH_WINDOW_MS,
} from "../../src/devices/policy/thrash.ts";
import { AssertionFailure } from "../../src/sync/errors.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { viewDevice } from "../../src/devices/software/view-device.ts";
import { PlayedDevice, withSpace } from "./harness.ts";
import { inside } from "../inside.ts";

test("a ring gives back what was put in, in order, and says when it is full", () =>
  withSpace((space) => {
    const device = new PlayedDevice(space, { frames: 4 });
    const ring = new FaultRing(inside(space).machine.memory, device.record.rings.get(0));
    for (let round = 0; round < 3; round++) {
      const taken: [number, boolean][] = [];
      for (let i = 0; i < RING_FAULTS; i++)
        assert.equal(ring.put(2 ** 32 - 600 - i, i % 3 === 0), true);
      assert.equal(ring.put(1, false), false, "full");
      assert.equal(ring.countWaiting(), RING_FAULTS);
      assert.equal(
        ring.drain((page, isWrite) => void taken.push([page, isWrite])),
        RING_FAULTS,
      );
      assert.deepEqual(taken.at(5), [2 ** 32 - 605, false]);
      assert.deepEqual(taken.at(-1), [2 ** 32 - 600 - (RING_FAULTS - 1), true]);
      assert.equal(ring.countWaiting(), 0);
      assert.equal(ring.put(7, true), true, "there is room again, wherever the ring stands");
      ring.drain(() => {});
    }
    device.close();
  }));

test("a batch sorts, keeps each page once, and the write of a page that was read too", () => {
  const faults = fc.array(fc.tuple(fc.nat(2 ** 32 - 513), fc.boolean()), { maxLength: 400 });
  const few = fc.array(fc.tuple(fc.nat(20), fc.boolean()), { maxLength: 100 });
  const batch = new FaultBatch();
  const check = fc.property(fc.oneof(faults, few), (list) => {
    batch.clear();
    for (const [page, isWrite] of list) batch.add(page, isWrite);
    const pages = [...new Set(list.map(([page]) => page))].toSorted((a, b) => a - b);
    assert.equal(batch.settle(), list.length - pages.length);
    assert.equal(batch.count, pages.length);
    pages.forEach((page, i) => {
      assert.equal(batch.pageAt(i), page);
      assert.equal(
        batch.isWriteAt(i),
        list.some(([other, isWrite]) => other === page && isWrite),
      );
    });
    for (let i = 0; i < batch.count;) {
      const end = batch.endOfBlock(i);
      for (let j = i; j < end; j++)
        assert.equal(Math.floor(batch.pageAt(j) / 512), Math.floor(batch.pageAt(i) / 512));
      if (end < batch.count)
        assert.notEqual(Math.floor(batch.pageAt(end) / 512), Math.floor(batch.pageAt(i) / 512));
      i = end;
    }
  });
  fc.assert(check, { numRuns: 300 });
});

test("a page thrashes after so many lost copies within the window, and gets another chance after the lapse", () =>
  withSpace((space) => {
    const device = new PlayedDevice(space, { frames: 4 });
    const { thrash } = viewDevice(inside(space).machine, device.software);
    const page = 2 ** 32 - 700;
    let now = 0x7fffff00; // wraps soon
    for (let i = 1; i < THRASH_EVENTS; i++) {
      thrash.noteLoss(page, now);
      assert.equal(thrash.isThrashing(page), false);
      now = (now + THRASH_WINDOW_MS + 1) | 0;
    }
    thrash.noteLoss(page, now);
    assert.equal(thrash.isThrashing(page), false, "they were too far apart");
    const answers = Array.from({ length: THRASH_EVENTS }, () => thrash.noteLoss(page, now));
    assert.deepEqual(answers, [false, true, false], "it is said once");
    assert.equal(thrash.isThrashing(page), true);
    assert.equal(thrash.isThrashing(page + 1), false);

    const released: number[] = [];
    const justBefore = (now + REMOTE_LAPSE_MS - 1) | 0;
    assert.equal(thrash.hasExpired(justBefore), false);
    const after = (now + REMOTE_LAPSE_MS) | 0;
    assert.equal(thrash.hasExpired(after), true);
    thrash.expire(after, (freed) => void released.push(freed));
    assert.deepEqual(released, [page]);
    assert.equal(thrash.isThrashing(page), false);
    assert.equal(thrash.hasExpired((after + 2 ** 20) | 0), false, "nothing is left to expire");
    device.close();
  }));

test("frames go round from free to loading to mapped and back; nothing else is allowed", () =>
  withSpace((space) => {
    const device = new PlayedDevice(space, { frames: 3 });
    const frames = new Frames(device.record);
    const taken = new Set([frames.take(), frames.take(), frames.take()]);
    assert.deepEqual(taken, new Set([0, 1, 2]));
    assert.equal(frames.take(), -1);
    assert.equal(device.stats.residentPages, 3);
    frames.bind(1, 4_000_000_000, true);
    assert.deepEqual(
      [frames.stateOf(1), frames.pageOf(1), frames.isAccessed(1)],
      [FRAME_MAPPED, 4_000_000_000, true],
    );
    assert.throws(() => frames.bind(1, 5, true), AssertionFailure);
    frames.touch(99); // a stale number does no harm
    frames.give(1);
    frames.give(0);
    frames.give(2);
    assert.equal(frames.stateOf(1), FRAME_FREE);
    assert.equal(device.stats.residentPages, 0);
    assert.equal(frames.stateOf(frames.take()), FRAME_LOADING);
    frames.give(2);
    device.close();
  }));

test("the clock takes pages that nobody has used since it came by, and spares the others once", () =>
  withSpace((space) => {
    const device = new PlayedDevice(space, { frames: 4 });
    const { record } = device;
    const { table } = viewDevice(inside(space).machine, device.software);
    const { frames } = table;
    const evictor = new FrameReserve(table);
    const into = new Int32Array(4);
    const reserving = function* (wanted: number): Task<number[]> {
      yield* record.driverLock.lock();
      const got = yield* evictor.reserve(wanted, into);
      yield* record.driverLock.unlock();
      return [...into.subarray(0, got)];
    };
    const reserve = (wanted: number): number[] => inside(space).runSync(reserving(wanted));
    assert.deepEqual(new Set(reserve(4)), new Set([0, 1, 2, 3]));
    for (let frame = 0; frame < 4; frame++) frames.bind(frame, 1000 + frame, frame % 2 === 0);
    assert.deepEqual(reserve(1), [1], "0 was used");
    frames.bind(1, 2000, true);
    frames.touch(0);
    assert.deepEqual(reserve(1), [3], "2 was used");
    frames.bind(3, 2001, true);
    assert.deepEqual(
      reserve(2),
      [2, 0],
      "2 had its second chance; 0 has it now, and when the hand is round, nobody has used it",
    );
    assert.equal(device.stats.evictions, 4);
    for (const frame of [0, 2]) frames.bind(frame, 3000 + frame, true);
    assert.equal(reserve(9).length, 4, "no more than there are, and no endless round");
    for (let frame = 0; frame < 4; frame++) frames.give(frame);
    device.close();
  }));
