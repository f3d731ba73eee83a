/**
 * @module Records on the CPU: where their fields lie, compared with TypeGPU's schemas for the same
 * structures, random ones too; loads and stores; and what is refused.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import * as d from "typegpu/data";
import { AddressSpace, HmmError, type RecordFields, record } from "../../src/index.ts";
import type { FieldType, RecordLayout } from "../../src/index.ts";

const LEAVES = ["u32", "i32", "f32"] as const;
const VECTORS = ["vec2u", "vec3u", "vec4u", "vec2i", "vec3i", "vec4i", "vec2f", "vec3f", "vec4f"];

/** A structure as ours, and the same as a schema of TypeGPU's. */
interface Both {
  readonly ours: FieldType;
  readonly theirs: d.BaseData;
}

const leaf: fc.Arbitrary<Both> = fc
  .constantFrom(...LEAVES, ...VECTORS)
  .map((name) => ({ ours: name as FieldType, theirs: Reflect.get(d, name) as d.BaseData }));

const { structure } = fc.letrec<{ field: Both; structure: Both }>((tie) => ({
  field: fc.oneof(
    { depthSize: "small" },
    leaf,
    fc.tuple(tie("field"), fc.integer({ min: 1, max: 4 })).map(([{ ours, theirs }, count]) => ({
      ours: [ours, count] as const,
      theirs: d.arrayOf(theirs as d.AnyWgslData, count),
    })),
    tie("structure"),
  ),
  structure: fc.array(tie("field"), { minLength: 1, maxLength: 5 }).map((fields) => ({
    ours: record(Object.fromEntries(fields.map(({ ours }, i) => [`f${i}`, ours]))),
    theirs: d.struct(
      Object.fromEntries(fields.map(({ theirs }, i) => [`f${i}`, theirs as d.AnyWgslData])),
    ),
  })),
}));

test("fields lie where WGSL and TypeGPU have them", () => {
  fc.assert(
    fc.property(structure, ({ ours, theirs }) => {
      const { sizeBytes, alignBytes, fields } = ours as RecordLayout;
      assert.equal(sizeBytes, d.sizeOf(theirs as d.AnyData));
      assert.equal(alignBytes, d.alignmentOf(theirs as d.AnyData));
      for (const { name, offsetBytes } of fields) {
        const { offset } = d.memoryLayoutOf(theirs as d.AnyWgslData, (value) =>
          Reflect.get(value as object, name),
        );
        assert.equal(offsetBytes, offset, name);
      }
      // A schema becomes the same record.
      const read = record(theirs as never);
      assert.deepEqual(offsetsOf(read as RecordLayout), offsetsOf(ours as RecordLayout));
    }),
    { numRuns: 300 },
  );
});

/** Of all fields, also of records inside. */
function offsetsOf(layout: RecordLayout): unknown[] {
  const inside = (type: FieldType): unknown => {
    if (typeof type === "string") return type;
    return "fields" in type ? offsetsOf(type) : [inside(type[0]), type[1]];
  };
  const { fields, sizeBytes } = layout;
  return [sizeBytes, ...fields.map((one) => [one.name, one.offsetBytes, inside(one.type)])];
}

const Inner = record({ a: "u32", b: "vec3f" });
const Item = record({
  key: "u32",
  next: "ptr",
  big: "u64",
  low: "i64",
  real: "f64",
  place: "vec3i",
  inner: Inner,
  list: [Inner, 2],
  tags: ["u32", 3],
  grid: [["f32", 2], 2],
});

const VALUES = {
  key: 4_000_000_000,
  next: 2 ** 40 + 8,
  big: 2n ** 63n + 1n,
  low: -5n,
  real: Math.PI,
  place: [-1, 2, -3],
  inner: { a: 1, b: [0.5, 1.5, 2.5] },
  list: [
    { a: 2, b: [1, 2, 3] },
    { a: 3, b: [4, 5, 6] },
  ],
  tags: [7, 8, 9],
  grid: [
    [1, 2],
    [3, 4],
  ],
};

