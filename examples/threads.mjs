/**
 * @module Threads on one address space. Each Worker attaches by the handle in its workerData, and
 * adds nodes to one list: an address means the same in all of them. One Worker is terminated in the
 * middle of its work; the others go on.
 *
 * Run with: node examples/threads.mjs
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { Worker, isMainThread, workerData } from "node:worker_threads";
import { AddressSpace } from "hmm-ts";

const THREADS = 3;
const NODES = 1000;

/** Adds nodes of (value, address of the next) at the head of the list, without a lock. */
function work(space, { head, nodes, thread }) {
  for (let i = 0; i < NODES; i++) {
    const node = nodes + (thread * NODES + i) * 16;
    space.f64.store(node, thread);
    let next = space.ptr.atomicLoad(head);
    for (;;) {
      space.ptr.store(node + 8, next);
      const found = space.ptr.atomicCompareExchange(head, next, node);
      if (found === next) break;
      next = found;
    }
  }
}

/** Stores to ever new pages, until it is terminated. */
function workForEver(space) {
  for (let round = 1; ; round++) {
    const p = space.mmapSync(4 * 4096);
    for (let page = 0; page < 4; page++) space.u32.store(p + page * 4096, round);
    space.munmapSync(p, 4 * 4096);
  }
}

if (isMainThread) {
  const space = await AddressSpace.create({ ramBytes: 16 * 2 ** 20 });
  const head = await space.mmap(4096);
  const nodes = await space.mmap(THREADS * NODES * 16);
  const start = (thread) =>
    new Worker(new URL(import.meta.url), {
      workerData: { handle: space.handle, head, nodes, thread },
    });
  const doomed = start(-1);
  const workers = Array.from({ length: THREADS }, (_, thread) => start(thread));
  await Promise.all(workers.map((worker) => once(worker, "exit")));
  await doomed.terminate();

  const counts = Array.from({ length: THREADS }, () => 0);
  for (let node = space.ptr.load(head); node !== 0; node = space.ptr.load(node + 8))
    counts[space.f64.load(node)]++;
  console.log(`nodes in the list, by thread: ${counts.join(", ")}`);
  assert.ok(counts.every((count) => count === NODES));
  await space[Symbol.asyncDispose]();
} else {
  const space = await AddressSpace.attach(workerData.handle);
  if (workerData.thread < 0) workForEver(space);
  work(space, workerData);
  await space[Symbol.asyncDispose]();
}
