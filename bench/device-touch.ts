/**
 * @module The first use of pages by a kernel of the software device, in order, where the pages are
 * in RAM and the device has no translation of them: memory of a buffer, shared memory, private
 * memory on a device with pages of its own, and on one with copies. Against the first use of the
 * same pages by a CPU thread, whose space has no entries of them either.
 */

import { AddressSpace, SoftwareDevice } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const PAGE_BYTES = 4096;
const PAGES = 8192;
const QUICK_PAGES = 64;
const NS_PER_MS = 1e6;
const module = new URL("./device-touch-kernel.js", import.meta.url);

interface Case {
  readonly label: string;
  readonly memory: "remote" | "private";
  readonly kernel: "loadEach" | "storeEach";
  /** How the memory is mapped; with a buffer of its own, if `hasBuffer`. */
  readonly shared: boolean;
  readonly hasBuffer: boolean;
  /** How many times as much memory as the device has. Default: once. */
  readonly times?: number;
}

const CASES: readonly Case[] = [
  {
    label: "loads, a buffer",
    memory: "remote",
    kernel: "loadEach",
    shared: false,
    hasBuffer: true,
  },
  {
    label: "stores, a buffer",
    memory: "remote",
    kernel: "storeEach",
    shared: false,
    hasBuffer: true,
  },
  { label: "loads, shared", memory: "remote", kernel: "loadEach", shared: true, hasBuffer: false },
  {
    label: "stores, shared",
    memory: "remote",
    kernel: "storeEach",
    shared: true,
    hasBuffer: false,
  },
  { label: "loads, copied", memory: "remote", kernel: "loadEach", shared: false, hasBuffer: false },
  {
    label: "loads, left in RAM",
    memory: "private",
    kernel: "loadEach",
    shared: false,
    hasBuffer: false,
  },
  {
    label: "stores, moved",
    memory: "private",
    kernel: "storeEach",
    shared: false,
    hasBuffer: false,
  },
  {
    label: "stores, moved, to eight times the device's memory",
    memory: "private",
    kernel: "storeEach",
    shared: false,
    hasBuffer: false,
    times: 8,
  },
];

export async function measureDeviceTouch(options: MeasureOptions): Promise<Measurement> {
  const rounds = roundsOf(options);
  const onRound = roundCounter(CASES.length * rounds, options);
  const readings: Reading[] = [];
  for (const one of CASES) readings.push(await measureCase(one, options, onRound));
  return { readings };
}

async function measureCase(
  { label, memory, kernel: exportName, shared, hasBuffer, times = 1 }: Case,
  options: MeasureOptions,
  onRound: () => void,
): Promise<Reading> {
  const pages = options.isQuick ? QUICK_PAGES : PAGES;
  const bytes = pages * PAGE_BYTES;
  await using space = await AddressSpace.create({ ramBytes: 3 * bytes, heapBytes: 64 * 2 ** 20 });
  await using device = await SoftwareDevice.create(space, {
    memory,
    memoryBytes: bytes / times,
    threads: 1,
  });
  const kernel = device.kernel({ module, exportName });
  const how = hasBuffer ? { buffer: new SharedArrayBuffer(bytes) } : { shared };
  const map = async (): Promise<number> => {
    const address = await space.mmap(bytes, how);
    for (let page = 0; page < pages; page++) space.u32.store(address + page * PAGE_BYTES, page);
    return address;
  };
  return await measurePairs({
    label,
    unit: "ns a page",
    isBound: times === 1,
    rounds: roundsOf(options),
    onRound,
    ours: async () => {
      const address = await map();
      const startMs = performance.now();
      await kernel.dispatch(1, { args: [address, pages] });
      const ns = ((performance.now() - startMs) / pages) * NS_PER_MS;
      await space.munmap(address, bytes);
      return ns;
    },
    plain: async () => {
      const address = await space.mmap(bytes, { shared });
      const startMs = performance.now();
      for (let page = 0; page < pages; page++) space.u32.store(address + page * PAGE_BYTES, page);
      const ns = ((performance.now() - startMs) / pages) * NS_PER_MS;
      await space.munmap(address, bytes);
      return ns;
    },
  });
}
