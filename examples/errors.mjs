/**
 * @module What goes wrong, and how it says so. Every error is an HmmError with a code, and the
 * address space, its threads and its device go on afterwards.
 *
 * Run with: node examples/errors.mjs
 */

import assert from "node:assert/strict";

import { AddressSpace, DeviceFault, HmmError, SegmentationFault, SoftwareDevice } from "hmm-ts";

/** Runs what must fail, and returns its error. */
async function failureOf(work) {
  try {
    await work();
  } catch (error) {
    assert.ok(error instanceof HmmError);
    console.log(`${error.name} ${error.code}: ${error.message}`);
    return error;
  }
  return assert.fail("this should have failed");
}

const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
const p = await space.mmap(16 * 4096);

// A load where nothing is mapped never reads zeros.
const load = await failureOf(() => space.u32.load(p + 16 * 4096));
assert.ok(load instanceof SegmentationFault && load.access === "read");

// A store to read-only memory.
await space.mprotect(p, 4096, "read");
await failureOf(() => space.u32.store(p, 1));

// More pages than there is RAM. Nothing is lost: what has been stored stays, and giving some back
// makes room.
const big = await space.mmap(4 * 2 ** 20);
const full = await failureOf(() => {
  for (let offset = 0; offset < 4 * 2 ** 20; offset += 4096) space.u32.store(big + offset, 7);
});
assert.equal(full.code, "ENOMEM");
assert.equal(space.u32.load(big), 7);
await space.munmap(big + 2 ** 18, 4 * 2 ** 20 - 2 ** 18);

// A kernel that meets a hole: which address, which access, which work item.
await space.mprotect(p, 4096, "read-write");
await space.munmap(p + 5 * 4096, 4096);
const device = await SoftwareDevice.create(space, { memoryBytes: 8 * 4096 });
const count = device.kernel({
  module: new URL("./errors-kernel.mjs", import.meta.url),
  exportName: "countUp",
});
const fault = await failureOf(() => count.dispatch(16, { args: [p] }));
assert.ok(fault instanceof DeviceFault);
assert.deepEqual([fault.address, fault.access, fault.item], [p + 5 * 4096, "write", 5]);

// The device is none the worse.
await space.mmap(4096, { address: p + 5 * 4096, fixed: "noreplace" });
await count.dispatch(16, { args: [p] });
assert.equal(space.u32.load(p + 5 * 4096), 1);
console.log("and all of it goes on");
await device[Symbol.asyncDispose]();
await space[Symbol.asyncDispose]();
