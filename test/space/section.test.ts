/**
 * @module Sections of stores on one thread: they do what stores outside do, let go of their mark
 * whenever something could wait, and end however their function ends.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type AddressSpace, SegmentationFault } from "../../src/index.ts";
import {
  AGENT_ASKED,
  AGENT_INSIDE,
  MARK_INSIDE,
  MARK_SECTION,
} from "../../src/sync/control-block.ts";
import { sharedMs } from "../../src/sync/tasks/clock.ts";
import { FAR, KIB, MIB, PAGE, makeSpace, withSpace } from "./fixture.ts";
import { inside } from "../inside.ts";
import { diceOf } from "../dice.ts";

const seed = Number(process.env["HMM_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** The bits of this thread's mark, as other threads see them. */
function markOf(space: AddressSpace): number {
  const {
    machine: { memory },
  } = inside(space);
  return memory.words[memory.record + AGENT_INSIDE]! & (MARK_INSIDE | MARK_SECTION);
}

/** A space that other threads could have: its stores are marked. */
async function withSharedSpace(body: (space: AddressSpace) => Promise<void> | void): Promise<void> {
  await withSpace((space) => {
    assert.ok(space.handle.kind.length > 0);
    return body(space);
  });
}

test("a section returns what its function returns, and its stores stay", async () => {
  await withSharedSpace((space) => {
    const p = space.mmapSync(4 * PAGE);
    const sum = space.section(({ u32, f64 }) => {
      for (let i = 0; i < 4096; i++) u32.store(p + 4 * i, i);
      f64.store(p + 8, 0.5);
      return u32.load(p + 4 * 4095) + f64.load(p + 8);
    });
    assert.equal(sum, 4095.5);
    assert.equal(space.u32.load(p + 4 * 4000), 4000);
  });
});

test("the mark is held from the first store to the end, also when the function throws", async () => {
  await withSharedSpace((space) => {
    const p = space.mmapSync(2 * PAGE);
    space.u32.store(p, 1);
    assert.throws(
      () =>
        space.section(({ u32 }) => {
          u32.load(p);
          assert.equal(markOf(space), 0, "a section that only loads has no mark");
          u32.store(p, 2);
          assert.equal(markOf(space), MARK_INSIDE | MARK_SECTION);
          space.section(() => u32.store(p + 4, 3));
          assert.equal(markOf(space), MARK_INSIDE | MARK_SECTION, "the inner one has ended");
          space.u8.store(p + 8, 4);
          assert.equal(markOf(space), MARK_INSIDE | MARK_SECTION, "it is the section's store, too");
          throw new RangeError("done");
        }),
      RangeError,
    );
    assert.equal(markOf(space), 0);
    assert.deepEqual([space.u32.load(p), space.u32.load(p + 4), space.u8.load(p + 8)], [2, 3, 4]);
    space.u32.store(p, 5);
    assert.equal(markOf(space), 0);
  });
});

test("before the handle has been taken there is nobody to mark for; from then on there is", async () => {
  await withSpace((space) => {
    const p = space.mmapSync(PAGE);
    const { memory } = inside(space).machine;
    const before = memory.words[memory.record + AGENT_INSIDE]!;
    space.section(({ u32 }) => {
      u32.store(p, 1);
      assert.equal(memory.words[memory.record + AGENT_INSIDE], before);
      assert.ok(space.handle.kind.length > 0);
      u32.store(p, 2);
      assert.equal(markOf(space), MARK_INSIDE | MARK_SECTION);
    });
    space.u32.store(p, 3);
    assert.notEqual(memory.words[memory.record + AGENT_INSIDE], before);
    assert.equal(markOf(space), 0);
  });
});

