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
} from "../../src/hmm/range.ts";
import { hmmRangeSnapshot } from "../../src/hmm/snapshot.ts";
import { doMprotect } from "../../src/mm/mprotect.ts";
import { readPagemap } from "../../src/mm/pagemap.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { VM_IO, VM_READ, VM_WRITE, vmaOf } from "../../src/mm/vma.ts";
import { EFAULT, EINVAL, EPERM } from "../../src/sync/errno.ts";
import { FakeDevice, Rig, isValidNow } from "./rig.ts";

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

function close(rig: Rig, device: FakeDevice, range: HmmRange): void {
  if (range.isRegistered()) rig.run(hmmRangeUnregister(range));
  rig.freeRange(range);
  device.close();
  rig.leave();
}

function setUp(pages = 8): { rig: Rig; device: FakeDevice; range: HmmRange } {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  return { rig, device, range: rig.registered(device, 16, pages) };
}

test("a snapshot shows pages as they are and makes none present", () => {
  const { rig, device, range } = setUp(6);
  rig.map(16, 6);
  rig.touch(17, 1, false); // the zero page
  rig.touch(18, 1);
  rig.touch(20, 2);
  rig.must(doMprotect(rig.machine, rig.mm, 21 * PAGE_BYTES, PAGE_BYTES, VM_READ));
  const used = rig.machine.ram.usage().usedPages;
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(range)),
    6,
  );
  assert.deepEqual(kindsOf(range), [N, R, W, N, W, R]);
  assert.equal(isValidNow(range), true);
  const shown = rig.run(readPagemap(rig.machine, rig.mm, 16, 22));
  assert.equal(entryPfn(range.pfns[2] ?? 0, DEFAULT_ENCODING), shown[2]?.pfn);
  assert.equal(rig.machine.ram.usage().usedPages, used);
  close(rig, device, range);
});

test("a snapshot goes over leaves, 4 GiB borders and neighbouring mappings", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const first = 2 ** 20 - 3;
  rig.map(first, 2, VM_READ);
  rig.map(first + 2, 600);
  rig.touch(first, 1, false);
  rig.touch(first + 2, 3);
  rig.touch(first + 601, 1);
  const range = rig.registered(device, first, 602);
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(range)),
    602,
  );
  assert.deepEqual(kindsOf(range), [R, N, W, W, W, ...Array.from({ length: 596 }, () => N), W]);
  close(rig, device, range);
});

test("a hole is EFAULT, a mapping without read permission EPERM; the entry there says error and the rest nothing", () => {
  const { rig, device, range } = setUp(6);
  range.pfns.fill(0xdead);
  rig.map(16, 2);
  rig.touch(16, 2);
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(range)),
    EFAULT,
  );
  assert.deepEqual(kindsOf(range), [W, W, E, N, N, N]);
  rig.map(18, 2, 0);
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(range)),
    EPERM,
  );
  assert.deepEqual(kindsOf(range), [W, W, E, N, N, N]);
  close(rig, device, range);
});

test("with HOLES_MARK the same places read error and the walk goes on", () => {
  const { rig, device, range } = setUp(8);
  range.holes = HOLES_MARK;
  rig.map(17, 2);
  rig.touch(17, 2);
  rig.map(20, 2, 0);
  rig.map(22, 1);
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(range)),
    8,
  );
  assert.deepEqual(kindsOf(range), [E, W, W, E, E, E, N, E]);
  close(rig, device, range);
});

test("device registers are EFAULT", () => {
  const { rig, device, range } = setUp(2);
  rig.map(16, 2);
  const vma = vmaOf(rig.machine.memory, rig.mm, 16);
  assert.ok(vma !== undefined);
  vma.flags |= VM_IO;
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(range)),
    EFAULT,
  );
  assert.deepEqual(kindsOf(range), [E, N]);
  vma.flags = VM_READ | VM_WRITE;
  close(rig, device, range);
});

test("a range of larger pages than the mapping has is EINVAL", () => {
  const { rig, device, range } = setUp(2);
  rig.map(16, 2);
  rig.run(hmmRangeUnregister(range));
  rig.must(hmmRangeRegister(range, device.mirror, 16 * PAGE_BYTES, 18 * PAGE_BYTES, 13));
  assert.equal(
    rig.reading(() => hmmRangeSnapshot(range)),
    EINVAL,
  );
  assert.deepEqual(kindsOf(range), [N, N]);
  close(rig, device, range);
});

test("a snapshot without the mmap lock is an assertion", () => {
  const { rig, device, range } = setUp(2);
  assert.throws(() => rig.run(hmmRangeSnapshot(range)), /mmapLock/);
  close(rig, device, range);
});
