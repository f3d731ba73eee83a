/**
 * @module Every allocation of this layer fails once: the answer is ENOMEM, nothing is left behind,
 * and the same call succeeds when there is memory again.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { HmmRangeRecord } from "../../src/hmm/range-record.ts";
import { hmmRangeAlloc } from "../../src/hmm/range.ts";
import { hmmStatistics } from "../../src/hmm/statistics.ts";
import type { StructInfo } from "../../src/memory/struct.ts";
import { invalidateRange } from "../../src/mm/zap.ts";
import { EVENT_CLEAR } from "../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../src/notifier/mmu-notifier.ts";
import { ENOMEM } from "../../src/sync/errno.ts";
import type { Task } from "../../src/sync/task.ts";
import { FakeDevice, Rig, mustHave, withMmapWrite } from "./rig.ts";

/** Makes the n-th allocation from now on fail (counted from 0), and counts them. */
class Scarcity {
  count = 0;
  failing = -1;

  constructor({ machine: { heap } }: Rig) {
    const alloc = heap.alloc.bind(heap);
    const allocWords = heap.allocWords.bind(heap);
    heap.alloc = (info: StructInfo): Task<number> => this.#unless(() => alloc(info));
    heap.allocWords = (words: number): Task<number> => this.#unless(() => allocWords(words));
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
    const rig = new Rig();
    const device = new FakeDevice(rig);
    const scarcity = new Scarcity(rig);
    scarcity.failAt(index);
    const errno = device.tryRegister();
    const asked = scarcity.count;
    scarcity.failAt(-1);
    if (errno !== 0) {
      failures++;
      assert.equal(errno, ENOMEM);
      assert.equal(rig.mm.hmm, 0);
      assert.equal(device.mirror.record.hmm, 0);
      assert.equal(device.tryRegister(), 0, "there is memory again");
    }
    device.close();
    rig.leave();
    if (asked <= index) break;
  }
  assert.ok(failures >= 2, `${failures}: the directory of drivers and the hmm`);
});

test("hmmRangeAlloc without memory", () => {
  const rig = new Rig();
  const scarcity = new Scarcity(rig);
  scarcity.failAt(0);
  assert.equal(rig.run(hmmRangeAlloc(rig.machine, { pfns: new Uint32Array(1) })), ENOMEM);
  rig.freeRange(mustHave(rig.run(hmmRangeAlloc(rig.machine, { pfns: new Uint32Array(1) }))));
  rig.leave();
});

test("a blockable start that finds no memory for a larger record is counted and succeeds", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const scarcity = new Scarcity(rig);
  const change = invalidateRange(rig.mm, 16, 17, EVENT_CLEAR);
  const overflowNow = (): number => rig.run(hmmStatistics(rig.machine, rig.mm))?.overflow ?? -1;
  for (let i = 0; i < 40; i++) {
    scarcity.failAt(0);
    assert.equal(
      rig.run(withMmapWrite(rig.mm, () => mmuNotifierInvalidateRangeStart(rig.machine, change))),
      0,
    );
  }
  assert.equal(overflowNow(), 8);
  scarcity.failAt(-1);
  assert.equal(
    rig.run(withMmapWrite(rig.mm, () => mmuNotifierInvalidateRangeStart(rig.machine, change))),
    0,
  );
  assert.equal(overflowNow(), 8, "with memory the next one is recorded");
  for (let i = 0; i < 41; i++)
    rig.run(withMmapWrite(rig.mm, () => mmuNotifierInvalidateRangeEnd(rig.machine, change)));
  assert.equal(overflowNow(), 0);
  device.close();
  rig.leave();
});

test("a heap that is really full: ranges until ENOMEM, and everything works afterwards", () => {
  const rig = new Rig({ heapBytes: 2 ** 20 });
  const device = FakeDevice.registered(rig);
  const hoard: number[] = [];
  for (;;) {
    const at = rig.run(rig.machine.heap.alloc(HmmRangeRecord));
    if (at === 0) break;
    hoard.push(at);
    assert.ok(hoard.length < 100_000, "a megabyte has an end");
  }
  assert.equal(rig.run(hmmRangeAlloc(rig.machine, { pfns: new Uint32Array(1) })), ENOMEM);
  for (const at of hoard) rig.run(rig.machine.heap.free(HmmRangeRecord, at));
  rig.freeRange(mustHave(rig.run(hmmRangeAlloc(rig.machine, { pfns: new Uint32Array(1) }))));
  device.close();
  rig.leave();
});
