/**
 * @module Loops over the doubles of a view against the same loops over a Float64Array of its own
 * ArrayBuffer: the same function for both.
 */

import { AddressSpace } from "../src/index.ts";
import type { MeasureOptions, Measurement } from "./figure.ts";
import { measurePairs, timeEachNs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const LENGTH_BYTES = 2 * 2 ** 20;
const DOUBLES: number = LENGTH_BYTES / 8;
const REPEATS = 64;

let sink = 0;

function sum(doubles: Float64Array): number {
  let total = 0;
  for (let i = 0; i < DOUBLES; i++) total += doubles[i]!;
  return total;
}

/** The lower half to the upper half. */
function copy(doubles: Float64Array): number {
  const half = DOUBLES / 2;
  for (let i = 0; i < half; i++) doubles[half + i] = doubles[i]!;
  return half;
}

function time(
  repeats: number,
  loop: (doubles: Float64Array) => number,
  doubles: Float64Array,
): number {
  return timeEachNs(repeats * DOUBLES, () => {
    for (let i = 0; i < repeats; i++) sink += loop(doubles);
  });
}

export async function measureViewLoops(options: MeasureOptions): Promise<Measurement> {
  const rounds = roundsOf(options);
  const onRound = roundCounter(2 * rounds, options);
  const repeats = options.isQuick ? 4 : REPEATS;
  await using space = await AddressSpace.create({ ramBytes: 4 * LENGTH_BYTES });
  const address = await space.mmap(LENGTH_BYTES);
  using view = await space.view(address, LENGTH_BYTES, "write");
  const ours = view.as(Float64Array).fill(0.5);
  const plain = new Float64Array(DOUBLES).fill(0.5);
  const readings = [
    await measurePairs({
      label: "sum",
      unit: "ns a double",
      rounds,
      onRound,
      ours: () => time(repeats, sum, ours),
      plain: () => time(repeats, sum, plain),
    }),
    await measurePairs({
      label: "copy",
      unit: "ns a double",
      rounds,
      onRound,
      ours: () => time(repeats, copy, ours),
      plain: () => time(repeats, copy, plain),
    }),
  ];
  if (Number.isNaN(sink)) throw new Error("the loops found nothing");
  return { readings };
}
