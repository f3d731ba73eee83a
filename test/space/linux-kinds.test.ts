/**
 * @module What Linux 6.18 does in the corners of the mmap family, kind by kind: docs/LINUX.md lists
 * the kinds by these letters. `npm run linux` compares the same with a running kernel; here it is
 * held on any system.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { AddressSpace } from "../../src/index.ts";
import { SegmentationFault } from "../../src/index.ts";
import {
  FAR,
  FORMS,
  type Form,
  PAGE,
  accountingOf,
  call,
  failsWith,
  mapLines,
  readStamps,
  signalOf,
  stampPages,
  thrownBy,
  withSpace,
} from "./fixture.ts";

/** One past the highest address. */
const END: number = (2 ** 32 - 512) * PAGE;
const TO: number = FAR + 8 * PAGE;
const MOVE = { mayMove: true, to: TO };

/**
 * Maps one page after the other from FAR on: "rw", "r-", "--" private, "RW" shared, "  " a hole.
 * Writable ones hold their index plus one.
 */
async function lay(space: AddressSpace, form: Form, ...kinds: readonly string[]): Promise<void> {
  for (const [i, kind] of kinds.entries()) {
    if (kind === "  ") continue;
    const protection = kind === "--" ? "none" : kind === "r-" ? "read" : "read-write";
    const address = FAR + i * PAGE;
    await call(space, form, "mmap", PAGE, {
      address,
      fixed: "noreplace",
      protection,
      shared: kind === "RW",
    });
    if (protection === "read-write") space.u32.store(address, i + 1);
  }
}

/** The mappings as page numbers from FAR on: "0-2 rw private". */
function pagesOf(space: AddressSpace): string[] {
  return mapLines(space).map((line) =>
    line.replaceAll(/\b([0-9a-f]{5,})\b/g, (digits) =>
      String((Number.parseInt(digits, 16) - FAR) / PAGE),
    ),
  );
}

