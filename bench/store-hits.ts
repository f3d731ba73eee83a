/**
 * @module Stores of 32 bits that find their page, over working sets from 256 KiB to 1 GiB, on a
 * space that other threads could have. In a section they stand against stores of a typed array over
 * a SharedArrayBuffer of that size, in the same order; alone, against such a store between two
 * `Atomics.store`s, which is what a store alone has to make.
 */

import { AddressSpace } from "../src/index.ts";
import {
  LOADS,
  MIB,
  QUICK_SIZES,
  SIZES,
  STORE_ORDERS,
  checkFound,
  fillChain,
  orderOf,
  sizeText,
  storeSidesOf,
} from "./access-loops.ts";
import type { Chain, NumberArray, Numbers, Sides, StoreOrder } from "./access-loops.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { measurePairs, timeEachNs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

/** A store alone takes so many times as long as one in a section. */
const ALONE_SHARE = 8;
const ORDERS = [...STORE_ORDERS, "a chase of pointers"] as const;
type Order = (typeof ORDERS)[number];

/** Goes to where the word says, and stores it back. */
function chase(u32: Numbers, first: number, count: number): number {
  let at = first;
  for (let i = 0; i < count; i++) {
    const next = u32.load(at);
    u32.store(at, next);
    at = next;
  }
  return at;
}

function plainChase(words: NumberArray, first: number, count: number): number {
  let index = first;
  for (let i = 0; i < count; i++) {
    const next = words[index]!;
    words[index] = next;
    index = next;
  }
  return index;
}

const mark = new Int32Array(new SharedArrayBuffer(64));

function markedInOrder(words: NumberArray, count: number): void {
  for (let i = 0; i < count; i++) {
    Atomics.store(mark, 0, 2 * i + 1);
    words[i] = i;
    Atomics.store(mark, 0, 2 * i + 2);
  }
}

function markedAtRandom(words: NumberArray, order: Uint32Array): void {
  for (let i = 0; i < order.length; i++) {
    Atomics.store(mark, 0, 2 * i + 1);
    words[order[i]!] = i;
    Atomics.store(mark, 0, 2 * i + 2);
  }
}

/** A chase comes first: the other stores leave no chain. */
function sectionSidesOf(order: Order, chain: Chain, space: AddressSpace, stores: number): Sides {
  const { access, address, words } = chain;
  if (order !== "a chase of pointers") {
    const { ours, plain } = storeSidesOf(order, chain, stores);
    return { ours: () => space.section(ours), plain };
  }
  const count = chain.order.length;
  const first = chain.order[0]!;
  return {
    ours: () =>
      timeEachNs(count, () => {
        space.section(() => chase(access, address + 4 * first, count));
      }),
    plain: () =>
      timeEachNs(count, () => {
        plainChase(words, first, count);
      }),
  };
}

function aloneSidesOf(order: StoreOrder, chain: Chain, stores: number): Sides {
  const { words } = chain;
  const count = chain.order.length;
  const passes = Math.ceil(stores / ALONE_SHARE / count);
  const { ours } = storeSidesOf(order, chain, stores / ALONE_SHARE);
  const once =
    order === "in order"
      ? (): void => markedInOrder(words, count)
      : (): void => markedAtRandom(words, chain.order);
  return {
    ours,
    plain: () =>
      timeEachNs(passes * count, () => {
        for (let i = 0; i < passes; i++) once();
      }),
  };
}

async function measure(isAlone: boolean, options: MeasureOptions): Promise<Measurement> {
  const sizes = options.isQuick ? QUICK_SIZES : SIZES;
  const orders: readonly Order[] = isAlone ? STORE_ORDERS : ORDERS.toReversed();
  const onRound = roundCounter(sizes.length * orders.length * roundsOf(options), options);
  const readings: Reading[] = [];
  for (const bytes of sizes) {
    await using space = await AddressSpace.create({ ramBytes: bytes + 16 * MIB });
    if (space.handle.space < 0) throw new Error("a handle was taken, so stores are marked");
    const words = new Uint32Array(new SharedArrayBuffer(bytes));
    const address = await space.mmap(bytes);
    const chain: Chain = { access: space.u32, address, words, order: orderOf(words.length) };
    fillChain(chain);
    for (const order of orders) {
      const stores = options.isQuick ? chain.order.length : LOADS;
      const sides =
        isAlone && order !== "a chase of pointers"
          ? aloneSidesOf(order, chain, stores)
          : sectionSidesOf(order, chain, space, stores);
      readings.push(
        await measurePairs({
          label: `${order}, ${sizeText(bytes)}`,
          unit: "ns a store",
          rounds: roundsOf(options),
          onRound,
          ...sides,
        }),
      );
    }
  }
  checkFound();
  return { readings };
}

export function measureSectionStores(options: MeasureOptions): Promise<Measurement> {
  return measure(false, options);
}

export function measureStoresAlone(options: MeasureOptions): Promise<Measurement> {
  return measure(true, options);
}
