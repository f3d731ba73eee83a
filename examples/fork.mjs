/**
 * @module A copy of an address space that copies nothing until somebody writes: parent and child
 * share every frame, and the first store to a page gives its writer a frame of its own.
 *
 * Run with: node examples/fork.mjs
 */

import assert from "node:assert/strict";

import { AddressSpace } from "hmm-ts";

const PAGES = 1000;

const parent = await AddressSpace.create({ ramBytes: 16 * 2 ** 20 });
const state = await parent.mmap(PAGES * 4096);
const messages = await parent.mmap(4096, { shared: true }); // shared memory stays shared
for (let page = 0; page < PAGES; page++) parent.u32.store(state + page * 4096, page);

/** How many pages of `state` have the same frame in both. */
async function sharedPages(child) {
  const mine = await parent.pagemap(state, PAGES * 4096);
  const theirs = await child.pagemap(state, PAGES * 4096);
  return mine.filter((entry, page) => entry.pfn === theirs[page].pfn).length;
}

const child = await parent.fork();
console.log(`after the fork they share ${await sharedPages(child)} of ${PAGES} pages`);

// The child tries something out. The parent does not notice.
for (let page = 0; page < 10; page++) child.u32.store(state + page * 4096, 4711);
child.u32.store(messages, 42);
console.log(`after ten stores they share ${await sharedPages(child)}`);
console.log(
  `parent still reads ${parent.u32.load(state + 9 * 4096)}, child reads ${child.u32.load(state + 9 * 4096)}`,
);
console.log(`and the child's message is ${parent.u32.load(messages)}`);

assert.equal(await sharedPages(child), PAGES - 10);
assert.deepEqual([parent.u32.load(state + 9 * 4096), parent.u32.load(messages)], [9, 42]);
await child[Symbol.asyncDispose]();
await parent[Symbol.asyncDispose]();
