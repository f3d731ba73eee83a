/**
 * @module What a device gets beside a page that it uses in RAM: translations of pages that it may
 * load or store to anyway, so that a stream of accesses does not fault page by page. What is to be
 * noticed still is: stores that move a page, pages that thrash, and what may not be stored to.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { BLOCK_PAGES, GROWN_PAGES, streamEnd } from "../../src/devices/policy/prefetch.ts";
import { AddressSpace, DeviceFault, SoftwareDevice } from "../../src/index.ts";
import { MemorySource } from "../space/memory-source.ts";
import { MIB, PAGE } from "./harness.ts";

const KERNELS = new URL("./kernels.js", import.meta.url);
const PAGES = 64;

/** Kinds of memory whose pages a device uses where they are. */
const KINDS = {
  shared: (space: AddressSpace) => space.mmap(PAGES * PAGE, { shared: true }),
  buffer: (space: AddressSpace) =>
    space.mmap(PAGES * PAGE, { buffer: new SharedArrayBuffer(PAGES * PAGE) }),
  source: (space: AddressSpace) =>
    space.mmap(PAGES * PAGE, { source: new MemorySource(PAGES * PAGE), shared: true }),
} as const;

interface Stage {
  readonly space: AddressSpace;
  readonly device: SoftwareDevice;
  /** Page i begins with i + 1. */
  readonly data: number;
  /** Adds up words of pages, on the device; answers how many faults that took. */
  readonly load: (pages: readonly number[]) => Promise<number>;
  /** Loads a word of a page on the device. */
  readonly tryLoad: (page: number) => Promise<unknown>;
  /** Stores i + 1001 to each page i that is a multiple of `step`; answers the faults. */
  readonly store: (step?: number) => Promise<number>;
  /** Of such stores, by the CPU. */
  readonly requireStored: (step?: number) => void;
}

async function withStage(
  memory: "remote" | "private" | "coherent",
  map: (space: AddressSpace) => Promise<number>,
  body: (stage: Stage) => Promise<void>,
): Promise<void> {
  await using space = await AddressSpace.create({ ramBytes: 32 * MIB, debug: true });
  await using device = await SoftwareDevice.create(space, { memory, memoryBytes: MIB });
  const data = await map(space);
  const sum = await space.mmap(PAGE);
  space.u32.store(sum, 0);
  for (let page = 0; page < PAGES; page++) space.u32.store(data + page * PAGE, page + 1);
  await device.advise(sum, PAGE, "accessed-by");
  const sumOf = device.kernel({ module: KERNELS, exportName: "sumOf" });
  const storeEach = device.kernel({ module: KERNELS, exportName: "storeEach" });
  await sumOf.dispatch(1, { args: [data, sum] }); // the place of the sum faults here
  const faults = async (work: () => Promise<unknown>): Promise<number> => {
    const before = device.statsSync().faults;
    await work();
    return device.statsSync().faults - before;
  };
  await body({
    space,
    device,
    data,
    load: async (pages) => {
      const wanted = pages.reduce((total, page) => total + space.u32.load(data + page * PAGE), 0);
      const taken = await faults(() => sumOf.dispatch(1, { args: [data, sum, ...pages] }));
      assert.equal(space.u32.load(sum), wanted);
      return taken;
    },
    tryLoad: (page) => sumOf.dispatch(1, { args: [data, sum, page] }),
    store: (step = 1) => faults(() => storeEach.dispatch(1, { args: [data, PAGES, step] })),
    requireStored: (step = 1) => {
      for (let page = 0; page < PAGES; page++) {
        const stored: number = page % step === 0 ? page + 1001 : page + 1;
        assert.equal(space.u32.load(data + page * PAGE), stored, `page ${page}`);
      }
    },
  });
}

const all = Array.from({ length: PAGES }, (_, page) => page);

for (const memory of ["remote", "private", "coherent"] as const) {
  for (const [kind, map] of Object.entries(KINDS)) {
    test(`${memory}: pages of ${kind} memory that are loaded bring those beside them`, () =>
      withStage(memory, map, async ({ load }) => {
        const taken = await load(all);
        assert.ok(taken <= PAGES / GROWN_PAGES, `${taken} faults`);
        assert.equal(await load(all), 0);
      }));

    test(`${memory}: pages of ${kind} memory that are stored to in order come together`, () =>
      withStage(memory, map, async ({ store, requireStored }) => {
        const taken = await store();
        assert.ok(taken <= PAGES / GROWN_PAGES, `${taken} faults`);
        requireStored();
      }));

    test(`${memory}: stores here and there to ${kind} memory bring one page each (twin)`, () =>
      withStage(memory, map, async ({ store, requireStored }) => {
        assert.equal(await store(4), PAGES / 4);
        requireStored(4);
      }));
  }

  test(`${memory}: what the CPU takes away, it takes away also beside the page that was used`, () =>
    withStage(memory, KINDS.shared, async ({ space, device, data, load, tryLoad }) => {
      await load([3]);
      await space.munmap(data + 5 * PAGE, PAGE);
      await assert.rejects(tryLoad(5), DeviceFault);
      await tryLoad(6);
      const bytes = new Uint8Array(PAGE);
      await assert.rejects(device.read(data + 5 * PAGE, bytes), DeviceFault);
      await device.read(data + 6 * PAGE, bytes);
      assert.equal(bytes[0], 7);
    }));

  test(`${memory}: a stream of stores ends at a page that may not be stored to`, () =>
    withStage(memory, KINDS.buffer, async ({ space, data, store }) => {
      await space.mprotect(data + 20 * PAGE, (PAGES - 20) * PAGE, "read");
      const address = data + 20 * PAGE;
      await assert.rejects(store(), (error: unknown) => {
        assert.ok(error instanceof DeviceFault);
        assert.deepEqual([error.code, error.address], ["EPERM", address]);
        return true;
      });
      assert.equal(space.u32.load(address), 21);
      assert.equal(space.u32.load(address - PAGE), 1020);
    }));
}

