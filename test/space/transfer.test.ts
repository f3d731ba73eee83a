/** @module read() and write(): bulk copies over any range, through every kind of page. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { type AddressSpace, SegmentationFault } from "../../src/index.ts";
import { FAR, FORMS, MIB, PAGE, booksOf, call, withSpace } from "./fixture.ts";

for (const form of FORMS) {
  describe(`read and write, ${form} form`, () => {
    test("what was written is read, over page borders and at odd addresses", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 8 * PAGE)) as number;
        const mirror = new Uint8Array(8 * PAGE);
        await fc.assert(
          fc.asyncProperty(
            fc.integer({ min: 0, max: 8 * PAGE }),
            fc.uint8Array({ maxLength: 64 }),
            fc.integer({ min: 1, max: 200 }),
            async (offset, pattern, times) => {
              const bytes = new Uint8Array(Math.min(pattern.length * times, 8 * PAGE - offset));
              for (let i = 0; i < bytes.length; i++) bytes[i] = pattern[i % pattern.length]!;
              await call(space, form, "write", p + offset, bytes);
              mirror.set(bytes, offset);
              const all = new Uint8Array(8 * PAGE);
              await call(space, form, "read", p, all);
              assert.deepEqual(all, mirror);
            },
          ),
          { numRuns: 60 },
        );
      }));

    test("single accesses see it, and the other way round", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 2 * PAGE)) as number;
        await call(space, form, "write", p + PAGE - 2, Uint8Array.of(1, 2, 3, 4));
        assert.equal(space.u16.load(p + PAGE - 2), 0x0201);
        assert.equal(space.u16.load(p + PAGE), 0x0403);
        space.u8.store(p + PAGE, 9);
        const bytes = new Uint8Array(4);
        await call(space, form, "read", p + PAGE - 2, bytes);
        assert.deepEqual([...bytes], [1, 2, 9, 4]);
      }));

    test("reading what was never touched gives zeros and takes no frame", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", 16 * MIB)) as number;
        const before = booksOf(space).usedPages;
        const bytes = new Uint8Array(5 * MIB).fill(1);
        await call(space, form, "read", p + 3, bytes);
        assert.ok(bytes.every((byte) => byte === 0));
        assert.equal(booksOf(space).usedPages, before);
      }));

    test("a fault in the middle leaves what came before, and says where", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 2 * PAGE, { address: FAR, fixed: "replace" });
        await call(space, form, "mmap", PAGE, { address: FAR + 2 * PAGE, fixed: "replace", protection: "read" });
        const bytes = new Uint8Array(2 * PAGE).fill(7);
        await assert.rejects(
          call(space, form, "write", FAR + PAGE, bytes),
          (error) => error instanceof SegmentationFault && error.address === FAR + 2 * PAGE && error.access === "write",
        );
        assert.equal(space.u8.load(FAR + 2 * PAGE - 1), 7);
        const into = new Uint8Array(2 * PAGE);
        await assert.rejects(
          call(space, form, "read", FAR + 2 * PAGE - 1, into.subarray(0, PAGE + 2)),
          (error) => error instanceof SegmentationFault && error.address === FAR + 3 * PAGE && error.access === "read",
        );
        assert.equal(into[0], 7);
      }));

    test("no bytes are no access", () =>
      withSpace(async (space) => {
        await call(space, form, "read", 0, new Uint8Array(0));
        await call(space, form, "write", 2 ** 50, new Uint8Array(0));
      }));

    test("writing copies on write, like any store", () =>
      withSpace(async (space) => {
        const p = (await call(space, form, "mmap", PAGE)) as number;
        await call(space, form, "write", p, Uint8Array.of(1));
        await using child = (await call(space, form, "fork")) as AddressSpace;
        await call(child, form, "write", p, Uint8Array.of(2));
        assert.deepEqual([space.u8.load(p), child.u8.load(p)], [1, 2]);
      }));
  });
}
