/**
 * @module Integers of 64 bits against BigInt64Array and Atomics, and addresses in memory: what may
 * be stored, what may be loaded, and which bytes they are.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { TypedMemory as Memory } from "../../src/mmu/typed-memory.ts";
import { TypedMemory } from "../../src/mmu/typed-memory.ts";
import { SegmentationFault } from "../../src/sync/errors.ts";
import { PAGE, makeMachine, run } from "../memory/harness.ts";
import { TestTable } from "./test-table.ts";

const AT: number = PAGE + 16;
/** Another block, and one that is far. */
const PAGES = [1, 513, 2 ** 20] as const;

function makeMemory(): Memory {
  const machine = makeMachine();
  const table = new TestTable(machine);
  for (const page of PAGES) table.set(page, run(machine, machine.ram.allocFrame(true)));
  return new TypedMemory(machine, table.shootdown, table);
}

const VALUES = [0n, 1n, -1n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 64n, -(2n ** 63n), 123n] as const;
const OPERATIONS = [
  ["atomicAdd", "add"],
  ["atomicSub", "sub"],
  ["atomicAnd", "and"],
  ["atomicOr", "or"],
  ["atomicXor", "xor"],
  ["atomicExchange", "exchange"],
] as const;

for (const [width, Type] of [
  ["u64", BigUint64Array],
  ["i64", BigInt64Array],
] as const) {
  test(`${width} does what its array and Atomics do`, () => {
    const access = makeMemory()[width];
    const model = new Type(1);
    for (const page of PAGES) {
      const address = page * PAGE + 8;
      model[0] = 0n;
      for (const value of VALUES) {
        access.store(address, value);
        model[0] = value;
        assert.equal(access.load(address), model[0]);
        assert.equal(access.atomicLoad(address), model[0]);
        for (const [operation, native] of OPERATIONS)
          assert.equal(access[operation](address, value), Atomics[native](model, 0, value));
        assert.equal(access.load(address), model[0]);
        assert.equal(
          access.atomicCompareExchange(address, access.load(address), value + 1n),
          Atomics.compareExchange(model, 0, model[0], value + 1n),
        );
        assert.equal(access.atomicCompareExchange(address, value, 5n), model[0]);
      }
    }
  });
}

test("an address is eight bytes, the lower half first", () => {
  const { ptr, u32, u64 } = makeMemory();
  for (const page of PAGES) {
    const at = page * PAGE + 24;
    for (const value of [0, 1, AT, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 44 - 8, 2 ** 53 - 1]) {
      ptr.store(at, value);
      assert.equal(ptr.load(at), value);
      assert.equal(ptr.atomicLoad(at), value);
      assert.equal(u64.load(at), BigInt(value));
      assert.equal(u32.load(at), value % 2 ** 32);
      assert.equal(u32.load(at + 4), Math.floor(value / 2 ** 32));
    }
    ptr.atomicStore(at, AT);
    assert.equal(ptr.atomicExchange(at, 8), AT);
    assert.equal(ptr.atomicCompareExchange(at, 9, 10), 8);
    assert.equal(ptr.atomicCompareExchange(at, 8, 10), 8);
    assert.equal(ptr.load(at), 10);
  }
});

test("what is no whole number from 0 to 2^53 - 1 is not stored as an address", () => {
  const { ptr } = makeMemory();
  ptr.store(AT, 7);
  const text: unknown = "8";
  const wide: unknown = 8n;
  const nothing: unknown = undefined;
  const bad = [-1, 0.5, 2 ** 53, Number.NaN, Infinity, text, wide, nothing] as number[];
  for (const value of bad) {
    const message = /Cannot store .* as an address: must be a whole number/;
    assert.throws(() => ptr.store(AT, value), { code: "EINVAL", message });
    assert.throws(() => ptr.atomicStore(AT, value), { code: "EINVAL", message });
    assert.throws(() => ptr.atomicExchange(AT, value), { code: "EINVAL", message });
    assert.throws(() => ptr.atomicCompareExchange(AT, 7, value), { code: "EINVAL", message });
  }
  assert.equal(ptr.load(AT), 7);
});

test("bytes that are 2^53 or more are not loaded as an address, whatever double they would be", () => {
  const { ptr, u64 } = makeMemory();
  for (const bits of [
    2n ** 53n,
    2n ** 63n, // -0
    0x7ff0_0000_0000_0000n, // Infinity
    0x7ff0_0000_0000_0001n, // a NaN that signals
    0xfff8_0000_0000_0000n,
    2n ** 64n - 1n,
  ]) {
    u64.store(AT, bits);
    const refusal = { code: "EINVAL", message: /Cannot load an address from 0x1010: .* 2\^53/ };
    assert.throws(() => ptr.load(AT), refusal);
    assert.throws(() => ptr.atomicLoad(AT), refusal);
    assert.equal(u64.load(AT), bits);
  }
});

test("they are aligned to eight bytes, and fault where nothing is mapped", () => {
  const memory = makeMemory();
  for (const address of [AT + 4, AT + 1, -8, 2 ** 53]) {
    assert.throws(() => memory.ptr.load(address), { code: "EINVAL" });
    assert.throws(() => memory.ptr.store(address, 0), { code: "EINVAL" });
    assert.throws(() => memory.u64.load(address), { code: "EINVAL" });
    assert.throws(() => memory.i64.store(address, 0n), { code: "EINVAL" });
  }
  for (const access of [memory.ptr, memory.u64, memory.i64])
    assert.throws(() => access.load(2 * PAGE), SegmentationFault);
  assert.throws(() => memory.ptr.store(2 * PAGE, 0), SegmentationFault);
  assert.throws(() => memory.u64.atomicAdd(2 * PAGE, 1n), SegmentationFault);
  const number: unknown = 1;
  assert.throws(() => memory.u64.store(AT, number as bigint), { code: "EINVAL" });
});
