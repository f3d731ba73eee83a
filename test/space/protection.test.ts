/**
 * @module mprotect and madvise: rights change, contents stay or are discarded, and mappings split
 * and merge accordingly.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SegmentationFault } from "../../src/index.ts";
import {
  FAR,
  FORMS,
  MIB,
  PAGE,
  accountingOf,
  call,
  failsWith,
  mapLines,
  readStamps,
  stampPages,
  withSpace,
} from "./fixture.ts";

for (const form of FORMS) {
  describe(`mprotect and madvise, ${form} form`, () => {
    for (const shared of [false, true]) {
      const kind = shared ? "shared" : "private";

      test(`rights are taken at once and given back with the contents, ${kind}`, () =>
        withSpace(async (space) => {
          const p = (await call(space, form, "mmap", 4 * PAGE, { shared })) as number;
          stampPages(space, p, 3, 10); // page 3 stays untouched
          assert.equal(space.u32.load(p + 3 * PAGE), 0);
          await call(space, form, "mprotect", p, 4 * PAGE, "read");
          assert.deepEqual(readStamps(space, p, 4), [10, 11, 12, 0]);
          assert.throws(() => space.u32.store(p, 1), SegmentationFault);
          await call(space, form, "mprotect", p, 4 * PAGE, "none");
          assert.throws(() => space.u32.load(p), SegmentationFault);
          assert.throws(() => space.u32.load(p + 3 * PAGE), SegmentationFault);
          await call(space, form, "mprotect", p, 4 * PAGE, "read-write");
          assert.deepEqual(readStamps(space, p, 4), [10, 11, 12, 0]);
          stampPages(space, p, 4, 20);
          assert.deepEqual(readStamps(space, p, 4), [20, 21, 22, 23]);
        }));
    }

    test("protection none keeps the frames, and unmapping gives them back", () =>
      withSpace(async (space) => {
        const before = accountingOf(space);
        const p = (await call(space, form, "mmap", 3 * PAGE)) as number;
        stampPages(space, p, 3, 1);
        await call(space, form, "mprotect", p, 3 * PAGE, "none");
        assert.equal(accountingOf(space).usedPages, before.usedPages + 3);
        await call(space, form, "munmap", p, 3 * PAGE);
        assert.equal(accountingOf(space).usedPages, before.usedPages);
      }));

    test("a part splits its mapping, and merges again when it is alike", () =>
      withSpace(async (space) => {
        const start = FAR.toString(16).slice(0, -4);
        const lines = (...parts: string[]): string[] =>
          parts.map((part) => part.replaceAll("^", start));
        await call(space, form, "mmap", 6 * PAGE, { address: FAR, fixed: "replace" });
        await call(space, form, "mprotect", FAR + 2 * PAGE, 2 * PAGE, "read");
        assert.deepEqual(
          mapLines(space),
          lines("^0000-^2000 rw private", "^2000-^4000 r- private", "^4000-^6000 rw private"),
        );
        await call(space, form, "mprotect", FAR + PAGE, PAGE, "read");
        assert.deepEqual(
          mapLines(space),
          lines("^0000-^1000 rw private", "^1000-^4000 r- private", "^4000-^6000 rw private"),
        );
        await call(space, form, "mprotect", FAR + 5 * PAGE, PAGE, "none");
        await call(space, form, "mprotect", FAR, 6 * PAGE, "read");
        assert.deepEqual(mapLines(space), lines("^0000-^6000 r- private"));
      }));

    test("a hole in the range fails and changes nothing", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 3 * PAGE, { address: FAR, fixed: "replace" });
        await call(space, form, "munmap", FAR + PAGE, PAGE);
        const before = mapLines(space);
        for (const [from, pages] of [
          [0, 3],
          [0, 2],
          [1, 1],
          [2, 2],
          [-1, 2],
        ] as const) {
          await failsWith("ENOMEM", () =>
            call(space, form, "mprotect", FAR + from * PAGE, pages * PAGE, "none"),
          );
        }
        assert.deepEqual(mapLines(space), before);
        space.u32.store(FAR, 1);
      }));

    test("dontneed: private memory reads as zeros, and its frames are free", () =>
      withSpace(async (space) => {
        const before = accountingOf(space);
        const p = (await call(space, form, "mmap", 4 * PAGE)) as number;
        stampPages(space, p, 4, 5);
        await call(space, form, "madvise", p + PAGE, 2 * PAGE, "dontneed");
        assert.deepEqual(readStamps(space, p, 4), [5, 0, 0, 8]);
        assert.equal(accountingOf(space).usedPages, before.usedPages + 2);
        space.u32.store(p + PAGE, 6);
        assert.deepEqual(readStamps(space, p, 4), [5, 6, 0, 8]);
      }));

    test("dontneed: shared memory keeps what its source has", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 2 * PAGE, { shared: true })) as number;
        stampPages(space, p, 2, 5);
        await call(space, form, "madvise", p, 2 * PAGE, "dontneed");
        assert.deepEqual(readStamps(space, p, 2), [5, 6]);
      }));

    test("dontneed over a hole fails, with the rest advised as in Linux", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 3 * PAGE, { address: FAR, fixed: "replace" });
        stampPages(space, FAR, 3, 1);
        await call(space, form, "munmap", FAR + PAGE, PAGE);
        await failsWith("ENOMEM", () => call(space, form, "madvise", FAR, 3 * PAGE, "dontneed"));
        assert.deepEqual([space.u32.load(FAR), space.u32.load(FAR + 2 * PAGE)], [0, 0]);
      }));

    test("normal advice changes nothing", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 2 * PAGE)) as number;
        stampPages(space, p, 2, 3);
        await call(space, form, "madvise", p, 2 * PAGE, "normal");
        assert.deepEqual(readStamps(space, p, 2), [3, 4]);
        await failsWith("ENOMEM", () => call(space, form, "madvise", p + MIB, PAGE, "normal"));
      }));

    test("a page that was only read shares the zero frame until it is written", () =>
      withSpace(async (space) => {
        const before = accountingOf(space);
        const p = (await call(space, form, "mmap", 2 * PAGE)) as number;
        assert.equal(space.u32.load(p), 0);
        assert.equal(accountingOf(space).usedPages, before.usedPages);
        const [page] = (await call(space, form, "pagemap", p, PAGE)) as {
          zero: boolean;
          writable: boolean;
        }[];
        assert.deepEqual([page?.zero, page?.writable], [true, false]);
        space.u32.store(p, 1);
        assert.equal(accountingOf(space).usedPages, before.usedPages + 1);
        const [first, second] = (await call(space, form, "pagemap", p, 2 * PAGE)) as {
          zero: boolean;
          present: boolean;
          dirty: boolean;
          pfn: number;
        }[];
        assert.deepEqual([first?.zero, first?.present, first?.dirty], [false, true, true]);
        assert.deepEqual([second?.present, second?.pfn], [false, -1]);
      }));
  });
}
