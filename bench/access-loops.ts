/**
 * @module The loops of the figures about loads and stores, in several orders, by address and by
 * index: for a thread of the CPU (load-hits.ts, load-mappings.ts), and for a kernel
 * (kernel-accesses.ts). One process has loops of one width only: a loop that has met several is
 * compiled for all of them.
 */

import { timeEachNs } from "./pairs.ts";

export const KIB: number = 2 ** 10;
export const MIB: number = 2 ** 20;
const PAGE_BYTES = 4096;
export const SMALL_BYTES: number = 256 * KIB;
export const SIZES: readonly number[] = [
  SMALL_BYTES,
  MIB,
  4 * MIB,
  16 * MIB,
  64 * MIB,
  256 * MIB,
  1024 * MIB,
];
export const QUICK_SIZES: readonly number[] = [SMALL_BYTES, MIB];
/** Loads of one pass, at most; over a larger set they are spread. */
const PASS: number = 2 ** 18;
export const LOADS: number = 24 * PASS;
/** A chase takes so many times as long, and needs no more rounds to tell. */
const CHASE_SHARE = 6;
export const ORDERS = ["in order", "at random", "a chase of pointers"] as const;
export type Order = (typeof ORDERS)[number];

/** What the loops find goes here, so that no compiler leaves them out. */
let sink = 0;

/** Throws if the loops found nothing. */
export function checkFound(): void {
  if (Number.isNaN(sink)) throw new Error("the loops found nothing");
}

/** Numbers of some width by address, and the same in an array. */
export interface Numbers {
  load(address: number): number;
  store(address: number, value: number): void;
}
export type Width = "u32" | "f64" | "ptr";
export type NumberArray = Uint32Array | Float64Array;

function loadInOrder(access: Numbers, address: number, end: number): number {
  let sum = 0;
  for (let at = address; at < end; at += 4) sum = (sum + access.load(at)) | 0;
  return sum;
}

function plainInOrder(words: NumberArray, first: number, end: number): number {
  let sum = 0;
  for (let i = first; i < end; i++) sum = (sum + words[i]!) | 0;
  return sum;
}

function loadAtRandom(access: Numbers, address: number, order: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < order.length; i++) sum = (sum + access.load(address + 4 * order[i]!)) | 0;
  return sum;
}

function plainAtRandom(words: NumberArray, order: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < order.length; i++) sum = (sum + words[order[i]!]!) | 0;
  return sum;
}

// The same of 8 bytes, whose sum is a double: to make it an integer would cost more than the load.

function load8InOrder(access: Numbers, address: number, end: number): number {
  let sum = 0;
  for (let at = address; at < end; at += 8) sum += access.load(at);
  return sum;
}

function plain8InOrder(words: NumberArray, first: number, end: number): number {
  let sum = 0;
  for (let i = first; i < end; i++) sum += words[i]!;
  return sum;
}

function load8AtRandom(access: Numbers, address: number, order: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < order.length; i++) sum += access.load(address + 8 * order[i]!);
  return sum;
}

function plain8AtRandom(words: NumberArray, order: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < order.length; i++) sum += words[order[i]!]!;
  return sum;
}

function loadChain(access: Numbers, first: number, count: number): number {
  let at = first;
  for (let i = 0; i < count; i++) at = access.load(at);
  return at;
}

function plainChain(words: NumberArray, first: number, count: number): number {
  let index = first;
  for (let i = 0; i < count; i++) index = words[index]!;
  return index;
}

/**
 * The words of a set of `count` words that the loops go to, in their order: PASS at most, spread
 * evenly.
 */
export function orderOf(count: number): Uint32Array {
  return shuffled(Math.min(PASS, count), count);
}

