/**
 * @module The kernels of kernel-accesses.ts. Both sides of each pair run here, in the device's
 * thread: the plain one over an array that belongs to this module.
 */

import type { TypedAccess } from "../src/index.ts";
import {
  ORDERS,
  STORE_ORDERS,
  checkFound,
  orderOf,
  sidesOf,
  storeSidesOf,
} from "./access-loops.ts";
import type { Sides } from "./access-loops.ts";

const PAGE_BYTES = 4096;
let words: Uint32Array = new Uint32Array(0);
/** By name of the kernel and its order: made once, as the pairs of the CPU are. */
const made = new Map<string, Sides>();

/** Touches page `item`, by a store or by a load. */
export function touch({ u32 }: TypedAccess, item: number, args: readonly number[]): void {
  const [address = 0, isStore = 0] = args;
  const at = address + item * PAGE_BYTES;
  if (isStore === 1) u32.store(at, 1);
  else u32.load(at);
}

/** `args`: the address, the bytes there, which order, whether ours, how often, where to say. */
export function load(memory: TypedAccess, _item: number, args: readonly number[]): void {
  run("load", memory, args);
}

export function store(memory: TypedAccess, _item: number, args: readonly number[]): void {
  run("store", memory, args);
}

function run(kind: "load" | "store", memory: TypedAccess, args: readonly number[]): void {
  const [address = 0, bytes = 0, orderIndex = 0, isOurs = 0, times = 0, result = 0] = args;
  const key = `${kind} ${bytes} ${orderIndex}`;
  let sides = made.get(key);
  if (sides === undefined) {
    sides = sidesFor(kind, memory, address, bytes, orderIndex, times);
    made.set(key, sides);
  }
  const ns = isOurs === 1 ? sides.ours() : sides.plain();
  checkFound();
  memory.f64.store(result, ns);
}

function sidesFor(
  kind: "load" | "store",
  memory: TypedAccess,
  address: number,
  bytes: number,
  orderIndex: number,
  times: number,
): Sides {
  const order = orderOf(bytes / 4);
  if (words.length * 4 !== bytes) {
    words = new Uint32Array(new SharedArrayBuffer(bytes));
    for (let i = 0; i < words.length; i += PAGE_BYTES / 4) words[i] = 1;
    for (let i = 0; i < order.length; i++) words[order[i]!] = order[(i + 1) % order.length]!;
  }
  const chain = { access: memory.u32, address, words, order };
  if (kind === "store") return storeSidesOf(STORE_ORDERS[orderIndex]!, chain, times);
  return sidesOf(ORDERS[orderIndex]!, chain, times);
}
