/**
 * @module Devices and mappings of sources: a device's fault reads the page, through the thread that
 * has the code; its stores are written back; a page past the end is a fault of the device.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { SoftwareDevice } from "../../src/index.ts";
import { PAGE, makeSpace } from "../space/fixture.ts";
import { MemorySource } from "../space/memory-source.ts";

const PAGES = 24;

test("a device reads and writes memory of a source", async () => {
  const space = makeSpace();
  const device = await SoftwareDevice.create(space, { memoryBytes: 8 * PAGE });
  const source = new MemorySource(PAGES * PAGE);
  const p = await space.mmap(PAGES * PAGE, { source, shared: true });
  const q = await space.mmap(PAGES * PAGE, { source });
  const bytes = new Uint8Array(PAGES * PAGE);
  for (const at of [p, q]) {
    bytes.fill(0);
    await device.read(at, bytes);
    assert.deepEqual(bytes, source.bytes);
  }
  assert.equal(new Set(source.readPages).size, source.readPages.length, "a page was read twice");
  await device.write(p + 2 * PAGE, new Uint8Array(PAGE).fill(5));
  assert.equal(space.u8.load(q + 2 * PAGE), 5);
  await space.msync(p, PAGES * PAGE);
  assert.equal(source.bytes[2 * PAGE], 5);
  await device.write(p + 2 * PAGE, new Uint8Array(PAGE).fill(6));
  await space.msync(p, PAGES * PAGE);
  assert.equal(
    source.bytes[2 * PAGE],
    6,
    "after a write-back the device's store marks the page again",
  );
  await device.write(q + 3 * PAGE, new Uint8Array(PAGE).fill(7));
  assert.notEqual(space.u8.load(p + 3 * PAGE), 7);
  // What the CPU stores through the shared mapping is no stale copy on the device.
  space.u8.store(p + 4 * PAGE, 77);
  await device.read(q + 4 * PAGE, bytes.subarray(0, 1));
  assert.equal(bytes[0], 77);
  source.failure = new Error("out of order");
  const broken = Object.assign(new MemorySource(PAGE), { failure: source.failure });
  const r = await space.mmap(PAGE, { source: broken });
  await assert.rejects(device.read(r, new Uint8Array(8)));
  source.failure = undefined;
  await device[Symbol.asyncDispose]();
  await space.dispose();
});
