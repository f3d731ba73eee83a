/**
 * @module What comes of a source of a program's own that fails: the error of the operation has what
 * was thrown as its cause, whatever that is; nothing is asked for ever, and nothing is left.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  HmmError,
  SegmentationFault,
  type AddressSpace,
  type MappingSource,
  type View,
} from "../../src/index.ts";
import { PAGE, withSpace } from "./fixture.ts";
import { MemorySource } from "./memory-source.ts";

/** Codes that the core has a meaning of its own for, and some that it has none for. */
const CODES = ["EAGAIN", "EBUSY", "EFAULT", "ENOMEM", "ENXIO", "EMFILE", "EDEADLK", "EINVAL"];
const MORE_CODES = ["EIO", "EACCES", "EWHAT", "ENOTRECOVERABLE"];

/** More calls than a failing access may make. */
const CALLS_MAX = 16;

function failing(name: string, isLater: boolean): MappingSource & { readonly error: Error } {
  const error = Object.assign(new Error("out of order"), { code: name });
  let calls = 0;
  const fail = (): void | Promise<void> => {
    // Else the access is made again and again.
    if (++calls > CALLS_MAX) process.exit(1);
    if (isLater) return Promise.reject(error);
    throw error;
  };
  return { lengthBytes: 8 * PAGE, read: fail, write: fail, error };
}

function code(name: string): (error: unknown) => boolean {
  return (error) => error instanceof HmmError && error.code === name;
}

function causedBy(cause: unknown, isRight: (error: unknown) => boolean): (error: unknown) => true {
  return (error) => {
    assert.ok(isRight(error), String(error));
    assert.equal((error as Error).cause, cause);
    return true;
  };
}

function isBus(error: unknown): boolean {
  return error instanceof SegmentationFault && error.signal === "SIGBUS";
}

for (const isLater of [false, true]) {
  for (const name of [...CODES, ...MORE_CODES]) {
    test(`a read that ${isLater ? "rejects" : "throws"} with ${name} is SIGBUS, with its cause`, () =>
      withSpace(async (space) => {
        const source = failing(name, isLater);
        const p = space.mmapSync(8 * PAGE, { source });
        const fails = (task: Promise<unknown>, is: (error: unknown) => boolean): Promise<void> =>
          assert.rejects(task, causedBy(source.error, is));
        await fails(space.read(p, new Uint8Array(4)), isBus);
        await fails(space.write(p, new Uint8Array(4)), isBus);
        await fails(space.view(p, PAGE, "read"), code("EIO"));
        await fails(space.madvise(p, PAGE, "populate-read"), code("EFAULT"));
        if (!isLater) assert.throws(() => space.u32.load(p + PAGE), causedBy(source.error, isBus));
        await space.munmap(p, 8 * PAGE);
      }));
  }
}

test("a page that cannot be read costs no other page, though they are read together", () =>
  withSpace(async (space) => {
    const pages = 64;
    const bad = 37;
    for (const isLater of [false, true]) {
      const source: MappingSource = {
        lengthBytes: pages * PAGE,
        read: (offsetBytes, into) => {
          const isBad = offsetBytes <= bad * PAGE && offsetBytes + into.length > bad * PAGE;
          const failure = new Error("a bad sector");
          if (isBad && isLater) return Promise.reject(failure);
          if (isBad) throw failure;
          into.fill(1);
          return undefined;
        },
      };
      const p = space.mmapSync(pages * PAGE, { source });
      for (const form of ["read", "populate"] as const) {
        for (let i = 0; i < pages; i++) {
          const at = p + i * PAGE;
          const access =
            form === "read"
              ? space.read(at, new Uint8Array(1))
              : space.madvise(at, PAGE, "populate-read");
          if (i === bad) await assert.rejects(access, code("EFAULT"));
          else await access;
        }
      }
      for (let i = 0; i < pages; i++) if (i !== bad) assert.equal(space.u8.load(p + i * PAGE), 1);
    }
  }));

