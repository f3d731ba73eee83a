/**
 * @module Measuring in pairs. Each round takes both sides, one directly after the other, and gives
 * one ratio; who comes first alternates. So what changes slowly (the clock of the processor, what
 * others do on the machine) falls on both sides of a ratio, and the median of the ratios forgets
 * the rounds in which something came in between.
 */

import { type Reading, median } from "./figure.ts";

/** Takes one measurement and answers it, in the unit of the reading. */
export type Side = () => number | Promise<number>;

export interface PairOptions {
  readonly label: string;
  readonly unit: string;
  readonly ours: Side;
  readonly plain: Side;
  readonly rounds: number;
  /** Default true. */
  readonly isBound?: boolean;
  /** Default `ours / plain`. */
  readonly ratioOf?: (ours: number, plain: number) => number;
  readonly onRound?: () => void;
  readonly point?: NonNullable<Reading["point"]>;
}

/** One round to warm up, which does not count, then `rounds` rounds. */
export async function measurePairs(options: PairOptions): Promise<Reading> {
  const {
    label,
    unit,
    rounds,
    isBound = true,
    ratioOf = (ours, plain) => ours / plain,
    onRound = () => {},
  } = options;
  const ours: number[] = [];
  const plain: number[] = [];
  for (let round = -1; round < rounds; round++) {
    const isOursFirst = round % 2 === 0;
    const first = await (isOursFirst ? options.ours : options.plain)();
    const second = await (isOursFirst ? options.plain : options.ours)();
    if (round < 0) continue;
    ours.push(isOursFirst ? first : second);
    plain.push(isOursFirst ? second : first);
    onRound();
  }
  const ratios = ours.map((value, round) => ratioOf(value, plain[round]!));
  const { point } = options;
  return {
    label,
    unit,
    isBound,
    ratios,
    ours: median(ours),
    plain: median(plain),
    ...(point === undefined ? {} : { point }),
  };
}

/** Milliseconds that `work` takes. */
export function timeMs(work: () => void): number {
  const startMs = performance.now();
  work();
  return performance.now() - startMs;
}

/** Nanoseconds of one of the `count` things that `work` does. */
export function timeEachNs(count: number, work: () => void): number {
  return (timeMs(work) * 1e6) / count;
}