for (const isShared of [false, true]) {
  const kind = isShared ? "shared" : "this thread's alone";

  test(`operations inside let go, and what they change is seen, ${kind}`, async () => {
    await withSpace((space) => {
      if (isShared) assert.ok(space.handle.kind.length > 0);
      const p = space.mmapSync(4 * PAGE);
      space.section(({ u32 }) => {
        for (let i = 0; i < 4; i++) u32.store(p + i * PAGE, 1);
        space.munmapSync(p, PAGE);
        assert.equal(markOf(space), 0);
        assert.throws(() => u32.store(p, 2), SegmentationFault);
        u32.store(p + PAGE, 2);
        space.mprotectSync(p + PAGE, PAGE, "read");
        assert.throws(() => u32.store(p + PAGE, 3), SegmentationFault);
        assert.equal(u32.load(p + PAGE), 2);
        u32.store(p + 2 * PAGE, 2);
        space.madviseSync(p + 2 * PAGE, PAGE, "dontneed");
        u32.store(p + 2 * PAGE + 4, 3);
        assert.deepEqual([u32.load(p + 2 * PAGE), u32.load(p + 2 * PAGE + 4)], [0, 3]);
      });
      assert.equal(markOf(space), 0);
    });
  });

  test(`a store to a page that is shared since a fork copies it, ${kind}`, async () => {
    await withSpace(async (space) => {
      if (isShared) assert.ok(space.handle.kind.length > 0);
      const p = space.mmapSync(2 * PAGE);
      space.u32.store(p, 1);
      await using child = space.section(({ u32 }) => {
        u32.store(p, 2);
        const forked = space.forkSync();
        u32.store(p, 3);
        // In one section, stores to one space and to the other.
        forked.section((memory) => {
          memory.u32.store(p, 4);
          u32.store(p + 4, 5);
          memory.u32.store(p + 4, 6);
        });
        assert.deepEqual([u32.load(p), u32.load(p + 4)], [3, 5]);
        return forked;
      });
      assert.deepEqual([child.u32.load(p), child.u32.load(p + 4)], [4, 6]);
    });
  });
}

test("what is not done when it returns is refused", async () => {
  await withSharedSpace((space) => {
    const p = space.mmapSync(PAGE);
    assert.throws(() => void space.section(async ({ u32 }) => u32.store(p, 1)), { code: "EINVAL" });
    assert.throws(
      () =>
        space.section(function* () {
          yield 1;
        }),
      { code: "EINVAL" },
    );
    const rejecting = (): Promise<never> => Promise.reject(new Error("later"));
    assert.throws(() => void space.section(rejecting), { code: "EINVAL" });
    assert.equal(markOf(space), 0);
    assert.equal(space.u32.load(p), 1, "what it has stored stays");
    assert.deepEqual(
      space.section(() => [1]),
      [1],
    );
  });
});

test("a section of a space that has ended is refused, also when it ends inside", async () => {
  const space = makeSpace();
  const p = space.mmapSync(PAGE);
  space.section(({ u32 }) => {
    u32.store(p, 1);
    space.disposeSync();
    assert.throws(() => u32.store(p, 2), { code: "EBADF" });
  });
  assert.throws(() => space.section(() => {}), { code: "EBADF" });
  await space.dispose();
});

test("addresses that are not of the page are not taken for it", async () => {
  await withSharedSpace((space) => {
    const p = space.mmapSync(PAGE);
    const far = space.mmapSync(2 * PAGE, { address: FAR, fixed: "replace" });
    space.section(({ u32, u8, u16, f64, ptr, u64 }) => {
      u32.store(p, 7);
      u32.store(p + PAGE - 4, 8);
      for (const wrong of [p + 2 ** 32, p - 2 ** 32, p + PAGE, p - 4, -p])
        assert.throws(() => u32.store(wrong, 1));
      for (const wrong of [p + 0.5, p + 1, p + 2, Number.NaN, Infinity])
        assert.throws(() => u32.store(wrong, 1), { code: "EINVAL" });
      u8.store(p + 5, 1);
      u8.store(p + 4095, 2);
      u16.store(p + 4092, 3);
      f64.store(p + 8, 1.5);
      ptr.store(p + 16, p);
      u64.store(p + 24, 2n ** 63n);
      u32.store(far, 9);
      u32.store(far + PAGE, 10);
      u32.store(far + 4, 11);
    });
    assert.deepEqual([space.u32.load(p), space.u8.load(p + 5)], [7, 1]);
    assert.deepEqual([space.u16.load(p + 4092), space.u8.load(p + 4095)], [3, 2]);
    assert.equal(space.u8.load(p + 4094), 0);
    assert.deepEqual([space.f64.load(p + 8), space.ptr.load(p + 16)], [1.5, p]);
    assert.equal(space.u64.load(p + 24), 2n ** 63n);
    assert.deepEqual([space.u32.load(far), space.u32.load(far + 4)], [9, 11]);
    assert.equal(space.u32.load(far + PAGE), 10);
  });
});

