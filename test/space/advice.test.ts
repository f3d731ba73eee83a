/** @module madvise: read-ahead, pages that leave RAM, pages that are populated. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Advice, type AddressSpace, HmmError, SegmentationFault } from "../../src/index.ts";
import { PAGE, withSpace } from "./fixture.ts";
import { MemorySource } from "./memory-source.ts";

const code = (expected: string) => (error: unknown) =>
  error instanceof HmmError && error.code === expected;

function mapShared(space: AddressSpace, source: MemorySource, pages: number): number {
  return space.mmapSync(pages * PAGE, { source, shared: true });
}

const present = (space: AddressSpace, at: number, pages: number): number =>
  space.pagemapSync(at, pages * PAGE).filter((page) => page.present).length;

describe("read-ahead", () => {
  test("random reads the page alone, sequential much at once, normal as it was", () =>
    withSpace(
      (space) => {
        const source = new MemorySource(2048 * PAGE);
        const p = mapShared(space, source, 2048);
        const readFor = (page: number, advice: Advice): number => {
          space.madviseSync(p, 2048 * PAGE, advice);
          const before = source.pagesRead;
          assert.equal(space.u32.load(p + page * PAGE), source.wordAt(page * PAGE));
          return source.pagesRead - before;
        };
        assert.equal(readFor(1000, "random"), 1);
        assert.equal(readFor(1001, "random"), 1, "not as a reader in order either");
        assert.equal(readFor(200, "sequential"), 256);
        assert.equal(readFor(600, "normal"), 4);
        assert.equal(space.mapsSync().length, 1);
      },
      { ramBytes: 32 * 2 ** 20 },
    ));

  test("advice about a part splits the mapping, and the other advice joins it again", () =>
    withSpace((space) => {
      const p = space.mmapSync(8 * PAGE);
      space.madviseSync(p + 2 * PAGE, 2 * PAGE, "random");
      assert.equal(space.mapsSync().length, 3);
      space.madviseSync(p, 8 * PAGE, "sequential");
      assert.equal(space.mapsSync().length, 1);
      space.madviseSync(p, PAGE, "normal");
      assert.equal(space.mapsSync().length, 2);
    }));

  test("at the limit of mappings it is EAGAIN, and nothing has changed", () =>
    withSpace(
      (space) => {
        const p = space.mmapSync(8 * PAGE);
        assert.throws(() => space.madviseSync(p + PAGE, PAGE, "random"), code("EAGAIN"));
        assert.equal(space.mapsSync().length, 1);
        space.madviseSync(p, PAGE, "random");
        assert.equal(space.mapsSync().length, 2);
      },
      { limits: { mappings: 2 } },
    ));

  test("willneed reads ahead, without an entry, and into half of the free RAM at most", () =>
    withSpace(
      (space) => {
        const source = new MemorySource(1024 * PAGE);
        const p = mapShared(space, source, 1024);
        space.madviseSync(p + PAGE, 10 * PAGE, "willneed");
        assert.deepEqual(new Set(source.readPages), new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
        assert.equal(present(space, p, 1024), 0);
        const reads = source.pagesRead;
        assert.equal(space.u32.load(p + 5 * PAGE), source.wordAt(5 * PAGE));
        assert.equal(source.pagesRead, reads);
        const { freeBytes } = space.statsSync().ram;
        space.madviseSync(p, 1024 * PAGE, "willneed");
        assert.ok(space.statsSync().ram.freeBytes >= freeBytes / 2 - 4 * PAGE);
        source.failure = new Error("the disk is gone");
        space.madviseSync(p, 1024 * PAGE, "willneed"); // who touches the page finds out
        assert.throws(() => space.u8.load(p + 1000 * PAGE), SegmentationFault);
      },
      { ramBytes: 256 * PAGE },
    ));
});

describe("pages that leave RAM", () => {
  test("cold: the entries go, the contents stay; private copies stay as they are", () =>
    withSpace((space) => {
      const source = new MemorySource(8 * PAGE);
      const p = mapShared(space, source, 8);
      const q = space.mmapSync(8 * PAGE, { source });
      for (let page = 0; page < 8; page++) space.u32.load(q + page * PAGE);
      space.u32.store(p, 7);
      space.u32.store(q + 2 * PAGE, 9);
      const reads = source.pagesRead;
      space.madviseSync(p, 8 * PAGE, "cold");
      space.madviseSync(q, 8 * PAGE, "cold");
      assert.equal(present(space, p, 8), 0);
      assert.deepEqual(
        space.pagemapSync(q, 8 * PAGE).flatMap(({ present: is }, page) => (is ? [page] : [])),
        [2],
      );
      assert.equal(space.u32.load(p), 7);
      assert.equal(space.u32.load(q + 2 * PAGE), 9);
      assert.equal(space.u32.load(q + 3 * PAGE), source.wordAt(3 * PAGE));
      assert.equal(source.pagesRead, reads);
    }));

  test("pageout: what is newer is written, and the frames are free", () =>
    withSpace((space) => {
      const source = new MemorySource(64 * PAGE);
      const p = mapShared(space, source, 64);
      for (let page = 0; page < 64; page++) space.u32.store(p + page * PAGE, page + 1);
      const used = space.statsSync().ram.usedBytes;
      space.madviseSync(p + 16 * PAGE, 32 * PAGE, "pageout");
      assert.equal(used - space.statsSync().ram.usedBytes, 32 * PAGE);
      assert.equal(source.stored(20 * PAGE), 21);
      assert.notEqual(source.stored(2 * PAGE), 3);
      for (let page = 0; page < 64; page++) assert.equal(space.u32.load(p + page * PAGE), page + 1);
    }));

  test("pageout: what cannot be written stays, and what another space maps", () =>
    withSpace((space) => {
      const source = new MemorySource(4 * PAGE);
      const p = mapShared(space, source, 4);
      space.u32.store(p, 5);
      source.failure = new Error("no room");
      space.madviseSync(p, 4 * PAGE, "pageout");
      assert.equal(space.u32.load(p), 5);
      source.failure = undefined;
      using child = space.forkSync();
      assert.equal(child.u32.load(p), 5);
      const used = space.statsSync().ram.usedBytes;
      space.madviseSync(p, PAGE, "pageout");
      assert.equal(space.statsSync().ram.usedBytes, used);
      assert.equal(source.stored(0), 5);
      assert.equal(present(child, p, 1), 1);
    }));

  test("free is for private anonymous memory", () =>
    withSpace((space) => {
      const p = space.mmapSync(4 * PAGE);
      space.u32.store(p, 1);
      space.madviseSync(p, 4 * PAGE, "free");
      assert.equal(space.u32.load(p), 0);
      const shared = space.mmapSync(PAGE, { shared: true });
      assert.throws(() => space.madviseSync(shared, PAGE, "free"), code("EINVAL"));
      const source = space.mmapSync(PAGE, { source: new MemorySource(PAGE) });
      assert.throws(() => space.madviseSync(source, PAGE, "free"), code("EINVAL"));
    }));
});

describe("populate", () => {
  test("read gives the page of zeros, write a frame, populate what fits the mapping", () =>
    withSpace(
      (space) => {
        const p = space.mmapSync(1200 * PAGE);
        const frames = (): number => space.statsSync().residentBytes / PAGE;
        space.madviseSync(p, 1200 * PAGE, "populate-read");
        assert.deepEqual([present(space, p, 1200), frames()], [1200, 0]);
        space.madviseSync(p, 700 * PAGE, "populate-write");
        assert.equal(frames(), 700);
        space.madviseSync(p, 1200 * PAGE, "populate");
        assert.equal(frames(), 1200);
        const { faults } = space.statsSync();
        for (let page = 0; page < 1200; page++) space.u32.store(p + page * PAGE, page);
        assert.equal(space.statsSync().faults, faults, "all had been there");
      },
      { ramBytes: 8 * 2 ** 20 },
    ));

  test("it ends at the first hole, and at a mapping without the right", () =>
    withSpace((space) => {
      const p = space.mmapSync(6 * PAGE);
      space.munmapSync(p + 2 * PAGE, PAGE);
      space.mprotectSync(p + 4 * PAGE, PAGE, "read");
      assert.throws(() => space.madviseSync(p, 6 * PAGE, "populate-write"), code("ENOMEM"));
      assert.equal(present(space, p, 6), 2);
      const q = p + 3 * PAGE;
      assert.throws(() => space.madviseSync(q, 3 * PAGE, "populate-write"), code("EINVAL"));
      assert.equal(present(space, p, 6), 3);
      space.madviseSync(q, 3 * PAGE, "populate");
      assert.equal(present(space, p, 6), 5);
    }));

  test("a source is read; past its end it is EFAULT; a private page becomes a copy", () =>
    withSpace((space) => {
      const source = new MemorySource(6 * PAGE);
      const p = space.mmapSync(8 * PAGE, { source });
      assert.throws(() => space.madviseSync(p, 8 * PAGE, "populate-read"), code("EFAULT"));
      assert.equal(present(space, p, 8), 6);
      space.madviseSync(p, 2 * PAGE, "populate-write");
      assert.deepEqual(
        space.pagemapSync(p, 3 * PAGE).map(({ writable }) => writable),
        [true, true, false],
      );
      assert.equal(space.u32.load(p + PAGE), source.wordAt(PAGE));
    }));

  test("no RAM is ENOMEM, and what there was is populated", () =>
    withSpace(
      (space) => {
        const p = space.mmapSync(100 * PAGE);
        assert.throws(() => space.madviseSync(p, 100 * PAGE, "populate"), code("ENOMEM"));
        assert.ok(present(space, p, 100) > 32);
      },
      { ramBytes: 64 * PAGE },
    ));
});
