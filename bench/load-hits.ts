/**
 * @module Loads of 32 bits that find their page, in three orders and over working sets from 256 KiB
 * to 1 GiB, against loads of a Uint32Array over a SharedArrayBuffer of that size in the same order.
 * In order, the page that the accessor met last serves; at random nearly every load comes from
 * another page; a chase of pointers cannot overlap one load with the next, as the two orders before
 * can.
 */

import { AddressSpace, type IntegerAccess } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { measurePairs, timeEachNs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const SMALL_BYTES: number = 256 * KIB;
const SIZES: readonly number[] = [
  SMALL_BYTES,
  MIB,
  4 * MIB,
  16 * MIB,
  64 * MIB,
  256 * MIB,
  1024 * MIB,
];
const QUICK_SIZES: readonly number[] = [SMALL_BYTES, MIB];
/** Loads of one pass, at most; over a larger set they are spread. */
const PASS: number = 2 ** 18;
const LOADS: number = 24 * PASS;
const ORDERS = ["in order", "at random", "a chase of pointers"] as const;
type Order = (typeof ORDERS)[number];

/** What the loops find goes here, so that no compiler leaves them out. */
let sink = 0;

function loadInOrder(u32: IntegerAccess, address: number, count: number): number {
  let sum = 0;
  for (let at = address; at < address + 4 * count; at += 4) sum = (sum + u32.load(at)) | 0;
  return sum;
}

function plainInOrder(words: Uint32Array, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum = (sum + words[i]!) | 0;
  return sum;
}

function loadAtRandom(u32: IntegerAccess, address: number, order: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < order.length; i++) sum = (sum + u32.load(address + 4 * order[i]!)) | 0;
  return sum;
}

function plainAtRandom(words: Uint32Array, order: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < order.length; i++) sum = (sum + words[order[i]!]!) | 0;
  return sum;
}

function loadChain(u32: IntegerAccess, first: number, count: number): number {
  let at = first;
  for (let i = 0; i < count; i++) at = u32.load(at);
  return at;
}

function plainChain(words: Uint32Array, first: number, count: number): number {
  let index = first;
  for (let i = 0; i < count; i++) index = words[index]!;
  return index;
}

/**
 * `count` different words of a set of `setWords`, spread evenly, in an order that is the same in
 * every run (xorshift, then Fisher and Yates).
 */
function shuffled(count: number, setWords: number): Uint32Array {
  let state = 0x2545f491;
  const random = (below: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  const stride = setWords / count;
  const order = Uint32Array.from({ length: count }, (_, i) => i * stride + random(stride));
  for (let i = count - 1; i > 0; i--) {
    const j = random(i + 1);
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
  return order;
}

function repeat(passes: number, count: number, loop: () => number): number {
  return timeEachNs(passes * count, () => {
    for (let i = 0; i < passes; i++) sink = (sink + loop()) | 0;
  });
}

function sizeText(bytes: number): string {
  if (bytes < MIB) return `${bytes / KIB} KiB`;
  return bytes < 1024 * MIB ? `${bytes / MIB} MiB` : `${bytes / (1024 * MIB)} GiB`;
}

/** The same words, for whoever loads by address and for whoever loads by index. */
interface Chain {
  readonly u32: IntegerAccess;
  readonly address: number;
  readonly words: Uint32Array;
  readonly order: Uint32Array;
}

type Measured = Pick<Parameters<typeof measurePairs>[0], "ours" | "plain">;

function sidesOf(order: Order, chain: Chain, loads: number): Measured {
  const { u32, address, words } = chain;
  const count = chain.order.length;
  const first = chain.order[0]!;
  const passes = Math.ceil(loads / count);
  const timed = (loop: () => number) => (): number => repeat(passes, count, loop);
  if (order === "in order") {
    return {
      ours: timed(() => loadInOrder(u32, address, count)),
      plain: timed(() => plainInOrder(words, count)),
    };
  }
  if (order === "at random") {
    return {
      ours: timed(() => loadAtRandom(u32, address, chain.order)),
      plain: timed(() => plainAtRandom(words, chain.order)),
    };
  }
  return {
    ours: timed(() => loadChain(u32, address + 4 * first, count)),
    plain: timed(() => plainChain(words, first, count)),
  };
}

async function measureSize(
  bytes: number,
  orders: readonly Order[],
  options: MeasureOptions,
  onRound: () => void,
): Promise<Reading[]> {
  await using space = await AddressSpace.create({ ramBytes: bytes + 16 * MIB });
  const address = await space.mmap(bytes);
  const words = new Uint32Array(new SharedArrayBuffer(bytes));
  for (let i = 0; i < bytes / 4; i += 1024) {
    words[i] = 1;
    space.u32.store(address + 4 * i, 1);
  }
  const order = shuffled(Math.min(PASS, bytes / 4), bytes / 4);
  for (let i = 0; i < order.length; i++) {
    // A chain through all of them: each names the one that follows it in the order.
    const next = order[(i + 1) % order.length]!;
    words[order[i]!] = next;
    space.u32.store(address + 4 * order[i]!, address + 4 * next);
  }
  const chain = { u32: space.u32, address, words, order };
  const readings: Reading[] = [];
  for (const each of orders) {
    const { ours, plain } = sidesOf(each, chain, options.isQuick ? order.length : LOADS);
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
  if (Number.isNaN(sink)) throw new Error("the loops found nothing");
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
