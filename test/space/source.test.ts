/**
 * @module Mappings of a program's own source: pages that are read when they are touched, shared by
 * all mappings, written back by msync and by the last unmap; what fails, and what is kept then.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type AddressSpace,
  HmmError,
  type MappingSource,
  SegmentationFault,
} from "../../src/index.ts";
import { MIB, PAGE, accountingOf, makeSpace, withSpace } from "./fixture.ts";
import { MemorySource } from "./memory-source.ts";

const code = (expected: string) => (error: unknown) =>
  error instanceof HmmError && error.code === expected;
const bus = (error: unknown): boolean =>
  error instanceof SegmentationFault && error.signal === "SIGBUS";

test("a private mapping reads the source, and keeps stores to itself", () =>
  withSpace((space) => {
    const source = new MemorySource(4 * PAGE);
    const p = space.mmapSync(4 * PAGE, { source });
    assert.equal(space.u32.load(p + 2 * PAGE), source.wordAt(2 * PAGE));
    space.u32.store(p + 2 * PAGE, 7);
    assert.equal(space.u32.load(p + 2 * PAGE), 7);
    assert.equal(space.u32.load(p + 2 * PAGE + 4), source.wordAt(2 * PAGE + 4));
    const other = space.mmapSync(4 * PAGE, { source });
    assert.equal(space.u32.load(other + 2 * PAGE), source.wordAt(2 * PAGE));
    space.msyncSync(p, 4 * PAGE);
    space.munmapSync(p, 4 * PAGE);
    assert.equal(source.writes, 0);
  }));

test("an offset past every source is refused, and no page is another one's", () =>
  withSpace((space) => {
    const source = new MemorySource(8 * PAGE);
    for (const offsetBytes of [2 ** 44, 2 ** 44 - PAGE, 2 ** 45 + PAGE, 2 ** 50])
      assert.throws(
        () => space.mmapSync(2 * PAGE, { source, offsetBytes }),
        code("EINVAL"),
        String(offsetBytes),
      );
    const far = space.mmapSync(2 * PAGE, { source, offsetBytes: 2 ** 43 });
    assert.throws(() => space.u32.load(far), bus);
    const most = 2 ** 44 - 2 ** 24;
    const p = space.mmapSync(PAGE, { source, offsetBytes: 2 ** 25 });
    assert.throws(() => space.mremapSync(p, PAGE, most, { mayMove: true }), code("EINVAL"));
    assert.equal(space.u32.load(space.mmapSync(PAGE, { source })), source.wordAt(0));
  }));

test("pages are read once for all mappings, from an offset", () =>
  withSpace((space) => {
    const source = new MemorySource(64 * PAGE);
    const p = space.mmapSync(8 * PAGE, { source, offsetBytes: 8 * PAGE });
    const q = space.mmapSync(64 * PAGE, { source, shared: true });
    for (let i = 0; i < 8; i++)
      assert.equal(space.u32.load(p + i * PAGE), source.wordAt((8 + i) * PAGE));
    const reads = source.pagesRead;
    for (let i = 8; i < 16; i++)
      assert.equal(space.u32.load(q + i * PAGE), source.wordAt(i * PAGE));
    assert.equal(source.pagesRead, reads);
    const read = source.readPages;
    assert.equal(new Set(read).size, read.length, "a page was read twice");
  }));

test("a shared store is seen by all mappings and written by msync", () =>
  withSpace((space) => {
    const source = new MemorySource(4 * PAGE);
    const p = space.mmapSync(4 * PAGE, { source, shared: true });
    const q = space.mmapSync(4 * PAGE, { source });
    assert.equal(space.u32.load(q), source.wordAt(0));
    space.u32.store(p, 99);
    assert.equal(space.u32.load(q), 99, "a private mapping has no copy before its own store");
    assert.equal(source.writes, 0);
    space.msyncSync(p, 4 * PAGE);
    assert.equal(source.stored(0), 99);
    assert.equal(source.pagesWritten, 1);
    space.msyncSync(p, 4 * PAGE);
    assert.equal(source.pagesWritten, 1, "a clean page is not written");
    space.u32.store(p, 100);
    space.msyncSync(p, 4 * PAGE);
    assert.equal(source.stored(0), 100, "a store after the write-back marks the page again");
  }));

test("the last unmap writes back, a fork's mapping is one", async () => {
  const source = new MemorySource(4 * PAGE);
  const space = makeSpace();
  const p = space.mmapSync(4 * PAGE, { source, shared: true });
  const child = space.forkSync();
  child.u32.store(p + PAGE, 5);
  assert.equal(space.u32.load(p + PAGE), 5);
  space.munmapSync(p, 4 * PAGE);
  assert.equal(source.writes, 0);
  child.u32.store(p + PAGE, 6);
  await child.dispose();
  assert.equal(source.stored(PAGE), 6);
  await space.dispose();
});

test("nothing is left behind when the source is unmapped", async () => {
  const space = makeSpace();
  const before = accountingOf(space);
  for (let round = 0; round < 3; round++) {
    const source = new MemorySource(32 * PAGE);
    const p = space.mmapSync(32 * PAGE, { source, shared: true });
    const q = space.mmapSync(32 * PAGE, { source });
    for (let i = 0; i < 32; i++) space.u32.store(p + i * PAGE, i);
    for (let i = 0; i < 32; i++) space.u32.store(q + i * PAGE, i + 1);
    space.munmapSync(p, 32 * PAGE);
    space.munmapSync(q, 32 * PAGE);
    assert.equal(source.stored(31 * PAGE), 31);
  }
  // What still waits for the source, in this thread, ends with a turn of the event loop.
  await new Promise((resolve) => setTimeout(resolve, 20));
  const { usedPages, live } = accountingOf(space);
  assert.equal(usedPages, before.usedPages);
  const kept = new Set(["sourceTable"]);
  for (const [name, count] of Object.entries(live))
    if (!kept.has(name) && !name.startsWith("words"))
      assert.equal(count, before.live[name] ?? 0, name);
  await space.dispose();
});

test("past the end an access is SIGBUS, and the last page reads as zeros there", () =>
  withSpace((space) => {
    const source = new MemorySource(PAGE + 8);
    const p = space.mmapSync(4 * PAGE, { source, shared: true });
    assert.equal(space.u32.load(p + PAGE + 4), source.wordAt(PAGE + 4));
    assert.equal(space.u32.load(p + PAGE + 8), 0);
    assert.throws(() => space.u32.load(p + 2 * PAGE), bus);
    assert.throws(() => space.u32.store(p + 3 * PAGE, 1), bus);
    space.u32.store(p + PAGE + 8, 3);
    space.msyncSync(p, 4 * PAGE);
    assert.equal(source.lengthBytes, PAGE + 8, "a mapping does not make the source longer");
  }));

test("a source that grows is seen, one that shrinks is SIGBUS, private copies too", () =>
  withSpace((space) => {
    const source = new MemorySource(2 * PAGE);
    const p = space.mmapSync(4 * PAGE, { source, shared: true });
    const q = space.mmapSync(4 * PAGE, { source });
    space.u32.store(q + PAGE, 1);
    assert.throws(() => space.u32.load(p + 2 * PAGE), bus);
    source.resize(4 * PAGE);
    assert.equal(space.u32.load(p + 3 * PAGE), source.wordAt(3 * PAGE));
    source.resize(PAGE);
    space.u32.store(p, 1);
    space.msyncSync(p, 4 * PAGE);
    for (const base of [p, q]) {
      assert.notEqual(space.u32.load(base), undefined);
      for (let i = 1; i < 4; i++) assert.throws(() => space.u32.load(base + i * PAGE), bus);
    }
  }));

test("a read that throws is SIGBUS, and is tried again", () =>
  withSpace((space) => {
    const source = new MemorySource(4 * PAGE);
    const p = space.mmapSync(4 * PAGE, { source });
    source.failure = new Error("out of order");
    assert.throws(() => space.u32.load(p), bus);
    assert.throws(() => space.viewSync(p, PAGE, "read"), code("EIO"));
    source.failure = undefined;
    assert.equal(space.u32.load(p), source.wordAt(0));
  }));

test("a write-back that fails is reported, and the data are kept", () =>
  withSpace((space) => {
    const source = new MemorySource(4 * PAGE);
    const p = space.mmapSync(4 * PAGE, { source, shared: true });
    space.u32.store(p + PAGE, 5);
    source.failure = Object.assign(new Error("full"), { code: "ENOSPC" });
    assert.throws(
      () => space.msyncSync(p, 4 * PAGE),
      (error) => code("ENOSPC")(error) && (error as Error).cause === source.failure,
    );
    assert.throws(() => space.munmapSync(p, 4 * PAGE), code("ENOSPC"));
    assert.deepEqual(space.mapsSync(), []);
    source.failure = undefined;
    const q = space.mmapSync(4 * PAGE, { source, shared: true });
    assert.equal(space.u32.load(q + PAGE), 5);
    space.msyncSync(q, 4 * PAGE);
    assert.equal(source.stored(PAGE), 5);
  }));

test("msync, advice and a view go over more mappings than a thread may own records", () =>
  withSpace(
    (space) => {
      const pages = 1100;
      const source = new MemorySource(pages * PAGE);
      const p = space.mmapSync(pages * PAGE, { source, shared: true });
      for (let i = 0; i < pages; i += 2) space.mprotectSync(p + i * PAGE, PAGE, "read");
      assert.ok(space.mapsSync().length >= pages);
      for (let i = 1; i < pages; i += 2) space.u32.store(p + i * PAGE, i);
      space.munmapSync(p + 10 * PAGE, PAGE);
      assert.throws(() => space.msyncSync(p, pages * PAGE), code("ENOMEM"));
      for (let i = 1; i < pages; i += 2) assert.equal(source.stored(i * PAGE), i);
      space.msyncSync(p + 11 * PAGE, (pages - 11) * PAGE);
      const [q, bytes] = [p + 11 * PAGE, (pages - 11) * PAGE];
      for (const advice of ["pageout", "willneed"] as const) space.madviseSync(q, bytes, advice);
      space.madviseSync(q, bytes, "pageout");
      const { reads } = source;
      using view = space.viewSync(q, bytes, "read");
      assert.equal(view.bytes.length, bytes);
      assert.ok(source.reads > reads);
    },
    { ramBytes: 16 * MIB, heapBytes: 16 * MIB },
  ));

test("a source without write is for reading", () =>
  withSpace((space) => {
    const source: MappingSource = { lengthBytes: PAGE, read: (_, into) => void into.fill(1) };
    assert.throws(() => space.mmapSync(PAGE, { source, shared: true }), code("EACCES"));
    const p = space.mmapSync(PAGE, { source, shared: true, protection: "read" });
    assert.equal(space.u8.load(p), 1);
    assert.throws(() => space.mprotectSync(p, PAGE, "read-write"), code("EACCES"));
    const q = space.mmapSync(PAGE, { source });
    space.u8.store(q, 2);
    assert.equal(space.u8.load(p), 1);
  }));

test("mprotect, mremap and madvise keep what the source has", () =>
  withSpace((space) => {
    const source = new MemorySource(8 * PAGE);
    const p = space.mmapSync(8 * PAGE, { source });
    space.u32.store(p + PAGE, 1);
    space.mprotectSync(p, 8 * PAGE, "none");
    space.mprotectSync(p, 8 * PAGE, "read-write");
    assert.equal(space.u32.load(p + PAGE), 1);
    space.madviseSync(p + PAGE, PAGE, "dontneed");
    assert.equal(space.u32.load(p + PAGE), source.wordAt(PAGE));
    const q = space.mremapSync(p, 8 * PAGE, 8 * PAGE, { mayMove: true, to: p + 64 * PAGE });
    assert.equal(space.u32.load(q + 5 * PAGE), source.wordAt(5 * PAGE));
    space.munmapSync(q + 2 * PAGE, 2 * PAGE);
    assert.equal(space.mapsSync().length, 2);
    assert.equal(space.u32.load(q + 4 * PAGE), source.wordAt(4 * PAGE));
    space.mmapSync(2 * PAGE, {
      address: q + 2 * PAGE,
      fixed: "noreplace",
      source,
      offsetBytes: 2 * PAGE,
    });
    assert.equal(space.mapsSync().length, 1, "neighbours over one source at one place are one");
    assert.equal(space.mapsSync()[0]?.source, "source");
  }));

test("views are over the frames of the cache", () =>
  withSpace((space) => {
    const source = new MemorySource(16 * PAGE);
    const p = space.mmapSync(16 * PAGE, { source, shared: true });
    const q = space.mmapSync(16 * PAGE, { source });
    const word = (view: Iterable<number>, at: number): number => Array.from(view)[at / 4]!;
    {
      using view = space.viewSync(q, 16 * PAGE, "read");
      assert.equal(word(view.as(Uint32Array), 9 * PAGE), source.wordAt(9 * PAGE));
    }
    assert.equal(source.pagesRead, 16);
    {
      using view = space.viewSync(p + PAGE, 2 * PAGE, "write");
      view.as(Uint32Array)[0] = 77;
      space.msyncSync(p, 16 * PAGE);
      assert.equal(source.stored(PAGE), 77);
      view.as(Uint32Array)[0] = 78;
    }
    space.msyncSync(p, 16 * PAGE);
    assert.equal(source.stored(PAGE), 78, "a store through a view after a write-back is written");
    assert.equal(space.u32.load(q + PAGE), 78);
    {
      using view = space.viewSync(q, 4 * PAGE, "write");
      view.as(Uint32Array)[1] = 5;
    }
    assert.equal(space.u32.load(q + 4), 5);
    assert.equal(space.u32.load(p + 4), source.wordAt(4));
  }));

test("a view that RAM has no room for is refused, and its source is read once at most", () =>
  withSpace(
    (space) => {
      const source = new MemorySource(1024 * PAGE);
      const p = space.mmapSync(1024 * PAGE, { source });
      assert.throws(() => space.viewSync(p, 1024 * PAGE, "read"), code("ENOMEM"));
      assert.equal(source.pagesRead, 0);
      const other = space.mmapSync(200 * PAGE);
      for (let i = 0; i < 200; i++) space.u8.store(other + i * PAGE, 1);
      assert.throws(() => space.viewSync(p, 100 * PAGE, "read"), code("ENOMEM"));
      assert.ok(source.pagesRead <= 110, `${source.pagesRead} pages were read`);
      assert.equal(space.u32.load(p), source.wordAt(0));
    },
    { ramBytes: MIB },
  ));

test("a view outlives the unmap, and what it stores is written", async () => {
  const source = new MemorySource(4 * PAGE);
  const space = makeSpace();
  const p = space.mmapSync(4 * PAGE, { source, shared: true });
  const view = space.viewSync(p, PAGE, "write");
  space.munmapSync(p, 4 * PAGE);
  view.as(Uint32Array)[0] = 3;
  view.disposeSync();
  await space.dispose();
  assert.equal(source.stored(0), 3);
});

test("read and write copy from and to the source", () =>
  withSpace(async (space) => {
    const source = new MemorySource(300 * PAGE);
    const p = space.mmapSync(300 * PAGE, { source, shared: true });
    const bytes = new Uint8Array(300 * PAGE);
    await space.read(p, bytes);
    assert.deepEqual(bytes, source.bytes);
    await space.write(p + 100, new Uint8Array(200 * PAGE).fill(9));
    await space.msync(p, 300 * PAGE);
    assert.ok(source.bytes.subarray(100, 100 + 200 * PAGE).every((byte) => byte === 9));
  }));

/** A source that answers by promises. */
class LateSource extends MemorySource {
  override read(offsetBytes: number, into: Uint8Array): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 1)).then(() =>
      super.read(offsetBytes, into),
    );
  }

  override write(offsetBytes: number, from: Uint8Array): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 1)).then(() =>
      super.write(offsetBytes, from),
    );
  }
}