for (const form of FORMS) {
  const on = (
    space: AddressSpace,
    ...args: [address: number, oldLength: number, newLength: number, options?: object]
  ) => call(space, form, "mremap", ...args);

  describe(`as Linux, ${form} form`, () => {
    test("A: a shared mapping that is grown past its memory is SIGBUS there, in children too", () =>
      withSpace(async (space) => {
        await lay(space, form, "RW");
        assert.equal(await on(space, FAR, PAGE, 2 * PAGE), FAR);
        await using child = (await call(space, form, "fork")) as AddressSpace;
        for (const one of [space, child]) {
          assert.equal(one.u32.load(FAR), 1);
          for (const access of [
            () => one.u32.load(FAR + PAGE),
            () => one.u32.store(FAR + PAGE, 1),
            () => one.u32.atomicAdd(FAR + PAGE, 1),
            () => one.readSync(FAR + PAGE, new Uint8Array(1)),
            () => one.writeSync(FAR + PAGE - 1, new Uint8Array(2)),
          ]) {
            assert.equal(signalOf(access), "SIGBUS");
          }
          assert.equal(
            signalOf(() => one.u32.load(FAR + 2 * PAGE)),
            "SIGSEGV",
          );
          await failsWith("EFAULT", () => call(one, form, "view", FAR, 2 * PAGE, "read"));
          assert.deepEqual(pagesOf(one), ["0-2 rw shared"]);
        }
        await call(space, form, "mprotect", FAR, 2 * PAGE, "read");
        assert.equal(
          signalOf(() => space.u32.store(FAR + PAGE, 1)),
          "SIGSEGV",
          "what may not be written comes first",
        );
        assert.equal(
          signalOf(() => space.u32.load(FAR + PAGE)),
          "SIGBUS",
        );
      }));

    test("A: SIGBUS is an error that says so", () =>
      withSpace(async (space) => {
        await lay(space, form, "RW");
        await on(space, FAR, PAGE, 2 * PAGE);
        const error = await thrownBy(() => space.u32.store(FAR + PAGE, 1));
        assert.ok(error instanceof SegmentationFault);
        assert.deepEqual(
          [error.code, error.signal, error.access, error.address],
          ["EFAULT", "SIGBUS", "write", FAR + PAGE],
        );
        assert.match(error.message, /^Cannot write address 0x10000001000: .* ends before; .+$/);
      }));

    test("B: what is cut off in place may be anything; so may what stays as it is", () =>
      withSpace(async (space) => {
        await lay(space, form, "rw", "r-", "  ", "rw");
        assert.equal(await on(space, FAR, 5 * PAGE, 5 * PAGE), FAR);
        assert.equal(await on(space, FAR, 3 * PAGE, PAGE), FAR);
        assert.deepEqual(pagesOf(space), ["0-1 rw private", "3-4 rw private"]);
        // Its first page is a hole.
        await failsWith("EFAULT", () => on(space, FAR + PAGE, 3 * PAGE, PAGE));
      }));

    test("C: so may what is cut off before a move", () =>
      withSpace(async (space) => {
        await lay(space, form, "rw", "r-", "rw");
        assert.equal(await on(space, FAR, 2 * PAGE, PAGE, MOVE), TO);
        assert.deepEqual(pagesOf(space), ["2-3 rw private", "8-9 rw private"]);
        assert.equal(space.u32.load(TO), 1);
        await failsWith("EFAULT", () =>
          on(space, FAR + 2 * PAGE, 3 * PAGE, 2 * PAGE, { ...MOVE, to: FAR }),
        );
      }));

    test("D: a move to a place and of the same size takes several mappings, and leaves out holes at both places", () =>
      withSpace(async (space) => {
        const before = accountingOf(space);
        await lay(space, form, "rw", "r-", "  ", "RW", "rw", "  ");
        await call(space, form, "mmap", 8 * PAGE, {
          address: TO,
          fixed: "noreplace",
          protection: "none",
        });
        assert.equal(await on(space, FAR, 6 * PAGE, 6 * PAGE, MOVE), TO);
        assert.deepEqual(pagesOf(space), [
          "8-9 rw private",
          "9-10 r- private",
          "10-11 -- private",
          "11-12 rw shared",
          "12-13 rw private",
          "13-16 -- private",
        ]);
        assert.deepEqual(
          [0, 3, 4].map((page) => space.u32.load(TO + page * PAGE)),
          [1, 4, 5],
        );
        await failsWith("EFAULT", () =>
          on(space, TO, 2 * PAGE, 3 * PAGE, { mayMove: true, to: FAR }),
        );
        await call(space, form, "munmap", TO, 8 * PAGE);
        assert.deepEqual(accountingOf(space).usedPages, before.usedPages);
      }));

    test("E: at the limit of mappings the ends of one can still be unmapped, not its middle", () =>
      withSpace(
        async (space) => {
          await call(space, form, "mmap", 8 * PAGE, { address: FAR, fixed: "replace" });
          await call(space, form, "mmap", 4 * PAGE, {
            address: TO,
            fixed: "replace",
            protection: "read",
          });
          stampPages(space, FAR, 8, 1);
          await failsWith("ENOMEM", () => call(space, form, "munmap", FAR + PAGE, PAGE));
          await failsWith("ENOMEM", () => call(space, form, "mprotect", FAR, PAGE, "none"));
          await call(space, form, "munmap", FAR, PAGE);
          await call(space, form, "munmap", FAR + 7 * PAGE, 2 * PAGE);
          assert.equal(await on(space, FAR + PAGE, 6 * PAGE, 4 * PAGE), FAR + PAGE);
          assert.deepEqual(pagesOf(space), ["1-5 rw private", "9-12 r- private"]);
          assert.deepEqual(readStamps(space, FAR + PAGE, 4), [2, 3, 4, 5]);
          // Out of its middle.
          await failsWith("ENOMEM", () => on(space, FAR + PAGE, 3 * PAGE, 2 * PAGE));
        },
        { limits: { mappings: 2 } },
      ));

    test("E': at the limit, what leaves no more mappings is done (Linux: ENOMEM)", () =>
      withSpace(
        async (space) => {
          await call(space, form, "mmap", 2 * PAGE, { address: FAR, fixed: "replace" });
          await call(space, form, "mmap", 2 * PAGE, {
            address: TO,
            fixed: "replace",
            protection: "read",
          });
          await call(space, form, "mmap", PAGE, { address: FAR + 2 * PAGE, fixed: "noreplace" });
          await call(space, form, "mmap", PAGE, {
            address: TO,
            fixed: "replace",
            protection: "read",
          });
          await failsWith("ENOMEM", () =>
            call(space, form, "mmap", PAGE, { address: FAR, fixed: "replace", shared: true }),
          );
          await on(space, FAR, 3 * PAGE, 3 * PAGE, { mayMove: true, to: FAR + 4 * PAGE });
          await call(space, form, "mprotect", TO, PAGE, "read");
          assert.deepEqual(pagesOf(space), ["4-7 rw private", "8-10 r- private"]);
          await failsWith("ENOMEM", () =>
            on(space, FAR + 4 * PAGE, 2 * PAGE, 2 * PAGE, { mayMove: true, to: FAR }),
          );
          assert.deepEqual(pagesOf(space), ["4-7 rw private", "8-10 r- private"]);
        },
        { limits: { mappings: 2 } },
      ));

    test("F: an old length of 0 maps shared memory a second time", () =>
      withSpace(async (space) => {
        const before = accountingOf(space);
        await lay(space, form, "RW", "rw");
        const again = (await on(space, FAR, 0, 2 * PAGE, { mayMove: true })) as number;
        assert.equal(space.u32.load(again), 1);
        space.u32.store(again, 9);
        assert.equal(space.u32.load(FAR), 9);
        assert.equal(
          signalOf(() => space.u32.load(again + PAGE)),
          "SIGBUS",
        );
        assert.equal(await on(space, FAR, 0, PAGE, MOVE), TO);
        space.u32.store(TO, 10);
        assert.equal(space.u32.load(again), 10);
        await failsWith("ENOMEM", () => on(space, FAR, 0, PAGE));
        await failsWith("EFAULT", () => on(space, FAR + 2 * PAGE, 0, PAGE, { mayMove: true }));
        await failsWith("EINVAL", () => on(space, FAR + PAGE, 0, PAGE, { mayMove: true }));
        await failsWith("EFAULT", () => on(space, FAR, 0, PAGE, { mayMove: true, to: FAR }));
        await failsWith("EINVAL", () =>
          on(space, TO, 0, 2 * PAGE, { mayMove: true, to: TO - PAGE }),
        );
        assert.equal(space.u32.load(FAR), 10, "a failure has unmapped nothing");
        await call(space, form, "munmap", FAR, 2 * PAGE);
        assert.equal(space.u32.load(TO), 10, "the memory lives on in its last mapping");
        for (const [address, pages] of [
          [again, 2],
          [TO, 1],
        ] as const) {
          await call(space, form, "munmap", address, pages * PAGE);
        }
        assert.deepEqual(accountingOf(space).usedPages, before.usedPages);
      }));

    test("G: a length of 0 does nothing in mprotect and madvise, over a hole too; munmap and mmap refuse it", () =>
      withSpace(async (space) => {
        await lay(space, form, "rw");
        for (const address of [FAR, FAR + PAGE, END]) {
          await call(space, form, "mprotect", address, 0, "none");
          await call(space, form, "madvise", address, 0, "dontneed");
          await failsWith("EINVAL", () => call(space, form, "munmap", address, 0));
        }
        await failsWith("EINVAL", () => call(space, form, "mmap", 0));
        assert.equal(space.u32.load(FAR), 1);
      }));

    test("H: mprotect over a hole changes nothing (Linux: what lies before the hole)", () =>
      withSpace(async (space) => {
        await lay(space, form, "rw", "  ", "rw");
        await failsWith("ENOMEM", () => call(space, form, "mprotect", FAR, 3 * PAGE, "none"));
        assert.deepEqual(pagesOf(space), ["0-1 rw private", "2-3 rw private"]);
      }));

    test("I: a range past the end of addresses", () =>
      withSpace(async (space) => {
        await call(space, form, "mmap", 2 * PAGE, { address: END - 2 * PAGE, fixed: "noreplace" });
        stampPages(space, END - 2 * PAGE, 2, 1);
        for (const [address, lengthBytes] of [
          [END - 2 * PAGE, 3 * PAGE],
          [END, PAGE],
          [2 ** 45, PAGE],
          [END - PAGE, 2 ** 44 - 514 * PAGE],
        ] as const) {
          await failsWith("ENOMEM", () =>
            call(space, form, "mprotect", address, lengthBytes, "none"),
          );
          await failsWith("EINVAL", () => call(space, form, "munmap", address, lengthBytes));
          await failsWith("EFAULT", () =>
            on(space, address, lengthBytes, 2 ** 44 - 513 * PAGE, { mayMove: true }),
          );
        }
        assert.deepEqual(readStamps(space, END - 2 * PAGE, 2), [1, 2]);
        // The munmap of what is cut off.
        await failsWith("EINVAL", () => on(space, END - PAGE, 2 * PAGE, PAGE));
        await failsWith("ENOMEM", () =>
          call(space, form, "madvise", END - PAGE, 2 * PAGE, "dontneed"),
        );
        assert.deepEqual(
          readStamps(space, END - 2 * PAGE, 2),
          [1, 0],
          "the advice is taken for what is mapped",
        );
      }));

    test("J: a fixed mapping past the end is ENOMEM before it is misaligned", () =>
      withSpace(async (space) => {
        for (const fixed of ["replace", "noreplace"]) {
          for (const address of [END, END + 1, END - PAGE + 1, 2 ** 52 + 1]) {
            await failsWith("ENOMEM", () => call(space, form, "mmap", PAGE, { address, fixed }));
          }
          await failsWith("EINVAL", () =>
            call(space, form, "mmap", PAGE, { address: END - 2 * PAGE + 1, fixed }),
          );
          await call(space, form, "mmap", PAGE, { address: END - PAGE, fixed });
          await call(space, form, "munmap", END - PAGE, PAGE);
        }
      }));

    test("K: above every address is SIGSEGV, for single accesses and copies alike", () =>
      withSpace(async (space) => {
        for (const address of [
          END,
          2 ** 44 - 8,
          2 ** 44,
          2 ** 44 + PAGE,
          2 ** 47,
          Number.MAX_SAFE_INTEGER - 7,
        ]) {
          const accesses = [
            () => space.u8.load(address),
            () => space.u16.store(address, 1),
            () => space.i32.load(address),
            () => space.u32.atomicAdd(address, 1),
            () => space.f32.load(address),
            () => space.f64.load(address),
            () => space.f64.store(address, 1),
            () => call(space, form, "read", address, new Uint8Array(1)),
            () => call(space, form, "write", address, new Uint8Array(1)),
          ];
          for (const access of accesses) {
            const error = await thrownBy(access);
            assert.ok(error instanceof SegmentationFault, String(error));
            assert.deepEqual(
              [error.signal, error.code, error.address],
              ["SIGSEGV", "EFAULT", address],
            );
          }
        }
        await failsWith("EINVAL", () => space.u32.load(2 ** 44 + 2));
      }));

    test("L: numbers that are no safe integers are EINVAL", () =>
      withSpace(async (space) => {
        for (const number of [2 ** 53, -1, 0.5, Number.NaN, Infinity]) {
          await failsWith("EINVAL", () => space.u32.load(number));
          await failsWith("EINVAL", () => call(space, form, "munmap", number, PAGE));
          await failsWith("EINVAL", () => call(space, form, "mprotect", FAR, number, "read"));
          await failsWith("EINVAL", () => call(space, form, "madvise", number, PAGE, "normal"));
          await failsWith("EINVAL", () => on(space, FAR, number, PAGE));
        }
      }));

    test("M: under a byte limit, what a move unmaps counts as gone (Linux: ENOMEM)", () =>
      withSpace(
        async (space) => {
          await call(space, form, "mmap", PAGE, { address: FAR, fixed: "replace" });
          await call(space, form, "mmap", 3 * PAGE, { address: TO, fixed: "replace" });
          assert.equal(await on(space, FAR, PAGE, 4 * PAGE, MOVE), TO);
          assert.deepEqual(pagesOf(space), ["8-12 rw private"]);
          await failsWith("ENOMEM", () => on(space, TO, 4 * PAGE, 5 * PAGE, { mayMove: true }));
        },
        { limits: { mappedBytes: 4 * PAGE } },
      ));

    test("N: a move that fails late has unmapped nothing (Linux: the new place)", () =>
      withSpace(
        async (space) => {
          await call(space, form, "mmap", 3 * PAGE, { address: FAR, fixed: "replace" });
          await call(space, form, "mmap", PAGE, {
            address: TO,
            fixed: "replace",
            protection: "read",
          });
          // Two would be left at the old place, and one is there at the new one.
          await failsWith("ENOMEM", () => on(space, FAR + PAGE, PAGE, PAGE, MOVE));
          assert.deepEqual(pagesOf(space), ["0-3 rw private", "8-9 r- private"]);
        },
        { limits: { mappings: 2 } },
      ));

    test("O: neighbours that are alike are one mapping, whatever their past", () =>
      withSpace(async (space) => {
        await lay(space, form, "rw", "rw", "  ", "rw");
        await on(space, FAR + 3 * PAGE, PAGE, PAGE, { mayMove: true, to: FAR + 2 * PAGE });
        assert.deepEqual(pagesOf(space), ["0-3 rw private"]);
        assert.equal(await on(space, FAR, 3 * PAGE, 4 * PAGE, MOVE), TO);
        assert.deepEqual(readStamps(space, TO, 4), [1, 2, 4, 0]);
      }));

    test("MREMAP_DONTUNMAP: the old mapping stays, empty if it is private", () =>
      withSpace(async (space) => {
        const before = accountingOf(space);
        await lay(space, form, "rw", "rw", "RW", "r-");
        const keep = { ...MOVE, keepOld: true };
        assert.equal(await on(space, FAR + PAGE, 3 * PAGE, 3 * PAGE, keep), TO);
        assert.deepEqual(pagesOf(space), [
          "0-2 rw private",
          "2-3 rw shared",
          "3-4 r- private",
          "8-9 rw private",
          "9-10 rw shared",
          "10-11 r- private",
        ]);
        assert.deepEqual(readStamps(space, FAR, 4), [1, 0, 3, 0]);
        assert.deepEqual(readStamps(space, TO, 3), [2, 3, 0]);
        space.u32.store(FAR + PAGE, 20);
        space.u32.store(FAR + 2 * PAGE, 30);
        assert.deepEqual(readStamps(space, TO, 2), [2, 30]);
        // Without a place it must be one mapping, and always moves.
        const moved = (await on(space, TO, PAGE, PAGE, { mayMove: true, keepOld: true })) as number;
        assert.deepEqual([space.u32.load(moved), space.u32.load(TO)], [2, 0]);
        await failsWith("EFAULT", () =>
          on(space, TO, 2 * PAGE, 2 * PAGE, { mayMove: true, keepOld: true }),
        );
        await failsWith("EINVAL", () =>
          on(space, TO, PAGE, 2 * PAGE, { mayMove: true, keepOld: true }),
        );
        await failsWith("EINVAL", () => on(space, TO, PAGE, PAGE, { keepOld: true }));
        for (const address of [FAR, TO, moved])
          await call(space, form, "munmap", address, 4 * PAGE);
        assert.deepEqual(accountingOf(space).usedPages, before.usedPages);
      }));

    test("a protection of writing alone is refused, and says what to give", () =>
      withSpace(async (space) => {
        await lay(space, form, "rw");
        for (const operation of [
          () => call(space, form, "mmap", PAGE, { protection: "write" }),
          () => call(space, form, "mprotect", FAR, PAGE, "write"),
        ]) {
          assert.match(
            (await failsWith("EINVAL", operation)).message,
            /written but not read .* "read-write"$/,
          );
        }
        assert.equal(space.u32.load(FAR), 1);
      }));
  });
}
