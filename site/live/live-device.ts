/** @module The Worker of the live page's device, and its kernels: each work item has one page. */

import { type TypedAccess, serveDevice } from "hmm-ts/worker";
import { PAGE } from "./layout.ts";
import "./watcher.ts"; // its call-backs run here, too

type Args = readonly number[];

/** Adds up the numbers of the item's page, and stores the sum in a list. */
function sum(memory: TypedAccess, item: number, [data = 0, sums = 0]: Args): void {
  let total = 0;
  for (let i = 0; i < PAGE; i += 4) total += memory.u32.load(data + item * PAGE + i);
  memory.u32.store(sums + 4 * item, total);
}

/** Adds one to the first number of the item's page. */
function increment(memory: TypedAccess, item: number, [data = 0]: Args): void {
  memory.u32.store(data + item * PAGE, memory.u32.load(data + item * PAGE) + 1);
}

serveDevice({ kernels: { sum, increment } });
