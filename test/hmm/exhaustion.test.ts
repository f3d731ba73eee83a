/**
 * @module Every allocation of this layer fails once: the answer is ENOMEM, nothing is left behind,
 * and the same call succeeds when there is memory again.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { HmmRangeRecord } from "../../src/hmm/range-record.ts";
import { hmmRangeAlloc } from "../../src/hmm/range/range.ts";
import { hmmStatistics } from "../../src/hmm/mirror/statistics.ts";
import type { StructInfo } from "../../src/memory/layout/struct.ts";
import { EVENT_CLEAR, type InvalidateRange, invalidateRange } from "../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../src/notifier/mmu-notifier.ts";
import { ENOMEM } from "../../src/sync/errno.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { FakeDevice, Harness, mustHave, withMmapWrite } from "./harness.ts";

/** Makes the n-th allocation from now on fail (counted from 0), and counts them. */
class Scarcity {
  count = 0;
  failing = -1;

  constructor({ machine: { heap } }: Harness) {
    const alloc = heap.alloc.bind(heap);
    const allocWords = heap.allocWords.bind(heap);
    heap.alloc = (info: StructInfo, kind?: number): Task<number> =>
      this.#unless(() => alloc(info, kind));
    heap.allocWords = (words: number, note?: number): Task<number> =>
      this.#unless(() => allocWords(words, note));
  }

  *#unless(allocate: () => Task<number>): Task<number> {
    return this.count++ === this.failing ? 0 : yield* allocate();
  }

  failAt(index: number): void {
    this.count = 0;
    this.failing = index;
  }
}

test("hmmMirrorRegister at each of its allocations", () => {
  let failures = 0;
  for (let index = 0; ; index++) {
    const harness = new Harness();
    const device = new FakeDevice(harness);
    const scarcity = new Scarcity(harness);
    scarcity.failAt(index);
    const errno = device.tryRegister();
    const asked = scarcity.count;
    scarcity.failAt(-1);
    if (errno !== 0) {
      failures++;
      assert.equal(errno, ENOMEM);
      assert.equal(harness.mm.hmm, 0);
      assert.equal(device.mirror.record.hmm, 0);
      assert.equal(device.tryRegister(), 0, "there is memory again");
    }
    device.close();
    harness.leave();
    if (asked <= index) break;
  }
  assert.ok(failures >= 2, `${failures}: the directory of drivers and the hmm`);
});

test("hmmRangeAlloc without memory", () => {
  const harness = new Harness();
  const scarcity = new Scarcity(harness);
  scarcity.failAt(0);
  assert.equal(harness.run(hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) })), ENOMEM);
  harness.freeRange(
    mustHave(harness.run(hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) }))),
  );
  harness.leave();
});

test("a blockable start that finds no memory for a larger record is counted and succeeds", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const scarcity = new Scarcity(harness);
  const overflowNow = (): number =>
    harness.run(hmmStatistics(harness.machine, harness.mm))?.overflow ?? -1;
  const started: InvalidateRange[] = [];
  const start = (): void => {
    const change = invalidateRange(harness.mm, 16, 17, EVENT_CLEAR);
    started.push(change);
    const task = (): Task<number> => mmuNotifierInvalidateRangeStart(harness.machine, change);
    assert.equal(harness.run(withMmapWrite(harness.mm, task)), 0);
  };
  for (let i = 0; i < 40; i++) {
    scarcity.failAt(0);
    start();
  }
  assert.equal(overflowNow(), 8);
  scarcity.failAt(-1);
  start();
  assert.equal(overflowNow(), 8, "with memory the next one is recorded");
  for (const change of started)
    harness.run(
      withMmapWrite(harness.mm, () => mmuNotifierInvalidateRangeEnd(harness.machine, change)),
    );
  assert.equal(overflowNow(), 0);
  device.close();
  harness.leave();
});

test("a heap that is really full: ranges until ENOMEM, and everything works afterwards", () => {
  const harness = new Harness({ heapBytes: 2 ** 20 });
  const device = FakeDevice.registered(harness);
  const hoard: number[] = [];
  for (;;) {
    const at = harness.run(harness.machine.heap.alloc(HmmRangeRecord));
    if (at === 0) break;
    hoard.push(at);
    assert.ok(hoard.length < 100_000, "a megabyte has an end");
  }
  assert.equal(harness.run(hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) })), ENOMEM);
  for (const at of hoard) harness.run(harness.machine.heap.free(HmmRangeRecord, at));
  harness.freeRange(
    mustHave(harness.run(hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) }))),
  );
  device.close();
  harness.leave();
});
