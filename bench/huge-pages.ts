/**
 * @module Huge pages: what a device's walk, random loads and a first touch cost over 1 GiB of them,
 * against small pages, a plain array and a plain buffer.
 */

import type { HmmMirror } from "../src/hmm/mirror-record.ts";
import { hmmMirrorUnregister } from "../src/hmm/mirror/mirror.ts";
import { type HmmRange, hmmRangeFree, hmmRangeUnregister } from "../src/hmm/range/range.ts";
import { hmmRangeFault } from "../src/hmm/walk/fault.ts";
import { hmmRangeSnapshot } from "../src/hmm/walk/snapshot.ts";
import { DEFAULT_ENCODING } from "../src/hmm/entry.ts";
import { AddressSpace } from "../src/index.ts";
import type { Task } from "../src/sync/tasks/task.ts";
import { inside } from "../test/inside.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { warmMemory } from "./fresh-memory.ts";
import { measurePairs, timeMs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";
import { makePresent, openMirror, openRange, walkRepeatedly } from "./snapshot-walk.ts";

const MiB = 2 ** 20;
const HUGE_BYTES: number = 2 * MiB;
const HUGE_SHIFT = 21;
const PAGE_BYTES = 4096;
const LOADS = 2 ** 22;

/** A space with a mapping of which all is present. */
async function presentSpace(
  hugePages: "always" | "never",
  lengthBytes: number,
): Promise<readonly [space: AddressSpace, address: number, mirror: HmmMirror]> {
  const space = await AddressSpace.create({ ramBytes: lengthBytes + 16 * MiB, hugePages });
  const mapped = await space.mmap(lengthBytes + HUGE_BYTES);
  const address = Math.ceil(mapped / HUGE_BYTES) * HUGE_BYTES;
  const { runSync } = inside(space);
  runSync(makePresent(space, address / PAGE_BYTES, (address + lengthBytes) / PAGE_BYTES));
  return [space, address, runSync(openMirror(space))];
}

/** Takes the walks of a range in one space, and of another range in another space. */
export async function measureHugeWalk(options: MeasureOptions): Promise<Measurement> {
  const lengthBytes = (options.isQuick ? 32 : 1024) * MiB;
  const walks = options.isQuick ? 20 : 200;
  const rounds = roundsOf(options);
  const onRound = roundCounter(3 * rounds, options);
  const [small, smallAddress, smallMirror] = await presentSpace("never", lengthBytes);
  const [huge, hugeAddress, hugeMirror] = await presentSpace("always", lengthBytes);
  const open = (mirror: HmmMirror, address: number, shift: number): HmmRange => {
    const range = inside(mirror === smallMirror ? small : huge).runSync(
      openRange(mirror, address, lengthBytes, shift),
    );
    range.defaultFlags = DEFAULT_ENCODING.flags.valid | DEFAULT_ENCODING.flags.write;
    return range;
  };
  const bySmall = open(smallMirror, smallAddress, 12);
  const byHuge = open(hugeMirror, hugeAddress, HUGE_SHIFT);
  const byPages = open(hugeMirror, hugeAddress, 12);
  const nsOf =
    (space: AddressSpace, range: HmmRange, read: (range: HmmRange) => Task<number>) => (): number =>
      inside(space).runSync(walkRepeatedly(space, range, walks, read));
  const compare = (
    label: string,
    range: HmmRange,
    read: (range: HmmRange) => Task<number>,
    isBound: boolean,
  ): Promise<Reading> =>
    measurePairs({
      label,
      unit: "ns a walk",
      rounds,
      onRound,
      isBound,
      ours: nsOf(huge, range, read),
      plain: nsOf(small, bySmall, read),
    });
  const readings = [
    await compare("snapshot", byHuge, hmmRangeSnapshot, true),
    await compare("fault", byHuge, hmmRangeFault, true),
    await compare("snapshot, pages of 4 KiB", byPages, hmmRangeSnapshot, false),
  ];
  for (const [space, range] of [
    [small, bySmall],
    [huge, byHuge],
    [huge, byPages],
  ] as const) {
    inside(space).runSync(hmmRangeUnregister(range));
    inside(space).runSync(hmmRangeFree(range));
  }
  for (const mirror of [smallMirror, hugeMirror])
    inside(mirror === smallMirror ? small : huge).runSync(hmmMirrorUnregister(mirror));
  await small.dispose();
  await huge.dispose();
  return { readings };
}

let sink = 0;

function loadAtRandom(u32: AddressSpace["u32"], address: number, order: Uint32Array): void {
  let sum = 0;
  for (let i = 0; i < order.length; i++) sum = (sum + u32.load(address + 4 * order[i]!)) | 0;
  sink ^= sum;
}

function plainAtRandom(words: Uint32Array, order: Uint32Array): void {
  let sum = 0;
  for (let i = 0; i < order.length; i++) sum = (sum + words[order[i]!]!) | 0;
  sink ^= sum;
}

export async function measureHugeLoad(options: MeasureOptions): Promise<Measurement> {
  const lengthBytes = (options.isQuick ? 16 : 1024) * MiB;
  const rounds = roundsOf(options);
  const onRound = roundCounter(rounds, options);
  await using space = await AddressSpace.create({
    ramBytes: lengthBytes + 16 * MiB,
    hugePages: "always",
  });
  const address = await space.mmap(lengthBytes);
  const { u32 } = space;
  for (let at = address; at < address + lengthBytes; at += PAGE_BYTES) u32.store(at, 1);
  const words = new Uint32Array(new SharedArrayBuffer(lengthBytes));
  for (let i = 0; i < words.length; i += PAGE_BYTES / 4) words[i] = 1;
  const order = Uint32Array.from({ length: options.isQuick ? 2 ** 16 : LOADS }, () =>
    Math.floor(Math.random() * words.length),
  );
  const reading = await measurePairs({
    label: `at random over ${lengthBytes / MiB} MiB`,
    unit: "ns a load",
    rounds,
    onRound,
    ours: () => (timeMs(() => loadAtRandom(u32, address, order)) * 1e6) / order.length,
    plain: () => (timeMs(() => plainAtRandom(words, order)) * 1e6) / order.length,
  });
  if (Number.isNaN(sink)) throw new Error("the loops found nothing");
  return { readings: [reading] };
}

export async function measureHugeTouch(options: MeasureOptions): Promise<Measurement> {
  const lengthBytes = (options.isQuick ? 32 : 1024) * MiB;
  const rounds = Math.min(roundsOf(options), 5);
  const onRound = roundCounter(rounds, options);
  const ours = async (): Promise<number> => {
    await warmMemory(lengthBytes + 16 * MiB);
    const space = await AddressSpace.create({
      ramBytes: lengthBytes + 16 * MiB,
      hugePages: "always",
    });
    const ms = timeMs(() => {
      const address = space.mmapSync(lengthBytes);
      const { u32 } = space;
      for (let at = address; at < address + lengthBytes; at += PAGE_BYTES) u32.store(at, 1);
    });
    await space.dispose();
    return ms;
  };
  const plain = async (): Promise<number> => {
    await warmMemory(lengthBytes + 16 * MiB);
    return timeMs(() => new Float64Array(new SharedArrayBuffer(lengthBytes)).fill(1));
  };
  const reading = await measurePairs({
    label: "a store to each page, against fill",
    unit: "ms",
    rounds,
    onRound,
    ours,
    plain,
  });
  return { readings: [reading] };
}
