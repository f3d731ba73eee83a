/**
 * @module Cases of Linux's HMM selftests about huge pages: transparent ones, explicit ones, and how
 * they move to a device and back. And the mapping of a device's own file.
 */

import assert from "node:assert/strict";

import type { AddressSpace, SnapshotPage } from "../../../src/index.ts";
import type { ConformanceCase } from "./cases.ts";
import { PAGE, STD, negative, pattern } from "./fixture.ts";
import type { Fixture } from "./fixture.ts";

/** A huge page's bytes, pages of 4 KiB, and 32-bit numbers. */
const PMD: number = 2 * 2 ** 20;
const P: number = PMD / PAGE;
const INTS: number = PMD / 4;

const MOVED = { cpages: P, faults: 0 } as const;
const ONCE = { cpages: P, faults: 1 } as const;

type Wish = "hugepage" | "nohugepage" | "none";

/** The suite's ALIGNED-PMD set-up: twice the size is mapped, and the aligned part is advised. */
interface Aligned {
  readonly address: number;
  readonly unmap: () => Promise<void>;
}

async function mapAligned(
  space: AddressSpace,
  wish: Wish,
  protection: "read" | "read-write" = "read-write",
): Promise<Aligned> {
  const mapped = await space.mmap(2 * PMD, { protection });
  const address = Math.ceil(mapped / PMD) * PMD;
  if (wish !== "none") await space.madvise(address, PMD, wish);
  return { address, unmap: () => space.munmap(mapped, 2 * PMD) };
}

async function inAligned(
  fixture: Fixture,
  wish: Wish,
  protection: "read" | "read-write",
  body: (address: number) => Promise<void>,
): Promise<void> {
  const { address, unmap } = await mapAligned(fixture.space, wish, protection);
  await body(address);
  await unmap();
}

/** MIGRATE_TO_DEV of the whole huge page, with what the device has there. */
async function migrateAll(fixture: Fixture, address: number, expected: Int32Array): Promise<void> {
  const seen = new Int32Array(INTS).fill(-1);
  assert.deepEqual(await fixture.mirror.migrateToDevice(address, P, seen), MOVED);
  assert.deepEqual(seen, expected);
}

const zeros = (): Int32Array => new Int32Array(INTS);
const ints = (): Int32Array => pattern(INTS);

/** Every page says the same. */
async function requireAll(fixture: Fixture, address: number, page: SnapshotPage): Promise<void> {
  const pages = await fixture.mirror.snapshot(address, P);
  assert.deepEqual(
    pages,
    Array.from({ length: P }, () => page),
  );
}

async function anonWriteChild(fixture: Fixture): Promise<void> {
  for (const migrates of [false, true]) {
    for (const isHuge of [false, true]) {
      const size = isHuge ? PMD : STD;
      const mapped = await fixture.space.mmap(2 * size);
      const address = isHuge ? Math.ceil(mapped / PMD) * PMD : mapped;
      if (isHuge) await fixture.space.madvise(address, PMD, "hugepage");
      await writeChild(fixture, address, size, migrates);
      await fixture.space.munmap(mapped, 2 * size);
    }
  }
}

async function writeChild(
  fixture: Fixture,
  address: number,
  size: number,
  migrates: boolean,
): Promise<void> {
  const expected = pattern(size / 4);
  const seen = negative(size / 4);
  fixture.fill(address, expected);
  if (migrates) {
    const moved = await fixture.mirror.migrateToDevice(address, size / PAGE, seen);
    assert.deepEqual(moved, { cpages: size / PAGE, faults: 0 });
    assert.deepEqual(seen, expected);
  }
  await fixture.inChild(async (child, mirror) => {
    assert.deepEqual(fixture.load(address, size / 4, child), expected);
    const written = await mirror.write(address, negative(size / 4));
    assert.deepEqual(written, { cpages: size / PAGE, faults: 1 });
    assert.deepEqual(fixture.load(address, size / 4, child), negative(size / 4));
  });
  assert.deepEqual(fixture.load(address, size / 4), expected, "the child has copies");
}

function anonWriteHuge(fixture: Fixture): Promise<void> {
  return inAligned(fixture, "hugepage", "read-write", async (address) => {
    assert.deepEqual(await fixture.mirror.write(address, ints()), ONCE);
    assert.deepEqual(fixture.load(address, INTS), ints());
    await requireAll(fixture, address, "write-huge");
  });
}

async function anonWriteHugetlbfs(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  const address = await space.mmap(PMD, { huge: true });
  assert.deepEqual(await mirror.write(address, ints()), ONCE);
  assert.deepEqual(fixture.load(address, INTS), ints());
  assert.deepEqual(await mirror.migrateToDevice(address, P), { failed: "EINVAL" });
  await space.munmap(address, PMD);
}

