/**
 * @module What Linux's suite does not test, and a driver relies on: what holds while a page is a
 * device's alone, device accesses after a migration, bad arguments, a write that fails half way, no
 * faults at all, a device that is full, one that closes beside another space, and the pages that a
 * huge page counts for.
 */

import assert from "node:assert/strict";

import type { ConformanceCase } from "./cases.ts";
import { INTS, N, PAGE, STD, negative, pattern } from "./fixture.ts";
import type { Fixture } from "./fixture.ts";

const HUGE: number = 2 ** 21;
const SMALL_DEVICE_PAGES = 16;

/**
 * CHECK_EXCLUSIVE refuses as long as one page is the device's alone. The CPU touches the last page
 * first: with a page that it touches in order others may come back.
 */
async function checkExclusiveHeld(fixture: Fixture): Promise<void> {
  const { mirror, space } = fixture;
  const address = await fixture.mapFilled(pattern());
  const held = await mirror.exclusive(address, N, new Int32Array(INTS));
  assert.deepEqual([held.failed, held.cpages], [undefined, N]);
  assert.deepEqual(await mirror.checkExclusive(address, N), { failed: "EPERM" });
  for (let page = N - 1; page > 0; page--) space.i32.load(address + page * PAGE);
  assert.deepEqual(await mirror.checkExclusive(address + PAGE, N - 1), {});
  assert.deepEqual(await mirror.checkExclusive(address, N), { failed: "EPERM" });
  space.i32.load(address);
  assert.deepEqual(await mirror.checkExclusive(address, N), {});
}

async function exclusiveWrite(fixture: Fixture): Promise<void> {
  const { mirror } = fixture;
  const address = await fixture.mapFilled(pattern());
  await mirror.exclusive(address, N, new Int32Array(INTS));
  const written = await mirror.write(address, negative());
  assert.deepEqual([written.failed, written.cpages], [undefined, N]);
  assert.deepEqual(fixture.load(address, INTS), negative());
}

async function exclusiveSnapshot(fixture: Fixture): Promise<void> {
  const { mirror, other } = fixture;
  const address = await fixture.mapFilled(pattern((2 * PAGE) / 4));
  await mirror.exclusive(address, 1, new Int32Array(PAGE / 4));
  assert.deepEqual(await other.snapshot(address, 2), ["none", "write"]);
}

/** Device accesses to pages that are in its memory, by the mirror that moved them. */
async function migrateThenAccess(fixture: Fixture): Promise<void> {
  const { mirror } = fixture;
  const address = await fixture.mapFilled(pattern());
  await mirror.migrateToDevice(address, N);
  const seen = new Int32Array(INTS);
  assert.equal((await mirror.read(address, seen)).cpages, N);
  assert.deepEqual(seen, pattern());
  assert.equal((await mirror.write(address, negative())).cpages, N);
  seen.fill(0);
  assert.equal((await mirror.read(address, seen)).cpages, N);
  assert.deepEqual(seen, negative());
  assert.deepEqual(fixture.load(address, INTS), negative());
}

/** No argument is taken that the suite's driver refuses, and nothing is moved by it. */
async function badArguments(fixture: Fixture): Promise<void> {
  const { mirror } = fixture;
  const address = await fixture.mapFilled(pattern());
  for (const [at, pages] of [
    [address + 1, 1],
    [address, 0],
    [address, -1],
    [2 ** 53, 1],
  ] as const) {
    const words = new Int32Array(PAGE / 4);
    for (const answer of [
      await mirror.migrateToDevice(at, pages),
      await mirror.migrateToSystem(at, pages),
      await mirror.exclusive(at, pages, words),
    ])
      assert.equal(answer.failed, "EINVAL", `${at}, ${pages} pages`);
  }
  assert.equal(mirror.device.statsSync().residentPages, 0);
  assert.deepEqual(fixture.load(address, INTS), pattern());
}

