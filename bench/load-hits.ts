/**
 * @module Loads of one width that find their page, in three orders and over working sets from 256
 * KiB to 1 GiB, against loads of a typed array over a SharedArrayBuffer of that size in the same
 * order. At random nearly every load comes from another page; a chase of pointers cannot overlap
 * one load with the next, as the two orders before can. Beside `ptr`, which keeps an address in 8
 * bytes, stands a Float64Array, which keeps an index in as many.
 */

import { AddressSpace } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import {
  LOADS,
  MIB,
  ORDERS,
  QUICK_SIZES,
  SIZES,
  SMALL_BYTES,
  checkFound,
  fillChain,
  orderOf,
  sidesOf,
  sizeText,
} from "./access-loops.ts";
import type { Order, Width } from "./access-loops.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

async function measureSize(
  width: Width,
  bytes: number,
  orders: readonly Order[],
  options: MeasureOptions,
  onRound: () => void,
): Promise<Reading[]> {
  await using space = await AddressSpace.create({ ramBytes: bytes + 16 * MIB });
  const address = await space.mmap(bytes);
  const buffer = new SharedArrayBuffer(bytes);
  const words = width === "u32" ? new Uint32Array(buffer) : new Float64Array(buffer);
  const chain = { access: space[width], address, words, order: orderOf(words.length) };
  fillChain(chain);
  const readings: Reading[] = [];
  for (const each of orders) {
    const { ours, plain } = sidesOf(each, chain, options.isQuick ? chain.order.length : LOADS);
    readings.push(
      await measurePairs({
        label: `${each}, ${sizeText(bytes)}`,
        unit: "ns a load",
        rounds: roundsOf(options),
        onRound,
        ours,
        plain,
        ...(width === "u32" ? { point: { series: each, bytes } } : {}),
      }),
    );
  }
  return readings;
}

async function measure(
  width: Width,
  ordersOf: (bytes: number) => readonly Order[],
  options: MeasureOptions,
): Promise<Measurement> {
  const sizes = (options.isQuick ? QUICK_SIZES : SIZES).map(
    (bytes) => [bytes, ordersOf(bytes)] as const,
  );
  const taken = sizes.reduce((sum, [, orders]) => sum + orders.length, 0);
  const onRound = roundCounter(taken * roundsOf(options), options);
  const readings: Reading[] = [];
  for (const [bytes, orders] of sizes)
    if (orders.length > 0)
      readings.push(...(await measureSize(width, bytes, orders, options, onRound)));
  checkFound();
  return { readings };
}

/** In order, over sets of each size; and every order over the smallest. */
export function loadHitsOf(width: Width): (options: MeasureOptions) => Promise<Measurement> {
  return (options) =>
    measure(width, (bytes) => (bytes === SMALL_BYTES ? ORDERS : ["in order"]), options);
}

/** From page to page, over sets from 1 MiB on. */
export function reachOf(width: Width): (options: MeasureOptions) => Promise<Measurement> {
  return (options) =>
    measure(width, (bytes) => (bytes === SMALL_BYTES ? [] : ["at random", ORDERS[2]]), options);
}
