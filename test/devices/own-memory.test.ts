/**
 * A software device with pages of its own: kernels that use them, capacity, a CPU and a second
 * device beside it, forks, the device's end. The software device's own threads run.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressSpace, HmmError, SoftwareDevice } from "../../src/index.ts";
import { MIB, PAGE } from "./harness.ts";

const KERNELS = new URL("./kernels.js", import.meta.url);

/** `pages` pages of private memory; page i begins with i + 1. */
async function filled(space: AddressSpace, pages: number): Promise<number> {
  const address = await space.mmap(pages * PAGE);
  for (let i = 0; i < pages; i++) space.u32.store(address + i * PAGE, i + 1);
  return address;
}

function requireFilled(space: AddressSpace, address: number, pages: number, add = 0): void {
  for (let i = 0; i < pages; i++)
    assert.equal(space.u32.load(address + i * PAGE), i + 1 + add, `page ${i}`);
}

for (const memory of ["private", "coherent"] as const) {
  test(`${memory}: a kernel works on pages of the device, and the CPU sees what it did`, async () => {
    await using space = await AddressSpace.create({ ramBytes: 32 * MIB, debug: true });
    await using device = await SoftwareDevice.create(space, { memoryBytes: MIB, memory });
    const pages = 16;
    const address = await filled(space, pages);
    assert.deepEqual(await device.migrate(address, pages * PAGE), { pages, faults: 0 });
    const tally = device.kernel({ module: KERNELS, exportName: "tally" });
    await tally.dispatch(pages * 10, { args: [address, pages] });
    const own = await device.snapshot(address, pages * PAGE);
    assert.ok(
      own.every((page) => page === "own-write"),
      "the kernel leaves them where they are",
    );
    const { total } = await space.smaps();
    assert.deepEqual(total.devices, [{ device: device.number, bytes: pages * PAGE }]);
    assert.deepEqual([total.residentBytes, total.deviceBytes], [pages * PAGE, pages * PAGE]);
    assert.equal(space.statsSync().counters.pagesToDevice, pages);
    requireFilled(space, address, pages, 10);
    assert.equal(device.statsSync().pagesToDevice, 0, "it makes no copies");
    const stay = memory === "coherent";
    assert.equal(space.smapsSync().total.deviceBytes, stay ? pages * PAGE : 0);
    const { pagesToRam, deviceFaults } = space.statsSync().counters;
    // In order they come back as rows of 1, 2, 4, 8, and the last one.
    assert.deepEqual([pagesToRam, deviceFaults], stay ? [0, 0] : [pages, 5]);
  });

  test(`${memory}: what does not fit is evicted, and nothing is lost; its end gives all back`, async () => {
    await using space = await AddressSpace.create({ ramBytes: 32 * MIB, debug: true });
    const pages = 24;
    const address = await filled(space, pages);
    {
      await using device = await SoftwareDevice.create(space, { memoryBytes: 8 * PAGE, memory });
      for (let i = 0; i < pages; i++)
        assert.deepEqual(await device.migrate(address + i * PAGE, PAGE), { pages: 1, faults: 0 });
      const { residentPages, memoryPages } = device.statsSync();
      assert.deepEqual([residentPages, memoryPages], [8, 8]);
      // More at once than there is room for: as many as fit.
      const { pages: moved } = await device.migrate(address, pages * PAGE);
      assert.ok(moved > 0 && moved <= 8, `${moved} pages`);
    }
    requireFilled(space, address, pages);
    assert.equal(space.statsSync().residentBytes, pages * PAGE);
  });

  test(`${memory}: pages that a kernel stores to in order come together; others come alone`, async () => {
    await using space = await AddressSpace.create({ ramBytes: 32 * MIB, debug: true });
    await using device = await SoftwareDevice.create(space, { memoryBytes: 4 * MIB, memory });
    const pages = 64;
    const storeEach = device.kernel({ module: KERNELS, exportName: "storeEach" });
    const take = async (step: number): Promise<{ own: number; faults: number }> => {
      const address = await filled(space, pages);
      const before = device.statsSync();
      await storeEach.dispatch(1, { args: [address, pages, step] });
      const shown = await device.snapshot(address, pages * PAGE);
      const own = shown.filter((page) => page === "own-write").length;
      const after = device.statsSync();
      for (let i = 0; i < pages; i++)
        assert.equal(space.u32.load(address + i * PAGE), i % step === 0 ? i + 1001 : i + 1);
      return { own, faults: after.faults - before.faults };
    };
    assert.deepEqual(await take(4), { own: pages / 4, faults: pages / 4 });
    const inOrder = await take(1);
    assert.equal(inOrder.own, pages);
    assert.ok(inOrder.faults < pages / 4, `${inOrder.faults} faults`);
  });

  test(`${memory}: a fork has its own pages, and outlives the device`, async () => {
    await using space = await AddressSpace.create({ ramBytes: 32 * MIB, debug: true });
    const pages = 4;
    const address = await filled(space, pages);
    const device = await SoftwareDevice.create(space, { memoryBytes: MIB, memory });
    await device.migrate(address, pages * PAGE);
    await using child = await space.fork();
    for (let i = 0; i < pages; i++) child.u32.store(address + i * PAGE, i + 101);
    const tally = device.kernel({ module: KERNELS, exportName: "tally" });
    await tally.dispatch(pages, { args: [address, pages] });
    await device[Symbol.asyncDispose]();
    requireFilled(space, address, pages, 1);
    requireFilled(child, address, pages, 100);
  });

  test(`${memory}: what a device wrote through pages of its own is there for a second device`, async () => {
    await using space = await AddressSpace.create({ ramBytes: 32 * MIB, debug: true });
    await using one = await SoftwareDevice.create(space, { memoryBytes: MIB, memory });
    await using other = await SoftwareDevice.create(space, { memoryBytes: MIB, memory: "remote" });
    const address = await filled(space, 2);
    await one.migrate(address, 2 * PAGE);
    const bytes = new Uint8Array(2 * PAGE).fill(7);
    assert.deepEqual(await one.write(address, bytes), { pages: 2, faults: 1 });
    const seen = new Uint8Array(2 * PAGE);
    assert.equal((await other.read(address, seen)).pages, 2);
    assert.deepEqual(seen, bytes);
    const expected = memory === "private" ? ["read", "read"] : ["other-read", "other-read"];
    assert.deepEqual(await other.snapshot(address, 2 * PAGE), expected, "a copy is tracked");
  });

  test(`${memory}: a device may write what is its alone, until the CPU touches it`, async () => {
    await using space = await AddressSpace.create({ ramBytes: 32 * MIB, debug: true });
    await using device = await SoftwareDevice.create(space, { memoryBytes: MIB, memory });
    const address = await filled(space, 2);
    await device.makeExclusive(address, 2 * PAGE);
    assert.deepEqual(await device.snapshot(address, 2 * PAGE), ["none", "none"]);
    const bytes = new Uint8Array(4).fill(9);
    assert.deepEqual(await device.write(address, bytes), { pages: 1, faults: 0 });
    assert.equal(await device.exclusivePages(address, 2 * PAGE), 2);
    assert.equal(space.u32.load(address), 0x09090909);
    assert.equal(await device.exclusivePages(address, 2 * PAGE), 1);
  });
}

