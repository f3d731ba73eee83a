/** @module Kernels for the tests with Workers. Device threads import this module. */

import type { TypedAccess } from "../../src/mmu/access.ts";

const PAGE = 4096;

/**
 * Sums `count` words, one in each of `pages` pages in an order of the item's own, into the item's
 * place.
 */
export function sum(memory: TypedAccess, item: number, args: readonly number[]): void {
  const [source, sums, pages, count] = args as readonly [number, number, number, number];
  let total = 0;
  for (let i = 0; i < count; i++)
    total += memory.u32.load(source + ((item * 37 + i * 101) % pages) * PAGE);
  memory.u32.store(sums + item * 4, total);
}

/** Adds 1 to one of `pages` words, a page apart. */
export function tally(memory: TypedAccess, item: number, args: readonly number[]): void {
  const [counters, pages] = args as readonly [number, number];
  memory.u32.atomicAdd(counters + (item % pages) * PAGE, 1);
}

/** Item 70 touches `address`. */
export function stray(memory: TypedAccess, item: number, args: readonly number[]): void {
  const [address] = args as readonly [number];
  if (item === 70) memory.u32.store(address, 1);
}

export function thrower(_memory: TypedAccess, item: number): void {
  if (item === 5) throw Object.assign(new RangeError("item five"), { detail: 5 });
}

/** Throws what no message can carry. */
export function oddThrower(): void {
  throw Object.assign(new Error("odd"), { method: () => 1 });
}

/** Never ends. */
export function forever(memory: TypedAccess, _item: number, args: readonly number[]): void {
  const [flag] = args as readonly [number];
  memory.u32.store(flag, 1);
  while (memory.u32.load(flag) !== 0xdead);
}

/** Ends the thread that runs item 40, in the middle of things. */
export function suicide(memory: TypedAccess, item: number, args: readonly number[]): void {
  const [data] = args as readonly [number];
  memory.u32.load(data + item * PAGE);
  if (item === 40) process.exit(3);
}

/**
 * A span of `pages` pages holds in each page's first two words a stamp and its complement, or
 * zeros where it has been mapped anew. Stores into the item's place 1 if it has met a pair that
 * never was, else 2.
 */
export function checkPairs(memory: TypedAccess, item: number, args: readonly number[]): void {
  const [data, verdicts, pages] = args as readonly [number, number, number];
  let verdict = 2;
  for (let i = 0; i < 8; i++) {
    const address = data + ((item * 31 + i * 7) % pages) * PAGE;
    // One load of 64 bits: the pair was stored as one, so it must be read as one.
    const pair = memory.f64.load(address);
    if (Math.floor(pair / 2 ** 20) !== pair % 2 ** 20) verdict = 1;
  }
  memory.u32.store(verdicts + item * 4, verdict);
}

export const notAFunction = 7;

const later = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, 1));

/** Stores 1 at once and 2 afterwards, which is too late. */
export async function asynchronous(
  memory: TypedAccess,
  _item: number,
  [at = 0]: readonly number[],
): Promise<void> {
  memory.u32.store(at, 1);
  await later();
  memory.u32.store(at, 2);
}

export function* generator(
  memory: TypedAccess,
  _item: number,
  [at = 0]: readonly number[],
): Generator<number> {
  memory.u32.store(at, 1);
  yield 1;
}

export async function* asyncGenerator(
  memory: TypedAccess,
  _item: number,
  [at = 0]: readonly number[],
): AsyncGenerator {
  memory.u32.store(at, 1);
  yield await later();
}

/**
 * What a compiler for old engines makes of an async function. The promise is rejected in the end.
 */
export function promising(memory: TypedAccess, item: number, args: readonly number[]): unknown {
  return asynchronous(memory, item, args).then(() => {
    throw new Error("too late");
  });
}

/** Rejected at once: its first access is one that no mapping allows. */
export function promisingFault(memory: TypedAccess, item: number): unknown {
  return asynchronous(memory, item, [2 ** 41]);
}

export function iterating(memory: TypedAccess, item: number, args: readonly number[]): unknown {
  return generator(memory, item, args);
}

/** As long as it has no `then` and no `next`, what a kernel returns is nobody's concern. */
export function returning(memory: TypedAccess, item: number, [at = 0]: readonly number[]): unknown {
  memory.u32.atomicAdd(at, 1);
  return item % 2 === 0 ? item : { item };
}

/** Leaves a promise behind, which stores when it is too late. */
export function leaving(memory: TypedAccess, item: number, args: readonly number[]): void {
  void asynchronous(memory, item, args);
}

/** Throws what cannot be shown. */
export function bareThrower(): void {
  throw Object.create(null);
}

/** Adds up the first words of the pages whose numbers follow the two addresses. */
export function sumOf(memory: TypedAccess, _item: number, args: readonly number[]): void {
  const [data = 0, target = 0, ...pages] = args;
  let total = 0;
  for (const page of pages) total += memory.u32.load(data + page * PAGE);
  memory.u32.store(target, total);
}

/** Stores to the first word of every `step`th page. */
export function storeEach(memory: TypedAccess, _item: number, args: readonly number[]): void {
  const [data, pages, step] = args as readonly [number, number, number];
  for (let page = 0; page < pages; page += step) memory.u32.store(data + page * PAGE, page + 1001);
}