test("pages that nobody has touched get frames ahead of stores in order, and of no others", async () => {
  await using space = await AddressSpace.create({ ramBytes: 32 * MIB, debug: true });
  await using device = await SoftwareDevice.create(space, { memoryBytes: MIB });
  const storeEach = device.kernel({ module: KERNELS, exportName: "storeEach" });
  const store = async (pages: number, step: number): Promise<{ faults: number; made: number }> => {
    const data = await space.mmap(4 * PAGES * PAGE);
    const before = [device.statsSync().faults, space.statsSync().residentBytes] as const;
    await storeEach.dispatch(1, { args: [data, pages, step] });
    const after = [device.statsSync().faults, space.statsSync().residentBytes] as const;
    for (let page = 0; page < 4 * PAGES; page++) {
      const wanted = page < pages && page % step === 0 ? page + 1001 : 0;
      assert.equal(space.u32.load(data + page * PAGE), wanted, `page ${page}`);
    }
    return { faults: after[0] - before[0], made: (after[1] - before[1]) / PAGE };
  };
  assert.deepEqual(await store(PAGES, 4), { faults: PAGES / 4, made: PAGES / 4 });
  const inOrder = await store(PAGES, 1);
  assert.ok(inOrder.faults < PAGES / 4, `${inOrder.faults} faults`);
  // No more is made for nothing than it has used.
  assert.ok(inOrder.made >= PAGES && inOrder.made <= 2 * PAGES, `${inOrder.made} pages`);
});

for (const memory of ["private", "coherent"] as const) {
  const map = (space: AddressSpace): Promise<number> => space.mmap(PAGES * PAGE);

  test(`${memory}: pages in RAM that are loaded bring those beside them, and a store takes them`, () =>
    withStage(memory, map, async ({ device, data, load, store, requireStored }) => {
      const taken = await load(all);
      assert.ok(taken <= PAGES / GROWN_PAGES, `${taken} faults`);
      await store(4);
      const shown = await device.snapshot(data, PAGES * PAGE);
      const own = shown.map((page, i) => (page.startsWith("own") ? i : -1)).filter((i) => i >= 0);
      assert.deepEqual(
        own,
        all.filter((page) => page % 4 === 0),
      );
      requireStored(4);
    }));

  test(`${memory}: a page that is preferred on the device is not used in RAM first`, () =>
    withStage(memory, map, async ({ device, data, load }) => {
      await device.advise(data + 8 * PAGE, 2 * PAGE, "preferred-location");
      await load([0]);
      await load([9]);
      const shown = await device.snapshot(data, 16 * PAGE);
      const own = shown.map((page, i) => (page.startsWith("own") ? i : -1)).filter((i) => i >= 0);
      assert.deepEqual(own, [9]);
    }));

  test(`${memory}: pages that are stored to in order come in ever larger parts`, () =>
    withStage(memory, map, async ({ device, data, store, requireStored }) => {
      const taken = await store();
      // The first page, the rest of its 64 KiB, the next 64, the other 128; not all have room.
      assert.ok(taken <= 6, `${taken} faults`);
      const shown = await device.snapshot(data, PAGES * PAGE);
      assert.ok(shown.every((page) => page.startsWith("own")));
      requireStored();
    }));
}

test("a stream brings twice as much each time, up to a block", () => {
  const used = (limit: number) => (page: number) => page >= 0 && page < limit;
  const ends: number[] = [];
  for (let page = 0; page < 2 * BLOCK_PAGES; page = ends.at(-1)!)
    ends.push(streamEnd(page, used(page)));
  assert.deepEqual(ends, [16, 32, 64, 128, 256, 512, 1024]);
  assert.equal(
    streamEnd(40, () => false),
    48,
    "the rest of its 64 KiB",
  );
  assert.equal(
    streamEnd(40, () => true),
    BLOCK_PAGES,
    "the rest of its block",
  );
});
