/** @module How many workgroups make a chunk, and when what was learned is tried again. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ChunkSize } from "../../../src/devices/webgpu/chunk-size.ts";
import { missingGpu } from "./find-gpu.ts";
import { withDevice } from "./with-device.ts";

const PAGE_BYTES = 4096;
const ROOMY = { passMs: 1, pages: 0, usablePages: 100 };

test("a chunk grows while passes are short, and shrinks when they are long", () => {
  const size = new ChunkSize();
  const { workgroups: first } = size;
  size.grow({ ...ROOMY, workgroups: first });
  assert.equal(size.workgroups, 4 * first);
  size.grow({ ...ROOMY, workgroups: 4 * first, passMs: 30 });
  assert.equal(size.workgroups, 4 * first);
  size.grow({ ...ROOMY, workgroups: 4 * first, passMs: 120 });
  assert.equal(size.workgroups, first);
});

test("a chunk that ran too long without an end is cut to what a pass may take", () => {
  const size = new ChunkSize();
  size.shorten(64, 600);
  assert.equal(size.workgroups, 6);
  size.shorten(2, 6000);
  assert.equal(size.workgroups, 1);
});

test("a size that did not fit is not tried again while frames are short", () => {
  const size = new ChunkSize();
  size.refuse(16);
  assert.equal(size.workgroups, 8);
  const short = { ...ROOMY, workgroups: 8 };
  for (const pages of [90, 51]) {
    size.grow({ ...short, pages });
    assert.equal(size.workgroups, 8, `of ${pages} pages twice as many do not fit`);
  }
  size.grow({ ...short, workgroups: 1, pages: 10 }); // the last of a dispatch: 16 would use 160
  assert.equal(size.workgroups, 8);
  size.grow({ ...short, pages: 50 });
  assert.equal(size.workgroups, 16);
  size.refuse(1);
  assert.equal(size.workgroups, 1, "one is always tried");
});

test("where frames suffice again, it doubles with each chunk", () => {
  const size = new ChunkSize();
  size.refuse(2);
  const sizes = Array.from({ length: 4 }, () => {
    size.grow({ ...ROOMY, workgroups: size.workgroups });
    return size.workgroups;
  });
  assert.deepEqual(sizes, [2, 4, 8, 16]);
});

/** Each workgroup reads `args[1]` pages of its own; all the same ones if `args[2]` is 0. */
const CODE = `
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) group: vec3u) {
  let first = group.x * arg_u32(1) * arg_u32(2);
  for (var i = 0u; i < arg_u32(1); i++) {
    _ = load_u32(ptr_at(arg_ptr(0), first + i, ${PAGE_BYTES}u));
  }
}`;

test(
  "a kernel that does not fit learns it once, and grows again when it does",
  { skip: missingGpu },
  async () => {
    await withDevice(66 * PAGE_BYTES, async (device, space) => {
      const address = await space.mmap(512 * PAGE_BYTES);
      const kernel = device.kernel({ code: CODE, entryPoint: "main" });
      const passesOf = async (pages: number, stride: number): Promise<number> => {
        const before = await device.stats();
        await kernel.dispatch(16, { args: [address, pages, stride] });
        return (await device.stats()).passes - before.passes;
      };
      await passesOf(8, 1); // 128 pages, and there are frames for 64
      // Eight fit together, and use all frames: three passes for one half, four for the other. To
      // try sixteen again would be one more.
      assert.equal(await passesOf(8, 1), 7);
      const shared = [];
      for (let i = 0; i < 4; i++) shared.push(await passesOf(4, 0));
      assert.equal(shared.at(-1), 1, `all sixteen at once: ${shared.join(", ")} passes`);
    });
  },
);
