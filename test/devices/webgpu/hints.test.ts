/**
 * @module What a program advises (madvise) and asks for ahead (prefetch), and what the device makes
 * of it; and the statistics that show it. Each beside the same without the hint.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AdvisedPages } from "../../../src/devices/webgpu/advised-pages.ts";
import { EvictedPages } from "../../../src/devices/webgpu/evicted-pages.ts";
import { ADVICE_RANDOM, ADVICE_SEQUENTIAL } from "../../../src/driver-interface.ts";
import { type AddressSpace, DeviceFault, HmmError } from "../../../src/index.ts";
import type { WebGpuDevice, WebGpuKernel } from "../../../src/webgpu.ts";
import { missingGpu } from "./find-gpu.ts";
import { withDevice } from "./with-device.ts";

const skip = missingGpu;
const timeout = 60_000;
const PAGE = 4096;

/** Each workgroup loads a word of one page: `first + id` of those at `from`. */
const READ_PAGES = `
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) id: vec3u) {
  let page = arg_u32(1) + id.x;
  store_u32(ptr_at(arg_ptr(2), page, 4u), load_u32(ptr_at(arg_ptr(0), page, 4096u)) + 1u);
}`;

class Reader {
  readonly device: WebGpuDevice;
  readonly space: AddressSpace;
  readonly from: number;
  readonly #out: number;
  readonly #kernel: WebGpuKernel;

  private constructor(space: AddressSpace, device: WebGpuDevice, from: number, out: number) {
    this.space = space;
    this.device = device;
    this.from = from;
    this.#out = out;
    this.#kernel = device.kernel({ code: READ_PAGES, entryPoint: "main" });
  }

  /** Over `pages` pages, the first word of which is the page's number. */
  static async make(device: WebGpuDevice, space: AddressSpace, pages: number): Promise<Reader> {
    const from = await space.mmap(pages * PAGE);
    const out = await space.mmap(pages * 4);
    for (let page = 0; page < pages; page++) space.u32.store(from + page * PAGE, page);
    return new Reader(space, device, from, out);
  }