test("a source may answer later; to block for it is EDEADLK, and goes on by itself", () =>
  withSpace(async (space) => {
    const source = new LateSource(64 * PAGE);
    const p = space.mmapSync(64 * PAGE, { source, shared: true });
    const bytes = new Uint8Array(64 * PAGE);
    await Promise.all([space.read(p, bytes), space.read(p, new Uint8Array(64 * PAGE))]);
    assert.deepEqual(bytes, source.bytes);
    assert.equal(new Set(source.readPages).size, source.readPages.length);
    space.u32.store(p, 1);
    assert.throws(() => space.msyncSync(p, PAGE), code("EDEADLK"));
    await space.msync(p, 64 * PAGE);
    assert.equal(source.stored(0), 1);
    const late = new LateSource(PAGE);
    const q = space.mmapSync(PAGE, { source: late });
    assert.throws(() => space.u32.load(q), code("EDEADLK"));
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(space.u32.load(q), late.wordAt(0));
  }));

test("a late source that fails is SIGBUS for who waits", () =>
  withSpace(async (space) => {
    const source = new LateSource(PAGE);
    source.failure = new Error("gone");
    const p = space.mmapSync(PAGE, { source });
    await assert.rejects(space.read(p, new Uint8Array(8)), bus);
  }));

test("of a late read of many pages that fails, who waits for the first hears", () =>
  withSpace(
    async (space) => {
      const source = new FailingSource(1024 * PAGE);
      const p = space.mmapSync(1024 * PAGE, { source });
      space.madviseSync(p, 1024 * PAGE, "sequential");
      await assert.rejects(space.read(p, new Uint8Array(8)), bus);
      assert.equal(source.tries, 2, "many pages, then the one alone");
    },
    { ramBytes: 16 * MIB },
  ));