test("a device without pages of its own refuses to migrate, and says what to do", async () => {
  await using space = await AddressSpace.create({ ramBytes: 32 * MIB });
  await using device = await SoftwareDevice.create(space, { memoryBytes: MIB });
  const address = await filled(space, 1);
  await assert.rejects(device.migrate(address, PAGE), (error: unknown) => {
    assert.ok(error instanceof HmmError);
    assert.equal(error.code, "EINVAL");
    assert.match(error.message, /create it with memory "private" or "coherent"/);
    return true;
  });
});

test("a device that is full, where RAM is used up, too, takes no page, and loses none", async () => {
  await using space = await AddressSpace.create({ ramBytes: 128 * MIB, heapBytes: 128 * MIB });
  await using device = await SoftwareDevice.create(space, {
    memoryBytes: 64 * MIB,
    memory: "private",
  });
  const pages = (64 * MIB) / PAGE;
  const own = await filled(space, pages);
  assert.deepEqual(await device.migrate(own, pages * PAGE), { pages, faults: 0 });
  const rest = await space.mmap(256 * MIB);
  assert.throws(
    () => {
      for (let at = rest; ; at += PAGE) space.u32.store(at, 1);
    },
    (error) => error instanceof HmmError && error.code === "ENOMEM",
  );
  const { invalidations } = space.statsSync().counters;
  // Each frame that cannot leave cost a walk of all spaces, and each was tried twice.
  assert.equal((await device.migrate(rest, PAGE)).pages, 0);
  const tries = space.statsSync().counters.invalidations - invalidations;
  assert.ok(tries < 10, `${tries} invalidations, and no page can leave`);
  assert.equal(space.smapsSync().total.deviceBytes, pages * PAGE);
});
