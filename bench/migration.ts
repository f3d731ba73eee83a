/**
 * @module Migration to a device's private memory and back, at the seven sizes of the kernel's own
 * `benchmark_thp_migration`, with huge pages and without, against a plain copy of as many bytes
 * from one SharedArrayBuffer to another. Both in MiB/s. Of 2 MiB and more the bound asks.
 */

import { AddressSpace, SoftwareDevice } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const MIB = 2 ** 20;
const HUGE_BYTES: number = 2 * MIB;
/** In huge pages, as the suite has them: from a quarter of one to 128. */
const SIZES: readonly number[] = [0.25, 0.5, 1, 2, 4, 8, 128];
/** As many timed iterations as the suite has. */
const ITERATIONS = 5;
/**
 * Before the first reading: until V8 has compiled what moves pages, and at each size, for a part of
 * a huge page goes another way than a whole one, and what is compiled for one is compiled again.
 */
const WARM_TRIPS = 2500;
const WARM_TRIPS_EACH = 200;
/** The largest is many of the others. */
const WARM_SIZE_MAX = 8;
const DIRECTIONS = ["to the device", "back"] as const;

export async function measureHugeMigration(options: MeasureOptions): Promise<Measurement> {
  return await measureMigration(options, "hugepage");
}

export async function measureSmallMigration(options: MeasureOptions): Promise<Measurement> {
  return await measureMigration(options, "nohugepage");
}

async function measureMigration(
  options: MeasureOptions,
  advice: "hugepage" | "nohugepage",
): Promise<Measurement> {
  const sizes = options.isQuick ? SIZES.slice(0, 5) : SIZES;
  const rounds = Math.min(roundsOf(options), ITERATIONS);
  const onRound = roundCounter((sizes.length * DIRECTIONS.length + 1) * rounds, options);
  const greatest = Math.max(...sizes) * HUGE_BYTES;
  await using space = await AddressSpace.create({
    ramBytes: 2 * greatest + 64 * MIB,
    heapBytes: 256 * MIB,
  });
  await using device = await SoftwareDevice.create(space, {
    memory: "private",
    memoryBytes: greatest + 32 * MIB,
  });
  const ratioOf = (ours: number, plain: number): number => ours / plain;
  const common = { unit: "MiB/s", rounds, onRound, ratioOf };
  const [from, to] = [new SharedArrayBuffer(greatest), new SharedArrayBuffer(greatest)];
  new Uint8Array(from).fill(1);
  new Uint8Array(to).fill(2);
  const touch = async (lengthBytes: number): Promise<[place: number, address: number]> => {
    const place = await space.mmap(lengthBytes + HUGE_BYTES);
    const address = Math.ceil(place / HUGE_BYTES) * HUGE_BYTES;
    await space.madvise(address, lengthBytes, advice);
    for (let at = 0; at < lengthBytes; at += 4096) space.u32.store(address + at, at & 0xff);
    return [place, address];
  };
  const warm = async (lengthBytes: number, trips: number): Promise<void> => {
    const [place, address] = await touch(lengthBytes);
    for (let trip = 0; trip < (options.isQuick ? 2 : trips); trip++)
      await roundTrip(device, address, lengthBytes, "back");
    await space.munmap(place, lengthBytes + HUGE_BYTES);
  };
  await warm(HUGE_BYTES, WARM_TRIPS);
  for (const size of sizes)
    if (size <= WARM_SIZE_MAX) await warm(size * HUGE_BYTES, WARM_TRIPS_EACH);
  const readings: Reading[] = [];
  for (const size of sizes) {
    const lengthBytes = size * HUGE_BYTES;
    const [place, address] = await touch(lengthBytes);
    const copy = (): number =>
      rate(lengthBytes, () =>
        new Uint8Array(to, 0, lengthBytes).set(new Uint8Array(from, 0, lengthBytes)),
      );
    for (const direction of DIRECTIONS) {
      readings.push(
        await measurePairs({
          ...common,
          label: `${lengthBytes / MIB} MiB ${direction}`,
          isBound: size >= 1,
          ours: () => roundTrip(device, address, lengthBytes, direction),
          plain: copy,
        }),
      );
    }
    if (size === WARM_SIZE_MAX) {
      const ours = (): Promise<number> => touchBack(space, device, address, lengthBytes);
      const label = `${lengthBytes / MIB} MiB back, by a thread that loads from each page`;
      readings.push(await measurePairs({ ...common, label, isBound: false, ours, plain: copy }));
    }
    await space.munmap(place, lengthBytes + HUGE_BYTES);
  }
  return { readings };
}

/** There, and back by loads of each page; answers the speed of those. */
async function touchBack(
  space: AddressSpace,
  device: SoftwareDevice,
  address: number,
  lengthBytes: number,
): Promise<number> {
  await device.migrate(address, lengthBytes);
  return rate(lengthBytes, () => {
    for (let at = 0; at < lengthBytes; at += 4096) space.u32.load(address + at);
  });
}

/** There and back; answers the speed of one of the two. */
async function roundTrip(
  device: SoftwareDevice,
  address: number,
  lengthBytes: number,
  direction: (typeof DIRECTIONS)[number],
): Promise<number> {
  const startMs = performance.now();
  const { pages } = await device.migrate(address, lengthBytes);
  const thereMs = performance.now();
  const { pages: pagesBack } = await device.migrateBack(address, lengthBytes);
  const endMs = performance.now();
  if (pages !== lengthBytes / 4096 || pagesBack !== pages)
    throw new Error(`${pages} pages have moved, and ${pagesBack} have come back`);
  const ms = direction === "back" ? endMs - thereMs : thereMs - startMs;
  return (lengthBytes / MIB / ms) * 1000;
}

function rate(lengthBytes: number, work: () => void): number {
  const startMs = performance.now();
  work();
  return (lengthBytes / MIB / (performance.now() - startMs)) * 1000;
}