async function mixedMap({ space, mirror }: Fixture): Promise<void> {
  const address = await mirror.device.mmap(PAGE);
  assert.deepEqual(await mirror.snapshot(address, 1), ["read"]);
  assert.equal(space.i32.load(address), 0);
  assert.deepEqual(await mirror.migrateToDevice(address, 1), { failed: "EINVAL" });
  await space.munmap(address, PAGE);
}

async function compound(fixture: Fixture): Promise<void> {
  const { space } = fixture;
  const address = await space.mmap(PMD, { huge: true });
  fixture.fill(address, ints());
  await requireAll(fixture, address, "write-huge");
  await space.mprotect(address, PMD, "read");
  await requireAll(fixture, address, "read-huge");
  await space.munmap(address, PMD);
}

/** Every frame that the device gives out next has been used: what is not cleared is seen. */
async function useDeviceFrames(fixture: Fixture): Promise<void> {
  await inAligned(fixture, "hugepage", "read-write", async (address) => {
    fixture.fill(address, ints());
    await migrateAll(fixture, address, ints());
  });
}

async function hugeEmpty(fixture: Fixture): Promise<void> {
  await useDeviceFrames(fixture);
  await inAligned(fixture, "hugepage", "read", async (address) => {
    await migrateAll(fixture, address, zeros());
  });
}

async function hugeZero(fixture: Fixture): Promise<void> {
  await useDeviceFrames(fixture);
  await inAligned(fixture, "hugepage", "read", async (address) => {
    assert.equal(fixture.space.i32.load(address), 0);
    await migrateAll(fixture, address, zeros());
    assert.deepEqual(fixture.load(address, INTS), zeros());
  });
}

function hugeFree(fixture: Fixture): Promise<void> {
  return inAligned(fixture, "hugepage", "read-write", async (address) => {
    fixture.fill(address, ints());
    await migrateAll(fixture, address, ints());
    await fixture.space.madvise(address, PMD, "free");
    // The suite looks no further. There is no swap, so the pages are gone at once.
    assert.deepEqual(fixture.load(address, INTS), zeros());
    assert.equal(fixture.mirror.device.statsSync().residentPages, 0);
  });
}

function hugeFault(fixture: Fixture): Promise<void> {
  return inAligned(fixture, "none", "read-write", async (address) => {
    const { space, isPrivate } = fixture;
    fixture.fill(address, ints());
    await space.madvise(address, PMD, "collapse");
    await migrateAll(fixture, address, ints());
    await requireAll(fixture, address, "own-write-huge");
    if (isPrivate) {
      const pages = await space.pagemap(address, PMD);
      assert.ok(pages.every(({ present, pfn }) => !present && pfn >= 0));
    }
    assert.deepEqual(fixture.load(address, INTS), ints());
    if (isPrivate) await requireAll(fixture, address, "write-huge");
  });
}

async function partialUnmapFault(fixture: Fixture): Promise<void> {
  for (const wish of ["nohugepage", "hugepage"] as const) {
    for (const offset of [0, PMD / 4, PMD / 2]) {
      const { address, unmap } = await mapAligned(fixture.space, wish);
      fixture.fill(address, ints());
      await migrateAll(fixture, address, ints());
      await fixture.space.munmap(address + offset, PMD / 2);
      const end = offset + PMD / 2;
      const first = fixture.load(address, offset / 4);
      const last = fixture.load(address + end, (PMD - end) / 4);
      assert.deepEqual(first, ints().subarray(0, offset / 4));
      assert.deepEqual(last, ints().subarray(end / 4));
      await unmap();
    }
  }
}

async function remapFault(fixture: Fixture): Promise<void> {
  for (const isBefore of [true, false])
    for (const keepOld of [false, true])
      for (const wish of ["nohugepage", "hugepage"] as const)
        for (const offset of [0, PMD / 4, PMD / 2])
          await remapOnce(fixture, { isBefore, keepOld, wish, offset });
}

interface RemapCase {
  readonly isBefore: boolean;
  readonly keepOld: boolean;
  readonly wish: Wish;
  readonly offset: number;
}

async function remapOnce(
  fixture: Fixture,
  { isBefore, keepOld, wish, offset }: RemapCase,
): Promise<void> {
  const { space } = fixture;
  const mapped = await space.mmap(8 * PMD);
  const address = Math.ceil(mapped / PMD) * PMD;
  if (wish !== "none") await space.madvise(address, PMD, wish);
  await space.munmap(address + PMD, 2 * PMD);
  fixture.fill(address, ints());
  const to = address + PMD + offset;
  const remap = (): Promise<number> =>
    space.mremap(address, PMD, PMD, { mayMove: true, to, keepOld });
  if (isBefore) await remap();
  await migrateAll(fixture, isBefore ? to : address, ints());
  if (!isBefore) await remap();
  assert.deepEqual(fixture.load(to, INTS), ints());
  await space.munmap(mapped, 8 * PMD);
}