/** Pages before the one that may not be written are whole: written, or not. */
async function writeHalfWay(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  const address = await fixture.mapFilled(pattern());
  await space.mprotect(address + STD / 2, STD / 2, "read");
  assert.deepEqual(await mirror.write(address, negative()), { failed: "EPERM" });
  const now = fixture.load(address, INTS);
  const [before, after] = [pattern(), negative()];
  for (let page = 0; page < N; page++) {
    const [start, end] = [(page * PAGE) / 4, ((page + 1) * PAGE) / 4];
    const isOld = now.subarray(start, end).every((int, i) => int === before[start + i]);
    const isNew = now.subarray(start, end).every((int, i) => int === after[start + i]);
    assert.ok(isOld || (isNew && page < N / 2), `page ${page} is neither`);
  }
}

/** What is in the mirror already needs no fault; what the CPU took away needs one. */
async function faultsCounted(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  const address = await fixture.mapFilled(pattern());
  const seen = new Int32Array(INTS);
  assert.deepEqual(await mirror.read(address, seen), { cpages: N, faults: 1 });
  assert.deepEqual(await mirror.read(address, seen), { cpages: N, faults: 0 });
  await space.madvise(address, PAGE, "dontneed");
  assert.deepEqual(await mirror.read(address, seen), { cpages: N, faults: 1 });
  assert.deepEqual(seen, pattern().fill(0, 0, PAGE / 4));
}

/** What has no room stays where it is, whole. */
async function deviceFull(fixture: Fixture): Promise<void> {
  const { mirror } = fixture;
  const ints = (2 * SMALL_DEVICE_PAGES * PAGE) / 4;
  const address = await fixture.mapFilled(pattern(ints));
  const moved = await mirror.migrateToDevice(address, 2 * SMALL_DEVICE_PAGES);
  assert.ok(["ENOENT", "ENOMEM"].includes(moved.failed ?? ""), JSON.stringify(moved));
  assert.deepEqual(fixture.load(address, ints), pattern(ints));
  await mirror.migrateToSystem(address, 2 * SMALL_DEVICE_PAGES);
  const again = await mirror.migrateToDevice(address, SMALL_DEVICE_PAGES);
  assert.deepEqual([again.failed, again.cpages], [undefined, SMALL_DEVICE_PAGES]);
}

/** A device that closes gives its pages back to every space that shares them. */
async function closeBesideChild(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  const address = await fixture.mapFilled(pattern());
  await mirror.migrateToDevice(address, N);
  await using child = await space.fork();
  await mirror.device[Symbol.asyncDispose]();
  assert.deepEqual(fixture.load(address, INTS, child), pattern());
  fixture.fill(address, negative());
  assert.deepEqual(fixture.load(address, INTS, child), pattern());
  assert.deepEqual(fixture.load(address, INTS), negative());
}

/** Linux counts a huge page that moves whole as one; here the count is always of 4 KiB pages. */
async function migrateToSysHuge(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  const mapped = await space.mmap(2 * HUGE);
  const address = Math.ceil(mapped / HUGE) * HUGE;
  await space.madvise(address, HUGE, "hugepage");
  fixture.fill(address, pattern(HUGE / 4));
  const pages = HUGE / PAGE;
  assert.equal((await mirror.migrateToDevice(address, pages)).cpages, pages);
  assert.equal((await mirror.migrateToSystem(address, pages)).cpages, pages);
  assert.equal((await mirror.migrateToSystem(address, pages)).cpages, 0, "nothing is there");
  assert.deepEqual(fixture.load(address, HUGE / 4), pattern(HUGE / 4));
}

export const beyondCases: readonly ConformanceCase[] = [
  { fixture: "beyond", name: "check_exclusive_held", run: checkExclusiveHeld },
  { fixture: "beyond", name: "exclusive_write", run: exclusiveWrite },
  { fixture: "beyond2", name: "exclusive_snapshot", run: exclusiveSnapshot },
  { fixture: "beyond", name: "migrate_then_access", run: migrateThenAccess },
  { fixture: "beyond", name: "bad_arguments", run: badArguments },
  { fixture: "beyond", name: "write_half_way", run: writeHalfWay },
  { fixture: "beyond", name: "faults_counted", run: faultsCounted },
  {
    fixture: "beyond",
    name: "device_full",
    run: deviceFull,
    deviceBytes: SMALL_DEVICE_PAGES * PAGE,
  },
  { fixture: "beyond", name: "close_beside_child", run: closeBesideChild },
  { fixture: "beyond", name: "migrate_to_sys_huge", run: migrateToSysHuge },
];