test("what is stored is loaded, across pages too, and the rest stays", () => {
  using space = AddressSpace.createSync({ ramBytes: 2 ** 20 });
  const p = space.mmapSync(2 * 4096);
  for (const at of [p, p + 4096 - 16, p + 4096 - 16 * 8]) {
    space.writeSync(p, new Uint8Array(2 * 4096).fill(0xee));
    Item.store(space, at, VALUES);
    assert.deepEqual(Item.load(space, at), VALUES);
    Item.store(space, at, { key: 5, tags: Uint32Array.of(1, 2, 3) as never });
    assert.deepEqual(Item.load(space, at), { ...VALUES, key: 5, tags: [1, 2, 3] });
    assert.equal(space.u32.load(at + Item.offsets.key), 5);
    // What lies between the fields, and behind the record, is nobody's.
    assert.equal(space.u32.load(at + 4), 0xeeee_eeee);
    if (at + Item.sizeBytes < p + 8192) assert.equal(space.u8.load(at + Item.sizeBytes), 0xee);
  }
});

test("values have the types of their fields", () => {
  using space = AddressSpace.createSync({ ramBytes: 2 ** 20 });
  const p = space.mmapSync(4096);
  const Pair = record({ left: "u64", inner: record({ x: "f32" }) });
  const { left, inner } = Pair.load(space, p);
  const one: bigint = left + 1n;
  const two: number = inner.x + 1;
  Pair.store(space, p + 16, { left: left + 2n });
  const Schema = record(d.struct({ count: d.atomic(d.u32), place: d.vec2f }));
  const count: number = Schema.load(space, p).count;
  assert.deepEqual([one, two, count], [1n, 1, 0]);
});

test("what cannot be a record, and what cannot be stored, is refused before anything happens", () => {
  using space = AddressSpace.createSync({ ramBytes: 2 ** 20 });
  const p = space.mmapSync(4096);
  const make = (fields: unknown) => () => record(fields as RecordFields);
  const store = (values: unknown) => () => Item.store(space, p, values as never);
  const cases: readonly (readonly [() => unknown, RegExp])[] = [
    [make({}), /the fields are .*; give an object with a type by name/],
    [make(null), /the fields are null; give an object/],
    [make({ a: "vec3" }), /"a" is "vec3"; give vec3u or vec3i or vec3f/],
    [make({ a: 7 }), /"a" is 7; give u32, i32/],
    [make({ "a-b": "u32" }), /"a-b" is no name; give letters/],
    [make({ a: ["u32", 0] }), /the length of "a" is 0; give a number above 0/],
    [make({ a: [["u32", 2 ** 20], 2 ** 20] }), /it has \d+ bytes; give at most/],
    [make(d.struct({ m: d.mat4x4f })), /"m" is of the type mat4x4f; give u32/],
    [make(d.struct({ h: d.align(16, d.u32) })), /"h" is of the type decorated; give u32/],
    [store(7), /the values are 7; give an object/],
    [store({ keys: 1 }), /there is no field "keys"; give key/],
    [() => Item.store(space, p, { big: 1 as never }), /"big" is 1; give a BigInt/],
    [store({ key: "1" }), /"key" is "1"; give a number/],
    [store({ place: [1, 2] }), /"place" is .*; give an array of 3/],
    [store({ key: 9, list: [{ a: 1 }] }), /"list" is .*; give an array of 2/],
    [store({ key: 9, list: [{ a: 1 }, { a: "x" }] }), /"a" is "x"; give a number/],
  ];
  for (const [call, message] of cases)
    assert.throws(call, (error: unknown) => {
      assert.ok(error instanceof HmmError, String(error));
      assert.equal(error.code, "EINVAL");
      assert.match(error.message, message);
      return true;
    });
  assert.equal(space.u32.load(p), 0);
});
