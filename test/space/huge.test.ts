/** @module Huge pages as a program sees them: when they come, what splits them, what makes them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressSpace, type AddressSpaceOptions, SegmentationFault } from "../../src/index.ts";
import { MIB, PAGE, accountingOf } from "./fixture.ts";

const HUGE: number = 2 * MIB;

function makeHuge(options: AddressSpaceOptions = {}): AddressSpace {
  return AddressSpace.createSync({ ramBytes: 32 * MIB, debug: true, ...options });
}

function residentBytes(space: AddressSpace): number {
  return space.statsSync().residentBytes;
}

/** An aligned mapping of `count` huge pages' size. */
function mapAligned(space: AddressSpace, count: number): number {
  const p = space.mmapSync((count + 1) * HUGE);
  return Math.ceil(p / HUGE) * HUGE;
}

test("a store brings 2 MiB where huge pages are wanted, and 4 KiB elsewhere", () => {
  const space = makeHuge();
  const p = mapAligned(space, 3);
  space.madviseSync(p + HUGE, HUGE, "hugepage");
  space.u32.store(p, 1);
  assert.equal(residentBytes(space), PAGE);
  space.u32.store(p + HUGE + 5 * PAGE, 1);
  assert.equal(residentBytes(space), PAGE + HUGE);
  space.madviseSync(p + HUGE, HUGE, "nohugepage");
  space.madviseSync(p + HUGE, HUGE, "dontneed");
  space.u32.store(p + HUGE, 1);
  assert.equal(residentBytes(space), 2 * PAGE);
  space[Symbol.dispose]();
});

test("the mode of a space decides, forks inherit it, and a bad one is refused", () => {
  for (const [hugePages, advised, expected] of [
    ["always", false, HUGE],
    ["madvise", false, PAGE],
    ["never", true, PAGE],
  ] as const) {
    const space = makeHuge({ hugePages });
    const p = mapAligned(space, 1);
    if (advised) space.madviseSync(p, HUGE, "hugepage");
    const child = space.forkSync();
    space.u32.store(p, 1);
    child.u32.store(p, 1);
    assert.deepEqual([residentBytes(space), residentBytes(child)], [expected, expected], hugePages);
    child[Symbol.dispose]();
    space[Symbol.dispose]();
  }
  assert.throws(
    () => makeHuge({ hugePages: "some" as "always" }),
    /"always", "madvise" or "never"/,
  );
});

test("dropped whole, the next touch brings a huge page again; dropped in part, a small one", () => {
  const space = makeHuge({ hugePages: "always" });
  const p = space.mmapSync(HUGE);
  space.u32.store(p, 7);
  space.madviseSync(p, HUGE, "dontneed");
  assert.equal(residentBytes(space), 0);
  space.u32.store(p + PAGE, 1);
  assert.equal(residentBytes(space), HUGE);
  assert.equal(space.u32.load(p), 0);
  space.madviseSync(p, PAGE, "dontneed");
  space.u32.store(p + PAGE, 2);
  assert.equal(residentBytes(space), HUGE - PAGE);
  space.u32.store(p, 2);
  assert.equal(residentBytes(space), HUGE);
  space[Symbol.dispose]();
});

