/** @module smaps and the counters of stats: what is in memory, and what has happened. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { AddressSpace, MemoryUse, SmapsEntry } from "../../src/index.ts";
import { PAGE, makeSpace, withSpace } from "./fixture.ts";
import { MemorySource } from "./memory-source.ts";

/** Of the mapping at `address`, in pages: size, resident, shared, dirty. */
function useOf(space: AddressSpace, address: number): number[] {
  const { mappings, total } = space.smapsSync();
  const entry = mappings.find(({ start }) => start === address);
  assert.ok(entry !== undefined, "there is no such mapping");
  checkSums(mappings, total);
  const { sizeBytes, residentBytes, sharedBytes, dirtyBytes } = entry;
  return [sizeBytes, residentBytes, sharedBytes, dirtyBytes].map((bytes) => bytes / PAGE);
}

function checkSums(mappings: readonly SmapsEntry[], total: MemoryUse): void {
  const names = [
    "sizeBytes",
    "residentBytes",
    "sharedBytes",
    "privateBytes",
    "dirtyBytes",
    "hugeBytes",
    "deviceBytes",
  ] as const;
  for (const name of names) {
    const sum = mappings.reduce((bytes, entry) => bytes + entry[name], 0);
    assert.equal(total[name], sum, name);
  }
  for (const use of [total, ...mappings]) {
    assert.equal(use.sharedBytes + use.privateBytes, use.residentBytes);
    const onDevices = use.devices.reduce((bytes, { bytes: of }) => bytes + of, 0);
    assert.equal(onDevices, use.deviceBytes);
  }
}

test("private memory: touched, forked, written by one side", () =>
  withSpace((space) => {
    const p = space.mmapSync(8 * PAGE);
    for (let page = 0; page < 4; page++) space.u32.store(p + page * PAGE, 1);
    space.u32.load(p + 5 * PAGE);
    assert.deepEqual(useOf(space, p), [8, 4, 0, 4]);
    using child = space.forkSync();
    assert.deepEqual(useOf(space, p), [8, 4, 4, 4]);
    child.u32.store(p, 2);
    assert.deepEqual(useOf(child, p), [8, 4, 3, 4]);
    assert.deepEqual(useOf(space, p), [8, 4, 3, 4]);
    space.mprotectSync(p, 2 * PAGE, "none");
    assert.deepEqual(useOf(space, p), [2, 2, 1, 2]);
    assert.deepEqual(useOf(space, p + 2 * PAGE), [6, 2, 2, 2]);
  }));

test("a pinned page is shared with nobody; a shared one with the other mapping", () =>
  withSpace((space) => {
    const p = space.mmapSync(2 * PAGE);
    using view = space.viewSync(p, 2 * PAGE, "write");
    view.bytes.fill(1);
    assert.deepEqual(useOf(space, p), [2, 2, 0, 2]);
    const shared = space.mmapSync(4 * PAGE, { shared: true });
    space.u32.store(shared, 1);
    space.u32.load(shared + PAGE);
    assert.deepEqual(useOf(space, shared), [4, 2, 0, 1]);
    using child = space.forkSync();
    child.u32.load(shared); // and maps what lies beside
    assert.deepEqual(useOf(space, shared), [4, 2, 2, 1]);
    const buffer = space.mmapSync(PAGE, { buffer: new SharedArrayBuffer(PAGE) });
    space.u8.store(buffer, 1);
    assert.deepEqual(useOf(space, buffer), [1, 1, 1, 1]);
  }));

test("of a source dirty is what is not written back", () =>
  withSpace((space) => {
    const source = new MemorySource(8 * PAGE);
    const p = space.mmapSync(8 * PAGE, { source, shared: true });
    const q = space.mmapSync(8 * PAGE, { source });
    space.madviseSync(p, 8 * PAGE, "populate-read");
    space.u32.store(p, 1);
    space.u32.store(p + PAGE, 1);
    assert.deepEqual(useOf(space, p), [8, 8, 0, 2]);
    space.u32.load(q + 3 * PAGE); // and maps what lies beside
    space.u32.store(q + 4 * PAGE, 1);
    assert.deepEqual(useOf(space, p), [8, 8, 7, 2]);
    assert.deepEqual(useOf(space, q), [8, 8, 7, 3]);
    space.msyncSync(p, PAGE);
    assert.deepEqual(useOf(space, p), [8, 8, 7, 1]);
  }));

