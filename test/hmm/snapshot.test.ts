/**
 * @module hmmRangeSnapshot over every kind of mapping and hole, with its answers and what it leaves
 * in pfns.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_ENCODING, entryPfn } from "../../src/hmm/entry.ts";
import {
  HOLES_MARK,
  type HmmRange,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../../src/hmm/range/range.ts";
import { hmmRangeSnapshot } from "../../src/hmm/walk/snapshot.ts";
import { doMprotect } from "../../src/mm/calls/mprotect.ts";
import { readPagemap } from "../../src/mm/calls/pagemap.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { VM_IO, VM_READ, VM_WRITE, vmaOf } from "../../src/mm/vma/vma.ts";
import { EFAULT, EINVAL, EPERM } from "../../src/sync/errno.ts";
import { FakeDevice, Harness, isValidNow } from "./harness.ts";

const { values } = DEFAULT_ENCODING;
const R = 1;
const W = 3;
const N = values.none;
const E = values.error;

function kindsOf(range: HmmRange): number[] {
  return Array.from(
    range.pfns.subarray(0, range.endPage - range.startPage),
    (entry) => entry & 0xff,
  );
}

function close(harness: Harness, device: FakeDevice, range: HmmRange): void {
  if (range.isRegistered()) harness.run(hmmRangeUnregister(range));
  harness.freeRange(range);
  device.close();
  harness.leave();
}

function setUp(pages = 8): { harness: Harness; device: FakeDevice; range: HmmRange } {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  return { harness, device, range: harness.registered(device, 16, pages) };
}

test("a snapshot shows pages as they are and makes none present", () => {
  const { harness, device, range } = setUp(6);
  harness.map(16, 6);
  harness.touch(17, 1, false); // the zero page
  harness.touch(18, 1);
  harness.touch(20, 2);
  harness.must(doMprotect(harness.machine, harness.mm, 21 * PAGE_BYTES, PAGE_BYTES, VM_READ));
  const used = harness.machine.ram.usage().usedPages;
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    6,
  );
  assert.deepEqual(kindsOf(range), [N, R, W, N, W, R]);
  assert.equal(isValidNow(range), true);
  const shown = harness.run(readPagemap(harness.machine, harness.mm, 16, 22));
  assert.equal(entryPfn(range.pfns[2] ?? 0, DEFAULT_ENCODING), shown[2]?.pfn);
  assert.equal(harness.machine.ram.usage().usedPages, used);
  close(harness, device, range);
});

test("a snapshot goes over leaves, 4 GiB borders and neighbouring mappings", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const first = 2 ** 20 - 3;
  harness.map(first, 2, VM_READ);
  harness.map(first + 2, 600);
  harness.touch(first, 1, false);
  harness.touch(first + 2, 3);
  harness.touch(first + 601, 1);
  const range = harness.registered(device, first, 602);
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    602,
  );
  assert.deepEqual(kindsOf(range), [R, N, W, W, W, ...Array.from({ length: 596 }, () => N), W]);
  close(harness, device, range);
});

test("a hole is EFAULT, a mapping without read permission EPERM; the entry there says error and the rest nothing", () => {
  const { harness, device, range } = setUp(6);
  range.pfns.fill(0xdead);
  harness.map(16, 2);
  harness.touch(16, 2);
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    EFAULT,
  );
  assert.deepEqual(kindsOf(range), [W, W, E, N, N, N]);
  harness.map(18, 2, 0);
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    EPERM,
  );
  assert.deepEqual(kindsOf(range), [W, W, E, N, N, N]);
  close(harness, device, range);
});

test("with HOLES_MARK the same places read error and the walk goes on", () => {
  const { harness, device, range } = setUp(8);
  range.holes = HOLES_MARK;
  harness.map(17, 2);
  harness.touch(17, 2);
  harness.map(20, 2, 0);
  harness.map(22, 1);
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    8,
  );
  assert.deepEqual(kindsOf(range), [E, W, W, E, E, E, N, E]);
  close(harness, device, range);
});

test("device registers are EFAULT", () => {
  const { harness, device, range } = setUp(2);
  harness.map(16, 2);
  const vma = vmaOf(harness.machine.memory, harness.mm, 16);
  assert.ok(vma !== undefined);
  vma.flags |= VM_IO;
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    EFAULT,
  );
  assert.deepEqual(kindsOf(range), [E, N]);
  vma.flags = VM_READ | VM_WRITE;
  close(harness, device, range);
});

test("a range of larger pages than the mapping has is EINVAL", () => {
  const { harness, device, range } = setUp(2);
  harness.map(16, 2);
  harness.run(hmmRangeUnregister(range));
  harness.must(hmmRangeRegister(range, device.mirror, 16 * PAGE_BYTES, 18 * PAGE_BYTES, 13));
  assert.equal(
    harness.reading(() => hmmRangeSnapshot(range)),
    EINVAL,
  );
  assert.deepEqual(kindsOf(range).slice(0, 1), [N], "one page of the device");
  close(harness, device, range);
});

test("a snapshot without the mmap lock is an assertion", () => {
  const { harness, device, range } = setUp(2);
  assert.throws(() => harness.run(hmmRangeSnapshot(range)), /mmapLock/);
  close(harness, device, range);
});
