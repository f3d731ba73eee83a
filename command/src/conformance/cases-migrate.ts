/**
 * @module Cases of Linux's HMM selftests about pages that move to a device and back, about what a
 * snapshot says of them, about exclusive access, and about pins and forks of a device's pages.
 */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { ConformanceCase } from "./cases.ts";
import { INTS, N, PAGE, STD, bytesOf, pattern } from "./fixture.ts";
import type { Fixture } from "./fixture.ts";

const MOVED = { cpages: N, faults: 0 } as const;
const HALF: number = INTS / 2;

async function migrate(fixture: Fixture): Promise<void> {
  const address = await fixture.mapFilled(pattern());
  const seen = new Int32Array(INTS);
  assert.deepEqual(await fixture.mirror.migrateToDevice(address, N, seen), MOVED);
  assert.deepEqual(seen, pattern());
}

async function migrateFilePrivate(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  const folder = mkdtempSync(join(tmpdir(), "hmm-conformance-"));
  try {
    const path = join(folder, "file");
    writeFileSync(path, new Uint8Array(STD));
    const address = await space.mmap(STD, { source: path });
    await space.write(address, bytesOf(pattern()));
    const seen = new Int32Array(INTS);
    assert.deepEqual(await mirror.migrateToDevice(address, N, seen), MOVED);
    assert.deepEqual(seen, pattern());
    await space.munmap(address, STD);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function migrateFault(fixture: Fixture): Promise<void> {
  const { mirror } = fixture;
  const address = await fixture.mapFilled(pattern());
  const seen = new Int32Array(INTS);
  assert.deepEqual(await mirror.migrateToDevice(address, N, seen), MOVED);
  assert.deepEqual(seen, pattern());
  assert.deepEqual(fixture.load(address, HALF), pattern(HALF));
  seen.fill(0);
  assert.deepEqual(await mirror.migrateToDevice(address, N, seen), MOVED, "some are there yet");
  assert.deepEqual(seen, pattern());
}

async function migrateRelease(fixture: Fixture): Promise<void> {
  const { mirror } = fixture;
  const address = await fixture.mapFilled(pattern());
  assert.deepEqual(await mirror.migrateToDevice(address, N), MOVED);
  assert.equal(await mirror.device.evictAll(), 0, "pages that stay");
  assert.equal(mirror.device.statsSync().residentPages, 0);
  assert.deepEqual(fixture.load(address, HALF), pattern(HALF));
}

async function migrateShared({ space, mirror }: Fixture): Promise<void> {
  const address = await space.mmap(STD, { shared: true });
  assert.deepEqual(await mirror.migrateToDevice(address, N), { failed: "ENOENT" });
}

async function migrateMixed(fixture: Fixture): Promise<void> {
  const { space, mirror, other } = fixture;
  const address = await space.mmap(6 * PAGE, { protection: "none" });
  const at = (page: number): number => address + page * PAGE;
  assert.deepEqual(await other.migrateToDevice(address, 6), { failed: "EINVAL" });
  await space.munmap(at(1), PAGE);
  assert.deepEqual(await other.migrateToDevice(address, 3), { failed: "EINVAL" });
  await space.mprotect(at(2), PAGE, "read");
  const value = space.i32.load(at(2)) + 3;
  assert.equal(value, 3);
  await space.mprotect(at(3), PAGE, "read-write");
  space.i32.store(at(3), value);
  await space.mprotect(at(3), PAGE, "read");
  await space.mprotect(at(4), 2 * PAGE, "read-write");
  space.i32.store(at(4), value);
  space.i32.store(at(5), value);
  const seen = new Int32Array(PAGE);
  assert.deepEqual(await other.migrateToDevice(at(2), 4, seen), { cpages: 4, faults: 0 });
  assert.deepEqual(
    [0, 1, 2, 3].map((page) => seen[(page * PAGE) / 4]),
    [0, 3, 3, 3],
  );
  assert.deepEqual(await mirror.migrateToDevice(at(5), 1), { failed: "ENOENT" });
  // Linux's case asks for the hole only where the page before it may not be read either.
  await space.mprotect(address, PAGE, "read");
  assert.deepEqual(await other.migrateToDevice(address, 3), { failed: "EINVAL" }, "the hole");
}

async function migrateMultiple(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  for (let c = 0; c < 10; c++) {
    const address = await fixture.mapFilled(pattern(INTS, c));
    const seen = new Int32Array(INTS);
    assert.deepEqual(await mirror.migrateToDevice(address, N, seen), MOVED);
    assert.deepEqual(seen, pattern(INTS, c));
    if (!fixture.isPrivate) assert.deepEqual(await mirror.migrateToSystem(address, N), MOVED);
    assert.deepEqual(fixture.load(address, INTS), pattern(INTS, c));
    await space.munmap(address, STD);
  }
}

async function snapshot(fixture: Fixture): Promise<void> {
  const { space, mirror, other, isPrivate } = fixture;
  const address = await space.mmap(7 * PAGE, { protection: "none" });
  const at = (page: number): number => address + page * PAGE;
  await space.munmap(at(1), PAGE);
  await space.mprotect(at(2), PAGE, "read");
  const value = space.i32.load(at(2)) + 3;
  await space.mprotect(at(3), PAGE, "read-write");
  space.i32.store(at(3), value);
  await space.mprotect(at(3), PAGE, "read");
  await space.mprotect(at(4), 3 * PAGE, "read-write");
  space.i32.store(at(4), value);
  assert.deepEqual(await mirror.migrateToDevice(at(5), 1), { cpages: 1, faults: 0 });
  assert.deepEqual(await other.migrateToDevice(at(6), 1), { cpages: 1, faults: 0 });
  const last = isPrivate ? "none" : "other-write";
  const expected = ["error", "error", "zero", "read", "write", "own-write", last];
  assert.deepEqual(await mirror.snapshot(address, 7), expected);
}

async function doubleMap(fixture: Fixture): Promise<void> {
  const { space, mirror, other } = fixture;
  const ints = (6 * PAGE) / 4;
  const address = await fixture.mapFilled(pattern(ints));
  await space.mprotect(address, 6 * PAGE, "read");
  const once = { cpages: 6, faults: 1 };
  for (const reader of [mirror, other]) {
    const seen = new Int32Array(ints);
    assert.deepEqual(await reader.read(address, seen), once);
    assert.deepEqual(seen, pattern(ints));
  }
  assert.deepEqual(await other.migrateToDevice(address, 6), { cpages: 6, faults: 0 });
  const seen = new Int32Array(ints);
  assert.deepEqual(await mirror.read(address, seen), once, "its mirror was invalidated");
  assert.deepEqual(seen, pattern(ints));
}

async function exclusive(fixture: Fixture): Promise<void> {
  const { mirror } = fixture;
  const address = await fixture.mapFilled(pattern());
  const seen = new Int32Array(INTS);
  assert.deepEqual(await mirror.exclusive(address, N, seen), MOVED);
  assert.deepEqual(seen, pattern());
  assert.deepEqual(await mirror.checkExclusive(address, N), { failed: "EPERM" });
  assert.deepEqual(fixture.increment(address, INTS), pattern());
  assert.deepEqual(fixture.load(address, INTS), pattern(INTS, 1));
  assert.deepEqual(await mirror.checkExclusive(address, N), {});
}

async function exclusiveMprotect(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  const address = await fixture.mapFilled(pattern());
  const seen = new Int32Array(INTS);
  assert.deepEqual(await mirror.exclusive(address, N, seen), MOVED);
  assert.deepEqual(seen, pattern());
  await space.mprotect(address, STD, "read");
  assert.deepEqual(await mirror.write(address, pattern()), { failed: "EPERM" });
}

async function exclusiveCow(fixture: Fixture): Promise<void> {
  const address = await fixture.mapFilled(pattern());
  assert.deepEqual(await fixture.mirror.exclusive(address, N, new Int32Array(INTS)), MOVED);
  await fixture.inChild(async (child) => {
    for (const space of [fixture.space, child]) {
      assert.deepEqual(fixture.increment(address, INTS, space), pattern());
      assert.deepEqual(fixture.load(address, INTS, space), pattern(INTS, 1));
    }
    await Promise.resolve();
  });
}

/**
 * A short pin is an access through the frame (`read`, `write`), which leaves a coherent page where
 * it is. A long one is a view, which must lie in RAM.
 */
async function gupTest(fixture: Fixture): Promise<void> {
  const { space, mirror, isPrivate } = fixture;
  const ints = PAGE;
  const address = await fixture.mapFilled(pattern(ints));
  const seen = new Int32Array(ints);
  const moved = await mirror.migrateToDevice(address, 4, seen);
  assert.deepEqual(moved, { cpages: 4, faults: 0 });
  assert.deepEqual(seen, pattern(ints));
  space.writeSync(address, bytesOf(pattern(1)));
  space.i32.atomicAdd(address + PAGE, 0);
  for (const page of [2, 3]) {
    using view = await space.view(address + page * PAGE, PAGE, "write");
    assert.equal(view.as(Int32Array)[0], (page * PAGE) / 4);
  }
  const first = isPrivate ? "write" : "own-write";
  assert.deepEqual(await mirror.snapshot(address, 4), [first, first, "write", "write"]);
  assert.deepEqual(fixture.load(address, ints), pattern(ints));
}

async function cowInDevice(fixture: Fixture): Promise<void> {
  const { mirror } = fixture;
  const ints = PAGE;
  const address = await fixture.mapFilled(pattern(ints));
  const moved = await mirror.migrateToDevice(address, 4);
  assert.deepEqual(moved, { cpages: 4, faults: 0 });
  await fixture.inChild(async (child) => {
    fixture.fill(address, pattern(ints, 1));
    assert.deepEqual(fixture.load(address, ints, child), pattern(ints));
    await Promise.resolve();
  });
  assert.deepEqual(await mirror.snapshot(address, 4), ["write", "write", "write", "write"]);
  assert.deepEqual(fixture.load(address, ints), pattern(ints, 1));
}

export const migrateCases: readonly ConformanceCase[] = [
  { fixture: "hmm", name: "migrate", run: migrate },
  { fixture: "hmm", name: "migrate_file_private", run: migrateFilePrivate },
  { fixture: "hmm", name: "migrate_fault", run: migrateFault },
  { fixture: "hmm", name: "migrate_release", run: migrateRelease },
  { fixture: "hmm", name: "migrate_shared", run: migrateShared },
  { fixture: "hmm2", name: "migrate_mixed", run: migrateMixed },
  { fixture: "hmm", name: "migrate_multiple", run: migrateMultiple },
  { fixture: "hmm2", name: "snapshot", run: snapshot },
  { fixture: "hmm2", name: "double_map", run: doubleMap },
  { fixture: "hmm", name: "exclusive", run: exclusive },
  { fixture: "hmm", name: "exclusive_mprotect", run: exclusiveMprotect },
  { fixture: "hmm", name: "exclusive_cow", run: exclusiveCow },
  { fixture: "hmm", name: "hmm_gup_test", run: gupTest },
  { fixture: "hmm", name: "hmm_cow_in_device", run: cowInDevice },
];
