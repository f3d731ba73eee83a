/**
 * @module The log of invalidations against a naive model: every page that is on the device and in a
 * range that has changed is struck, whatever else was noted. No GPU.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  array,
  assert as check,
  constant,
  integer,
  oneof,
  property,
  tuple,
  uniqueArray,
} from "fast-check";
import { AddressSpace } from "../../../src/index.ts";
import { DriverThread } from "../../../src/driver.ts";
import {
  LOG_MAX,
  WebGpuRecord,
  countPage,
  drainLog,
  initRecord,
  logRange,
} from "../../../src/devices/webgpu-record/record.ts";
import { FramePool, HOLD_READ } from "../../../src/devices/webgpu/frame-pool.ts";
import { PageMap } from "../../../src/devices/webgpu/page-map.ts";
import { GPU_FRAME_SHIFT, GPU_READ } from "../../../src/devices/webgpu/wgsl/layout.ts";

async function withRecord(use: (record: WebGpuRecord) => void): Promise<void> {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  using driver = DriverThread.open(space);
  const { heap, memory } = driver.machine;
  const at = await driver.run(heap.alloc(WebGpuRecord));
  const record = WebGpuRecord.at(memory, at);
  initRecord(record);
  use(record);
  await driver.run(heap.free(WebGpuRecord, at));
}

/** Pages of an address space. */
const END = 2 ** 32 - 512;
const page = oneof(integer({ min: 0, max: 4000 }), integer({ min: 0, max: END - 1 }));
const range = tuple(page, oneof(integer({ min: 1, max: 20 }), constant(2 ** 20)));

test("no page that has changed stays on the device", async () => {
  await withRecord((record) => {
    check(
      property(uniqueArray(page, { maxLength: 40 }), array(range), (held, ranges) => {
        for (const one of held) countPage(record, one, 1);
        for (const [start, length] of ranges)
          logRange(record, start, Math.min(start + length, END));
        const struck = new Set<number>();
        assert.ok(record.logged <= LOG_MAX);
        drainLog(record, (start, end) => {
          for (const one of held) if (one >= start && one < end) struck.add(one);
        });
        for (const one of held) countPage(record, one, -1);
        const changed = (one: number): boolean =>
          ranges.some(([start, length]) => one >= start && one < start + length);
        for (const one of held) if (changed(one)) assert.ok(struck.has(one), `page ${one} stayed`);
        assert.equal(record.logged, 0);
      }),
    );
  });
});

test("what is far from every page of the device is not noted", async () => {
  await withRecord((record) => {
    countPage(record, 10, 1);
    logRange(record, 512 * 5, 512 * 5 + 1);
    assert.equal(record.logged, 0);
    logRange(record, 11, 12);
    assert.equal(record.logged, 1, "the same 2 MiB block");
    drainLog(record, () => {});
    countPage(record, 10, -1);
    logRange(record, 10, 11);
    assert.equal(record.logged, 0);
  });
});

test("frames: pinned ones stay, others are evicted, and the table says what there is", async () => {
  await withRecord((record) => {
    const map = new PageMap(4);
    const pool = new FramePool(6, record, map);
    for (const one of [7, 8, 9, 100_000]) {
      const frame = pool.take(true);
      assert.ok(pool.bind(frame, one, one, HOLD_READ));
    }
    assert.equal(pool.freeFrames, 0);
    pool.pin(pool.frameOf(7));
    pool.pin(pool.frameOf(8));
    const taken = [pool.take(true), pool.take(true), pool.take(true)];
    assert.ok(taken[0] !== 0 && taken[1] !== 0);
    assert.equal(taken[2], 0, "two are pinned");
    assert.deepEqual(
      [7, 8, 9, 100_000].map((one) => pool.allows(one, false)),
      [true, true, false, false],
    );
    assert.equal(pool.evictions, 2);
    pool.strike(0, 2 ** 32);
    assert.equal(pool.frameOf(7), 0);
    const told: number[] = [];
    map.flush((first, words) => told.push(first, words.length));
    assert.ok(told.length > 0);
    map.flush(() => assert.fail("nothing has changed"));
  });
});

test("the lowest free frame is taken first, in whatever order frames were given back", async () => {
  await withRecord((record) => {
    const pool = new FramePool(12, record, new PageMap(4));
    const takeAll = (): number[] => Array.from({ length: 10 }, () => pool.take(false));
    const all = takeAll();
    assert.deepEqual(
      all,
      all.toSorted((a, b) => a - b),
    );
    for (const order of [all, all.toReversed(), [...all.slice(4), ...all.slice(0, 4)]]) {
      for (const frame of order) pool.give(frame);
      assert.equal(pool.take(false), all[0]);
      pool.give(all[0] ?? 0);
      assert.deepEqual(takeAll(), all, `given back as ${order.join(", ")}`);
    }
  });
});

test("a table that is full refuses pages, and loses none", async () => {
  await withRecord((record) => {
    const map = new PageMap(2);
    const pool = new FramePool(6, record, map);
    const first = pool.take(true);
    assert.ok(pool.bind(first, 1, 1, HOLD_READ));
    const second = pool.take(true);
    assert.ok(!pool.bind(second, 2 ** 30, 1, HOLD_READ), "one leaf is that of no page");
    assert.ok(!map.layout.isFlat);
    pool.give(second);
    assert.equal(pool.frameOf(1), first);
  });
});

test("of a page that no pointer may reach, before and after, the GPU is not told", () => {
  const map = new PageMap(8, 64);
  const told = (): number[] => {
    const words: number[] = [];
    map.flush((first, some) => words.push(...Array.from(some, (_, i) => first + i)));
    return words;
  };
  told();
  map.set(5, 3 << GPU_FRAME_SHIFT); // of a row
  assert.deepEqual(told(), []);
  assert.equal(map.entryOf(5), 3 << GPU_FRAME_SHIFT);
  map.set(5, (4 << GPU_FRAME_SHIFT) | GPU_READ);
  assert.deepEqual(told(), [5]);
  map.set(5, 3 << GPU_FRAME_SHIFT);
  assert.deepEqual(told(), [5], "it loses a right");
});

test("the table is flat while it can be, and has what it had when it becomes another", () => {
  const map = new PageMap(8);
  const pages = [3, 2 ** 20 - 2, 2 ** 20 - 1, 2 ** 21, 2 ** 31];
  const words: number[] = [];
  for (const [i, one] of pages.entries()) {
    assert.ok(map.set(one, (i + 2) << 10));
    for (const [j, earlier] of pages.slice(0, i + 1).entries())
      assert.equal(map.entryOf(earlier), (j + 2) << 10);
    words.push(map.layout.isFlat ? map.layout.words : 0);
  }
  assert.deepEqual(words, [2 ** 20, 2 ** 20, 2 ** 22, 2 ** 22, 0]);
  assert.equal(map.entryOf(2 ** 31 - 1), 0);
  assert.ok(map.set(2 ** 29, 0), "nothing is made to be cleared");
  assert.equal(map.entryOf(2 ** 29), 0);
});
