/**
 * @module Invalidations at a hmm: what start and end do to ranges, who may refuse, and what happens
 * without room for a record.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Hmm, IN_FLIGHT_INLINE } from "../../src/hmm/hmm-struct.ts";
import {
  IN_FLIGHT_RECORDS_MAX,
  WAS_RECORDED,
  countInFlight,
  forgetInFlight,
} from "../../src/hmm/in-flight.ts";
import { type HmmRange, hmmRangeAlloc, hmmRangeUnregister } from "../../src/hmm/range/range.ts";
import { hmmRangeSnapshot } from "../../src/hmm/walk/snapshot.ts";
import { hmmStatistics } from "../../src/hmm/mirror/statistics.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/range/valid.ts";
import { Machine } from "../../src/memory/machine.ts";
import { viewClose, viewOpen } from "../../src/mm/view/view-open.ts";
import { zapNonBlocking } from "../../src/mm/entries/zap.ts";
import { EVENT_CLEAR, type InvalidateRange, invalidateRange } from "../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../src/notifier/mmu-notifier.ts";
import { EAGAIN, EBUSY, EINVAL, ENOMEM } from "../../src/sync/errno.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { FakeDevice, Harness, withMmapWrite, isValidNow } from "./harness.ts";

function start(harness: Harness, range: InvalidateRange): number {
  return harness.run(
    withMmapWrite(harness.mm, () => mmuNotifierInvalidateRangeStart(harness.machine, range)),
  );
}

function end(harness: Harness, range: InvalidateRange): void {
  harness.run(
    withMmapWrite(harness.mm, () => mmuNotifierInvalidateRangeEnd(harness.machine, range)),
  );
}

function clearing(
  harness: Harness,
  startPage: number,
  endPage: number,
  blockable = true,
): InvalidateRange {
  return invalidateRange(harness.mm, startPage, endPage, EVENT_CLEAR, { blockable });
}

function statistics(harness: Harness): {
  notifiers: number;
  overflow: number;
  refusals: number;
  mirrorErrors: number;
} {
  const numbers = harness.run(hmmStatistics(harness.machine, harness.mm));
  assert.ok(numbers !== undefined);
  return numbers;
}

function closeAll(harness: Harness, device: FakeDevice, ranges: readonly HmmRange[]): void {
  for (const range of ranges) {
    harness.run(hmmRangeUnregister(range));
    harness.freeRange(range);
  }
  device.close();
  harness.leave();
}

test("between start and end the ranges that overlap are invalid, and no others", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const spans: readonly (readonly [number, number])[] = [
    [0, 10],
    [10, 12],
    [12, 20],
    [15, 17],
    [20, 30],
    [30, 31],
  ];
  const ranges = spans.map(([first, stop]) =>
    harness.registered(device, 100 + first, stop - first),
  );
  const change = clearing(harness, 112, 120);
  assert.equal(start(harness, change), 0);
  assert.deepEqual(
    ranges.map(isValidNow),
    [true, true, false, false, true, true],
    "touching is not overlapping",
  );
  assert.equal(harness.run(hmmRangeWaitUntilValid(ranges[2]!, 1)), false);
  assert.equal(harness.run(hmmRangeWaitUntilValid(ranges[1]!, 1)), true);
  end(harness, change);
  assert.equal(harness.run(hmmRangeWaitUntilValid(ranges[2]!, 1)), true);
  closeAll(harness, device, ranges);
});

test("after the end a range that was invalidated stays invalid until it is read again", () => {
  const harness = new Harness();
  harness.map(16, 8);
  const device = FakeDevice.registered(harness);
  const range = harness.registered(device, 16, 4);
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    4,
  );
  assert.equal(isValidNow(range), true);
  const change = clearing(harness, 17, 18);
  start(harness, change);
  end(harness, change);
  assert.equal(isValidNow(range), false);
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    4,
  );
  assert.equal(isValidNow(range), true);
  closeAll(harness, device, [range]);
});

test("a range that is registered during an invalidation waits for it if it overlaps, and only then", () => {
  const harness = new Harness();
  harness.map(16, 8);
  const device = FakeDevice.registered(harness);
  const change = clearing(harness, 16, 18);
  start(harness, change);
  const inside = harness.registered(device, 17, 2);
  const beside = harness.registered(device, 18, 2);
  assert.deepEqual([isValidNow(inside), isValidNow(beside)], [false, true]);
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(inside)),
    EBUSY,
  );
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(beside)),
    2,
  );
  end(harness, change);
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(inside)),
    2,
  );
  assert.equal(isValidNow(inside), true);
  closeAll(harness, device, [inside, beside]);
});

test("an open write view keeps devices out of its pages, also those that register while it is open", () => {
  const harness = new Harness();
  harness.map(16, 8);
  harness.touch(16, 8);
  const hold = harness.run(viewOpen(harness.machine, harness.mm, 16, 18, true));
  assert.ok(hold > 0);
  const device = FakeDevice.registered(harness); // the hmm did not exist when the view was opened
  const inside = harness.registered(device, 17, 2);
  const beside = harness.registered(device, 18, 2);
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(inside)),
    EBUSY,
  );
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(beside)),
    2,
  );
  harness.run(viewClose(harness.machine, hold));
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(inside)),
    2,
  );
  assert.equal(statistics(harness).notifiers, 0);
  closeAll(harness, device, [inside, beside]);
});

test("a non-blockable start that finds mirrorsSem busy is EAGAIN and changes nothing", async () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const range = harness.registered(device, 16, 4);
  const hmm = Hmm.at(harness.machine.memory, harness.mm.hmm);
  // Another task holds mirrorsSem for writing, as register and unregister do.
  const holder = runAsync(
    harness.machine.memory,
    (function* (): Task<void> {
      yield* hmm.mirrorsSem.downWrite();
      yield* device.driver.gate.wait();
      yield* hmm.mirrorsSem.upWrite();
    })(),
  );
  assert.equal(start(harness, clearing(harness, 16, 17, false)), EAGAIN);
  harness.run(device.driver.gate.complete());
  await holder;
  assert.deepEqual(device.calls, []);
  const { notifiers, refusals } = statistics(harness);
  assert.deepEqual({ notifiers, refusals }, { notifiers: 0, refusals: 1 });
  assert.equal(harness.run(hmmRangeWaitUntilValid(range, 1)), true);
  closeAll(harness, device, [range]);
});

test("a driver that may not wait answers EAGAIN; nothing is unmapped and every count is as before", () => {
  const harness = new Harness();
  harness.map(16, 4);
  harness.touch(16, 4);
  const willing = FakeDevice.registered(harness);
  const refusing = FakeDevice.registered(harness);
  const range = harness.registered(willing, 16, 4);
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    4,
  );
  refusing.answer = () => EAGAIN;
  assert.equal(
    harness.reading(() => zapNonBlocking(harness.machine, harness.mm, 16, 20)),
    EAGAIN,
  );
  assert.equal(statistics(harness).notifiers, 0);
  assert.equal(isValidNow(range), false, "marked all the same: its user looks again, no more");
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    4,
  );
  assert.deepEqual(
    Array.from(range.pfns.subarray(0, 4), (entry) => entry & 3),
    [3, 3, 3, 3],
    "the pages are still there",
  );
  refusing.answer = () => 0;
  assert.equal(
    harness.reading(() => zapNonBlocking(harness.machine, harness.mm, 16, 20)),
    0,
  );
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    4,
  );
  assert.deepEqual(Array.from(range.pfns.subarray(0, 4)), [0, 0, 0, 0]);
  refusing.close();
  closeAll(harness, willing, [range]);
});

test("wrong answers of a driver are counted and taken for 0", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  for (const [answer, blockable] of [
    [EAGAIN, true],
    [EINVAL, true],
    [ENOMEM, false],
    [7, false],
  ] as const) {
    device.answer = () => answer;
    const change = clearing(harness, 16, 17, blockable);
    assert.equal(start(harness, change), 0, `${answer}`);
    end(harness, change);
  }
  assert.equal(statistics(harness).mirrorErrors, 4);
  assert.equal(statistics(harness).notifiers, 0);
  closeAll(harness, device, []);
});

test("a driver that throws stops the machine with one clear error: nothing is unmapped under a device", () => {
  const harness = new Harness();
  harness.map(16, 4);
  const device = FakeDevice.registered(harness);
  device.answer = () => {
    throw new RangeError("the driver's own");
  };
  const told =
    /invalidate call-back of driver "[^"]+" \(hmm mirror at 0x.*\) failed, and its device may still reach.*the driver's own/;
  assert.throws(() => start(harness, clearing(harness, 16, 17)), told);
  assert.throws(
    () => harness.run(hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) })),
    told,
    "everywhere from now on",
  );
});

test("a thread that lacks a driver's code cannot change a mapping under its device: the machine says so and stops", () => {
  const harness = new Harness();
  harness.map(16, 4);
  const device = FakeDevice.registered(harness);
  device.mirror.record.opsId = 12_345; // what a thread sees that has not loaded the module
  assert.throws(
    () => start(harness, clearing(harness, 16, 17)),
    /this thread has not loaded them; import the driver's module/,
  );
});

test("an end without a start is an assertion", () => {
  const harness = new Harness();
  FakeDevice.registered(harness);
  assert.throws(
    () => end(harness, clearing(harness, 16, 17)),
    /it is not in flight; end each start that returned 0 once/,
  );
});

test("more invalidations at once than the struct has records for: they move to a table, and validity stays exact", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const range = harness.registered(device, 16, 4);
  const changes = Array.from({ length: 600 }, (_, i) => clearing(harness, 1000 + i, 1001 + i));
  for (const change of changes) assert.equal(start(harness, change), 0);
  assert.equal(statistics(harness).overflow, 0);
  assert.equal(isValidNow(range), true, "none of them touches it");
  const late = harness.registered(device, 1100, 4);
  assert.equal(isValidNow(late), false);
  for (const change of changes.toReversed()) end(harness, change);
  assert.deepEqual(
    [harness.run(hmmRangeWaitUntilValid(late, 1)), statistics(harness).notifiers],
    [true, 0],
  );
  closeAll(harness, device, [range, late]);
});

test("a thread whose view of the heap ends before the table of invalidations reads it correctly", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const { heap, memory } = harness.machine;
  const other = Machine.attach(harness.machine.handle, { name: "other" });
  const seen = memory.words.length;
  const blocks: number[] = [];
  while (memory.words.length === seen) blocks.push(harness.run(heap.allocWords(1024)));
  const changes = Array.from({ length: IN_FLIGHT_INLINE + 1 }, (_, i) =>
    clearing(harness, 1000 + i, 1001 + i),
  );
  for (const change of changes) assert.equal(start(harness, change), 0);
  const theirs = Hmm.at(other.memory, harness.mm.hmm);
  assert.ok(theirs.inFlightTable >= other.memory.words.length);
  assert.equal(countInFlight(theirs, 1000, 1001), 1);
  other.memory.words = other.memory.words.subarray(0, seen);
  assert.equal(forgetInFlight(theirs, 1000, 1001), WAS_RECORDED);
  assert.equal(countInFlight(theirs, 1000, 1001), 0);
  for (const change of changes.slice(1)) end(harness, change);
  for (const at of blocks) harness.run(heap.freeWords(at, 1024));
  other.detach();
  closeAll(harness, device, []);
});

test("a start that may not allocate is only counted: no range is valid until it has ended", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const far = harness.registered(device, 16, 4);
  const hit = harness.registered(device, 5000, 4);
  const recorded = Array.from({ length: IN_FLIGHT_INLINE }, (_, i) =>
    clearing(harness, 1000 + i, 1001 + i, false),
  );
  for (const change of recorded) assert.equal(start(harness, change), 0);
  assert.deepEqual([isValidNow(far), isValidNow(hit)], [true, true]);
  const counted = clearing(harness, 5000, 5001, false);
  assert.equal(start(harness, counted), 0);
  assert.equal(statistics(harness).overflow, 1);
  assert.deepEqual([isValidNow(far), isValidNow(hit)], [false, false]);
  end(harness, counted);
  assert.equal(isValidNow(far), true, "nothing has touched it, so what was read is good again");
  assert.equal(isValidNow(hit), false, "this one has a new sequence");
  for (const change of recorded) end(harness, change);
  assert.equal(statistics(harness).notifiers, 0);
  closeAll(harness, device, [far, hit]);
});

test("past the largest table, and with no memory for one, starts still succeed", () => {
  const harness = new Harness({ ramBytes: 2 ** 20 });
  const device = FakeDevice.registered(harness);
  const changes = Array.from({ length: IN_FLIGHT_RECORDS_MAX + 2 }, () =>
    clearing(harness, 1000, 1001),
  );
  for (const change of changes) assert.equal(start(harness, change), 0);
  assert.equal(statistics(harness).overflow, 2);
  for (const change of changes) end(harness, change);
  assert.deepEqual([statistics(harness).overflow, statistics(harness).notifiers], [0, 0]);
  closeAll(harness, device, []);
});