/** Cannot be read. */
class FailingSource extends LateSource {
  tries = 0;

  override async read(): Promise<void> {
    this.tries++;
    await Promise.resolve();
    throw new Error("gone");
  }
}

test("a thousand operations wait for a late source at once, and for the end of the space", () =>
  withSpace(
    async (space) => {
      const source = new LateSource(1000 * PAGE);
      const p = space.mmapSync(1000 * PAGE, { source, shared: true });
      space.madviseSync(p, 1000 * PAGE, "random");
      const each = (run: (address: number) => Promise<unknown>) =>
        Promise.all(Array.from({ length: 1000 }, (_, i) => run(p + i * PAGE)));
      await each((address) => space.write(address, Uint8Array.of(7)));
      await each((address) => space.msync(address, PAGE));
      assert.equal(source.pagesWritten, 1000);
      await each((address) => space.madvise(address, PAGE, "pageout"));
      const bytes = new Uint8Array(1000);
      const reads = each((address) => {
        const i = (address - p) / PAGE;
        return space.read(address, bytes.subarray(i, i + 1));
      });
      const end = space[Symbol.asyncDispose]();
      await reads;
      assert.ok(bytes.every((byte) => byte === 7));
      await end;
    },
    { ramBytes: 16 * MIB, heapBytes: 16 * MIB },
  ));

