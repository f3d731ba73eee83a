/**
 * @module Views over pages that nobody has touched: frames in a row, each with one reference and
 * one pin, and the right bytes in every case, also where one page has been touched.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressSpace, HmmError } from "../../src/index.ts";
import { inside } from "../inside.ts";

const PAGE_BYTES = 4096;
const PAGES = 1200; // parts of three leaves of the page table

function makeSpace(): AddressSpace {
  return AddressSpace.createSync({ ramBytes: 4096 * PAGE_BYTES, debug: true });
}

function countsOf(space: AddressSpace): [references: number, pins: number] {
  const { machine } = inside(space);
  const { references, pins } = machine.ram.refs.total();
  return [references, pins];
}

test("an untouched range gets a reference and a pin a page, and keeps its frames", () => {
  using space = makeSpace();
  const address = space.mmapSync(PAGES * PAGE_BYTES);
  const [references] = countsOf(space);
  for (const value of [7, 8]) {
    using view = space.viewSync(address, PAGES * PAGE_BYTES, "write");
    assert.deepEqual(countsOf(space), [references + 2 * PAGES, PAGES]);
    view.as(Uint32Array).fill(value, 0, PAGES * 1024);
  }
  assert.deepEqual(countsOf(space), [references + PAGES, 0]);
  assert.equal(space.u32.load(address + PAGES * PAGE_BYTES - 4), 8);
  space.munmapSync(address, PAGES * PAGE_BYTES);
  assert.deepEqual(countsOf(space), [references, 0]);
});

test("frames that were used before hold zeros under a new view", () => {
  using space = makeSpace();
  for (let i = 0; i < 3; i++) {
    const address = space.mmapSync(PAGES * PAGE_BYTES);
    {
      using view = space.viewSync(address, PAGES * PAGE_BYTES, "write");
      assert.equal(
        view.as(Uint32Array).findIndex((word) => word !== 0),
        -1,
      );
      view.as(Uint32Array).fill(1);
    }
    space.munmapSync(address, PAGES * PAGE_BYTES);
  }
});

test("one page that has been touched keeps its bytes; one that was read is no obstacle", () => {
  using space = makeSpace();
  const address = space.mmapSync(PAGES * PAGE_BYTES);
  const touched = address + 600 * PAGE_BYTES;
  space.u32.store(touched, 42);
  assert.equal(space.u32.load(address), 0);
  using view = space.viewSync(address, PAGES * PAGE_BYTES, "write");
  const words = view.as(Uint32Array);
  assert.equal(words[600 * 1024], 42);
  words[0] = 5;
  assert.equal(space.u32.load(address), 5);
});

test("a forked space has its own pages of what it did not touch, and of what it did", () => {
  using space = makeSpace();
  const address = space.mmapSync(PAGES * PAGE_BYTES);
  using child = space.forkSync();
  {
    using view = space.viewSync(address, PAGES * PAGE_BYTES, "write");
    view.as(Uint32Array).fill(1);
  }
  assert.equal(child.u32.load(address), 0);
  using second = space.forkSync();
  {
    using view = space.viewSync(address, PAGES * PAGE_BYTES, "write");
    view.as(Uint32Array).fill(2);
  }
  assert.equal(second.u32.load(address + 4), 1);
  assert.equal(space.u32.load(address + 4), 2);
});

test("a view of an untouched read-only mapping, and of one that is too large for the memory", () => {
  using space = makeSpace();
  const address = space.mmapSync(PAGES * PAGE_BYTES, { protection: "read" });
  {
    using view = space.viewSync(address, PAGES * PAGE_BYTES, "read");
    assert.equal(view.as(Uint32Array)[5], 0);
  }
  assert.throws(() => space.u32.store(address, 1), HmmError);
  const large = space.mmapSync(8192 * PAGE_BYTES);
  assert.throws(
    () => space.viewSync(large, 8192 * PAGE_BYTES, "write"),
    (error) => error instanceof HmmError && error.code === "ENOMEM",
  );
  assert.equal(countsOf(space)[1], 0);
});
