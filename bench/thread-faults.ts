/**
 * @module Two threads that fault at the same time in one address space: in mappings of their own,
 * and in one. What two threads can reach at most is the machine's: so the speed-up of the two over
 * one is compared with the speed-up of two threads that share nothing of ours. For frames that were
 * used before (they are zeroed, and cost the operating system nothing) these run the same loop,
 * each on a machine of its own. For fresh frames, which the operating system commits on first
 * touch, they touch fresh SharedArrayBuffers: how far that scales is the operating system's.
 */

import { Worker } from "node:worker_threads";
import { AddressSpace } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { warmMemory } from "./fresh-memory.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";
import {
  AWAKE,
  BEGAN,
  CONTROL_LENGTH,
  DONE,
  ENDED,
  FAILED,
  GO,
  GO_STEP,
  PLAN_WORDS,
  READY,
  START,
  type TouchJob,
} from "./thread-faults-job.ts";

const MiB = 2 ** 20;
const PAGE_BYTES = 4096;
const THREADS = 2;
/** A speed-up is that of the best of so many runs: the shortest is the least disturbed one. */
const RUNS = 3;

/** Where the Workers touch pages. */
interface Places {
  /** The space of each Worker; none: it touches a buffer of its own. */
  readonly spaces: readonly AddressSpace[];
  /** Maps what the first `threads` Workers touch, and says it in the plan. */
  map(plan: Float64Array, threads: number): void;
  /** After each run, while no Worker runs. */
  unmap(threads: number): void;
}

function setPlan(plan: Float64Array, number: number, places: readonly number[]): void {
  plan.set(places, number * PLAN_WORDS + START);
}

/** A mapping for each Worker, in the Worker's space. */
function disjointMappings(
  spaces: readonly AddressSpace[],
  lengthBytes: number,
  isFresh: boolean,
): Places {
  const addresses: number[] = [];
  return {
    spaces,
    map(plan, threads) {
      for (let number = 0; number < threads; number++) {
        const address = spaces[number]!.mmapSync(lengthBytes);
        addresses[number] = address;
        setPlan(plan, number, [address, address + lengthBytes, PAGE_BYTES]);
      }
    },
    unmap(threads) {
      if (isFresh) return;
      for (let number = 0; number < threads; number++)
        spaces[number]!.munmapSync(addresses[number]!, lengthBytes);
    },
  };
}

/** One mapping: a half for each Worker, or every other page. */
function oneMapping(
  space: AddressSpace,
  lengthBytes: number,
  isFresh: boolean,
  alternates: boolean,
): Places {
  let address = 0;
  return {
    spaces: Array.from({ length: THREADS }, () => space),
    map(plan, threads) {
      address = space.mmapSync(THREADS * lengthBytes);
      for (let number = 0; number < threads; number++) {
        const start = address + number * (alternates ? PAGE_BYTES : lengthBytes);
        const end = alternates ? address + THREADS * lengthBytes : start + lengthBytes;
        setPlan(plan, number, [start, end, alternates ? THREADS * PAGE_BYTES : PAGE_BYTES]);
      }
    },
    unmap() {
      if (!isFresh) space.munmapSync(address, THREADS * lengthBytes);
    },
  };
}

const ownBuffers: Places = { spaces: [], map() {}, unmap() {} };

/** The Workers, and what they are told. */
class Touchers {
  readonly #control: Int32Array;
  readonly #plan = new Float64Array(new SharedArrayBuffer(8 * PLAN_WORDS * THREADS));
  readonly #places: Places;
  readonly #workers: readonly Worker[];

