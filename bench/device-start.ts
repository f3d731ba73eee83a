/**
 * @module How long a device of two threads takes from `create` on until it is ready, against a bare
 * Worker's start until its first message.
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