  async read(first: number, pages: number): Promise<void> {
    await this.#kernel.dispatch(pages, { args: [this.from, first, this.#out] });
    for (let page = first; page < first + pages; page++)
      assert.equal(this.space.u32.load(this.#out + page * 4), page + 1, `page ${page}`);
  }
}

for (const advice of ["normal", "random"] as const) {
  test(`${advice}: what lies beside faults is brought along, or not`, { skip, timeout }, () =>
    withDevice(512 * PAGE, async (device, space) => {
      const reader = await Reader.make(device, space, 256);
      await space.madvise(reader.from, 256 * PAGE, advice);
      await reader.read(0, 64);
      const { prefetched } = device.statsSync();
      if (advice === "random") assert.equal(prefetched, 0);
      else assert.ok(prefetched >= 16, `${prefetched} pages`);
    }),
  );
}

for (const advice of ["normal", "sequential"] as const) {
  test(`${advice}: what follows one page is brought along, or not`, { skip, timeout }, () =>
    withDevice(512 * PAGE, async (device, space) => {
      const reader = await Reader.make(device, space, 40);
      await space.madvise(reader.from, 40 * PAGE, advice);
      await reader.read(8, 1);
      const { prefetched, prefetchedUsed } = device.statsSync();
      // to the end of the mapping, and no further
      assert.deepEqual([prefetched, prefetchedUsed], [advice === "sequential" ? 31 : 0, 0]);
      const { faults } = device.statsSync();
      await reader.read(9, 31);
      const missed = device.statsSync().faults - faults;
      // the page of the results, which the CPU has taken, is one
      assert.equal(missed <= 1, advice === "sequential", `${missed} faults`);
    }),
  );

  test(`${advice}: what is used in order leaves before what is used often`, { skip, timeout }, () =>
    withDevice(64 * PAGE, async (device, space) => {
      const hot = await Reader.make(device, space, 24);
      const stream = await Reader.make(device, space, 512);
      await space.madvise(hot.from, 24 * PAGE, "random");
      await space.madvise(stream.from, 512 * PAGE, advice);
      await hot.read(0, 24);
      for (let first = 0; first < 512; first += 16) await stream.read(first, 16);
      const { refaults, faults } = device.statsSync();
      await hot.read(0, 24);
      const after = device.statsSync();
      if (advice === "sequential") assert.equal(after.refaults, refaults, "the hot pages stayed");
      else assert.ok(after.faults > faults, "the stream has driven them out");
    }),
  );
}

for (const advice of ["normal", "cold", "dontneed"] as const) {
  test(`${advice}: what the device has stays, or goes`, { skip, timeout }, () =>
    withDevice(64 * PAGE, async (device, space) => {
      const reader = await Reader.make(device, space, 16);
      await reader.read(0, 16);
      const { residentPages } = device.statsSync();
      await space.madvise(reader.from + 4 * PAGE, 12 * PAGE, advice);
      await reader.read(0, 4);
      const gone = residentPages - device.statsSync().residentPages;
      assert.equal(gone, advice === "normal" ? 0 : 12);
      const word = space.u32.load(reader.from + 5 * PAGE);
      assert.equal(word, advice === "dontneed" ? 0 : 5);
    }),
  );
}

test("prefetch brings pages before a kernel asks for them", { skip, timeout }, () =>
  withDevice(34 * PAGE, async (device, space) => {
    const reader = await Reader.make(device, space, 64);
    await reader.read(63, 1); // the page of the results comes
    assert.deepEqual(await device.prefetch(reader.from, 16 * PAGE), { pages: 16, faults: 1 });
    assert.deepEqual(await device.prefetch(reader.from, 16 * PAGE), { pages: 16, faults: 0 });
    const { faults } = device.statsSync();
    await reader.read(0, 16);
    const { faults: after } = device.statsSync();
    assert.ok(after - faults <= 1, `${after - faults} faults`); // the results are taken by the CPU
    const { pages } = await device.prefetch(reader.from, 64 * PAGE);
    assert.equal(pages, 32, "as many as there are frames");
    await assert.rejects(device.prefetch(0, 4 * PAGE), (error) => {
      return error instanceof DeviceFault && error.code === "EFAULT";
    });
    await assert.rejects(device.prefetch(reader.from + 1, PAGE), (error) => {
      return error instanceof HmmError && error.code === "EINVAL";
    });
  }),
);

test("statistics: prefetched and used, evicted and missed again", { skip, timeout }, () =>
  withDevice(34 * PAGE, async (device, space) => {
    const reader = await Reader.make(device, space, 80);
    await reader.read(0, 4); // of 64 KiB the rest comes along, and as much again
    const first = device.statsSync();
    assert.ok(first.prefetched >= 12 && first.bindMs > 0);
    assert.equal(first.prefetchedUsed, 0);
    await reader.read(2, 7);
    const second = device.statsSync();
    assert.equal(second.prefetchedUsed, 5, "pages 4 to 8");
    assert.equal(second.refaults, 0);
    await reader.read(40, 24);
    const third = device.statsSync();
    assert.ok(third.evictions > 0);
    assert.equal(third.refaults, 0, "they were not there before");
    await reader.read(0, 24);
    const { refaults } = device.statsSync();
    assert.ok(refaults > 0 && refaults <= third.evictions + 24, `${refaults} refaults`);
  }),
);

test("pages that were evicted lately are remembered, as many as asked for", () => {
  const pages = new EvictedPages(3);
  for (const page of [1, 2, 3, 1, 4]) pages.add(page);
  pages.miss(2); // forgotten: 1 was added again
  assert.equal(pages.refaults, 0);
  pages.miss(1);
  pages.miss(1);
  assert.equal(pages.refaults, 1);
});

test("advice is that of the mapping with the page", () => {
  const advised = new AdvisedPages();
  advised.note(10, 20, ADVICE_RANDOM);
  advised.note(20, 30, ADVICE_SEQUENTIAL);
  advised.note(10, 20, ADVICE_RANDOM);
  assert.ok(advised.isRandom(10) && advised.isRandom(19) && !advised.isRandom(20));
  assert.ok(advised.isSequential(29) && !advised.isSequential(30));
  assert.equal(advised.endOf(25), 30);
  advised.clear();
  assert.ok(!advised.isRandom(10));
  assert.equal(advised.endOf(25), Infinity);
});
