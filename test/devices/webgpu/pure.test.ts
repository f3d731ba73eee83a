/** @module Kernels that are declared pure: passes that missed are not undone, and do not show. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { WgslError } from "../../../src/devices/webgpu/wgsl/diagnostics.ts";
import { makeProgram } from "../../../src/devices/webgpu/wgsl/program.ts";
import { HmmError } from "../../../src/index.ts";
import { KernelCompileError } from "../../../src/webgpu.ts";
import { missingGpu } from "./find-gpu.ts";
import { withDevice } from "./with-device.ts";

const skip = missingGpu;
const timeout = 60_000;
const PAGE = 4096;

/** Stores at places that are loaded: one that is missed reads 0, which no list has. */
const SCATTER = `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let p = arg_ptr(1);
  let s = span_write(p, 8u);
  let place = load_u32(ptr_at(arg_ptr(0), id.x, 64u));
  store_u32(ptr_at(p, place, 4u), place * 3u);
  if (place == 0u) { span_set_u32(s, 1u, 7u); store_vec2u(ptr_add(p, 24u), vec2u(7u)); }
}`;

for (const pages of [60, 24]) {
  test(
    `what is stored for a load that missed does not show, ${pages} pages`,
    { skip, timeout },
    () =>
      withDevice((pages + 2) * PAGE, async (device, space) => {
        const count = 1000; // of 64 bytes each: 16 pages
        const list = await space.mmap(16 * PAGE);
        const out = await space.mmap(3 * PAGE);
        const kernel = device.kernel({ code: SCATTER, entryPoint: "main", pure: true });
        for (let round = 0; round < 4; round++) {
          // takes the pages of the list from the device; those of the results stay there
          for (let i = 0; i < 1024; i++)
            space.u32.store(list + i * 64, 16 + ((i * 7 + round) % count));
          await kernel.dispatch(16, { args: [list, out] });
        }
        for (let i = 0; i < 16; i++) assert.equal(space.u32.load(out + i * 4), 0, `word ${i}`);
        for (let place = 16; place < 16 + count; place++)
          assert.equal(space.u32.load(out + place * 4), place * 3);
      }),
  );
}

/** Workgroup g loads from page g, and stores beside what the others do. */
const COPY = `
@compute @workgroup_size(64) fn main(@builtin(workgroup_id) g: vec3u,
  @builtin(local_invocation_index) i: u32) {
  let x = load_u32(ptr_add(ptr_at(arg_ptr(0), g.x, 4096u), i * 4u));
  store_u32(ptr_at(arg_ptr(1), g.x * 64u + i, 4u), x);
}`;

for (const isPure of [true, false]) {
  const which = isPure ? "only those that missed" : "all";
  test(
    `workgroups of a ${isPure ? "" : "not "}pure kernel: ${which} run again`,
    { skip, timeout },
    () =>
      withDevice(200 * PAGE, async (device, space) => {
        const groups = 60;
        const from = await space.mmap(groups * PAGE);
        await space.madvise(from, groups * PAGE, "random");
        const out = await space.mmap(4 * PAGE);
        const words = new Uint32Array((groups * PAGE) / 4).map((_, i) => i * 3);
        await space.write(from, new Uint8Array(words.buffer));
        const kernel = device.kernel({ code: COPY, entryPoint: "main", pure: isPure });
        await kernel.dispatch(groups, { args: [from, out] });
        for (const page of [7, 31, 32]) space.u32.store(from + page * PAGE + 8, page);
        const { replays, passes } = await kernel.dispatch(groups, { args: [from, out] });
        assert.deepEqual([passes, replays], [2, isPure ? 3 : groups]);
        for (let page = 0; page < groups; page++) {
          const changed = [7, 31, 32].includes(page);
          for (const i of [0, 2, 63]) {
            const word = space.u32.load(out + (page * 64 + i) * 4);
            assert.equal(word, changed && i === 2 ? page : (page * 1024 + i) * 3, `page ${page}`);
          }
        }
      }),
  );
}

test("what is stored without fuel, or before a fault, does not show", { skip, timeout }, () =>
  withDevice(64 * PAGE, async (device, space) => {
    const out = await space.mmap(PAGE);
    const code = `
@compute @workgroup_size(1) fn main() {
  var n = 0u;
  while (n < arg_u32(1)) { n++; }
  store_u32(ptr_at(arg_ptr(0), n >> 10u, 4u), 1u);
  if (arg_u32(2) != 0u) { store_u32(vec2u(arg_u32(2), 1u << 12u), 1u); }
}`;
    const kernel = device.kernel({ code, entryPoint: "main", pure: true });
    await kernel.dispatch(1, { args: [out, 2048, 0] });
    await kernel.dispatch(1, { args: [out, 50_000, 0] });
    const fault = kernel.dispatch(1, { args: [out, 4096, 8] });
    await assert.rejects(fault, (error) => error instanceof HmmError && error.code === "EFAULT");
    const stored: number[] = [];
    for (let i = 0; i < 1024; i++) if (space.u32.load(out + i * 4) !== 0) stored.push(i);
    assert.deepEqual(stored, [2, 50_000 >> 10]);
  }),
);

test("atomic operations are refused at their place", { skip, timeout }, () =>
  withDevice(64 * PAGE, async (device) => {
    const code = "@compute @workgroup_size(1)\nfn main() { _ = atomic_add_u32(arg_ptr(0), 1u); }";
    await device.kernel({ code, entryPoint: "main" }).compile();
    const pure = device.kernel({ code, entryPoint: "main", pure: true });
    await assert.rejects(pure.compile(), (error) => {
      assert.ok(error instanceof KernelCompileError);
      assert.match(error.message, /2:17: a pure kernel/u);
      return true;
    });
  }),
);

test("a kernel whose invocations share words is undone like all others", () => {
  const isPure = (declarations: string, body: string): boolean =>
    makeProgram(`${declarations}\n@compute @workgroup_size(1) fn main() { ${body} }`, "main", true)
      .isPure;
  assert.ok(isPure("var<private> x: u32;", "store_u32(arg_ptr(0), 1u);"));
  assert.ok(!isPure("var<workgroup> x: u32;", "x = 1u;"));
  assert.ok(!isPure("", "let x = subgroupAdd(1u);"));
  assert.ok(!isPure("@group(0) @binding(0) var<storage, read_write> x: u32;", "x = 1u;"));
  assert.throws(() => isPure("", "_ = atomic_or_u32(arg_ptr(0), 1u);"), WgslError);
});
