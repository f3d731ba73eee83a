/**
 * @module Every width and every operation of a kernel's memory, against the CPU's own accessors on
 * a second buffer; alignment; and where loads and atomics are made.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { IntegerAccess } from "../../src/mmu/access.ts";
import { DeviceFault } from "../../src/index.ts";
import { PAGE, PlayedDevice, withSpace } from "./harness.ts";

const INTEGERS = ["u8", "i8", "u16", "i16", "u32", "i32"] as const;
const BYTES = { u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4 } as const;

/** Each operation, done alike by a kernel and by a CPU thread. */
const OPERATIONS: readonly {
  readonly name: string;
  readonly apply: (memory: IntegerAccess, address: number, value: number, other: number) => number;
}[] = [
  { name: "load", apply: (m, a) => m.load(a) },
  { name: "store", apply: (m, a, v) => (m.store(a, v), 0) },
  { name: "atomicLoad", apply: (m, a) => m.atomicLoad(a) },
  { name: "atomicStore", apply: (m, a, v) => (m.atomicStore(a, v), 0) },
  { name: "atomicAdd", apply: (m, a, v) => m.atomicAdd(a, v) },
  { name: "atomicSub", apply: (m, a, v) => m.atomicSub(a, v) },
  { name: "atomicAnd", apply: (m, a, v) => m.atomicAnd(a, v) },
  { name: "atomicOr", apply: (m, a, v) => m.atomicOr(a, v) },
  { name: "atomicXor", apply: (m, a, v) => m.atomicXor(a, v) },
  { name: "atomicExchange", apply: (m, a, v) => m.atomicExchange(a, v) },
  {
    name: "atomicCompareExchange",
    apply: (m, a, v, o) => m.atomicCompareExchange(a, m.atomicLoad(a) + (o & 1), v),
  },
];

test("integers of all widths do what the CPU's do", () =>
  withSpace((space) => {
    const ours = space.mmapSync(4 * PAGE);
    const theirs = space.mmapSync(4 * PAGE);
    const device = new PlayedDevice(space, { frames: 2 });
    const step = fc.record({
      width: fc.constantFrom(...INTEGERS),
      operation: fc.nat(OPERATIONS.length - 1),
      slot: fc.nat(4 * 1024 - 1),
      value: fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 }),
      other: fc.nat(3),
    });
    const check = fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), (steps) => {
      const results: number[] = [];
      device.run((memory) => {
        // An item that has been given up begins again.
        results.length = 0;
        for (const { width, operation, slot, value, other } of steps) {
          const address = ours + (slot % (4 * 64)) * 64 + (slot % 8) * BYTES[width];
          results.push(OPERATIONS[operation]!.apply(memory[width], address, value, other));
        }
      }, 1);
      steps.forEach(({ width, operation, slot, value, other }, i) => {
        const address = theirs + (slot % (4 * 64)) * 64 + (slot % 8) * BYTES[width];
        const { name, apply } = OPERATIONS[operation]!;
        assert.equal(results[i], apply(space[width], address, value, other), `${name} of ${width}`);
      });
      const [a, b] = [new Uint8Array(4 * PAGE), new Uint8Array(4 * PAGE)];
      space.readSync(ours, a);
      space.readSync(theirs, b);
      assert.deepEqual(a, b);
    });
    fc.assert(check, { numRuns: 60 });
    device.close();
  }));

test("floats keep every value that they can hold", () =>
  withSpace((space) => {
    const data = space.mmapSync(2 * PAGE);
    const device = new PlayedDevice(space, { frames: 2 });
    const values = [0, -0, 1.5, -Math.PI, 1e300, 5e-324, Infinity, -Infinity, Number.NaN];
    values.forEach((value, i) => {
      device.run((memory) => {
        memory.f64.store(data + i * 8, value);
        memory.f32.store(data + PAGE + i * 4, value);
      }, 1);
      assert.ok(Object.is(space.f64.load(data + i * 8), value));
      assert.ok(Object.is(space.f32.load(data + PAGE + i * 4), Math.fround(value)));
      const back: number[] = [];
      device.run(
        (memory) =>
          void back.push(memory.f64.load(data + i * 8), memory.f32.load(data + PAGE + i * 4)),
        1,
      );
      assert.ok(Object.is(back.at(-2), value) && Object.is(back.at(-1), Math.fround(value)));
    });
    device.close();
  }));

test("loads use a copy; an atomic load goes to RAM, takes the copy away, and sees each store at once", () =>
  withSpace((space) => {
    const data = space.mmapSync(PAGE);
    space.u32.store(data, 3);
    const device = new PlayedDevice(space, { frames: 2 });
    assert.equal(device.load(data), 3);
    assert.equal(device.entry(data), "local");
    const seen: number[] = [];
    device.run((memory) => {
      seen.length = 0;
      for (let i = 0; i < 3; i++) {
        seen.push(memory.u32.atomicLoad(data));
        space.u32.store(data, 10 + i);
      }
    }, 1);
    assert.deepEqual(seen, [3, 10, 11]);
    assert.equal(device.entry(data), "remote write");
    space.munmapSync(data, PAGE);
    assert.match(
      String(device.tryRun((memory) => void memory.u32.atomicLoad(data), 1)),
      /Cannot write address/,
    );
    device.close();
  }));

test("unaligned and impossible addresses are refused, of every operation", () =>
  withSpace((space) => {
    const data = space.mmapSync(PAGE);
    const device = new PlayedDevice(space, { frames: 2 });
    for (const address of [data + 1, data + 2.5, -4, Number.NaN, 2 ** 53, Infinity]) {
      for (const { name, apply: run } of OPERATIONS) {
        const failure = device.tryRun((memory) => void run(memory.u32, address, 1, 1), 1);
        assert.equal(
          (failure?.cause as { code?: string } | undefined)?.code,
          "EINVAL",
          `${name} at ${address}`,
        );
      }
    }
    // An address like any other, above all that can be mapped.
    for (const address of [2 ** 44, 2 ** 53 - 4]) {
      for (const { name, apply: run } of OPERATIONS) {
        const failure = device.tryRun((memory) => void run(memory.u32, address, 1, 1), 1);
        assert.ok(failure instanceof DeviceFault, `${name} at ${address}: ${String(failure)}`);
        assert.deepEqual([failure.code, failure.address], ["EFAULT", address]);
      }
    }
    device.close();
  }));
