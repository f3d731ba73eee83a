/** @module Making a machine and attaching to it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { HEAP_BYTES_MIN, Machine, type MachineHandle } from "../../src/memory/machine.ts";
import { MIB, PAGE, makeMachine, run } from "./harness.ts";

test("a machine has the RAM and the heap that were asked for", () => {
  const machine = Machine.create({ ramBytes: 10 * PAGE, heapBytes: HEAP_BYTES_MIN, debug: false });
  assert.deepEqual(machine.ram.usage(), { totalPages: 10, freePages: 10, usedPages: 0 });
  assert.equal(machine.heap.usage().budgetBytes, HEAP_BYTES_MIN);
  assert.notEqual(
    run(machine, machine.heap.allocWords(4096)),
    0,
    "the smallest heap has room for a page table",
  );
});

test("RAM of several sections is one budget", () => {
  const machine = Machine.create({
    ramBytes: 2048 * MIB + 5 * PAGE,
    heapBytes: 4 * MIB,
    debug: false,
  });
  assert.equal(machine.ram.usage().totalPages, 2 ** 19 + 5);
  assert.equal(machine.handle.sections.length, 4, "the page of zeros, two of 1 GiB, and the rest");
  const first = run(machine, machine.ram.allocRun(2 ** 18, false));
  const second = run(machine, machine.ram.allocRun(2 ** 18, false));
  assert.ok(first !== 0 && second !== 0);
  assert.notEqual(machine.ram.sections.of(first), machine.ram.sections.of(second));
  const rest = Array.from({ length: 6 }, () => run(machine, machine.ram.allocFrame(false)));
  assert.equal(rest.filter((pfn) => pfn !== 0).length, 5);
  machine.ram.sections.of(first).i32[machine.ram.sections.wordIndex(first)] = 9;
  machine.ram.copyFrame(first, second + 1);
  const section = machine.ram.sections.of(second);
  assert.equal(section.i32[section.wordIndex(second + 1)], 9);
  // Two sections share a buffer; the rest has one of its own.
  const { whole, wholePage } = section;
  assert.equal(whole, machine.ram.sections.of(first).whole);
  assert.equal(whole.pages, 2 ** 19);
  assert.equal(whole.i32[wholePage * (PAGE / 4) + section.wordIndex(second + 1)], 9);
  const lastPfn = Math.max(...rest);
  assert.equal(machine.ram.sections.of(lastPfn).whole.pages, 5);
});

test("sizes out of range are refused with the range", () => {
  const sizes = [
    { ramBytes: 0 },
    { ramBytes: -PAGE },
    { ramBytes: PAGE + 1 },
    { ramBytes: 2 ** 40 },
    { ramBytes: Number.NaN },
    { heapBytes: 1000 },
    { heapBytes: HEAP_BYTES_MIN - 1 },
    { heapBytes: 2 ** 33 },
    { heapBytes: Number.POSITIVE_INFINITY },
  ];
  for (const size of sizes) {
    assert.throws(
      () => Machine.create({ ramBytes: MIB, heapBytes: 4 * MIB, debug: false, ...size }),
      {
        code: "EINVAL",
        message: /must be/,
      },
    );
  }
});

test("a second thread on the machine shares heap and RAM, and leaves again", () => {
  const machine = makeMachine();
  const other = Machine.attach(structuredClone(machine.handle), { name: "second" });
  assert.notEqual(other.memory.agentId, machine.memory.agentId);
  assert.equal(other.memory.debug, true);
  const slot = run(machine, machine.heap.root("fromOne"));
  assert.equal(run(other, other.heap.root("fromOne")), slot);
  const pfn = run(machine, machine.ram.allocFrame(true));
  other.ram.sections.of(pfn).i32[other.ram.sections.wordIndex(pfn)] = 31;
  assert.equal(machine.ram.sections.of(pfn).i32[machine.ram.sections.wordIndex(pfn)], 31);
  run(other, other.ram.refs.pagePut(pfn));
  assert.equal(machine.ram.usage().usedPages, 0);
  other.detach();
  assert.throws(
    () => run(other, other.heap.allocWords(512)),
    "a thread that has left can do nothing",
  );
});

test("what is no handle is refused", () => {
  for (const bad of [
    undefined,
    {},
    { kind: "hmm-ts/machine", heap: new SharedArrayBuffer(8), sections: [] },
  ]) {
    assert.throws(() => Machine.attach(bad as MachineHandle), {
      code: "EINVAL",
      message: /Cannot attach/,
    });
  }
});