test("one call over pages that lie apart leaves room for others", () =>
  withSpace(
    async (space) => {
      const pages = 1200;
      const source = new LateSource(pages * PAGE);
      const p = space.mmapSync(pages * PAGE, { source, shared: true });
      await space.read(p, new Uint8Array(pages * PAGE));
      for (let i = 0; i < pages; i += 2) space.u32.store(p + i * PAGE, i);
      await space.msync(p, pages * PAGE);
      for (let i = 0; i < pages; i += 2) assert.equal(source.stored(i * PAGE), i);
      space.madviseSync(p, pages * PAGE, "pageout");
      space.madviseSync(p, pages * PAGE, "random");
      for (let i = 0; i < pages; i += 2) await space.read(p + i * PAGE, new Uint8Array(8));
      const ahead = space.madvise(p, pages * PAGE, "willneed");
      const other = space.mmapSync(PAGE, { source: new LateSource(PAGE) });
      await space.read(other, new Uint8Array(8));
      await ahead;
    },
    { ramBytes: 16 * MIB, heapBytes: 16 * MIB },
  ));

/** The first page cannot be written. */
class FullSource extends LateSource {
  isFull = true;

  override async write(offsetBytes: number, from: Uint8Array): Promise<void> {
    await super.write(offsetBytes, from);
    if (offsetBytes === 0 && this.isFull)
      throw Object.assign(new Error("full"), { code: "ENOSPC" });
  }
}

