/**
 * @module A file in memory. It is mapped shared; its pages are read when they are touched, by a
 * device, too. What is stored is written back by `msync`. A private mapping of the same file keeps
 * its stores to itself.
 *
 * Run with: node examples/file.mjs
 */

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AddressSpace, SoftwareDevice } from "hmm-ts";

const BYTES = 2 ** 20;
const folder = await mkdtemp(join(tmpdir(), "hmm-ts-"));
const path = join(folder, "numbers");
await writeFile(path, new Uint8Array(Uint32Array.from({ length: BYTES / 4 }, (_, i) => i).buffer));

const space = await AddressSpace.create({ ramBytes: 4 * 2 ** 20 });
const shared = await space.mmap(BYTES, { source: path, shared: true });
const own = await space.mmap(BYTES, { source: path });
const sums = await space.mmap(4096);

// A device with memory for a part of the file adds it up, 64 KiB a work item.
const device = await SoftwareDevice.create(space, { memoryBytes: 2 ** 18 });
const add = device.kernel({
  module: new URL("./file-kernel.mjs", import.meta.url),
  exportName: "add",
});
await add.dispatch(BYTES / 65_536, { args: [shared, sums] });
let total = 0;
for (let item = 0; item < BYTES / 65_536; item++) total += space.f64.load(sums + item * 8);
console.log(`the device adds up ${total}`);
assert.equal(total, ((BYTES / 4) * (BYTES / 4 - 1)) / 2);

space.u32.store(shared + 400, 4711);
space.u32.store(own + 800, 4712);
await space.msync(shared, BYTES);
const words = new Uint32Array((await readFile(path)).buffer.slice(0));
console.log(`in the file: ${words[100]} and ${words[200]}; in the private mapping: 4712`);
assert.deepEqual([words[100], words[200], space.u32.load(own + 800)], [4711, 200, 4712]);

await device[Symbol.asyncDispose]();
await space[Symbol.asyncDispose]();
await rm(folder, { recursive: true });
