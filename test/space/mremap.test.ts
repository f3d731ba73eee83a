/**
 * @module mremap: grow, shrink and move, with contents and protections, and with Linux's errors.
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
  signalOf,
  stampPages,
  withSpace,
} from "./fixture.ts";

for (const form of FORMS) {
  describe(`mremap, ${form} form`, () => {
    for (const shared of [false, true]) {
      const kind = shared ? "shared" : "private";

      test(`grows in place where there is room, ${kind}`, () =>
        withSpace(async (space) => {
          await call(space, form, "mmap", 2 * PAGE, { address: FAR, fixed: "replace", shared });
          stampPages(space, FAR, 2, 1);
          assert.equal(await call(space, form, "mremap", FAR, 2 * PAGE, 5 * PAGE), FAR);
          assert.equal(mapLines(space).length, 1);
          if (shared) {
            // The memory keeps its two pages.
            assert.deepEqual(readStamps(space, FAR, 2), [1, 2]);
            for (const page of [2, 3, 4])
              assert.equal(
                signalOf(() => space.u32.load(FAR + page * PAGE)),
                "SIGBUS",
              );
            return;
          }
          assert.deepEqual(readStamps(space, FAR, 5), [1, 2, 0, 0, 0]);
          stampPages(space, FAR, 5, 7);
          assert.deepEqual(readStamps(space, FAR, 5), [7, 8, 9, 10, 11]);
        }));

      test(`moves when there is none and it may, ${kind}`, () =>
        withSpace(async (space) => {
          await call(space, form, "mmap", 2 * PAGE, { address: FAR, fixed: "replace", shared });
          await call(space, form, "mmap", PAGE, {
            address: FAR + 2 * PAGE,
            fixed: "replace",
            protection: "read",
          });
          stampPages(space, FAR, 2, 1);
          await failsWith("ENOMEM", () => call(space, form, "mremap", FAR, 2 * PAGE, 3 * PAGE));
          assert.deepEqual(readStamps(space, FAR, 2), [1, 2]);
          const moved = (await call(space, form, "mremap", FAR, 2 * PAGE, 3 * PAGE, {
            mayMove: true,
          })) as number;
          assert.notEqual(moved, FAR);
          assert.deepEqual(readStamps(space, moved, 2), [1, 2]);
          if (shared)
            assert.equal(
              signalOf(() => space.u32.load(moved + 2 * PAGE)),
              "SIGBUS",
            );
          else assert.equal(space.u32.load(moved + 2 * PAGE), 0);
          assert.throws(() => space.u32.load(FAR), SegmentationFault);
          assert.equal(space.u32.load(FAR + 2 * PAGE), 0);
        }));

      test(`moves exactly there, over what is there, ${kind}`, () =>
        withSpace(async (space) => {
          const before = accountingOf(space);
          const to = FAR + 100 * MIB;
          await call(space, form, "mmap", 3 * PAGE, { address: FAR, fixed: "replace", shared });
          await call(space, form, "mmap", 9 * PAGE, { address: to, fixed: "replace" });
          stampPages(space, FAR, 3, 1);
          stampPages(space, to, 9, 50);
          assert.equal(
            await call(space, form, "mremap", FAR, 3 * PAGE, 2 * PAGE, {
              mayMove: true,
              to: to + PAGE,
            }),
            to + PAGE,
          );
          assert.deepEqual(readStamps(space, to, 4), [50, 1, 2, 53]);
          assert.throws(() => space.u32.load(FAR + 2 * PAGE), SegmentationFault);
          await call(space, form, "munmap", to, 9 * PAGE);
          assert.deepEqual(mapLines(space), []);
          assert.equal(accountingOf(space).usedPages, before.usedPages);
        }));
    }

    test("shrinks, and gives the rest back", () =>
      withSpace(async (space) => {
        const before = accountingOf(space);
        await call(space, form, "mmap", 5 * PAGE, { address: FAR, fixed: "replace" });
        stampPages(space, FAR, 5, 1);
        assert.equal(await call(space, form, "mremap", FAR, 5 * PAGE, 2 * PAGE), FAR);
        assert.deepEqual(readStamps(space, FAR, 2), [1, 2]);
        assert.throws(() => space.u32.load(FAR + 2 * PAGE), SegmentationFault);
        assert.equal(accountingOf(space).usedPages, before.usedPages + 2);
      }));

    test("a part of a mapping moves, and leaves its neighbours", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 5 * PAGE, { address: FAR, fixed: "replace" });
        stampPages(space, FAR, 5, 1);
        const to = FAR + MIB;
        await call(space, form, "mremap", FAR + PAGE, 2 * PAGE, 2 * PAGE, { mayMove: true, to });
        assert.deepEqual(readStamps(space, to, 2), [2, 3]);
        assert.deepEqual([space.u32.load(FAR), space.u32.load(FAR + 3 * PAGE)], [1, 4]);
        assert.throws(() => space.u32.load(FAR + PAGE), SegmentationFault);
        assert.equal(mapLines(space).length, 3);
      }));

    test("moves to right beside itself, below and above", () =>
      withSpace(async (space) => {
        for (const [from, to] of [
          [2, 3],
          [1, 0],
        ] as const) {
          await call(space, form, "mmap", 3 * PAGE, { address: FAR, fixed: "replace" });
          stampPages(space, FAR, 3, 1);
          const place = FAR + to * PAGE;
          await call(space, form, "mremap", FAR + from * PAGE, PAGE, PAGE, {
            mayMove: true,
            to: place,
          });
          assert.equal(space.u32.load(place), from + 1);
          assert.throws(() => space.u32.load(FAR + from * PAGE), SegmentationFault);
          await call(space, form, "munmap", FAR, 4 * PAGE);
          assert.deepEqual(mapLines(space), []);
        }
      }));

    test("moves across tables, at another offset in them", () =>
      withSpace(async (space) => {
        const pages = 1300;
        await call(space, form, "mmap", pages * PAGE, {
          address: FAR + 37 * PAGE,
          fixed: "replace",
        });
        for (let i = 0; i < pages; i += 13) space.u32.store(FAR + (37 + i) * PAGE, i + 1);
        const to = FAR + 2 ** 36 + 401 * PAGE;
        await call(space, form, "mremap", FAR + 37 * PAGE, pages * PAGE, pages * PAGE, {
          mayMove: true,
          to,
        });
        for (let i = 0; i < pages; i++)
          assert.equal(space.u32.load(to + i * PAGE), i % 13 === 0 ? i + 1 : 0);
      }));

    test("keeps protection, and frames behind protection none", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 2 * PAGE, { address: FAR, fixed: "replace" });
        stampPages(space, FAR, 2, 4);
        await call(space, form, "mprotect", FAR, 2 * PAGE, "none");
        const to = FAR + MIB;
        await call(space, form, "mremap", FAR, 2 * PAGE, 2 * PAGE, { mayMove: true, to });
        assert.throws(() => space.u32.load(to), SegmentationFault);
        await call(space, form, "mprotect", to, 2 * PAGE, "read");
        assert.deepEqual(readStamps(space, to, 2), [4, 5]);
        assert.throws(() => space.u32.store(to, 1), SegmentationFault);
      }));

    test("to the same size in place is nothing", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 2 * PAGE, { address: FAR, fixed: "replace" });
        stampPages(space, FAR, 2, 1);
        assert.equal(await call(space, form, "mremap", FAR, 2 * PAGE, 2 * PAGE), FAR);
        assert.equal(await call(space, form, "mremap", FAR, 2 * PAGE, PAGE + 1), FAR);
        assert.deepEqual(readStamps(space, FAR, 2), [1, 2]);
      }));

    test("what is to grow and is not inside one mapping is a fault", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 2 * PAGE, { address: FAR, fixed: "replace" });
        await call(space, form, "mmap", 2 * PAGE, {
          address: FAR + 2 * PAGE,
          fixed: "replace",
          protection: "read",
        });
        await failsWith("EFAULT", () =>
          call(space, form, "mremap", FAR + PAGE, 2 * PAGE, 3 * PAGE, { mayMove: true }),
        );
        await failsWith("EFAULT", () => call(space, form, "mremap", FAR + MIB, PAGE, PAGE));
        await failsWith("EFAULT", () =>
          call(space, form, "mremap", FAR + 3 * PAGE, 2 * PAGE, 3 * PAGE),
        );
        // What is cut off may be a hole.
        assert.equal(
          await call(space, form, "mremap", FAR + 3 * PAGE, 2 * PAGE, PAGE),
          FAR + 3 * PAGE,
        );
      }));

    test("a write view holds the addresses, a read view does not", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 2 * PAGE, { address: FAR, fixed: "replace" });
        stampPages(space, FAR, 2, 1);
        const to = FAR + MIB;
        {
          using view = space.viewSync(FAR, PAGE, "write");
          await failsWith("EBUSY", () =>
            call(space, form, "mremap", FAR, 2 * PAGE, 2 * PAGE, { mayMove: true, to }),
          );
          assert.equal(view.as(Uint32Array)[0], 1);
        }
        using view = space.viewSync(FAR, PAGE, "read");
        await call(space, form, "mremap", FAR, 2 * PAGE, 2 * PAGE, { mayMove: true, to });
        space.u32.store(to, 77);
        assert.equal(
          view.as(Uint32Array)[0],
          77,
          "the frames moved with the mapping, so the view is of them still",
        );
      }));
  });
}