  constructor(places: Places, lengthBytes: number) {
    this.#control = new Int32Array(new SharedArrayBuffer(4 * CONTROL_LENGTH));
    this.#places = places;
    this.#workers = Array.from({ length: THREADS }, (_, number) => {
      const workerData: TouchJob = {
        handle: places.spaces[number]?.handle,
        lengthBytes,
        control: this.#control,
        plan: this.#plan,
        number,
      };
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
    this.#places.map(this.#plan, threads);
    for (const word of [DONE, AWAKE]) Atomics.store(control, word, 0);
    const go = Atomics.load(control, GO);
    Atomics.store(control, GO, go - (go % GO_STEP) + GO_STEP + threads);
    Atomics.notify(control, GO);
    this.#await(DONE, threads);
    this.#places.unmap(threads);
    const times = (element: number): number[] =>
      Array.from({ length: threads }, (_, number) => this.#plan[number * PLAN_WORDS + element]!);
    return Math.max(...times(ENDED)) - Math.min(...times(BEGAN));
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

/** Touchers, and how many times as fast two of them are as one. */
async function speedUp(touchers: Touchers, warm: () => Promise<void>): Promise<number> {
  const [alone, together]: [number[], number[]] = [[], []];
  for (let i = 0; i < RUNS; i++) {
    await warm();
    alone.push(touchers.run(1));
    await warm();
    together.push(touchers.run(THREADS));
  }
  return (THREADS * Math.min(...alone)) / Math.min(...together);
}

type PlaceKind = "disjoint mappings" | "one mapping" | "every other page of one mapping";

interface Sizes {
  readonly lengthBytes: number;
  readonly rounds: number;
  readonly onRound: () => void;
}

function placesOf(
  kind: PlaceKind,
  space: AddressSpace,
  lengthBytes: number,
  isFresh: boolean,
): Places {
  return kind === "disjoint mappings"
    ? disjointMappings([space, space], lengthBytes, isFresh)
    : oneMapping(space, lengthBytes, isFresh, kind !== "one mapping");
}

async function measureSpeedUps(
  label: string,
  isBound: boolean,
  ours: Touchers,
  plain: Touchers,
  isFresh: boolean,
  { lengthBytes, rounds, onRound }: Sizes,
): Promise<Reading> {
  const warm = isFresh
    ? (): Promise<void> => warmMemory(THREADS * lengthBytes + 16 * MiB)
    : async (): Promise<void> => {};
  try {
    // All compile what they run, and frames that are to have been used before are.
    for (let i = 0; i < (isFresh ? 1 : 6); i++)
      for (const touchers of [ours, plain]) touchers.run(THREADS);
    return await measurePairs({
      label,
      unit: "times one thread",
      rounds,
      onRound,
      isBound,
      ours: () => speedUp(ours, warm),
      plain: () => speedUp(plain, warm),
    });
  } finally {
    await ours.end();
    await plain.end();
  }
}

/** Against the same loop on machines of their own. */
async function measureUsed(kind: PlaceKind, isBound: boolean, sizes: Sizes): Promise<Reading> {
  const { lengthBytes } = sizes;
  const ramBytes = THREADS * lengthBytes + 16 * MiB;
  await using space = await AddressSpace.create({ ramBytes });
  await using first = await AddressSpace.create({ ramBytes });
  await using second = await AddressSpace.create({ ramBytes });
  return await measureSpeedUps(
    `frames used before, ${kind}`,
    isBound,
    new Touchers(placesOf(kind, space, lengthBytes, false), lengthBytes),
    new Touchers(disjointMappings([first, second], lengthBytes, false), lengthBytes),
    false,
    sizes,
  );
}

/** Against fresh buffers. */
async function measureFresh(kind: PlaceKind, isBound: boolean, sizes: Sizes): Promise<Reading> {
  const { lengthBytes, rounds } = sizes;
  // New frames for every run.
  const runs = ((rounds + 1) * RUNS + 1) * (1 + THREADS);
  await using space = await AddressSpace.create({ ramBytes: runs * lengthBytes + 16 * MiB });
  return await measureSpeedUps(
    `fresh frames, ${kind}`,
    isBound,
    new Touchers(placesOf(kind, space, lengthBytes, true), lengthBytes),
    new Touchers(ownBuffers, lengthBytes),
    true,
    sizes,
  );
}

export async function measureThreadFaults(options: MeasureOptions): Promise<Measurement> {
  const rounds = roundsOf(options);
  const sizes: Sizes = {
    lengthBytes: (options.isQuick ? 8 : 64) * MiB,
    rounds,
    onRound: roundCounter(5 * rounds, options),
  };
  const readings = [
    await measureUsed("disjoint mappings", true, sizes),
    await measureUsed("one mapping", true, sizes),
    await measureUsed("every other page of one mapping", false, sizes),
    await measureFresh("disjoint mappings", true, { ...sizes, lengthBytes: sizes.lengthBytes / 2 }),
    await measureFresh("one mapping", true, { ...sizes, lengthBytes: sizes.lengthBytes / 2 }),
  ];
  return { readings };
}
