/**
 * @module Invalidations as a hmm sees them: what start and end do to ranges, who may refuse, and
 * what a full record does.
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
import { type HmmRange, hmmRangeAlloc, hmmRangeUnregister } from "../../src/hmm/range.ts";
import { hmmRangeSnapshot } from "../../src/hmm/snapshot.ts";
import { hmmStatistics } from "../../src/hmm/statistics.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/valid.ts";
import { Machine } from "../../src/memory/machine.ts";
import { viewClose, viewOpen } from "../../src/mm/view-open.ts";
import { invalidateRange, zapNonBlocking } from "../../src/mm/zap.ts";
import { EVENT_CLEAR, type InvalidateRange } from "../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../src/notifier/mmu-notifier.ts";
import { EAGAIN, EBUSY, EINVAL, ENOMEM } from "../../src/sync/errno.ts";
import { runAsync } from "../../src/sync/run-async.ts";
import type { Task } from "../../src/sync/task.ts";
import { FakeDevice, Rig, withMmapWrite, isValidNow } from "./rig.ts";

function start(rig: Rig, range: InvalidateRange): number {
  return rig.run(withMmapWrite(rig.mm, () => mmuNotifierInvalidateRangeStart(rig.machine, range)));
}

function end(rig: Rig, range: InvalidateRange): void {
  rig.run(withMmapWrite(rig.mm, () => mmuNotifierInvalidateRangeEnd(rig.machine, range)));
}

function clearing(rig: Rig, startPage: number, endPage: number, blockable = true): InvalidateRange {
  return invalidateRange(rig.mm, startPage, endPage, EVENT_CLEAR, { blockable });
}

function statistics(rig: Rig): {
  notifiers: number;
  overflow: number;
  refusals: number;
  mirrorErrors: number;
} {
  const numbers = rig.run(hmmStatistics(rig.machine, rig.mm));
  assert.ok(numbers !== undefined);
  return numbers;
}

function closeAll(rig: Rig, device: FakeDevice, ranges: readonly HmmRange[]): void {
  for (const range of ranges) {
    rig.run(hmmRangeUnregister(range));
    rig.freeRange(range);
  }
  device.close();
  rig.leave();
}

test("between start and end the ranges that overlap are invalid, and no others", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const spans: readonly (readonly [number, number])[] = [
    [0, 10],
    [10, 12],
    [12, 20],
    [15, 17],
    [20, 30],
    [30, 31],
  ];
  const ranges = spans.map(([first, stop]) => rig.registered(device, 100 + first, stop - first));
  const change = clearing(rig, 112, 120);
  assert.equal(start(rig, change), 0);
  assert.deepEqual(
    ranges.map(isValidNow),
    [true, true, false, false, true, true],
    "touching is not overlapping",
  );
  assert.equal(rig.run(hmmRangeWaitUntilValid(ranges[2]!, 1)), false);
  assert.equal(rig.run(hmmRangeWaitUntilValid(ranges[1]!, 1)), true);
  end(rig, change);
  assert.equal(rig.run(hmmRangeWaitUntilValid(ranges[2]!, 1)), true);
  closeAll(rig, device, ranges);
});

test("after the end a range that was invalidated stays invalid until it is read again", () => {
  const rig = new Rig();
  rig.map(16, 8);
  const device = FakeDevice.registered(rig);
  const range = rig.registered(device, 16, 4);
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(range)),
    4,
  );
  assert.equal(isValidNow(range), true);
  const change = clearing(rig, 17, 18);
  start(rig, change);
  end(rig, change);
  assert.equal(isValidNow(range), false);
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(range)),
    4,
  );
  assert.equal(isValidNow(range), true);
  closeAll(rig, device, [range]);
});

test("a range that is registered during an invalidation waits for it if it overlaps, and only then", () => {
  const rig = new Rig();
  rig.map(16, 8);
  const device = FakeDevice.registered(rig);
  const change = clearing(rig, 16, 18);
  start(rig, change);
  const inside = rig.registered(device, 17, 2);
  const beside = rig.registered(device, 18, 2);
  assert.deepEqual([isValidNow(inside), isValidNow(beside)], [false, true]);
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(inside)),
    EBUSY,
  );
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(beside)),
    2,
  );
  end(rig, change);
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(inside)),
    2,
  );
  assert.equal(isValidNow(inside), true);
  closeAll(rig, device, [inside, beside]);
});

test("an open write view keeps devices out of its pages, also those that register while it is open", () => {
  const rig = new Rig();
  rig.map(16, 8);
  rig.touch(16, 8);
  const hold = rig.run(viewOpen(rig.machine, rig.mm, 16, 18, true));
  assert.ok(hold > 0);
  const device = FakeDevice.registered(rig); // the hmm did not exist when the view was opened
  const inside = rig.registered(device, 17, 2);
  const beside = rig.registered(device, 18, 2);
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(inside)),
    EBUSY,
  );
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(beside)),
    2,
  );
  rig.run(viewClose(rig.machine, hold));
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(inside)),
    2,
  );
  assert.equal(statistics(rig).notifiers, 0);
  closeAll(rig, device, [inside, beside]);
});

test("a non-blockable start that cannot have the mirrors at once is EAGAIN and leaves nothing behind", async () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const range = rig.registered(device, 16, 4);
  const hmm = Hmm.at(rig.machine.memory, rig.mm.hmm);
  // Another task holds mirrorsSem for writing, as register and unregister do.
  const holder = runAsync(
    rig.machine.memory,
    (function* (): Task<void> {
      yield* hmm.mirrorsSem.downWrite();
      yield* device.driver.gate.wait();
      yield* hmm.mirrorsSem.upWrite();
    })(),
  );
  assert.equal(start(rig, clearing(rig, 16, 17, false)), EAGAIN);
  rig.run(device.driver.gate.complete());
  await holder;
  assert.deepEqual(device.heard, []);
  const { notifiers, refusals } = statistics(rig);
  assert.deepEqual({ notifiers, refusals }, { notifiers: 0, refusals: 1 });
  assert.equal(rig.run(hmmRangeWaitUntilValid(range, 1)), true);
  closeAll(rig, device, [range]);
});

test("a driver that may not wait answers EAGAIN; nothing is unmapped and every count is as before", () => {
  const rig = new Rig();
  rig.map(16, 4);
  rig.touch(16, 4);
  const willing = FakeDevice.registered(rig);
  const refusing = FakeDevice.registered(rig);
  const range = rig.registered(willing, 16, 4);
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(range)),
    4,
  );
  refusing.answer = () => EAGAIN;
  assert.equal(
    rig.reading(() => zapNonBlocking(rig.machine, rig.mm, 16, 20)),
    EAGAIN,
  );
  assert.equal(statistics(rig).notifiers, 0);
  assert.equal(isValidNow(range), false, "marked all the same: its user looks again, no more");
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(range)),
    4,
  );
  assert.deepEqual(
    Array.from(range.pfns.subarray(0, 4), (entry) => entry & 3),
    [3, 3, 3, 3],
    "the pages are still there",
  );
  refusing.answer = () => 0;
  assert.equal(
    rig.reading(() => zapNonBlocking(rig.machine, rig.mm, 16, 20)),
    0,
  );
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(range)),
    4,
  );
  assert.deepEqual(Array.from(range.pfns.subarray(0, 4)), [0, 0, 0, 0]);
  refusing.close();
  closeAll(rig, willing, [range]);
});

test("wrong answers of a driver are counted and taken for 0", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  for (const [answer, blockable] of [
    [EAGAIN, true],
    [EINVAL, true],
    [ENOMEM, false],
    [7, false],
  ] as const) {
    device.answer = () => answer;
    const change = clearing(rig, 16, 17, blockable);
    assert.equal(start(rig, change), 0, `${answer}`);
    end(rig, change);
  }
  assert.equal(statistics(rig).mirrorErrors, 4);
  assert.equal(statistics(rig).notifiers, 0);
  closeAll(rig, device, []);
});

test("a driver that throws stops the machine with one clear error: nothing may be unmapped under a device", () => {
  const rig = new Rig();
  rig.map(16, 4);
  const device = FakeDevice.registered(rig);
  device.answer = () => {
    throw new RangeError("the driver's own");
  };
  const told =
    /invalidate call-back of the hmm mirror at 0x.* failed, and its device may still reach.*the driver's own/;
  assert.throws(() => start(rig, clearing(rig, 16, 17)), told);
  assert.throws(
    () => rig.run(hmmRangeAlloc(rig.machine, { pfns: new Uint32Array(1) })),
    told,
    "everywhere from now on",
  );
});

test("a thread that lacks a driver's code cannot change a mapping under its device: the machine says so and stops", () => {
  const rig = new Rig();
  rig.map(16, 4);
  const device = FakeDevice.registered(rig);
  device.mirror.record.opsId = 12_345; // what a thread sees that has not loaded the module
  assert.throws(
    () => start(rig, clearing(rig, 16, 17)),
    /this thread has not loaded them; import the driver's module/,
  );
});

test("an end without a start is an assertion", () => {
  const rig = new Rig();
  FakeDevice.registered(rig);
  assert.throws(
    () => end(rig, clearing(rig, 16, 17)),
    /it is not in flight; end each start that returned 0 once/,
  );
});

test("more invalidations at once than the struct has room for: the record moves to a table and stays exact", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const range = rig.registered(device, 16, 4);
  const changes = Array.from({ length: 600 }, (_, i) => clearing(rig, 1000 + i, 1001 + i));
  for (const change of changes) assert.equal(start(rig, change), 0);
  assert.equal(statistics(rig).overflow, 0);
  assert.equal(isValidNow(range), true, "none of them touches it");
  const late = rig.registered(device, 1100, 4);
  assert.equal(isValidNow(late), false);
  for (const change of changes.toReversed()) end(rig, change);
  assert.deepEqual(
    [rig.run(hmmRangeWaitUntilValid(late, 1)), statistics(rig).notifiers],
    [true, 0],
  );
  closeAll(rig, device, [range, late]);
});

test("the table of invalidations is read right by a thread whose view of the heap does not reach it yet", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const { heap, memory } = rig.machine;
  const other = Machine.attach(rig.machine.handle, { name: "other" });
  const seen = memory.words.length;
  const blocks: number[] = [];
  while (memory.words.length === seen) blocks.push(rig.run(heap.allocWords(1024)));
  const changes = Array.from({ length: IN_FLIGHT_INLINE + 1 }, (_, i) =>
    clearing(rig, 1000 + i, 1001 + i),
  );
  for (const change of changes) assert.equal(start(rig, change), 0);
  const theirs = Hmm.at(other.memory, rig.mm.hmm);
  assert.ok(theirs.inFlightTable >= other.memory.words.length);
  assert.equal(countInFlight(theirs, 1000, 1001), 1);
  other.memory.words = other.memory.words.subarray(0, seen);
  assert.equal(forgetInFlight(theirs, 1000, 1001), WAS_RECORDED);
  assert.equal(countInFlight(theirs, 1000, 1001), 0);
  theirs.notifiers--; // as the end of that invalidation would
  for (const change of changes.slice(1)) end(rig, change);
  for (const at of blocks) rig.run(heap.freeWords(at, 1024));
  other.detach();
  closeAll(rig, device, []);
});

test("a start that may not allocate falls back to counting: no range is valid until those have ended", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const far = rig.registered(device, 16, 4);
  const hit = rig.registered(device, 5000, 4);
  const recorded = Array.from({ length: IN_FLIGHT_INLINE }, (_, i) =>
    clearing(rig, 1000 + i, 1001 + i, false),
  );
  for (const change of recorded) assert.equal(start(rig, change), 0);
  assert.deepEqual([isValidNow(far), isValidNow(hit)], [true, true]);
  const counted = clearing(rig, 5000, 5001, false);
  assert.equal(start(rig, counted), 0);
  assert.equal(statistics(rig).overflow, 1);
  assert.deepEqual([isValidNow(far), isValidNow(hit)], [false, false]);
  end(rig, counted);
  assert.equal(isValidNow(far), true, "nothing has touched it, so what was read is good again");
  assert.equal(isValidNow(hit), false, "this one has a new sequence");
  for (const change of recorded) end(rig, change);
  assert.equal(statistics(rig).notifiers, 0);
  closeAll(rig, device, [far, hit]);
});

test("past the largest table, and with no memory for one, starts still succeed", () => {
  const rig = new Rig({ ramBytes: 2 ** 20 });
  const device = FakeDevice.registered(rig);
  const change = clearing(rig, 1000, 1001);
  for (let i = 0; i < IN_FLIGHT_RECORDS_MAX + 2; i++) assert.equal(start(rig, change), 0);
  assert.equal(statistics(rig).overflow, 2);
  for (let i = 0; i < IN_FLIGHT_RECORDS_MAX + 2; i++) end(rig, change);
  assert.deepEqual([statistics(rig).overflow, statistics(rig).notifiers], [0, 0]);
  closeAll(rig, device, []);
});
