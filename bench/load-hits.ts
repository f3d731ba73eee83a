/**
 * @module Loads of 32 bits that find their translation, in three orders, against loads of a
 * Uint32Array over a SharedArrayBuffer. In order, the accessor's own last translation serves; in
 * random order nearly every load comes from another page, so the second level does; a chase of
 * pointers cannot overlap one load with the next, as the two orders before can.
 */

import { AddressSpace, type IntegerAccess } from "../src/index.ts";
import type { MeasureOptions, Measurement } from "./figure.ts";
import { measurePairs, timeEachNs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const LENGTH_BYTES = 2 ** 20;
const WORDS: number = LENGTH_BYTES / 4;
const REPEATS = 24;

/** What the loops find goes here, so that no compiler leaves them out. */
let sink = 0;

function loadInOrder(u32: IntegerAccess, address: number): number {
  let sum = 0;
  for (let at = address; at < address + LENGTH_BYTES; at += 4) sum = (sum + u32.load(at)) | 0;
  return sum;
}

function plainInOrder(words: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < WORDS; i++) sum = (sum + words[i]!) | 0;
  return sum;
}

function loadAtRandom(u32: IntegerAccess, address: number, order: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < WORDS; i++) sum = (sum + u32.load(address + 4 * order[i]!)) | 0;
  return sum;
}

function plainAtRandom(words: Uint32Array, order: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < WORDS; i++) sum = (sum + words[order[i]!]!) | 0;
  return sum;
}

function loadChain(u32: IntegerAccess, address: number): number {
  let at = address;
  for (let i = 0; i < WORDS; i++) at = u32.load(at);
  return at;
}

function plainChain(words: Uint32Array): number {
  let index = 0;
  for (let i = 0; i < WORDS; i++) index = words[index]!;
  return index;
}

/**
 * The numbers below WORDS in an order that is the same in every run (xorshift, then Fisher and
 * Yates).
 */
function shuffled(): Uint32Array {
  const order = Uint32Array.from({ length: WORDS }, (_, i) => i);
  let state = 0x2545f491;
  for (let i = WORDS - 1; i > 0; i--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const j = (state >>> 0) % (i + 1);
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
  return order;
}

function repeat(count: number, loop: () => number): number {
  return timeEachNs(count * WORDS, () => {
    for (let i = 0; i < count; i++) sink = (sink + loop()) | 0;
  });
}

export async function measureLoadHits(options: MeasureOptions): Promise<Measurement> {
  const rounds = roundsOf(options);
  const onRound = roundCounter(3 * rounds, options);
  const repeats = options.isQuick ? 2 : REPEATS;
  await using space = await AddressSpace.create({ ramBytes: 4 * LENGTH_BYTES });
  const address = await space.mmap(LENGTH_BYTES);
  const words = new Uint32Array(new SharedArrayBuffer(LENGTH_BYTES));
  const order = shuffled();
  for (let i = 0; i < WORDS; i++) {
    // A chain through all words: each names the one that follows it in the order.
    const next = order[(i + 1) % WORDS]!;
    words[order[i]!] = next;
    space.u32.store(address + 4 * order[i]!, address + 4 * next);
  }
  const { u32 } = space;
  const unit = "ns a load";
  const readings = [
    await measurePairs({
      label: "in order",
      unit,
      rounds,
      onRound,
      ours: () => repeat(repeats, () => loadInOrder(u32, address)),
      plain: () => repeat(repeats, () => plainInOrder(words)),
    }),
    await measurePairs({
      label: "in random order",
      unit,
      rounds,
      onRound,
      ours: () => repeat(repeats, () => loadAtRandom(u32, address, order)),
      plain: () => repeat(repeats, () => plainAtRandom(words, order)),
    }),
    await measurePairs({
      label: "a chase of pointers",
      unit,
      rounds,
      onRound,
      ours: () => repeat(repeats, () => loadChain(u32, address)),
      plain: () => repeat(repeats, () => plainChain(words)),
    }),
  ];
  if (Number.isNaN(sink)) throw new Error("the loops found nothing");
  return { readings };
}
