/**
 * @module Two threads that fault at the same time in mappings of their own, in one address space:
 * what they share is the mmap lock, which both take for reading, and the allocator of frames. Three
 * kinds of work: fresh frames, which the operating system commits on first touch; frames that were
 * used before, which are zeroed and cost the operating system nothing; and fresh buffers without
 * any of this project, which shows how much of the first kind's loss is the operating system's.
 */

import { Worker } from "node:worker_threads";
import { AddressSpace } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { warmMemory } from "./fresh-memory.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";
import {
  AWAKE,
  CLEAR,
  DONE,
  FAILED,
  GO,
  IDLE,
  READY,
  type TouchJob,
  type TouchKind,
  WHO,
} from "./thread-faults-job.ts";

const MiB = 2 ** 20;
const THREADS = 2;

/** The Workers, and what they are told. */
class Touchers {
  readonly #control: Int32Array;
  readonly #times = new Float64Array(new SharedArrayBuffer(16 * THREADS));
  readonly #workers: readonly Worker[];

  constructor(job: Omit<TouchJob, "control" | "times" | "number">) {
    this.#control = new Int32Array(new SharedArrayBuffer(1024));
    this.#workers = Array.from({ length: THREADS }, (_, number) => {
      const workerData: TouchJob = { ...job, control: this.#control, times: this.#times, number };
      return new Worker(new URL("./thread-faults-worker.js", import.meta.url), { workerData });
    });
    this.#await(READY, THREADS);
  }

  /**
   * Lets one or all touch their pages; ms from when the first of them began, all being awake, until
   * the last was done.
   */
  run(threads: number): number {
    const control = this.#control;
    Atomics.store(control, DONE, 0);
    Atomics.store(control, IDLE, 0);
    Atomics.store(control, AWAKE, 0);
    Atomics.store(control, WHO, threads);
    Atomics.add(control, GO, 1);
    Atomics.notify(control, GO);
    this.#await(DONE, threads);
    Atomics.add(control, CLEAR, 1);
    Atomics.notify(control, CLEAR);
    this.#await(IDLE, threads);
    const starts = Array.from({ length: threads }, (_, number) => this.#times[2 * number]!);
    const ends = Array.from({ length: threads }, (_, number) => this.#times[2 * number + 1]!);
    return Math.max(...ends) - Math.min(...starts);
  }

  async end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  /** In blocking waits, so that nothing else runs in this thread meanwhile. */
  #await(index: number, count: number): void {
    for (;;) {
      const seen = Atomics.load(this.#control, index);
      if (seen >= count) return;
      if (Atomics.load(this.#control, FAILED) !== 0)
        throw new Error("a Worker of the benchmark failed");
      Atomics.wait(this.#control, index, seen, 1000);
    }
  }
}

async function measureKind(
  kind: TouchKind,
  label: string,
  lengthBytes: number,
  rounds: number,
  onRound: () => void,
): Promise<Reading> {
  // Fresh frames for every run; once over and a bit for the others.
  const runs = kind === "fresh frames" ? (rounds + 1) * (1 + THREADS) : THREADS;
  await using space = await AddressSpace.create({
    ramBytes: (runs + THREADS) * lengthBytes + 16 * MiB,
  });
  const touchers = new Touchers({ handle: space.handle, kind, lengthBytes });
  // Both compile what they run, and frames that are to have been used before are.
  for (let i = 0; i < (kind === "fresh frames" ? 1 : 4); i++) touchers.run(THREADS);
  const runAfterWarming = async (threads: number): Promise<number> => {
    if (kind !== "used frames") await warmMemory(threads * lengthBytes + 16 * MiB);
    return touchers.run(threads);
  };
  try {
    return await measurePairs({
      label,
      unit: "ms",
      rounds,
      onRound,
      isBound: kind !== "no faults of ours",
      ours: () => runAfterWarming(THREADS),
      plain: () => runAfterWarming(1),
      ratioOf: (together, alone) => (THREADS * alone) / together,
    });
  } finally {
    await touchers.end();
  }
}

export async function measureThreadFaults(options: MeasureOptions): Promise<Measurement> {
  const lengthBytes = (options.isQuick ? 16 : 64) * MiB;
  const rounds = roundsOf(options);
  const onRound = roundCounter(3 * rounds, options);
  const readings = [
    await measureKind(
      "fresh frames",
      "first touch of frames never used before",
      lengthBytes,
      rounds,
      onRound,
    ),
    await measureKind(
      "used frames",
      "first touch of frames used before",
      lengthBytes,
      rounds,
      onRound,
    ),
    await measureKind(
      "no faults of ours",
      "first touch of fresh SharedArrayBuffers",
      lengthBytes,
      rounds,
      onRound,
    ),
  ];
  return { readings };
}
