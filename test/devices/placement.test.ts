/**
 * Which pages a device takes by itself: stores of kernels, advice, pages that thrash, and which
 * leave when its memory is full. The table of advice against a map of pages.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ADVICE_NORMAL,
  ADVICE_RANGES_MAX,
  ADVICE_WORDS,
  AdviceTable,
  type PlacementAdvice,
  isTaken,
} from "../../src/devices/policy/placement.ts";
import { AddressSpace, type DeviceKernel, HmmError, SoftwareDevice } from "../../src/index.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
import { MIB, PAGE } from "./harness.ts";

const seed = Number(process.env["HMM_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** Numbers below a bound, from a seed. */
function makeRandom(from: number): (below: number) => number {
  let state = from >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const KERNELS = new URL("./kernels.js", import.meta.url);

test("advice in ranges says what a map of pages says", (t) => {
  t.diagnostic(`HMM_TEST_SEED=${seed}`);
  const random = makeRandom(seed);
  const memory = SharedMemory.create({ initialBytes: 2 ** 16, maxBytes: 2 ** 16 });
  const table = new AdviceTable(memory, 4096);
  const model = new Map<number, number>();
  for (let step = 0; step < 3000; step++) {
    const start = random(60);
    const end = start + 1 + random(20);
    const advice = random(3) as PlacementAdvice;
    if (random(4) === 0) table.forget(start, end);
    else assert.ok(table.set(start, end, advice));
    for (let page = start; page < end; page++) model.set(page, advice);
    if (table.of(start) !== advice)
      for (let page = start; page < end; page++) model.set(page, ADVICE_NORMAL);
    for (let page = 0; page < 82; page++)
      assert.equal(table.of(page), model.get(page) ?? ADVICE_NORMAL, `step ${step}, page ${page}`);
  }
});

test("too many ranges are refused whole, and an unmap forgets more instead", () => {
  const memory = SharedMemory.create({ initialBytes: 2 ** 16, maxBytes: 2 ** 16 });
  const table = new AdviceTable(memory, 4096);
  for (let i = 0; i < ADVICE_RANGES_MAX; i++) assert.ok(table.set(4 * i, 4 * i + 3, 1));
  assert.equal(table.set(4 * ADVICE_RANGES_MAX, 4 * ADVICE_RANGES_MAX + 1, 1), false);
  assert.equal(table.set(1, 2, 2), false);
  assert.equal(table.of(1), 1);
  table.forget(1, 2);
  assert.deepEqual([table.of(0), table.of(1), table.of(2), table.of(4)], [1, 0, 0, 1]);
  assert.ok(memory.words[4096 + ADVICE_WORDS] === 0, "it stays in its words");
});

test("a page is taken at a store, by advice at a load, and not if it thrashes", () => {
  assert.deepEqual(
    [0, 1, 2].map((advice) => isTaken(advice as PlacementAdvice, true, false)),
    [true, true, false],
  );
  assert.deepEqual(
    [0, 1, 2].map((advice) => isTaken(advice as PlacementAdvice, false, false)),
    [false, true, false],
  );
  for (const advice of [0, 1, 2] as const) assert.equal(isTaken(advice, true, true), false);
});

interface Stage {
  readonly space: AddressSpace;
  readonly device: SoftwareDevice;
  readonly data: number;
  readonly tally: DeviceKernel;
  /** Adds up words of pages, on the device. */
  readonly sumOf: (...pages: number[]) => Promise<number>;
  /** What the device's snapshot says of pages, as letters: o own, r RAM, - nothing. */
  readonly where: (pages: number) => Promise<string>;
}

async function withStage(
  memory: "private" | "coherent" | "remote",
  memoryPages: number,
  pages: number,
  body: (stage: Stage) => Promise<void>,
): Promise<void> {
  await using space = await AddressSpace.create({ ramBytes: 32 * MIB, debug: true });
  const data = await space.mmap(pages * PAGE);
  const sum = await space.mmap(PAGE);
  for (let page = 0; page < pages; page++) space.u32.store(data + page * PAGE, page + 1);
  await using device = await SoftwareDevice.create(space, {
    memory,
    memoryBytes: memoryPages * PAGE,
  });
  // The result stays in RAM, so that only `data` is in memory of the device.
  await device.advise(sum, PAGE, "accessed-by");
  const kernelOf = (exportName: string): DeviceKernel =>
    device.kernel({ module: KERNELS, exportName });
  const kernel = kernelOf("sumOf");
  await body({
    space,
    device,
    data,
    tally: kernelOf("tally"),
    sumOf: async (...wanted) => {
      await kernel.dispatch(1, { args: [data, sum, ...wanted] });
      return space.u32.load(sum);
    },
    where: async (count) => {
      const snapshot = await device.snapshot(data, count * PAGE);
      return snapshot.map((p) => (p.startsWith("own") ? "o" : p === "none" ? "-" : "r")).join("");
    },
  });
}

for (const memory of ["private", "coherent"] as const) {
  test(`${memory}: a store takes the page, a load does not, and the first store after it does`, () =>
    withStage(memory, 16, 8, async ({ space, data, tally, sumOf, where }) => {
      assert.equal(await sumOf(0, 1, 2, 3), 10);
      assert.equal(await where(8), "rrrrrrrr");
      await tally.dispatch(3, { args: [data, 3] });
      assert.equal(await where(8), "ooorrrrr");
      assert.equal(await sumOf(0, 1, 2, 3), 13);
      assert.equal(space.smapsSync().total.deviceBytes, 3 * PAGE);
      assert.equal(space.u32.load(data), 2);
      assert.equal(await where(8), memory === "private" ? "roorrrrr" : "ooorrrrr");
    }));

  test(`${memory}: advice to prefer the device takes at a load, advice to access it never`, () =>
    withStage(memory, 16, 8, async ({ space, device, data, tally, sumOf, where }) => {
      await device.advise(data, 4 * PAGE, "preferred-location");
      await device.advise(data + 2 * PAGE, 2 * PAGE, "accessed-by");
      assert.equal(await sumOf(0, 1, 2, 3, 4), 15);
      assert.equal(await where(8), "oorrrrrr");
      await tally.dispatch(4, { args: [data, 4] });
      assert.equal(await where(8), "oorrrrrr");
      await device.advise(data, 8 * PAGE, "normal");
      await tally.dispatch(4, { args: [data, 4] });
      assert.equal(await where(8), "oooorrrr");
      // Advice ends with the mapping.
      await device.advise(data, 8 * PAGE, "preferred-location");
      space.munmapSync(data, 8 * PAGE);
      space.mmapSync(8 * PAGE, { address: data, fixed: "noreplace" });
      space.u32.store(data, 7);
      assert.equal(await sumOf(0), 7);
      assert.equal(await where(1), "r");
    }));

  test(`${memory}: a page that is in use stays when others leave`, () =>
    withStage(memory, 8, 64, async ({ device, data, sumOf, where }) => {
      await device.migrate(data, 8 * PAGE);
      for (let page = 8; page < 64; page++) {
        assert.equal(await sumOf(3), 4); // a use, without which it would be its turn
        await device.migrate(data + page * PAGE, PAGE);
      }
      const seen = await where(64);
      assert.equal(seen[3], "o", seen);
      assert.equal(seen.replaceAll("r", "").length, 8, seen);
    }));

  test(`${memory}: a page that is not used leaves in its turn (twin)`, () =>
    withStage(memory, 8, 64, async ({ device, data, where }) => {
      await device.migrate(data, 8 * PAGE);
      for (let page = 8; page < 64; page++) await device.migrate(data + page * PAGE, PAGE);
      assert.equal((await where(64))[3], "r");
    }));

  test(`${memory}: more pages than there is room for are stored to, and none is lost`, () =>
    withStage(memory, 8, 64, async ({ space, data, tally }) => {
      await tally.dispatch(64 * 5, { args: [data, 64] });
      for (let page = 0; page < 64; page++)
        assert.equal(space.u32.load(data + page * PAGE), page + 6, `page ${page}`);
    }));
}

test("a page that goes to and fro is left in RAM for a while", () =>
  withStage("private", 8, 1, async ({ space, device, data, tally, where }) => {
    let rounds = 0;
    // Only turns that follow each other soon count: on a machine under load some do not.
    const endMs = performance.now() + 60_000;
    while (device.statsSync().thrashing === 0 && performance.now() < endMs) {
      await tally.dispatch(1, { args: [data, 1] });
      assert.equal(space.u32.load(data), 1 + ++rounds);
    }
    assert.equal(device.statsSync().thrashing, 1);
    assert.ok(rounds >= 3);
    const before = space.statsSync().counters.pagesToDevice;
    await tally.dispatch(1, { args: [data, 1] });
    const took = space.statsSync().counters.pagesToDevice - before;
    assert.ok(took === 0 || (await where(1)) === "o", "taken again only when its time is up");
  }));

test("prefetching brings translations, copies or pages, and then no access faults", async () => {
  for (const memory of ["remote", "private", "coherent"] as const)
    await withStage(memory, 16, 8, async ({ device, data, sumOf, where }) => {
      await sumOf(); // the page of the result
      assert.deepEqual(await device.prefetch(data, 8 * PAGE), { pages: 8, faults: 1 });
      const { faults } = device.statsSync();
      assert.equal(await sumOf(0, 1, 2, 3, 4, 5, 6, 7), 36);
      assert.equal(device.statsSync().faults, faults);
      assert.equal(await where(8), memory === "remote" ? "rrrrrrrr" : "oooooooo");
      assert.equal(device.statsSync().pagesToDevice, memory === "remote" ? 8 : 0);
    });
});

test("accessed-by makes no copies, either", () =>
  withStage("remote", 16, 8, async ({ device, data, sumOf }) => {
    await device.advise(data, 4 * PAGE, "accessed-by");
    await sumOf(0, 1, 2);
    assert.equal(device.statsSync().pagesToDevice, 0);
    await sumOf(4);
    assert.ok(device.statsSync().pagesToDevice > 0);
  }));

test("advice and ranges that there are not are refused", () =>
  withStage("private", 8, 2, async ({ device, data }) => {
    const refused = (error: unknown): boolean =>
      error instanceof HmmError && error.code === "EINVAL";
    await assert.rejects(device.advise(data, PAGE, "nearby" as never), refused);
    await assert.rejects(device.advise(data + 1, PAGE, "normal"), refused);
    await assert.rejects(device.prefetch(data + 1, PAGE), refused);
    await assert.rejects(device.prefetch(2 ** 42, PAGE), (error) => error instanceof HmmError);
  }));
