/**
 * @module fork: private memory is copied when either side writes, shared memory never, over several
 * generations.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type AddressSpace, SegmentationFault } from "../../src/index.ts";
import {
  FAR,
  FORMS,
  PAGE,
  accountingOf,
  call,
  mapLines,
  readStamps,
  stampPages,
  withSpace,
} from "./fixture.ts";

for (const form of FORMS) {
  const fork = (space: AddressSpace): Promise<AddressSpace> =>
    call(space, form, "fork") as Promise<AddressSpace>;

  describe(`fork, ${form} form`, () => {
    test("the child has the parent's mappings and contents", () =>
      withSpace(async (parent) => {
        await call(parent, form, "mmap", 3 * PAGE, { address: FAR, fixed: "replace" });
        await call(parent, form, "mmap", PAGE, {
          address: 0,
          fixed: "replace",
          protection: "read",
        });
        await call(parent, form, "mmap", PAGE, {
          address: FAR + 16 * PAGE,
          fixed: "replace",
          shared: true,
        });
        stampPages(parent, FAR, 2, 1);
        await using child = await fork(parent);
        assert.deepEqual(mapLines(child), mapLines(parent));
        assert.deepEqual(readStamps(child, FAR, 3), [1, 2, 0]);
        assert.throws(() => child.u32.store(0, 1), SegmentationFault);
      }));

    test("three generations write apart", () =>
      withSpace(async (parent) => {
        const p = (await call(parent, form, "mmap", 4 * PAGE)) as number;
        stampPages(parent, p, 4, 10);
        await using child = await fork(parent);
        await using grandchild = await fork(child);
        parent.u32.store(p, 1);
        child.u32.store(p + PAGE, 2);
        grandchild.u32.store(p + 2 * PAGE, 3);
        child.u32.store(p, 4);
        assert.deepEqual(readStamps(parent, p, 4), [1, 11, 12, 13]);
        assert.deepEqual(readStamps(child, p, 4), [4, 2, 12, 13]);
        assert.deepEqual(readStamps(grandchild, p, 4), [10, 11, 3, 13]);
      }));

    test("a page is copied once, and not at all by the last who has it", () =>
      withSpace(async (parent) => {
        const p = (await call(parent, form, "mmap", PAGE)) as number;
        parent.u32.store(p, 1);
        const before = accountingOf(parent).usedPages;
        const child = await fork(parent);
        assert.equal(accountingOf(parent).usedPages, before);
        child.u32.store(p, 2);
        child.u32.store(p + 4, 2);
        assert.equal(accountingOf(parent).usedPages, before + 1);
        parent.u32.store(p, 3);
        assert.equal(
          accountingOf(parent).usedPages,
          before + 1,
          "the parent is the only user of its frame now",
        );
        await child.dispose();
        assert.equal(accountingOf(parent).usedPages, before);
        assert.equal(parent.u32.load(p), 3);
      }));

    test("shared memory is shared, touched before or after", () =>
      withSpace(async (parent) => {
        const p = (await call(parent, form, "mmap", 3 * PAGE, { shared: true })) as number;
        parent.u32.store(p, 1);
        await using child = await fork(parent);
        child.u32.store(p + PAGE, 2);
        parent.u32.store(p + 2 * PAGE, 3);
        child.u32.store(p, 4);
        assert.deepEqual(readStamps(parent, p, 3), [4, 2, 3]);
        assert.deepEqual(readStamps(child, p, 3), [4, 2, 3]);
      }));

    test("shared memory outlives the one who mapped it", () =>
      withSpace(async (parent) => {
        const p = (await call(parent, form, "mmap", 2 * PAGE, { shared: true })) as number;
        stampPages(parent, p, 2, 5);
        await using child = await fork(parent);
        await call(parent, form, "munmap", p, 2 * PAGE);
        assert.deepEqual(readStamps(child, p, 2), [5, 6]);
      }));

    test("what the parent maps later, the child has not; and the other way round", () =>
      withSpace(async (parent) => {
        await using child = await fork(parent);
        await call(parent, form, "mmap", PAGE, { address: FAR, fixed: "replace" });
        await call(child, form, "mmap", PAGE, { address: FAR + PAGE, fixed: "replace" });
        assert.throws(() => child.u32.load(FAR), SegmentationFault);
        assert.throws(() => parent.u32.load(FAR + PAGE), SegmentationFault);
      }));

    test("the parent may be disposed of first", () =>
      withSpace(async (parent) => {
        const p = (await call(parent, form, "mmap", 2 * PAGE)) as number;
        stampPages(parent, p, 2, 5);
        const child = await fork(parent);
        await using grandchild = await fork(child);
        await child.dispose();
        stampPages(grandchild, p, 1, 9);
        assert.deepEqual(readStamps(grandchild, p, 2), [9, 6]);
        assert.deepEqual(readStamps(parent, p, 2), [5, 6]);
      }));

    test("protection none and the zero page are inherited", () =>
      withSpace(async (parent) => {
        const p = (await call(parent, form, "mmap", 3 * PAGE)) as number;
        stampPages(parent, p, 2, 1);
        assert.equal(parent.u32.load(p + 2 * PAGE), 0);
        await call(parent, form, "mprotect", p, PAGE, "none");
        await using child = await fork(parent);
        assert.throws(() => child.u32.load(p), SegmentationFault);
        child.mprotectSync(p, PAGE, "read-write");
        assert.equal(child.u32.load(p), 1);
        child.u32.store(p, 2);
        child.u32.store(p + 2 * PAGE, 3);
        parent.mprotectSync(p, PAGE, "read");
        assert.deepEqual(readStamps(parent, p, 3), [1, 2, 0]);
        assert.deepEqual(readStamps(child, p, 3), [2, 2, 3]);
      }));

    test("nothing is left when all are gone", () =>
      withSpace(async (parent) => {
        const p = (await call(parent, form, "mmap", 40 * PAGE)) as number;
        const before = accountingOf(parent);
        stampPages(parent, p, 20, 1);
        const family = [await fork(parent), await fork(parent)];
        family.push(await fork(family[0]!));
        for (const [i, one] of family.entries()) stampPages(one, p + i * PAGE, 30, 100 * i);
        for (const one of family) await one.dispose();
        await call(parent, form, "madvise", p, 40 * PAGE, "dontneed");
        await using again = await fork(parent);
        assert.equal(again.u32.load(p), 0);
        assert.equal(accountingOf(parent).usedPages, before.usedPages);
      }));
  });
}