/** A huge page that the device cannot have as one is moved as small pages. */
async function hugeErr(fixture: Fixture): Promise<void> {
  const { mirror } = fixture;
  await inAligned(fixture, "hugepage", "read-write", async (address) => {
    fixture.fill(address, ints());
    mirror.device.failNextAllocation();
    // The first small page is refused nothing: the huge one has used the failure up.
    await migrateAll(fixture, address, ints());
    await requireAll(fixture, address, "own-write");
    assert.equal(fixture.space.i32.load(address + 2 * PAGE), 2048);
  });
  await inAligned(fixture, "hugepage", "read-write", async (address) => {
    fixture.fill(address, ints());
    await migrateAll(fixture, address, ints());
    mirror.device.failNextAllocation();
    assert.deepEqual(await mirror.migrateToSystem(address, P), MOVED);
    await requireAll(fixture, address, "write");
    assert.equal(fixture.space.i32.load(address + 2 * PAGE), 2048);
    assert.deepEqual(fixture.load(address, INTS), ints());
  });
}

/**
 * The suite's second half touches an address that it has unmapped, and works only if the kernel
 * gives it the same again. Here it is the new one; and that zeros have arrived is looked at.
 */
async function hugeZeroErr(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  await useDeviceFrames(fixture);
  for (const touches of [false, true]) {
    await inAligned(fixture, "hugepage", "read", async (address) => {
      if (touches) assert.equal(space.i32.load(address), 0);
      mirror.device.failNextAllocation();
      await migrateAll(fixture, address, zeros());
      await requireAll(fixture, address, "own-read");
      assert.equal(space.i32.load(address + 2 * PAGE), 0);
      assert.deepEqual(fixture.load(address, INTS), zeros());
    });
  }
}

/** Round trips of the suite's sizes. It asserts that each returns 0, and so does this. */
async function benchmarkThpMigration(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  const chunk = Int32Array.from({ length: PMD / 16 }, (_, i) => i & 0xff);
  for (const size of [PMD / 4, PMD / 2, PMD, 2 * PMD, 4 * PMD, 8 * PMD, 128 * PMD]) {
    for (const wish of ["hugepage", "nohugepage"] as const) {
      const address = await space.mmap(size);
      await space.madvise(address, size, wish);
      for (let at = 0; at < size; at += chunk.length * 4) fixture.fill(address + at, chunk);
      const trips = size > 8 * PMD ? 1 : 6;
      for (let trip = 0; trip < trips; trip++) {
        const expected = { cpages: size / PAGE, faults: 0 };
        assert.deepEqual(await mirror.migrateToDevice(address, size / PAGE), expected);
        assert.deepEqual(await mirror.migrateToSystem(address, size / PAGE), expected);
      }
      await space.munmap(address, size);
    }
  }
}

/** Room for 128 huge pages, in RAM and on the device. */
const LARGE = { ramBytes: 288 * 2 ** 20, deviceBytes: 264 * 2 ** 20 } as const;

export const hugeCases: readonly ConformanceCase[] = [
  { fixture: "hmm", name: "anon_write_child", run: anonWriteChild },
  { fixture: "hmm", name: "anon_write_huge", run: anonWriteHuge },
  { fixture: "hmm", name: "anon_write_hugetlbfs", run: anonWriteHugetlbfs },
  { fixture: "hmm", name: "mixedmap", run: mixedMap },
  { fixture: "hmm", name: "compound", run: compound },
  { fixture: "hmm", name: "migrate_anon_huge_empty", run: hugeEmpty },
  { fixture: "hmm", name: "migrate_anon_huge_zero", run: hugeZero },
  { fixture: "hmm", name: "migrate_anon_huge_free", run: hugeFree },
  { fixture: "hmm", name: "migrate_anon_huge_fault", run: hugeFault },
  { fixture: "hmm", name: "migrate_partial_unmap_fault", run: partialUnmapFault },
  { fixture: "hmm", name: "migrate_remap_fault", run: remapFault },
  { fixture: "hmm", name: "migrate_anon_huge_err", run: hugeErr },
  { fixture: "hmm", name: "migrate_anon_huge_zero_err", run: hugeZeroErr },
  {
    fixture: "hmm",
    name: "benchmark_thp_migration",
    run: benchmarkThpMigration,
    timeLimitMs: 120_000,
    ...LARGE,
  },
];
