/**
 * @module Three ways to access memory, each for what it does best: single loads and stores, which
 * are safe beside whatever other threads do; views, which are typed arrays at full speed; and
 * copies of bytes. Also records, atomics, and many stores in a section.
 *
 * Run with: node examples/access.mjs
 */

import assert from "node:assert/strict";
import { AddressSpace } from "hmm-ts";

const space = await AddressSpace.create({ ramBytes: 16 * 2 ** 20 });
const p = await space.mmap(2 ** 20);

// Single values. An address is a number; it may be stored, too.
space.f64.store(p, 0.5);
space.ptr.store(p + 8, p);
console.log(space.f64.load(space.ptr.load(p + 8)), space.u32.atomicAdd(p + 16, 3));

// A record in one go.
const record = new Uint32Array(4);
space.u32.loadInto(p, record);
console.log(`the record's second half is ${record[2]}, the low word of ${p}`);

// Many stores: told to other threads once, not for each.
space.section(() => {
  for (let i = 0; i < 1000; i++) space.u32.store(p + 4096 + 4 * i, i);
});

// A typed array in place. While it is open, devices are kept out, and it cannot be unmapped.
const view = await space.view(p + 4096, 4000, "read");
const total = view.as(Uint32Array).reduce((sum, value) => sum + value, 0);
await view[Symbol.asyncDispose]();
console.log(`the view's numbers add up to ${total}`);
assert.equal(total, 499_500);

// Copies of bytes, also of parts of pages.
const text = new TextEncoder().encode("pointers mean the same everywhere");
await space.write(p + 9000, text);
const bytes = new Uint8Array(text.length);
await space.read(p + 9000, bytes);
console.log(new TextDecoder().decode(bytes));
assert.deepEqual(bytes, text);
await space[Symbol.asyncDispose]();
