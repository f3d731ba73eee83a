/**
 * @module The memory of a WebAssembly program, mapped at address 0 without a copy: then its
 * pointers are addresses. The program builds a linked list; the device walks it.
 *
 * Run with: node examples/wasm-in-place.mjs
 */

import assert from "node:assert/strict";

import { AddressSpace, SoftwareDevice } from "hmm-ts";

/**
 * (module (import "env" "memory" (memory 1 1 shared))
 *   (func (export "build") (param $n i32) (result i32) (local $next i32) (local $node i32)
 *     (loop ;; for n down to 1: node = n * 8; node.value = n; node.next = next; next = node
 *       (i32.store (local.tee $node (i32.mul (local.get $n) (i32.const 8))) (local.get $n))
 *       (i32.store offset=4 (local.get $node) (local.get $next))
 *       (local.set $next (local.get $node))
 *       (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
 *     (local.get $next)))
 */
const LIST_BUILDER =
  "0061736d01000000" + // magic, version
  "0106016001" +
  "7f017f" + // type 0: i32 to i32
  "02100103656e76066d656d6f727902030101" + // import env.memory, shared, 1 to 1 pages of 64 KiB
  "03020100" + // function 0 has type 0
  "070901056275696c640000" + // export build
  "0a2b012901027f" + // code of function 0, two locals
  "0340" +
  "20004108" +
  "6c2202" +
  "2000360200" +
  "20022001" +
  "360204" +
  "20022101" +
  "200041016b2200" +
  "0d000b" +
  "20010b";

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const program = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(LIST_BUILDER, "hex")), {
  env: { memory },
});
const head = program.exports.build(100);

const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
await space.mmap(memory.buffer.byteLength, { buffer: memory, address: 0, fixed: "replace" });
console.log(
  `the list begins at ${head}: value ${space.u32.load(head)}, next at ${space.u32.load(head + 4)}`,
);

const result = await space.mmap(4096);
const device = await SoftwareDevice.create(space, { memoryBytes: 4096 });
const sum = device.kernel({
  module: new URL("./wasm-in-place-kernel.mjs", import.meta.url),
  exportName: "sum",
});
await sum.dispatch(1, { args: [head, result] });
console.log(`the device adds up ${space.u32.load(result)}`); // 1 + 2 + ... + 100
assert.equal(space.u32.load(result), 5050);

// Both ways: the program sees what is stored through the address space, for it is the same memory.
space.u32.store(head, 1001);
assert.equal(new Uint32Array(memory.buffer)[head / 4], 1001);
await sum.dispatch(1, { args: [head, result] });
console.log(`and now ${space.u32.load(result)}`);
assert.equal(space.u32.load(result), 6050);
await device[Symbol.asyncDispose]();
await space[Symbol.asyncDispose]();
