/**
 * @module mmap and munmap: where mappings are placed, how they merge and split, and that unmapped
 * memory cannot be accessed.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HmmError, SegmentationFault } from "../../src/index.ts";
import {
  FAR,
  FORMS,
  MIB,
  PAGE,
  accountingOf,
  call,
  failsWith,
  mapLines,
  thrownBy,
  withSpace,
} from "./fixture.ts";

/** A mapping without an address is not placed below this. */
const FIRST = 0x10000;

for (const form of FORMS) {
  describe(`mmap and munmap, ${form} form`, () => {
    test("fresh memory reads as zeros and keeps what is stored", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 3 * PAGE)) as number;
        assert.equal(p, FIRST);
        assert.equal(space.u32.load(p + PAGE), 0);
        space.u32.store(p + PAGE, 7);
        space.f64.store(p + 2 * PAGE + 8, Math.PI);
        assert.equal(space.u32.load(p + PAGE), 7);
        assert.equal(space.f64.load(p + 2 * PAGE + 8), Math.PI);
        assert.equal(space.u8.load(p), 0);
      }));

    test("a length is rounded up to pages", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 1, { address: FAR, fixed: "replace" });
        await call(space, form, "mmap", PAGE + 1, { address: FAR + MIB, fixed: "replace" });
        assert.deepEqual(mapLines(space), [
          "10000000000-10000001000 rw private",
          "10000100000-10000102000 rw private",
        ]);
        await call(space, form, "munmap", FAR + MIB, 1);
        assert.deepEqual(mapLines(space), [
          "10000000000-10000001000 rw private",
          "10000101000-10000102000 rw private",
        ]);
      }));

    test("a hint is taken when it is free, and rounded down", () =>
      withSpace(async (space) => {
        assert.equal(await call(space, form, "mmap", PAGE, { address: FAR + 5 }), FAR);
        assert.equal(await call(space, form, "mmap", PAGE, { address: FAR }), FIRST);
        assert.equal(await call(space, form, "mmap", PAGE, { address: 2 ** 52 }), FIRST + PAGE);
        assert.equal(await call(space, form, "mmap", PAGE, { address: PAGE }), FIRST + 2 * PAGE);
      }));

    test("without a hint the lowest hole that fits is taken", () =>
      withSpace(async (space) => {
        for (let i = 0; i < 5; i++)
          await call(space, form, "mmap", PAGE, { protection: i % 2 === 0 ? "read" : "none" });
        await call(space, form, "munmap", FIRST + PAGE, PAGE);
        await call(space, form, "munmap", FIRST + 3 * PAGE, PAGE);
        assert.equal(await call(space, form, "mmap", 2 * PAGE), FIRST + 5 * PAGE);
        assert.equal(await call(space, form, "mmap", PAGE), FIRST + PAGE);
        assert.equal(await call(space, form, "mmap", PAGE), FIRST + 3 * PAGE);
      }));

    test("a fixed mapping may lie at address 0", () =>
      withSpace(async (space) => {
        assert.equal(await call(space, form, "mmap", PAGE, { address: 0, fixed: "noreplace" }), 0);
        space.u32.store(0, 11);
        assert.equal(space.u32.load(0), 11);
        await failsWith("EEXIST", () =>
          call(space, form, "mmap", PAGE, { address: 0, fixed: "noreplace" }),
        );
      }));

    test("fixed: replace unmaps what is there, all of it and no more", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 4 * PAGE, { address: FAR, fixed: "replace" });
        for (let i = 0; i < 4; i++) space.u32.store(FAR + i * PAGE, i + 1);
        await call(space, form, "mmap", 2 * PAGE, {
          address: FAR + PAGE,
          fixed: "replace",
          protection: "read",
        });
        assert.deepEqual(
          [0, 1, 2, 3].map((i) => space.u32.load(FAR + i * PAGE)),
          [1, 0, 0, 4],
        );
        assert.throws(() => space.u32.store(FAR + PAGE, 1), SegmentationFault);
      }));

    test("fixed: noreplace changes nothing when it fails", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", PAGE, { address: FAR + PAGE, fixed: "replace" });
        space.u32.store(FAR + PAGE, 5);
        const before = mapLines(space);
        const error = await failsWith("EEXIST", () =>
          call(space, form, "mmap", 3 * PAGE, { address: FAR, fixed: "noreplace" }),
        );
        assert.equal(error.syscall, "mmap");
        assert.equal(error.address, FAR);
        assert.deepEqual(mapLines(space), before);
        assert.equal(space.u32.load(FAR + PAGE), 5);
        assert.equal(
          await call(space, form, "mmap", PAGE, { address: FAR, fixed: "noreplace" }),
          FAR,
        );
      }));

    test("the highest page can be mapped, the next cannot", () =>
      withSpace(async (space) => {
        const end = (2 ** 32 - 512) * PAGE;
        assert.equal(
          await call(space, form, "mmap", PAGE, { address: end - PAGE, fixed: "replace" }),
          end - PAGE,
        );
        space.u32.store(end - 4, 9);
        assert.equal(space.u32.load(end - 4), 9);
        assert.throws(() => space.u32.load(end), SegmentationFault);
        await failsWith("ENOMEM", () =>
          call(space, form, "mmap", 2 * PAGE, { address: end - PAGE, fixed: "replace" }),
        );
        await call(space, form, "munmap", end - PAGE, PAGE);
        assert.throws(() => space.u32.load(end - 4), SegmentationFault);
      }));

    test("neighbours of one kind become one mapping, of two kinds do not", () =>
      withSpace(async (space) => {
        const fixed = (page: number, protection: string): unknown =>
          call(space, form, "mmap", PAGE, {
            address: FAR + page * PAGE,
            fixed: "replace",
            protection,
          });
        await fixed(0, "read-write");
        await fixed(2, "read-write");
        assert.equal(mapLines(space).length, 2);
        await fixed(1, "read-write");
        assert.deepEqual(mapLines(space), ["10000000000-10000003000 rw private"]);
        await fixed(3, "read");
        await fixed(1, "none");
        assert.deepEqual(mapLines(space), [
          "10000000000-10000001000 rw private",
          "10000001000-10000002000 -- private",
          "10000002000-10000003000 rw private",
          "10000003000-10000004000 r- private",
        ]);
      }));

    test("munmap of the middle splits, and holes are no error", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 5 * PAGE, { address: FAR, fixed: "replace" });
        for (let i = 0; i < 5; i++) space.u32.store(FAR + i * PAGE, i + 1);
        await call(space, form, "munmap", FAR + PAGE, PAGE);
        await call(space, form, "munmap", FAR + 3 * PAGE, PAGE);
        await call(space, form, "munmap", FAR + PAGE, PAGE);
        assert.equal(mapLines(space).length, 3);
        assert.equal(space.u32.load(FAR + 2 * PAGE), 3);
        assert.throws(() => space.u32.load(FAR + PAGE), SegmentationFault);
        await call(space, form, "munmap", FAR - MIB, 100 * MIB);
        assert.deepEqual(mapLines(space), []);
      }));

    test("munmap gives the frames back, and the next mapping there is zero again", () =>
      withSpace(async (space) => {
        const before = accountingOf(space);
        for (let round = 0; round < 3; round++) {
          await call(space, form, "mmap", 700 * PAGE, { address: FAR, fixed: "noreplace" });
          for (let i = 0; i < 700; i += 7) {
            assert.equal(space.u32.load(FAR + i * PAGE + 4), 0);
            space.u32.store(FAR + i * PAGE + 4, 1);
          }
          assert.equal(accountingOf(space).usedPages, before.usedPages + 100);
          await call(space, form, "munmap", FAR, 700 * PAGE);
          assert.equal(accountingOf(space).usedPages, before.usedPages);
        }
      }));

    test("an access that no mapping allows says where, how and why", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", PAGE, {
          address: FAR,
          fixed: "replace",
          protection: "read",
        });
        await call(space, form, "mmap", PAGE, {
          address: FAR + PAGE,
          fixed: "replace",
          protection: "none",
        });
        const faultOf = async (access: () => unknown): Promise<SegmentationFault> => {
          const error = await thrownBy(access);
          assert.ok(error instanceof SegmentationFault);
          return error;
        };
        const unmapped = await faultOf(() => space.u32.load(FAR - 4));
        assert.deepEqual(
          [unmapped.code, unmapped.address, unmapped.access],
          ["EFAULT", FAR - 4, "read"],
        );
        assert.match(unmapped.message, /0xfffffffffc: nothing is mapped there/);
        assert.match((await faultOf(() => space.u8.store(FAR + 3, 1))).message, /read-only/);
        assert.match((await faultOf(() => space.u8.load(FAR + PAGE))).message, /allows no access/);
        assert.equal((await faultOf(() => space.u8.atomicAdd(FAR + 1, 1))).access, "write");
      }));

    test("shared anonymous memory behaves as memory", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 2 * PAGE, { shared: true })) as number;
        assert.equal(space.i32.load(p), 0);
        space.i32.store(p + PAGE, -3);
        assert.equal(space.i32.atomicAdd(p + PAGE, 1), -3);
        assert.equal(space.i32.load(p + PAGE), -2);
        assert.deepEqual(mapLines(space), ["10000-12000 rw shared"]);
      }));
  });
}

test("more can be mapped than there is RAM, and RAM that is used up says so", () =>
  withSpace((space) => {
    const p = space.mmapSync(64 * MIB);
    let stored = 0;
    const error = ((): unknown => {
      try {
        for (; stored < 64 * MIB; stored += PAGE) space.u8.store(p + stored, 1);
      } catch (thrown) {
        return thrown;
      }
      return undefined;
    })();
    assert.ok(error instanceof HmmError);
    assert.equal(error.code, "ENOMEM");
    assert.equal(error.address, p + stored);
    assert.equal(stored, 4 * MIB);
    space.munmapSync(p, PAGE);
    space.u8.store(p + stored, 1);
    assert.equal(space.u8.load(p + stored), 1);
  }));