test("collapse gathers small pages, keeps what they hold, and says why it cannot", () => {
  const witness = makeHuge();
  const before = accountingOf(witness);
  const space = witness.forkSync();
  const p = space.mmapSync(3 * HUGE);
  const q = Math.ceil(p / HUGE) * HUGE;
  for (let page = 0; page < 512; page += 3) space.u32.store(q + page * PAGE, page + 1);
  space.madviseSync(q, HUGE, "collapse");
  assert.equal(residentBytes(space), HUGE);
  const first = space.pagemapSync(q, HUGE).map(({ pfn }) => pfn);
  assert.deepEqual(
    first,
    Array.from({ length: 512 }, (_, i) => first[0]! + i),
    "in a row",
  );
  assert.equal(first[0]! % 512, 0);
  for (let page = 0; page < 512; page++)
    assert.equal(space.u32.load(q + page * PAGE), page % 3 === 0 ? page + 1 : 0);
  // A part that is written for itself splits it; collapsed again, the frames stay.
  space.mprotectSync(q, PAGE, "read");
  space.mprotectSync(q, PAGE, "read-write");
  space.madviseSync(q, HUGE, "collapse");
  space.madviseSync(p, 3 * HUGE, "nohugepage");
  assert.throws(() => space.madviseSync(q, HUGE, "collapse"), { code: "EINVAL" });
  space.madviseSync(p, 3 * HUGE, "hugepage");
  space.madviseSync(q, HUGE, "dontneed");
  space.madviseSync(q, HUGE, "nohugepage");
  for (let page = 0; page < 512; page += 2) space.u32.store(q + page * PAGE, 1);
  const view = space.viewSync(q, PAGE, "read");
  space.madviseSync(q, HUGE, "hugepage");
  assert.throws(() => space.madviseSync(q, HUGE, "collapse"), { code: "EAGAIN" }, "it is pinned");
  view[Symbol.dispose]();
  const shared = space.mmapSync(2 * HUGE, { shared: true });
  assert.throws(() => space.madviseSync(shared, 2 * HUGE, "collapse"), { code: "EINVAL" });
  space.munmapSync(shared, 2 * HUGE);
  assert.throws(() => space.madviseSync(p + 3 * HUGE, HUGE, "collapse"), { code: "ENOMEM" });
  space.munmapSync(p, 3 * HUGE);
  space[Symbol.dispose]();
  assert.deepEqual(accountingOf(witness), before);
  witness[Symbol.dispose]();
});

test("an explicit huge mapping has its pages at once, and none of them is cut", () => {
  const witness = makeHuge();
  const before = accountingOf(witness);
  const space = witness.forkSync();
  const p = space.mmapSync(HUGE + 1, { huge: true });
  assert.equal(p % HUGE, 0);
  assert.equal(residentBytes(space), 2 * HUGE, "rounded up");
  space.u32.store(p + 7 * PAGE, 7);
  const bad = { code: "EINVAL" };
  assert.throws(() => space.munmapSync(p + PAGE, PAGE), bad);
  assert.throws(() => space.mprotectSync(p, PAGE, "read"), bad);
  assert.throws(() => space.madviseSync(p + PAGE, PAGE, "dontneed"), bad);
  assert.throws(() => space.mremapSync(p, 2 * HUGE, 3 * HUGE, { mayMove: true }), bad);
  assert.throws(
    () => space.mremapSync(p, HUGE, HUGE, { mayMove: true, to: p + 4 * HUGE + PAGE }),
    bad,
  );
  assert.throws(() => space.mmapSync(PAGE, { huge: true, shared: true }), bad);
  assert.throws(() => space.mmapSync(PAGE, { huge: true, address: PAGE, fixed: "replace" }), bad);
  assert.throws(() => space.mmapSync(64 * MIB, { huge: true }), { code: "ENOMEM" });
  space.mprotectSync(p, HUGE, "none");
  assert.throws(() => space.u32.load(p), SegmentationFault);
  space.mprotectSync(p, HUGE, "read-write");
  const child = space.forkSync();
  child.u32.store(p + 7 * PAGE, 8);
  assert.deepEqual([space.u32.load(p + 7 * PAGE), child.u32.load(p + 7 * PAGE)], [7, 8]);
  assert.equal(space.u32.load(p + 8 * PAGE), child.u32.load(p + 8 * PAGE));
  child[Symbol.dispose]();
  const q = space.mremapSync(p, HUGE, HUGE, { mayMove: true, to: p + 8 * HUGE });
  assert.equal(space.u32.load(q + 7 * PAGE), 7);
  space.madviseSync(q, HUGE, "dontneed");
  assert.equal(space.u32.load(q + 7 * PAGE), 0);
  assert.equal(residentBytes(space), 2 * HUGE);
  space.munmapSync(q, HUGE);
  space.munmapSync(p + HUGE, HUGE);
  space[Symbol.dispose]();
  assert.deepEqual(accountingOf(witness), before);
  witness[Symbol.dispose]();
});

test("where no 512 frames are in a row, small pages come", () => {
  const space = makeHuge({ ramBytes: 3 * MIB, hugePages: "always" });
  const p = space.mmapSync(4 * HUGE);
  space.u32.store(p, 1);
  space.u32.store(p + HUGE, 2);
  assert.equal(residentBytes(space), HUGE + PAGE);
  assert.equal(space.u32.load(p + 2 * HUGE), 0);
  space.u32.store(p + 2 * HUGE, 3);
  assert.equal(residentBytes(space), HUGE + 2 * PAGE, "and the huge page of zeros is split");
  space[Symbol.dispose]();
});
