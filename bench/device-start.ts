/**
 * @module How long a device of two threads takes from `create` on until it is ready, against a bare
 * Worker's start until its first message.
 *
 * A profile of a Worker of the device, when it loaded 190 modules one by one: 100 of 120 ms were
 * finding, opening and compiling them, half of the text being comments. scripts/join-worker.mjs
 * joins them in one file; what is left beside the bare Worker is compiling that.
 */

import { Worker } from "node:worker_threads";
import { AddressSpace, SoftwareDevice } from "../src/index.ts";
import type { MeasureOptions, Measurement } from "./figure.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const BARE = 'require("node:worker_threads").parentPort.postMessage(0)';

async function bareMs(): Promise<number> {
  const startMs = performance.now();
  const worker = new Worker(BARE, { eval: true });
  await new Promise((resolve) => worker.once("message", resolve));
  const ms = performance.now() - startMs;
  await worker.terminate();
  return ms;
}

async function deviceMs(space: AddressSpace): Promise<number> {
  const startMs = performance.now();
  await using device = await SoftwareDevice.create(space, { memoryBytes: 2 ** 20, threads: 2 });
  const ms = performance.now() - startMs;
  device.statsSync();
  return ms;
}

export async function measureDeviceStart(options: MeasureOptions): Promise<Measurement> {
  const rounds = roundsOf(options);
  const onRound = roundCounter(rounds, options);
  await using space = await AddressSpace.create({ ramBytes: 2 ** 24 });
  const reading = await measurePairs({
    label: "two threads",
    unit: "ms",
    rounds,
    onRound,
    ours: () => deviceMs(space),
    plain: bareMs,
  });
  return { readings: [reading] };
}
