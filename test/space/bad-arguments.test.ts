/**
 * @module Every errno of every operation, and arguments of any kind: each ends in an HmmError that
 * says what to do, never in an internal exception.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { type AddressSpace, HmmError } from "../../src/index.ts";
import { explainedFailures } from "../../src/space/failures.ts";
import {
  FAR,
  FORMS,
  type OperationName,
  PAGE,
  accountingOf,
  call,
  failsWith,
  mapLines,
  withSpace,
} from "./fixture.ts";

/** 16 TiB less one leaf of the page table. */
const END: number = (2 ** 32 - 512) * PAGE;

/** A space with [FAR, FAR + 4 pages) mapped read-write, then one page read-only, then nothing. */
function furnish(space: AddressSpace): void {
  space.mmapSync(4 * PAGE, { address: FAR, fixed: "replace" });
  space.mmapSync(PAGE, { address: FAR + 4 * PAGE, fixed: "replace", protection: "read" });
  space.u32.store(FAR, 1234);
}

type Row = readonly [code: string, name: OperationName, ...args: unknown[]];

/**
 * What Linux answers (mmap(2), mprotect(2), mremap(2), madvise(2)); where there is no such answer,
 * what the docstrings say.
 */
const TABLE: readonly Row[] = [
  ["EINVAL", "mmap", 0],
  ["EINVAL", "mmap", -1],
  ["EINVAL", "mmap", 1.5],
  ["EINVAL", "mmap", Number.NaN],
  ["EINVAL", "mmap", "4096"],
  ["EINVAL", "mmap", undefined],
  ["EINVAL", "mmap", Infinity],
  ["ENOMEM", "mmap", 2 ** 44],
  ["ENOMEM", "mmap", Number.MAX_SAFE_INTEGER],
  ["EINVAL", "mmap", PAGE, null],
  ["EINVAL", "mmap", PAGE, "shared"],
  ["EINVAL", "mmap", PAGE, { address: -PAGE }],
  ["EINVAL", "mmap", PAGE, { address: Number.NaN }],
  ["EINVAL", "mmap", PAGE, { address: "0" }],
  ["EINVAL", "mmap", PAGE, { fixed: "replace" }],
  ["EINVAL", "mmap", PAGE, { fixed: true, address: FAR }],
  ["EINVAL", "mmap", PAGE, { fixed: "replace", address: FAR + 1 }],
  ["ENOMEM", "mmap", PAGE, { fixed: "noreplace", address: 2 ** 52 }],
  ["ENOMEM", "mmap", PAGE, { fixed: "replace", address: END - PAGE + 1 }],
  ["ENOMEM", "mmap", PAGE, { fixed: "replace", address: END }],
  ["ENOMEM", "mmap", 2 * PAGE, { fixed: "noreplace", address: END - PAGE }],
  ["EEXIST", "mmap", PAGE, { fixed: "noreplace", address: FAR + 3 * PAGE }],
  ["EINVAL", "mmap", PAGE, { protection: "exec" }],
  ["EINVAL", "mmap", PAGE, { protection: "write" }],
  ["EINVAL", "mmap", PAGE, { shared: 1 }],
  ["EINVAL", "mmap", PAGE, { offsetBytes: PAGE }],
  ["EINVAL", "mmap", PAGE, { buffer: new ArrayBuffer(PAGE) }],
  ["EINVAL", "mmap", PAGE, { buffer: new Uint8Array(new SharedArrayBuffer(PAGE)) }],
  ["EINVAL", "mmap", PAGE, { buffer: "bytes" }],
  ["EINVAL", "mmap", PAGE, { buffer: new SharedArrayBuffer(PAGE - 1) }],
  ["EINVAL", "mmap", PAGE, { buffer: new SharedArrayBuffer(PAGE), shared: false }],
  ["EINVAL", "mmap", PAGE, { buffer: new SharedArrayBuffer(PAGE), offsetBytes: 1 }],
  ["EINVAL", "mmap", PAGE, { buffer: new SharedArrayBuffer(PAGE), offsetBytes: -PAGE }],
  ["EINVAL", "mmap", PAGE, { buffer: new SharedArrayBuffer(PAGE), offsetBytes: PAGE }],
  ["EINVAL", "mmap", PAGE + 1, { buffer: new SharedArrayBuffer(PAGE) }],
  ["EINVAL", "munmap", FAR + 1, PAGE],
  ["EINVAL", "munmap", FAR, 0],
  ["EINVAL", "munmap", FAR, -PAGE],
  ["EINVAL", "munmap", Number.NaN, PAGE],
  ["EINVAL", "munmap", FAR, Number.NaN],
  ["EINVAL", "munmap", END, PAGE],
  ["EINVAL", "munmap", FAR, Number.MAX_SAFE_INTEGER],
  ["EINVAL", "mprotect", FAR + 1, PAGE, "read"],
  ["EINVAL", "mprotect", FAR + 1, 0, "read"],
  ["EINVAL", "mprotect", FAR, -1, "read"],
  ["EINVAL", "mprotect", FAR, PAGE, "write"],
  ["EINVAL", "mprotect", FAR, PAGE, undefined],
  ["ENOMEM", "mprotect", FAR, 6 * PAGE, "read"],
  ["ENOMEM", "mprotect", FAR - PAGE, 2 * PAGE, "read"],
  ["ENOMEM", "mprotect", FAR, 2 ** 45, "read"],
  ["ENOMEM", "mprotect", END, PAGE, "read"],
  ["EINVAL", "mremap", FAR + 1, PAGE, PAGE],
  ["EINVAL", "mremap", FAR, 0, PAGE],
  ["EINVAL", "mremap", FAR, PAGE, 0],
  ["EINVAL", "mremap", FAR, PAGE, Number.NaN],
  ["EINVAL", "mremap", FAR, PAGE, PAGE, { to: FAR + 64 * PAGE }],
  ["EINVAL", "mremap", FAR, 2 * PAGE, 2 * PAGE, { mayMove: true, to: FAR + PAGE }],
  ["EINVAL", "mremap", FAR, PAGE, PAGE, { mayMove: true, to: FAR }],
  ["EINVAL", "mremap", FAR, PAGE, PAGE, { mayMove: true, to: FAR + 64 * PAGE + 1 }],
  ["EINVAL", "mremap", FAR, PAGE, PAGE, { mayMove: true, to: END }],
  ["EINVAL", "mremap", FAR, PAGE, PAGE, { mayMove: true, to: "there" }],
  ["EINVAL", "mremap", FAR, PAGE, PAGE, { mayMove: "yes" }],
  ["EINVAL", "mremap", FAR, PAGE, PAGE, null],
  ["EINVAL", "mremap", FAR, PAGE, PAGE, { keepOld: true }],
  ["EINVAL", "mremap", FAR, PAGE, 2 * PAGE, { mayMove: true, keepOld: true }],
  ["EINVAL", "mremap", FAR, PAGE, PAGE, { mayMove: true, keepOld: 1 }],
  ["EINVAL", "mremap", FAR, -1, PAGE],
  ["EFAULT", "mremap", FAR - PAGE, PAGE, PAGE],
  ["EFAULT", "mremap", END, PAGE, PAGE],
  ["EFAULT", "mremap", FAR + 3 * PAGE, 2 * PAGE, 3 * PAGE],
  ["EFAULT", "mremap", FAR + 3 * PAGE, 2 * PAGE, 2 * PAGE, { mayMove: true, keepOld: true }],
  ["EINVAL", "mremap", FAR, 2 ** 45, PAGE],
  ["ENOMEM", "mremap", FAR, 4 * PAGE, 5 * PAGE],
  ["EINVAL", "mremap", FAR, PAGE, 2 ** 45],
  ["ENOMEM", "mremap", FAR, PAGE, 2 ** 44 - 1024 * PAGE, { mayMove: true }],
  ["EINVAL", "madvise", FAR, PAGE, "hurry"],
  ["EINVAL", "madvise", FAR, PAGE, 4],
  ["EINVAL", "madvise", FAR + 1, PAGE, "dontneed"],
  ["EINVAL", "madvise", FAR + 1, 0, "dontneed"],
  ["EINVAL", "madvise", FAR, -1, "dontneed"],
  ["ENOMEM", "madvise", END, PAGE, "dontneed"],
  ["ENOMEM", "madvise", FAR + 4 * PAGE, 2 * PAGE, "normal"],
  ["EINVAL", "read", FAR, [1, 2, 3]],
  ["EINVAL", "read", FAR, new Uint16Array(4)],
  ["EINVAL", "read", -1, new Uint8Array(4)],
  ["EINVAL", "read", 0.5, new Uint8Array(4)],
  ["EFAULT", "read", FAR - 2, new Uint8Array(4)],
  ["EFAULT", "read", FAR + 5 * PAGE - 2, new Uint8Array(4)],
  ["EFAULT", "read", END, new Uint8Array(1)],
  ["EFAULT", "read", Number.MAX_SAFE_INTEGER, new Uint8Array(4)],
  ["EINVAL", "write", FAR, "text"],
  ["EINVAL", "write", Number.NaN, new Uint8Array(4)],
  ["EFAULT", "write", FAR + 4 * PAGE, new Uint8Array(4)],
  ["EFAULT", "write", 0, new Uint8Array(1)],
  ["EINVAL", "view", FAR, PAGE, "both"],
  ["EINVAL", "view", FAR, PAGE],
  ["EINVAL", "view", FAR, 0, "read"],
  ["EINVAL", "view", FAR, -1, "read"],
  ["EINVAL", "view", FAR, 0.5, "read"],
  ["EINVAL", "view", -1, PAGE, "read"],
  ["EFAULT", "view", FAR - 1, 2, "read"],
  ["EFAULT", "view", FAR + 4 * PAGE, 1, "write"],
  ["EFAULT", "view", FAR, 2 ** 45, "read"],
  ["EINVAL", "pagemap", FAR + 1, PAGE],
  ["EINVAL", "pagemap", FAR, 0],
  ["EINVAL", "pagemap", 0, 2 ** 33],
];

