/**
 * @module The user's own memory mapped in place: nothing is copied, a mapping can follow its
 * growth, and its section is removed in the end.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AddressSpace, SegmentationFault, type View } from "../../src/index.ts";
import {
  FAR,
  FORMS,
  KIB,
  PAGE,
  accountingOf,
  call,
  failsWith,
  makeWasmMemory,
  mapLines,
  signalOf,
  withSpace,
} from "./fixture.ts";
import { inside } from "../inside.ts";

function sectionsOf(space: AddressSpace): number {
  return inside(space).machine.ram.sections.handles.filter(({ buffer }) => buffer.byteLength > 0)
    .length;
}

for (const form of FORMS) {
  describe(`the user's buffers, ${form} form`, () => {
    test("stores are seen both ways, and no frame is used", () =>
      withSpace(async (space) => {
        const before = accountingOf(space).usedPages;
        const buffer = new SharedArrayBuffer(64 * KIB);
        const words = new Uint32Array(buffer);
        words[0] = 1;
        const p = (await call(space, form, "mmap", 64 * KIB, { buffer })) as number;
        assert.equal(space.u32.load(p), 1);
        space.u32.store(p + PAGE, 2);
        assert.equal(words[1024], 2);
        words[2048] = 3;
        assert.equal(space.u32.load(p + 2 * PAGE), 3);
        assert.equal(accountingOf(space).usedPages, before);
        assert.deepEqual(mapLines(space), ["10000-20000 rw buffer"]);
      }));

    test("a WebAssembly.Memory at address 0: its pointers are addresses", () =>
      withSpace(async (space) => {
        const memory = makeWasmMemory(2, 4);
        await call(space, form, "mmap", 128 * KIB, {
          address: 0,
          fixed: "replace",
          buffer: memory,
        });
        new Float64Array(memory.buffer)[100] = 2.5;
        assert.equal(space.f64.load(800), 2.5);
        space.i32.store(4, -7);
        assert.equal(new Int32Array(memory.buffer)[1], -7);
        assert.throws(() => space.u8.load(128 * KIB), SegmentationFault);
      }));

    test("a part of a buffer, from an offset", () =>
      withSpace(async (space) => {
        const buffer = new SharedArrayBuffer(8 * PAGE);
        new Uint32Array(buffer).forEach((_, i, words) => (words[i] = i));
        const p = (await call(space, form, "mmap", 2 * PAGE, {
          buffer,
          offsetBytes: 3 * PAGE,
        })) as number;
        assert.deepEqual([space.u32.load(p), space.u32.load(p + PAGE)], [3072, 4096]);
      }));

    test("two mappings of one buffer share its section, and neighbours merge", () =>
      withSpace(async (space) => {
        const before = sectionsOf(space);
        const buffer = new SharedArrayBuffer(4 * PAGE);
        const fixed = "replace";
        await call(space, form, "mmap", 2 * PAGE, { address: FAR, fixed, buffer });
        await call(space, form, "mmap", 4 * PAGE, { address: FAR + 32 * PAGE, fixed, buffer });
        await call(space, form, "mmap", 2 * PAGE, {
          address: FAR + 2 * PAGE,
          fixed,
          buffer,
          offsetBytes: 2 * PAGE,
        });
        assert.equal(sectionsOf(space), before + 1);
        assert.equal(mapLines(space).length, 2);
        space.u32.store(FAR + 3 * PAGE, 6);
        assert.equal(space.u32.load(FAR + 35 * PAGE), 6);
      }));

    test("protection, holes and moves are the mapping's, not the buffer's", () =>
      withSpace(async (space) => {
        const buffer = new SharedArrayBuffer(4 * PAGE);
        const words = new Uint32Array(buffer);
        words[0] = 1;
        words[3072] = 4;
        await call(space, form, "mmap", 4 * PAGE, { address: FAR, fixed: "replace", buffer });
        assert.equal(space.u32.load(FAR), 1);
        await call(space, form, "mprotect", FAR, PAGE, "read");
        assert.throws(() => space.u32.store(FAR, 2), SegmentationFault);
        await call(space, form, "mprotect", FAR, PAGE, "none");
        assert.throws(() => space.u32.load(FAR), SegmentationFault);
        await call(space, form, "mprotect", FAR, PAGE, "read-write");
        space.u32.store(FAR, 2);
        assert.equal(words[0], 2);
        await call(space, form, "munmap", FAR + PAGE, PAGE);
        const to = FAR + 99 * PAGE;
        await call(space, form, "mremap", FAR + 2 * PAGE, 2 * PAGE, 2 * PAGE, {
          mayMove: true,
          to,
        });
        assert.equal(space.u32.load(to + PAGE), 4);
        await call(space, form, "madvise", to, PAGE, "dontneed");
        assert.equal(space.u32.load(to + PAGE), 4);
      }));

    test("beyond the buffer's end there is nothing, however the mapping got there", () =>
      withSpace(async (space) => {
        const buffer = new SharedArrayBuffer(2 * PAGE);
        await call(space, form, "mmap", 2 * PAGE, { address: FAR, fixed: "replace", buffer });
        await call(space, form, "mremap", FAR, 2 * PAGE, 4 * PAGE);
        space.u32.store(FAR + PAGE, 1);
        assert.equal(
          signalOf(() => space.u32.load(FAR + 2 * PAGE)),
          "SIGBUS",
        );
        assert.equal(
          signalOf(() => space.u32.load(FAR + 4 * PAGE)),
          "SIGSEGV",
        );
        await failsWith("EFAULT", () => call(space, form, "view", FAR, 3 * PAGE, "read"));
        (await (call(space, form, "view", FAR, 2 * PAGE, "write") as Promise<View>)).disposeSync();
        await call(space, form, "munmap", FAR, 4 * PAGE);
      }));

    test("a view of it is the buffer itself", () =>
      withSpace(async (space) => {
        const buffer = new SharedArrayBuffer(4 * PAGE);
        const p = (await call(space, form, "mmap", 3 * PAGE, {
          buffer,
          offsetBytes: PAGE,
        })) as number;
        using view = (await call(space, form, "view", p + PAGE, 2 * PAGE, "write")) as View;
        assert.equal(view.bytes.buffer, buffer);
        assert.equal(view.bytes.byteOffset, 2 * PAGE);
        await call(space, form, "mmap", PAGE, { address: p + 3 * PAGE, fixed: "noreplace" });
        await failsWith("EINVAL", () => call(space, form, "view", p, 4 * PAGE, "read"));
      }));

    test("fork shares it", () =>
      withSpace(async (space) => {
        const buffer = new SharedArrayBuffer(PAGE);
        const p = (await call(space, form, "mmap", PAGE, { buffer })) as number;
        await using child = (await call(space, form, "fork")) as AddressSpace;
        child.u32.store(p, 5);
        assert.equal(new Uint32Array(buffer)[0], 5);
      }));

    test("a WebAssembly.Memory that grew is mapped in its new length, by the same section", () =>
      withSpace(async (space) => {
        const memory = makeWasmMemory(1, 8);
        const fixed = "replace";
        await call(space, form, "mmap", 64 * KIB, { address: 0, fixed, buffer: memory });
        const sections = sectionsOf(space);
        await failsWith("EINVAL", () =>
          call(space, form, "mmap", 65 * KIB, { address: 0, fixed, buffer: memory }),
        );
        memory.grow(2);
        await call(space, form, "mmap", 192 * KIB, { address: 0, fixed, buffer: memory });
        space.u32.store(191 * KIB, 17);
        assert.equal(new Uint32Array(memory.buffer)[(191 * KIB) / 4], 17);
        assert.equal(sectionsOf(space), sections);
      }));

    test("a growable SharedArrayBuffer likewise", () =>
      withSpace(async (space) => {
        const buffer = new SharedArrayBuffer(PAGE, { maxByteLength: 4 * PAGE });
        const p = (await call(space, form, "mmap", PAGE, {
          address: FAR,
          fixed: "replace",
          buffer,
        })) as number;
        buffer.grow(3 * PAGE);
        await call(space, form, "mmap", 2 * PAGE, {
          address: p + PAGE,
          fixed: "replace",
          buffer,
          offsetBytes: PAGE,
        });
        space.u32.store(p + 2 * PAGE, 3);
        assert.equal(new Uint32Array(buffer)[2048], 3);
        assert.equal(mapLines(space).length, 1);
      }));

    test("buffers come and go, more than the machine could remember at a time", () =>
      withSpace(async (space) => {
        for (let i = 0; i < 300; i++) {
          const buffer = new SharedArrayBuffer(PAGE);
          const p = (await call(space, form, "mmap", PAGE, { buffer })) as number;
          space.u32.store(p, i);
          assert.equal(new Uint32Array(buffer)[0], i);
          await call(space, form, "munmap", p, PAGE);
        }
      }));
  });
}

test("an open view of an unmapped buffer keeps its section until it is disposed of", () =>
  withSpace(async (space) => {
    const sectionCount = (): number =>
      inside(space).machine.ram.sections.handles.filter(({ basePfn }) => isListed(space, basePfn))
        .length;
    const before = sectionCount();
    const buffer = new SharedArrayBuffer(2 * PAGE);
    const p = space.mmapSync(2 * PAGE, { buffer });
    const view = space.viewSync(p, PAGE, "write");
    space.munmapSync(p, 2 * PAGE);
    assert.equal(sectionCount(), before + 1);
    view.bytes[0] = 1;
    await view.dispose();
    space.munmapSync(p, PAGE);
    assert.equal(sectionCount(), before);
  }));

function isListed(space: AddressSpace, basePfn: number): boolean {
  try {
    inside(space).machine.ram.sections.of(basePfn);
    return true;
  } catch {
    return false;
  }
}

test("too many at once is ENOMEM, and unmapping one makes room", () =>
  withSpace(async (space) => {
    const mapped: number[] = [];
    const error = await failsWith("ENOMEM", () => {
      for (;;) mapped.push(space.mmapSync(PAGE, { buffer: new SharedArrayBuffer(PAGE) }));
    });
    assert.equal(error.syscall, "mmap");
    assert.ok(mapped.length > 32);
    space.munmapSync(mapped[3]!, PAGE);
    space.mmapSync(PAGE, { buffer: new SharedArrayBuffer(PAGE) });
  }));

test("a space that is disposed of lets go of its buffers", async () => {
  const space = AddressSpace.createSync({ ramBytes: PAGE, debug: true });
  const sibling = space.forkSync();
  const buffer = new SharedArrayBuffer(PAGE);
  space.mmapSync(PAGE, { buffer });
  assert.ok(inside(space).machine.ram.sections.ofBuffer(buffer) !== undefined);
  await space.dispose();
  assert.equal(inside(sibling).machine.ram.sections.ofBuffer(buffer), undefined);
  await sibling.dispose();
});