test("a write that fails has a code of a store, or EIO", () =>
  withSpace((space) => {
    const wanted = (name: string): string => (name === "EACCES" ? name : "EIO");
    for (const name of [...CODES, ...MORE_CODES]) {
      const source = new MemorySource(PAGE);
      const p = space.mmapSync(PAGE, { source, shared: true });
      space.u32.store(p, 1);
      source.failure = Object.assign(new Error("full"), { code: name });
      const isRight = causedBy(source.failure, code(wanted(name)));
      assert.throws(() => space.msyncSync(p, PAGE), isRight);
      assert.throws(
        () => space.msyncSync(p, PAGE),
        (error) => !String(error).includes("a defect"),
      );
      source.failure = undefined;
      space.munmapSync(p, PAGE);
      assert.equal(source.stored(0), 1);
    }
  }));

test("a failure of before is no cause of what fails now", () =>
  withSpace((space) => {
    const source = new MemorySource(PAGE);
    const p = space.mmapSync(PAGE, { source, shared: true });
    source.failure = new Error("out of order");
    assert.throws(() => space.u32.load(p), isBus);
    const hole = 2 ** 33;
    assert.throws(() => space.msyncSync(hole, PAGE), causedBy(undefined, code("ENOMEM")));
    assert.throws(() => space.u32.load(hole), causedBy(undefined, code("EFAULT")));
  }));

test("a read that uses its own mapping fails, and ends", () =>
  withSpace((space) => {
    let calls = 0;
    const source: MappingSource = {
      lengthBytes: 64 * PAGE,
      read: (offsetBytes) => {
        if (++calls > 64 * CALLS_MAX) process.exit(1);
        space.u8.load(p + ((offsetBytes + 32 * PAGE) % (64 * PAGE)));
      },
    };
    const p = space.mmapSync(64 * PAGE, { source });
    assert.throws(() => space.u8.load(p), isBus);
  }));

/** Blocking forms that need a page of a source that answers later. */
const BLOCKING: readonly ((space: AddressSpace, p: number) => unknown)[] = [
  (space, p) => space.u8.load(p),
  (space, p) => space.readSync(p, new Uint8Array(4)),
  (space, p) => space.viewSync(p, PAGE, "read"),
  (space, p) => space.viewSync(p, 2 * PAGE, "write"),
  (space, p) => space.madviseSync(p, PAGE, "populate"),
];

for (const [i, block] of BLOCKING.entries()) {
  test(`a blocking form that would wait for its own thread leaves nothing behind: ${i}`, () =>
    withSpace(async (space) => {
      const source: MappingSource = {
        lengthBytes: 4 * PAGE,
        read: async (_, into) => {
          await new Promise((resolve) => setTimeout(resolve, 1));
          into.fill(5);
        },
      };
      const p = space.mmapSync(4 * PAGE, { source });
      assert.throws(() => block(space, p), code("EDEADLK"));
      await space.read(p, new Uint8Array(4));
      assert.equal(space.u8.load(p), 5);
      assert.equal(space.statsSync().users, 1);
    }));
}

test("a write that is no function is refused", () =>
  withSpace((space) => {
    const given: object = { lengthBytes: PAGE, read: () => {}, write: 5 };
    const source = given as MappingSource;
    assert.throws(() => space.mmapSync(PAGE, { source }), code("EINVAL"));
  }));

test("a thread that owns too much to read a page is told so, and its source is not blamed", () =>
  withSpace(async (space) => {
    const source: MappingSource = { lengthBytes: PAGE, read: (_offset, into) => void into.fill(7) };
    const p = space.mmapSync(PAGE, { source });
    const own = space.mmapSync(PAGE);
    const views: View[] = [];
    assert.throws(() => {
      for (;;) views.push(space.viewSync(own, PAGE, "read"));
    }, code("EMFILE"));
    assert.throws(() => space.u8.load(p), code("EMFILE"));
    for (const view of views) view.disposeSync();
    assert.equal(space.u8.load(p), 7);
    await space.munmap(p, PAGE);
  }));
