/**
 * @module Records in a kernel's WGSL: what it loads is what the CPU stored, field by field, and the
 * other way round; within a page and across the border of two; and what is refused.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressSpace, HmmError, record } from "../../../src/index.ts";
import { KernelCompileError, WebGpuDevice } from "../../../src/webgpu.ts";
import { missingGpu } from "./find-gpu.ts";

const skip = missingGpu;
const timeout = 60_000;
const PAGE = 4096;

const Inner = record({ a: "u32", b: "vec3f" });
const Item = record({
  key: "u32",
  next: "ptr",
  real: "f64",
  place: "vec3i",
  inner: Inner,
  list: [Inner, 2],
  tags: ["u32", 3],
  grid: [["f32", 2], 2],
});

const CODE = `
// Each item of a list: a copy with other numbers, and the address of its third tag.
@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) id: vec3u) {
  var p = arg_ptr(0);
  for (var i = 0u; i < id.x; i++) { p = load_ptr(at_Item_next(p)); }
  var item = load_Item(p);
  item.key += 1u;
  item.place = -item.place;
  item.inner.b *= 2.0;
  item.list[1].a += item.tags[2];
  item.list[0] = item.inner;
  item.grid[1][0] = f32(Item_bytes);
  item.tags[0] = at_Item_tags(p).x;
  item.real = vec2u(item.real.x, item.real.y ^ 0x80000000u); // the sign of a double
  store_Item(ptr_at(arg_ptr(1), id.x, arg_u32(2)), item);
  store_Part(ptr_at(arg_ptr(3), id.x, Part_bytes), Part(item.key));
}`;

test("loaded, changed and stored, within pages and across them", { skip, timeout }, async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 24 });
  await using device = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20 });
  const count = 40;
  const stride = PAGE - 64; // some lie across the border of two pages
  const from = await space.mmap(count * PAGE);
  const to = await space.mmap(count * PAGE);
  const parts = await space.mmap(PAGE);
  const valuesOf = (i: number) => ({
    key: i * 1000,
    next: from + i * stride,
    real: i + 0.125,
    place: [i, -i, i * 7],
    inner: { a: i, b: [i, 0.5, -i] },
    list: [
      { a: 1, b: [1, 2, 3] },
      { a: 2, b: [4, 5, i] },
    ],
    tags: [1, 2, i],
    grid: [
      [1, i],
      [3, 4],
    ],
  });
  for (let i = 0; i < count; i++) Item.store(space, from + i * stride, valuesOf(i + 1));
  const Part = record({ key: "u32" });
  const kernel = device.kernel({ code: CODE, entryPoint: "main", records: { Item, Part } });
  await kernel.dispatch(count, { args: [from, to, stride, parts] });
  for (let i = 0; i < count; i++) {
    const n = i + 1;
    const before = valuesOf(n);
    const inner = { a: n, b: [n * 2, 1, -n * 2] };
    assert.deepEqual(Item.load(space, to + i * stride), {
      ...before,
      key: before.key + 1,
      real: -before.real,
      place: [-n, n, -n * 7],
      inner,
      list: [inner, { a: 2 + n, b: [4, 5, n] }],
      tags: [from + i * stride + Item.offsets.tags, 2, n],
      grid: [
        [1, n],
        [Item.sizeBytes, 4],
      ],
    });
    assert.deepEqual(Part.load(space, parts + i * 4), { key: n * 1000 + 1 });
  }
});

test(
  "names that clash, what is no record, and mistakes in the text",
  { skip, timeout },
  async () => {
    await using space = await AddressSpace.create({ ramBytes: 2 ** 20 });
    await using device = await WebGpuDevice.create(space, { memoryBytes: 2 ** 16 });
    const code = `struct Mine { a: u32 }\n@compute @workgroup_size(1) fn main() { store_Item(arg_ptr(0), 3); }`;
    const make = (records: unknown) => () =>
      device.kernel({ code, entryPoint: "main", records: records as never });
    for (const [records, message] of [
      [{ Mine: Item }, /the records declare "Mine", which the text or the library declares/],
      [{ ptr: record({ a: "u32" }) }, /the records declare "load_ptr", which the text/],
      [{ switch: Item }, /the records declare "switch", which is a word of WGSL's own; choose/],
      [{ A: record({ type: "u32" }) }, /a record has the field "type", which is a word of WGSL's/],
      [{ A: record({ b: record({ from: "u32" }) }) }, /a record has the field "from", which is a/],
      [{ A: record({ __a: "u32" }) }, /a record has the field "__a", which is no name in WGSL/],
      [{ "my item": Item }, /the records declare "my item", which is no name in WGSL/],
      [{ Item: { key: "u32" } }, /records is .*; give an object that has records by name/],
    ] as const)
      assert.throws(make(records), (error: unknown) => {
        assert.ok(error instanceof HmmError && error.code === "EINVAL", String(error));
        assert.match(error.message, message);
        return true;
      });
    // The place is the user's, although the records stand behind his text.
    await assert.rejects(make({ Item })().dispatch(1, { args: [0] }), (error: unknown) => {
      assert.ok(error instanceof KernelCompileError, String(error));
      assert.deepEqual(
        error.errors.map(({ line }) => line),
        [2],
      );
      return true;
    });
  },
);
