/**
 * @module Loads of 32 bits that find their page, in three orders and over working sets from 256 KiB
 * to 1 GiB, against loads of a Uint32Array over a SharedArrayBuffer of that size in the same order.
 * In order, the page that the accessor met last serves; at random nearly every load comes from
 * another page; a chase of pointers cannot overlap one load with the next, as the two orders before
 * can.
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
import type { Order } from "./access-loops.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

async function measureSize(
  bytes: number,
  orders: readonly Order[],
  options: MeasureOptions,
  onRound: () => void,
): Promise<Reading[]> {
  await using space = await AddressSpace.create({ ramBytes: bytes + 16 * MIB });
  const address = await space.mmap(bytes);
  const words = new Uint32Array(new SharedArrayBuffer(bytes));
  const chain = { u32: space.u32, address, words, order: orderOf(bytes) };
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
        point: { series: each, bytes },
      }),
    );
  }
  return readings;
}

async function measure(
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
    if (orders.length > 0) readings.push(...(await measureSize(bytes, orders, options, onRound)));
  checkFound();
  return { readings };
}

/** In order, over sets of each size; and every order over the smallest. */
export function measureLoadHits(options: MeasureOptions): Promise<Measurement> {
  return measure((bytes) => (bytes === SMALL_BYTES ? ORDERS : ["in order"]), options);
}

/** From page to page, over sets from 1 MiB on. */
export function measureReach(options: MeasureOptions): Promise<Measurement> {
  return measure((bytes) => (bytes === SMALL_BYTES ? [] : ["at random", ORDERS[2]]), options);
}