test("whoever asks finds that the section has let go at its next access", async () => {
  await withSharedSpace((space) => {
    const p = space.mmapSync(PAGE);
    const { memory } = inside(space).machine;
    const asked = memory.record + AGENT_ASKED;
    space.section(({ u32 }) => {
      u32.store(p, 1);
      u32.store(p, 2);
      const mark = memory.words[memory.record + AGENT_INSIDE]!;
      memory.words[asked] = sharedMs() | 1; // as a flush does
      u32.store(p, 3);
      assert.notEqual(memory.words[memory.record + AGENT_INSIDE], mark);
      assert.equal(memory.words[asked], 0);
    });
    assert.equal(space.u32.load(p), 3);
  });
});

test("a debug build objects to a section for which somebody waited long", async () => {
  await withSharedSpace((space) => {
    const p = space.mmapSync(PAGE);
    const { memory } = inside(space).machine;
    const late = (waitedMs: number) => (): void =>
      space.section(({ u32 }) => {
        u32.store(p, 1);
        memory.words[memory.record + AGENT_ASKED] = (sharedMs() - waitedMs) | 1;
      });
    assert.throws(late(60_000), { code: "EDEADLK" });
    late(0)();
    assert.equal(markOf(space), 0);
  });
});

test("random stores of all widths, between random operations, are those of plain memory", async () => {
  const random = diceOf(seed);
  const pages = 24;
  const bytes = pages * PAGE;
  const widths = [
    ["u8", 1],
    ["u16", 2],
    ["u32", 4],
    ["f32", 4],
    ["f64", 8],
  ] as const;
  await withSpace(async (space) => {
    const p = space.mmapSync(bytes);
    const plain = new DataView(new ArrayBuffer(bytes));
    const setters = {
      u8: (at: number, value: number): void => plain.setUint8(at, value),
      u16: (at: number, value: number): void => plain.setUint16(at, value, true),
      u32: (at: number, value: number): void => plain.setUint32(at, value, true),
      f32: (at: number, value: number): void => plain.setFloat32(at, value, true),
      f64: (at: number, value: number): void => plain.setFloat64(at, value, true),
    };
    const kept: AddressSpace[] = [];
    for (let round = 0; round < 60; round++) {
      space.section((memory) => {
        for (let i = 0; i < 60; i++) {
          const [width, wide] = widths[random(widths.length)]!;
          const at = random(bytes / wide) * wide;
          const value = random(2 ** 32);
          memory[width].store(p + at, value);
          setters[width](at, value);
          if (random(40) > 0) continue;
          const page = random(pages);
          if (random(2) === 0) {
            space.madviseSync(p + page * PAGE, PAGE, "dontneed");
            new Uint8Array(plain.buffer, page * PAGE, PAGE).fill(0);
          } else if (kept.length < 4) kept.push(space.forkSync());
        }
      });
      if (round === 30) assert.ok(space.handle.kind.length > 0);
      const found = new Uint8Array(bytes);
      space.readSync(p, found);
      assert.deepEqual(
        Buffer.from(found).equals(Buffer.from(plain.buffer)),
        true,
        `differs in round ${round}; HMM_TEST_SEED=${seed} repeats it`,
      );
      while (kept.length > 0 && random(3) === 0) await kept.pop()?.dispose();
    }
    for (const child of kept) await child.dispose();
  });
});

test("pages of two sections of RAM, and of a buffer, in one section of stores", async () => {
  await withSpace(
    (space) => {
      const p = space.mmapSync(64 * KIB);
      const buffer = new SharedArrayBuffer(64 * KIB);
      const q = space.mmapSync(64 * KIB, { buffer });
      space.section(({ u32 }) => {
        for (let round = 1; round <= 2; round++)
          for (let i = 0; i < 16384; i += 512) {
            u32.store(p + 4 * i, round);
            u32.store(q + 4 * i, round + i);
          }
      });
      const words = new Uint32Array(buffer);
      for (let i = 0; i < 16384; i += 512)
        assert.deepEqual([space.u32.load(p + 4 * i), words[i]], [2, 2 + i]);
    },
    { ramBytes: 2 * MIB },
  );
});
