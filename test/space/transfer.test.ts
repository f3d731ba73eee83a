/** @module read() and write(): bulk copies over any range, through every kind of page. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { type AddressSpace, SegmentationFault } from "../../src/index.ts";
import { Shootdown } from "../../src/sync/primitives/shootdown.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { FAR, FORMS, MIB, PAGE, accountingOf, call, withSpace } from "./fixture.ts";

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
        const before = accountingOf(space).usedPages;
        const bytes = new Uint8Array(5 * MIB).fill(1);
        await call(space, form, "read", p + 3, bytes);
        assert.ok(bytes.every((byte) => byte === 0));
        assert.equal(accountingOf(space).usedPages, before);
      }));

    test("a fault in the middle leaves what came before, and says where", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 2 * PAGE, { address: FAR, fixed: "replace" });
        await call(space, form, "mmap", PAGE, {
          address: FAR + 2 * PAGE,
          fixed: "replace",
          protection: "read",
        });
        const bytes = new Uint8Array(2 * PAGE).fill(7);
        await assert.rejects(
          call(space, form, "write", FAR + PAGE, bytes),
          (error) =>
            error instanceof SegmentationFault &&
            error.address === FAR + 2 * PAGE &&
            error.access === "write",
        );
        assert.equal(space.u8.load(FAR + 2 * PAGE - 1), 7);
        const into = new Uint8Array(2 * PAGE);
        await assert.rejects(
          call(space, form, "read", FAR + 2 * PAGE - 1, into.subarray(0, PAGE + 2)),
          (error) =>
            error instanceof SegmentationFault &&
            error.address === FAR + 3 * PAGE &&
            error.access === "read",
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

/** Bytes that may be transferred or resized, and a mapping whose pages take a while to come. */
async function slowCopy(space: AddressSpace): Promise<[address: number, bytes: Uint8Array]> {
  const source = {
    lengthBytes: 2 * PAGE,
    read: async (_offset: number, into: Uint8Array): Promise<void> => {
      await new Promise((resolve) => setImmediate(resolve));
      into.fill(7);
    },
  };
  const address = await space.mmap(2 * PAGE, { source });
  const buffer = new ArrayBuffer(2 * PAGE, { maxByteLength: 2 * PAGE });
  return [address, new Uint8Array(buffer, 0, 2 * PAGE)];
}

const GONE = {
  transferred: (buffer: ArrayBuffer) => void structuredClone(buffer, { transfer: [buffer] }),
  "made smaller": (buffer: ArrayBuffer) => buffer.resize(PAGE),
} as const;

for (const [what, lose] of Object.entries(GONE)) {
  for (const syscall of ["read", "write"] as const) {
    test(`${syscall}: an array that is ${what} meanwhile is EINVAL`, () =>
      withSpace(async (space) => {
        const [address, bytes] = await slowCopy(space);
        const copied = space[syscall](address, bytes);
        lose(bytes.buffer as ArrayBuffer);
        await assert.rejects(copied, { name: "HmmError", code: "EINVAL", syscall });
        // No store is under way: whoever takes pages away does not wait for one.
        space.u8.store(address, 1);
        await space.munmap(address, 2 * PAGE);
      }));
  }
}

test("read, write: an array that stays what it is is copied however long the pages take", () =>
  withSpace(async (space) => {
    const [address, bytes] = await slowCopy(space);
    await space.read(address, bytes);
    assert.ok(bytes.every((byte) => byte === 7));
  }));

test("an array's own methods are not called while a store is under way", () =>
  withSpace(async (space) => {
    class Hostile extends Uint8Array<ArrayBuffer> {
      override set(): never {
        throw new Error("set");
      }
      override subarray(): never {
        throw new Error("subarray");
      }
    }
    const address = await space.mmap(PAGE);
    space.writeSync(address, new Hostile(Uint8Array.of(5).buffer));
    const into = new Hostile(new ArrayBuffer(1));
    space.readSync(address, into);
    assert.equal(into[0], 5);
    await space.munmap(address, PAGE);
  }));

/** Runs `between` once, where a bulk copy has found its frame and is about to use it. */
function disturbNextCopy(between: () => void): () => void {
  const methods: { enterStore: (this: Shootdown) => Task<void> } = Shootdown.prototype;
  const original = methods.enterStore;
  methods.enterStore = function enterStore(): Task<void> {
    methods.enterStore = original;
    between();
    return original.call(this);
  };
  return () => {
    methods.enterStore = original;
  };
}

test("a page that is taken away between the walk and the copy is not copied to or from", () =>
  withSpace((space) => {
    const other = FAR + MIB;
    for (const isWrite of [true, false]) {
      space.mmapSync(PAGE, { address: FAR, fixed: "replace" });
      space.u8.store(FAR, 1);
      const restore = disturbNextCopy(() => {
        space.munmapSync(FAR, PAGE);
        space.mmapSync(PAGE, { address: other, fixed: "replace" });
        space.u8.store(other, 0x55); // in the frame that was taken away
        space.mmapSync(PAGE, { address: FAR, fixed: "replace" });
      });
      const bytes = Uint8Array.of(7);
      if (isWrite) space.writeSync(FAR, bytes);
      else space.readSync(FAR, bytes);
      restore();
      assert.equal(space.u8.load(other), 0x55, "nothing was written there");
      assert.equal(space.u8.load(FAR), isWrite ? 7 : 0);
      assert.equal(bytes[0], isWrite ? 7 : 0, "nothing was read there");
      space.munmapSync(other, PAGE);
    }
  }));

test("a page that is unmapped between the walk and the copy is a fault", () =>
  withSpace((space) => {
    space.mmapSync(PAGE, { address: FAR, fixed: "replace" });
    space.u8.store(FAR, 1);
    const restore = disturbNextCopy(() => space.munmapSync(FAR, PAGE));
    assert.throws(() => space.writeSync(FAR, Uint8Array.of(7)), SegmentationFault);
    restore();
  }));
