/** @module Which pages come along with those that a pass has missed. No GPU. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { array, assert as check, integer, property, uniqueArray } from "fast-check";
import { AddressSpace } from "../../../src/index.ts";
import { DriverThread } from "../../../src/driver.ts";
import { AdvisedPages } from "../../../src/devices/webgpu/advised-pages.ts";
import {
  type PageWant,
  WANT_PREFETCH,
  WANT_READ,
  WANT_WRITE,
} from "../../../src/devices/webgpu/bring.ts";
import { FramePool, HOLD_READ } from "../../../src/devices/webgpu/frame-pool.ts";
import { PageMap } from "../../../src/devices/webgpu/page-map.ts";
import { prefetchFor } from "../../../src/devices/webgpu/prefetch.ts";
import { WebGpuRecord, initRecord } from "../../../src/devices/webgpu-record/record.ts";

/** Calls `use` with a function that makes a pool which holds some pages. */
async function withPools(
  use: (make: (frames: number, held: readonly number[]) => FramePool) => void,
): Promise<void> {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  using driver = DriverThread.open(space);
  const { heap, memory } = driver.machine;
  const at = await driver.run(heap.alloc(WebGpuRecord));
  const record = WebGpuRecord.at(memory, at);
  initRecord(record);
  use((frames, held) => {
    const pool = new FramePool(frames, record, new PageMap(4));
    for (const page of held) assert.ok(pool.bind(pool.take(false), page, page, HOLD_READ));
    return pool;
  });
  await driver.run(heap.free(WebGpuRecord, at));
}

function prefetched(
  pool: FramePool,
  missed: readonly number[],
  want: PageWant,
  advised: AdvisedPages = new AdvisedPages(),
): number[] {
  const wants = new Map(missed.map((page) => [page, want]));
  const early = prefetchFor(wants, pool, advised);
  for (const one of early.values()) assert.equal(one, WANT_PREFETCH);
  return [...early.keys()].toSorted((a, b) => a - b);
}

const row = (from: number, end: number): number[] =>
  Array.from({ length: end - from }, (_, i) => from + i);

test("faults far from each other bring nothing along, those in a row as much again", async () => {
  await withPools((make) => {
    const lone = row(0, 300).map((i) => (i * 101) % 32_768);
    assert.deepEqual(prefetched(make(4096, []), lone, WANT_READ), []);
    assert.deepEqual(prefetched(make(4096, []), [100, 101], WANT_READ), [102, 103]);
    // what is there already counts: each batch is as large as the run before it, or larger
    const pool = make(4096, row(1000, 1063));
    assert.deepEqual(prefetched(pool, [1063], WANT_READ).slice(0, 64), row(1064, 1128));
    assert.deepEqual(prefetched(make(4096, []), [100, 101], WANT_WRITE), [], "stores bring none");
  });
});

test("a quarter of 64 KiB brings the rest, less does not", async () => {
  await withPools((make) => {
    assert.deepEqual(prefetched(make(100, []), [0, 3, 7], WANT_READ), []);
    const rest = row(0, 16).filter((page) => ![0, 3, 7, 11].includes(page));
    const more = row(16, 32); // the whole is a run
    const taken = [...rest, ...more];
    assert.deepEqual(prefetched(make(100, []), [0, 3, 7, 11], WANT_READ), taken);
    assert.deepEqual(prefetched(make(100, [11]), [0, 3, 7], WANT_READ), taken, "one is there");
  });
});

test("prefetching evicts nothing, and names no page twice", async () => {
  const page = integer({ min: 0, max: 700 });
  await withPools((make) => {
    check(
      property(
        uniqueArray(page, { maxLength: 40 }),
        array(page, { minLength: 1, maxLength: 200 }),
        integer({ min: 0, max: 300 }),
        (held, missed, spare) => {
          const pool = make(2 + held.length + spare, held);
          const fresh = missed.filter((one) => !held.includes(one));
          const pages = prefetched(pool, fresh, WANT_READ);
          const free = pool.freeFrames - new Set(fresh).size;
          assert.ok(pages.length <= Math.max(0, free), `${pages.length} in ${free} free frames`);
          for (const one of pages) assert.ok(!held.includes(one) && !fresh.includes(one));
          for (const one of held) pool.drop(pool.frameOf(one));
        },
      ),
    );
  });
});
