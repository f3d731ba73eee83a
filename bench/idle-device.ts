/**
 * @module What calls of the CPU cost because the space has a device, which has none of their pages:
 * it is told of each change, looks, and finds nothing. The same calls in a space without a device.
 */

import { AddressSpace, SoftwareDevice } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const PAGE_BYTES = 4096;
const US_PER_MS = 1000;
/** Of one side of a round. */
const CALLS = 1000;
/** Of each kind, in each space, until V8 has compiled them. */
const WARM_CALLS = 5000;

type Call = (space: AddressSpace, address: number) => Promise<void>;

const CALLS_TIMED: readonly (readonly [label: string, call: Call])[] = [
  [
    "mmap and munmap of a page",
    async (space) => await space.munmap(await space.mmap(PAGE_BYTES), PAGE_BYTES),
  ],
  [
    "store to a page, and madvise(dontneed)",
    async (space, address) => {
      space.u32.store(address, 1);
      await space.madvise(address, PAGE_BYTES, "dontneed");
    },
  ],
  [
    "mprotect of a page, and back",
    async (space, address) => {
      await space.mprotect(address, PAGE_BYTES, "read");
      await space.mprotect(address, PAGE_BYTES, "read-write");
    },
  ],
];

export async function measureIdleDevice(options: MeasureOptions): Promise<Measurement> {
  const rounds = roundsOf(options);
  const onRound = roundCounter(CALLS_TIMED.length * rounds, options);
  await using alone = await AddressSpace.create({ ramBytes: 16 * 2 ** 20 });
  await using told = await AddressSpace.create({ ramBytes: 16 * 2 ** 20 });
  await using device = await SoftwareDevice.create(told, { memoryBytes: 2 ** 20 });
  const side = async (
    space: AddressSpace,
  ): Promise<(call: Call, calls: number) => Promise<number>> => {
    const address = await space.mmap(PAGE_BYTES);
    return async (call, calls) => {
      const startMs = performance.now();
      for (let i = 0; i < calls; i++) await call(space, address);
      return ((performance.now() - startMs) / calls) * US_PER_MS;
    };
  };
  const [withDevice, without] = [await side(told), await side(alone)];
  const readings: Reading[] = [];
  for (const [label, call] of CALLS_TIMED) {
    const warm = options.isQuick ? 2 : WARM_CALLS;
    await withDevice(call, warm);
    await without(call, warm);
    const calls = options.isQuick ? 2 : CALLS;
    readings.push(
      await measurePairs({
        label,
        unit: "us",
        rounds,
        onRound,
        ours: async () => await withDevice(call, calls),
        plain: async () => await without(call, calls),
      }),
    );
  }
  const { invalidations, dropped } = device.statsSync();
  if (invalidations === 0 || dropped !== 0)
    throw new Error("the device was not told, or had something there");
  return { readings };
}