for (const form of FORMS) {
  describe(`errors, ${form} form`, () => {
    test("each bad argument has its answer, and changes nothing", () =>
      withSpace(async (space) => {
        furnish(space);
        const lines = mapLines(space);
        const accounting = accountingOf(space);
        for (const [code, name, ...args] of TABLE) {
          const error = await failsWith(code, () => call(space, form, name, ...args)).catch(
            (cause: unknown) => {
              throw new Error(`${name}(${args.map((arg) => fc.stringify(arg)).join(", ")})`, {
                cause,
              });
            },
          );
          assert.equal(error.syscall, name);
          assert.match(error.message, /^Cannot [^:]+: [^;]+/, error.message);
          assert.doesNotMatch(error.message, /defect/);
        }
        assert.deepEqual(mapLines(space), lines);
        assert.deepEqual(accountingOf(space), accounting);
        assert.equal(space.u32.load(FAR), 1234);
      }));
  });
}

test("every errno that the table answers has a text with its remedy", () => {
  const explained = new Set(explainedFailures().map(([name, code]) => `${name} ${code}`));
  for (const [code, name] of TABLE) {
    // SegmentationFault has a text of its own.
    if ((name === "read" || name === "write") && code === "EFAULT") continue;
    // Said case by case.
    if (code === "EINVAL" && ["read", "write", "mmap"].includes(name)) continue;
    assert.ok(explained.has(`${name} ${code}`), `${name} ${code}`);
  }
  assert.ok(!explained.has("munmap EEXIST"));
});