test("of two late writes the first fails, and the second does not: msync tells", () =>
  withSpace(async (space) => {
    const source = new FullSource(3 * PAGE);
    const p = space.mmapSync(3 * PAGE, { source, shared: true });
    await space.read(p, new Uint8Array(3 * PAGE));
    for (const page of [0, 2]) space.u32.store(p + page * PAGE, 5);
    await assert.rejects(space.msync(p, 3 * PAGE), code("ENOSPC"));
    assert.equal(source.stored(2 * PAGE), 5);
    source.isFull = false;
    await space.msync(p, 3 * PAGE);
    assert.equal(source.stored(0), 5);
  }));

test("sequential reads get more and more pages at once, others few", () =>
  withSpace(
    (space) => {
      const source = new MemorySource(1024 * PAGE);
      const p = space.mmapSync(1024 * PAGE, { source });
      for (let i = 0; i < 1024; i++) space.u8.load(p + i * PAGE);
      assert.ok(source.reads < 20, `${source.reads} reads`);
      const random = new MemorySource(1024 * PAGE);
      const q = space.mmapSync(1024 * PAGE, { source: random });
      for (let i = 1000; i > 0; i -= 100) space.u8.load(q + i * PAGE);
      assert.ok(random.pagesRead <= 40, `${random.pagesRead} pages`);
    },
    { ramBytes: 32 * MIB },
  ));

