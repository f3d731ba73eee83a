/**
 * @module Loads and stores of a kernel on the software device, everything resident, against the
 * same of a Uint32Array over a SharedArrayBuffer of that size. Both sides run in the device's
 * thread, which takes the time itself. Loads are from copies in device memory; stores go to RAM, as
 * all stores of a device do.
 */

import { AddressSpace, SoftwareDevice } from "../src/index.ts";
import {
  LOADS,
  MIB,
  ORDERS,
  QUICK_SIZES,
  SIZES,
  STORE_ORDERS,
  fillChain,
  orderOf,
  sizeText,
} from "./access-loops.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const PAGE_BYTES = 4096;
/** A store may take ten times what a load takes. */
const STORES: number = LOADS / 4;
const module = new URL("./kernel-accesses-kernel.js", import.meta.url);

interface Kind {
  readonly name: "load" | "store";
  readonly orders: readonly string[];
  readonly times: number;
}

async function measureSize(
  kind: Kind,
  bytes: number,
  options: MeasureOptions,
  onRound: () => void,
): Promise<Reading[]> {
  await using space = await AddressSpace.create({ ramBytes: bytes + 16 * MIB });
  const address = await space.mmap(bytes);
  const result = await space.mmap(PAGE_BYTES);
  const order = orderOf(bytes / 4);
  fillChain({ access: space.u32, address, words: new Uint32Array(bytes / 4), order });
  await using device = await SoftwareDevice.create(space, {
    memoryBytes: bytes + 4 * MIB,
    threads: 1,
  });
  const touch = device.kernel({ module, exportName: "touch" });
  await touch.dispatch(bytes / PAGE_BYTES, { args: [address, kind.name === "store" ? 1 : 0] });
  await touch.dispatch(1, { args: [result, 1] });
  const kernel = device.kernel({ module, exportName: kind.name });
  const times = options.isQuick ? order.length : kind.times;
  const side = (orderIndex: number, isOurs: boolean) => async (): Promise<number> => {
    const { faults } = await device.stats();
    const args = [address, bytes, orderIndex, isOurs ? 1 : 0, times, result];
    await kernel.dispatch(1, { args });
    const faultsNow = (await device.stats()).faults;
    if (faultsNow !== faults) throw new Error(`${faultsNow - faults} pages were not resident`);
    return space.f64.load(result);
  };
  const readings: Reading[] = [];
  for (const [orderIndex, each] of kind.orders.entries()) {
    readings.push(
      await measurePairs({
        label: `${each}, ${sizeText(bytes)}`,
        unit: `ns a ${kind.name}`,
        rounds: roundsOf(options),
        onRound,
        ours: side(orderIndex, true),
        plain: side(orderIndex, false),
      }),
    );
  }
  return readings;
}

async function measure(kind: Kind, options: MeasureOptions): Promise<Measurement> {
  const sizes = options.isQuick ? QUICK_SIZES : SIZES;
  const onRound = roundCounter(sizes.length * kind.orders.length * roundsOf(options), options);
  const readings: Reading[] = [];
  for (const bytes of sizes) readings.push(...(await measureSize(kind, bytes, options, onRound)));
  return { readings };
}

export function measureKernelLoads(options: MeasureOptions): Promise<Measurement> {
  return measure({ name: "load", orders: ORDERS, times: LOADS }, options);
}

export function measureKernelStores(options: MeasureOptions): Promise<Measurement> {
  return measure({ name: "store", orders: STORE_ORDERS, times: STORES }, options);
}
