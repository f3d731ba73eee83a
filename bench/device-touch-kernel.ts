/** @module The kernels of device-touch.ts. `args`: the address, and how many pages there are. */

import type { TypedAccess } from "../src/index.ts";

const PAGE_BYTES = 4096;

export function loadEach({ u32 }: TypedAccess, _item: number, args: readonly number[]): void {
  const [address = 0, pages = 0] = args;
  for (let page = 0; page < pages; page++)
    if (u32.load(address + page * PAGE_BYTES) !== page) throw new Error(`page ${page} is wrong`);
}

export function storeEach({ u32 }: TypedAccess, _item: number, args: readonly number[]): void {
  const [address = 0, pages = 0] = args;
  for (let page = 0; page < pages; page++) u32.store(address + page * PAGE_BYTES, page + 1);
}