/** Anything at all, with what is nearly right more often. */
const anyNumber: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(
    0,
    -0,
    1,
    -1,
    PAGE,
    PAGE - 1,
    FAR,
    FAR + PAGE,
    FAR + 3,
    END,
    END - PAGE,
    2 ** 32,
    2 ** 44,
    2 ** 53,
  ),
  fc.integer({ min: 0, max: 64 }).map((page) => FAR + page * PAGE),
  fc.double(),
  fc.anything(),
);
const anyOptions: fc.Arbitrary<unknown> = fc.oneof(
  fc.record(
    {
      address: anyNumber,
      fixed: fc.constantFrom("replace", "noreplace", "other", undefined),
      protection: fc.constantFrom("none", "read", "read-write", "other", undefined),
      shared: fc.constantFrom(true, false, undefined, 3),
      offset: anyNumber,
      mayMove: fc.constantFrom(true, false, undefined, "no"),
      keepOld: fc.constantFrom(true, false, undefined, 1),
      to: anyNumber,
    },
    { requiredKeys: [] },
  ),
  fc.anything(),
);
const anyWord: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom("none", "read", "read-write", "write", "normal", "dontneed"),
  fc.anything(),
);
const anyCall: fc.Arbitrary<readonly [OperationName, ...unknown[]]> = fc.oneof(
  fc.tuple(fc.constant("mmap" as const), anyNumber, anyOptions),
  fc.tuple(fc.constant("munmap" as const), anyNumber, anyNumber),
  fc.tuple(fc.constant("mprotect" as const), anyNumber, anyNumber, anyWord),
  fc.tuple(fc.constant("mremap" as const), anyNumber, anyNumber, anyNumber, anyOptions),
  fc.tuple(fc.constant("madvise" as const), anyNumber, anyNumber, anyWord),
  fc.tuple(
    fc.constantFrom("read" as const, "write" as const),
    anyNumber,
    fc.oneof(fc.uint8Array(), fc.anything()),
  ),
  fc.tuple(
    fc.constant("pagemap" as const),
    anyNumber,
    fc.oneof(fc.constantFrom(PAGE, 3 * PAGE), fc.anything()),
  ),
);

test("whatever the arguments, an operation works or throws an HmmError", async () => {
  await withSpace(async (space) => {
    furnish(space);
    await fc.assert(
      fc.asyncProperty(anyCall, fc.constantFrom(...FORMS), async ([name, ...args], form) => {
        try {
          await call(space, form, name, ...args);
        } catch (error) {
          if (!(error instanceof HmmError)) throw error;
          assert.doesNotMatch(error.message, /defect/);
        }
      }),
      { numRuns: 3000 },
    );
    space.munmapSync(0, END);
    assert.deepEqual(mapLines(space), []);
  });
});

test("an accessor wants a whole address that is a multiple of its width", () =>
  withSpace(async (space) => {
    furnish(space);
    for (const address of [
      FAR + 1,
      FAR + 2,
      FAR + 0.5,
      -4,
      Number.NaN,
      Infinity,
      -Infinity,
      2 ** 53,
    ]) {
      await failsWith("EINVAL", () => space.u32.load(address));
      await failsWith("EINVAL", () => space.f32.store(address, 1));
      await failsWith("EINVAL", () => space.i32.atomicCompareExchange(address, 0, 1));
    }
    await failsWith("EINVAL", () => space.f64.load(FAR + 4));
    await failsWith("EFAULT", () => space.u32.load(END));
  }));