test("a reader that goes backwards gets more and more pages at once, each once", () =>
  withSpace(
    (space) => {
      const source = new MemorySource(1024 * PAGE);
      const p = space.mmapSync(1024 * PAGE, { source });
      for (let i = 1023; i >= 0; i--)
        assert.equal(space.u32.load(p + i * PAGE), source.wordAt(i * PAGE));
      assert.ok(source.reads < 20, `${source.reads} reads`);
      assert.equal(source.pagesRead, 1024);
    },
    { ramBytes: 32 * MIB },
  ));

test("a source larger than RAM: clean pages make room, private copies and dirty pages stay", () =>
  withSpace(
    async (space) => {
      const source = new MemorySource(2048 * PAGE);
      const p = space.mmapSync(2048 * PAGE, { source, shared: true });
      const q = space.mmapSync(2048 * PAGE, { source });
      space.u32.store(p + PAGE, 5);
      space.u32.store(q + 2 * PAGE, 6);
      for (let i = 3; i < 2048; i++) {
        const at = i % 2 === 0 ? p : q;
        assert.equal(space.u32.load(at + i * PAGE), source.wordAt(i * PAGE));
      }
      assert.equal(space.u32.load(q + 2 * PAGE), 6);
      assert.equal(space.u32.load(q + PAGE), 5);
      const bytes = new Uint8Array(1024 * PAGE);
      await space.read(p + 1024 * PAGE, bytes);
      assert.deepEqual(bytes, source.bytes.subarray(1024 * PAGE));
      space.msyncSync(p, 2048 * PAGE);
      assert.equal(source.stored(PAGE), 5);
    },
    { ramBytes: 2 * MIB },
  ));

test("bad sources are refused", () =>
  withSpace((space: AddressSpace) => {
    for (const source of [5, null, {}, { lengthBytes: -1, read: () => {} }])
      assert.throws(() => space.mmapSync(PAGE, { source: source as never }), code("EINVAL"));
    const big: MappingSource = { lengthBytes: 2 ** 40, read: () => {} };
    assert.throws(() => space.mmapSync(PAGE, { source: big }), code("EFBIG"));
    const source = new MemorySource(PAGE);
    assert.throws(() => space.mmapSync(PAGE, { source, offsetBytes: 1 }), code("EINVAL"));
    const buffer = new SharedArrayBuffer(PAGE);
    assert.throws(() => space.mmapSync(PAGE, { source, buffer }), code("EINVAL"));
  }));
