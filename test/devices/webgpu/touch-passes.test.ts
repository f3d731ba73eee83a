/** @module Where frames are short: which workgroups the passes run that find out what is used. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { missingGpu } from "./find-gpu.ts";
import { withDevice } from "./with-device.ts";

const PAGE_BYTES = 4096;
const FRAMES = 32;
const WORKGROUPS = 16;
const STEPS = 8;

/** The first workgroup follows a chain from page to page; the others read its first page. */
const CODE = `
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) group: vec3u) {
  var node = arg_ptr(0);
  let steps = select(1u, ${STEPS}u, group.x == 0u);
  for (var i = 0u; i < steps && !ptr_is_null(node); i++) { node = load_ptr(node); }
  store_ptr(ptr_at(arg_ptr(1), group.x, 8u), node);
}`;

const FILLING = `
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) group: vec3u) {
  _ = load_u32(ptr_at(arg_ptr(0), group.x, ${PAGE_BYTES}u));
}`;

test("a workgroup that has missed nothing is not run again", { skip: missingGpu }, async () => {
  await withDevice((FRAMES + 2) * PAGE_BYTES, async (device, space) => {
    const [others, chain, out] = [
      await space.mmap(FRAMES * PAGE_BYTES),
      await space.mmap((STEPS + 1) * PAGE_BYTES),
      await space.mmap(PAGE_BYTES),
    ];
    for (let i = 0; i < STEPS; i++)
      space.ptr.store(chain + i * PAGE_BYTES, chain + (i + 1) * PAGE_BYTES);
    const fill = device.kernel({ code: FILLING, entryPoint: "main" });
    await fill.dispatch(FRAMES, { args: [others] });
    const follow = device.kernel({ code: CODE, entryPoint: "main" });
    const { passes, replays } = await follow.dispatch(WORKGROUPS, { args: [chain, out] });
    assert.equal(space.ptr.load(out), chain + STEPS * PAGE_BYTES);
    assert.equal(space.ptr.load(out + 8), chain + PAGE_BYTES);
    assert.ok(passes >= STEPS, `${passes} passes`);
    // All of them twice: in the first pass that finds out, and in the one that is right.
    assert.equal(replays, 2 * WORKGROUPS + (passes - 3), `${passes} passes, ${replays} replays`);
  });
});
