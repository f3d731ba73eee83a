/**
 * @module What a dispatch costs beside its work: of a kernel that does nothing, on a device of one
 * thread, against a message to a bare Worker and its answer. On a machine with 64 MiB of RAM, and
 * with 8 GiB.
 */

import { Worker } from "node:worker_threads";
import { AddressSpace, SoftwareDevice } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const MIB = 2 ** 20;
const TIMES = 2000;
const QUICK_TIMES = 10;
const US_PER_MS = 1000;
const RAM_SIZES = [64 * MIB, 8192 * MIB] as const;
const BARE =
  'const { parentPort } = require("node:worker_threads"); parentPort.on("message", (m) => parentPort.postMessage(m))';
const module = new URL("./dispatch-kernel.js", import.meta.url);

export async function measureDispatch(options: MeasureOptions): Promise<Measurement> {
  const rounds = roundsOf(options);
  const times = options.isQuick ? QUICK_TIMES : TIMES;
  const onRound = roundCounter(RAM_SIZES.length * rounds, options);
  const worker = new Worker(BARE, { eval: true });
  const answer = (): Promise<void> =>
    new Promise((resolve) => {
      worker.once("message", () => resolve());
      worker.postMessage({ kind: "run", items: 1 });
    });
  const readings: Reading[] = [];
  try {
    for (const ramBytes of RAM_SIZES)
      readings.push(await measureSize(ramBytes, answer, { rounds, times, onRound }));
  } finally {
    await worker.terminate();
  }
  return { readings };
}

interface Rounds {
  readonly rounds: number;
  readonly times: number;
  readonly onRound: () => void;
}

async function measureSize(
  ramBytes: number,
  answer: () => Promise<void>,
  { rounds, times, onRound }: Rounds,
): Promise<Reading> {
  await using space = await AddressSpace.create({ ramBytes });
  await using device = await SoftwareDevice.create(space, { memoryBytes: MIB, threads: 1 });
  const kernel = device.kernel({ module, exportName: "nothing" });
  const timeEach = async (work: () => Promise<unknown>): Promise<number> => {
    const startMs = performance.now();
    for (let i = 0; i < times; i++) await work();
    return ((performance.now() - startMs) / times) * US_PER_MS;
  };
  return await measurePairs({
    label: `${ramBytes / MIB} MiB of RAM`,
    unit: "us",
    rounds,
    onRound,
    ours: () => timeEach(() => kernel.dispatch(1)),
    plain: () => timeEach(answer),
  });
}