/** Runs `loop`, which does `count` things, `passes` times; nanoseconds of one thing. */
function repeat(passes: number, count: number, loop: () => number): number {
  return timeEachNs(passes * count, () => {
    for (let i = 0; i < passes; i++) sink = (sink + loop()) | 0;
  });
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

/** Of a size. */
export function sizeText(bytes: number): string {
  if (bytes < MIB) return `${bytes / KIB} KiB`;
  return bytes < 1024 * MIB ? `${bytes / MIB} MiB` : `${bytes / (1024 * MIB)} GiB`;
}

/** The same words, for whoever loads by address and for whoever loads by index. */
export interface Chain {
  readonly access: Numbers;
  readonly address: number;
  readonly words: NumberArray;
  /** The words that the loops go to; each holds which one follows it here. */
  readonly order: Uint32Array;
}

/** Fills a chain that is zero: every page is written, and each word of the order names the next. */
export function fillChain({ access, address, words, order }: Chain): void {
  const step = words.BYTES_PER_ELEMENT;
  for (let i = 0; i < words.length; i += PAGE_BYTES / step) {
    words[i] = 1;
    access.store(address + step * i, 1);
  }
  for (let i = 0; i < order.length; i++) {
    const next = order[(i + 1) % order.length]!;
    words[order[i]!] = next;
    access.store(address + step * order[i]!, address + step * next);
  }
}

/** Each returns nanoseconds of one load or store. */
export interface Sides {
  readonly ours: () => number;
  readonly plain: () => number;
}

/** Where each pass in order begins: right after the one before it, round and round. */
function windowsOf(setWords: number, count: number): () => number {
  let next = 0;
  return () => {
    const first = next;
    next = (next + count) % setWords;
    return first;
  };
}

/** Some `loads` of a chain. Fewer where each waits for the one before it. */
export function sidesOf(order: Order, chain: Chain, loads: number): Sides {
  const { access, address, words } = chain;
  const step = words.BYTES_PER_ELEMENT;
  const inOrder = step === 4 ? loadInOrder : load8InOrder;
  const atRandom = step === 4 ? loadAtRandom : load8AtRandom;
  const inOrderPlain = step === 4 ? plainInOrder : plain8InOrder;
  const atRandomPlain = step === 4 ? plainAtRandom : plain8AtRandom;
  const count = chain.order.length;
  const first = chain.order[0]!;
  const passes = Math.ceil(loads / (order === ORDERS[2] ? CHASE_SHARE : 1) / count);
  const timed = (loop: () => number) => (): number => repeat(passes, count, loop);
  if (order === "in order") {
    const oursFrom = windowsOf(words.length, count);
    const plainFrom = windowsOf(words.length, count);
    return {
      ours: timed(() => {
        const from = address + step * oursFrom();
        return inOrder(access, from, from + step * count);
      }),
      plain: timed(() => {
        const from = plainFrom();
        return inOrderPlain(words, from, from + count);
      }),
    };
  }
  if (order === "at random") {
    return {
      ours: timed(() => atRandom(access, address, chain.order)),
      plain: timed(() => atRandomPlain(words, chain.order)),
    };
  }
  return {
    ours: timed(() => loadChain(access, address + step * first, count)),
    plain: timed(() => plainChain(words, first, count)),
  };
}

function storeInOrder(u32: Numbers, address: number, end: number): number {
  for (let at = address; at < end; at += 4) u32.store(at, at);
  return end;
}

function plainStoreInOrder(words: NumberArray, first: number, end: number): number {
  for (let i = first; i < end; i++) words[i] = i;
  return end;
}

function storeAtRandom(u32: Numbers, address: number, order: Uint32Array): number {
  for (let i = 0; i < order.length; i++) u32.store(address + 4 * order[i]!, i);
  return order.length;
}

function plainStoreAtRandom(words: NumberArray, order: Uint32Array): number {
  for (let i = 0; i < order.length; i++) words[order[i]!] = i;
  return order.length;
}

export const STORE_ORDERS = ["in order", "at random"] as const;
export type StoreOrder = (typeof STORE_ORDERS)[number];

/** Some `stores` to the words of a chain, which is none after it. */
export function storeSidesOf(order: StoreOrder, chain: Chain, stores: number): Sides {
  const { access: u32, address, words } = chain;
  const count = chain.order.length;
  const passes = Math.ceil(stores / count);
  const timed = (loop: () => number) => (): number => repeat(passes, count, loop);
  if (order === "at random") {
    return {
      ours: timed(() => storeAtRandom(u32, address, chain.order)),
      plain: timed(() => plainStoreAtRandom(words, chain.order)),
    };
  }
  const oursFrom = windowsOf(words.length, count);
  const plainFrom = windowsOf(words.length, count);
  return {
    ours: timed(() => {
      const from = address + 4 * oursFrom();
      return storeInOrder(u32, from, from + 4 * count);
    }),
    plain: timed(() => {
      const from = plainFrom();
      return plainStoreInOrder(words, from, from + count);
    }),
  };
}