test("both forms say the same", async () => {
  await using space = makeSpace();
  const p = space.mmapSync(2 * PAGE);
  space.u8.store(p, 1);
  assert.deepEqual(await space.smaps(), space.smapsSync());
});

test("counters: each kind of fault once, and none for what needs no fault", () =>
  withSpace((space) => {
    const changed = (work: () => void): Record<string, number> => {
      const before = new Map(Object.entries(space.statsSync().counters));
      work();
      const entries = Object.entries(space.statsSync().counters).map(
        ([name, value]) => [name, value - (before.get(name) ?? 0)] as const,
      );
      return Object.fromEntries(entries.filter(([, by]) => by !== 0));
    };
    const p = space.mmapSync(8 * PAGE);
    assert.deepEqual(
      changed(() => space.u8.load(p)),
      { zeroFaults: 1 },
    );
    assert.deepEqual(
      changed(() => space.u8.store(p + PAGE, 1)),
      { anonymousFaults: 1 },
    );
    assert.deepEqual(
      changed(() => space.u8.store(p, 1)),
      { anonymousFaults: 1, invalidations: 1 },
    );
    assert.deepEqual(
      changed(() => space.u8.store(p, 2)),
      {},
    );
    const child = space.forkSync();
    assert.deepEqual(
      changed(() => space.u8.store(p, 3)),
      { copyFaults: 1, invalidations: 1 },
    );
    child.disposeSync();
    assert.deepEqual(
      changed(() => space.u8.store(p + PAGE, 3)),
      { writeFaults: 1 },
    );
    space.mprotectSync(p, PAGE, "none");
    space.mprotectSync(p, PAGE, "read");
    assert.deepEqual(
      changed(() => space.u8.load(p)),
      { protectionFaults: 1 },
    );
    assert.deepEqual(
      changed(() => space.munmapSync(p, 8 * PAGE)),
      { invalidations: 1 },
    );
    const shared = space.mmapSync(PAGE, { shared: true });
    assert.deepEqual(
      changed(() => space.u8.store(shared, 1)),
      { sharedFaults: 1 },
    );
    const source = space.mmapSync(8 * PAGE, { source: new MemorySource(8 * PAGE), shared: true });
    assert.deepEqual(
      changed(() => space.u8.load(source)),
      { sourceReads: 1, sourceFaults: 1 },
    );
    assert.deepEqual(
      changed(() => space.u8.store(source, 1)),
      { writeFaults: 1 },
    );
    assert.deepEqual(
      changed(() => space.u8.load(source + PAGE)),
      {}, // it was mapped beside the first
    );
    space.madviseSync(source + PAGE, PAGE, "dontneed");
    assert.deepEqual(
      changed(() => space.u8.load(source + PAGE)),
      { sourceFaults: 1 },
    );
  }));

test("huge pages are told apart, also when one is split", () =>
  withSpace(
    (space) => {
      const huge = 512 * PAGE;
      const p = space.mmapSync(huge, { address: 2 ** 40, fixed: "noreplace" });
      space.madviseSync(p, huge, "hugepage");
      space.u32.store(p, 1);
      assert.equal(space.smapsSync().total.hugeBytes, huge);
      const { hugeFaults, hugeSplits, anonymousFaults } = space.statsSync().counters;
      assert.deepEqual([hugeFaults, hugeSplits, anonymousFaults], [1, 0, 0]);
      using child = space.forkSync();
      child.u32.store(p + 5 * PAGE, 1);
      assert.deepEqual(useOf(space, p), [512, 512, 511, 512]);
      assert.equal(space.smapsSync().total.hugeBytes, huge);
      assert.equal(child.smapsSync().total.hugeBytes, 0);
      assert.ok(child.statsSync().counters.hugeSplits > 0);
    },
    { ramBytes: 16 * 2 ** 20 },
  ));
