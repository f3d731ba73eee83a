/**
 * @module A soak: rounds on one machine, in each of which three threads compare what they do with a
 * model of bytes, and a device counts. In turn a round is as it is, in another all memory is used
 * up again and again, in a third threads are terminated. After each round everything that it had is
 * unmapped and counted: nothing may be left, but for what threads had in hand that were terminated.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { AddressSpace, SoftwareDevice } from "../../src/index.ts";
import { inside } from "../inside.ts";
import { CONTROL_WORDS, type LoadName, type LoadRequest, VICTIM_ROUNDS } from "../kills/loads.ts";
import * as kills from "../kills/loads.ts";
import type { SoakAnswer, SoakRequest } from "./soak-worker.ts";

const MIB = 2 ** 20;
const PAGE = 4096;
const THREADS = 3;
const AREAS: number = 2 ** 41;
const AREA_STEP: number = 2 ** 30;
const COUNTERS: number = AREAS + THREADS * AREA_STEP;
const COUNTER_PAGES = 8;
const GREEDY: number = COUNTERS + AREA_STEP;

/** What a round does besides. */
export type RoundKind = "plain" | "exhaustion" | "kills";
const KINDS: readonly RoundKind[] = ["plain", "exhaustion", "kills"];
/** Who is terminated: loads that stop few machines. */
const VICTIMS: readonly LoadName[] = ["stores", "copies", "attach", "computing", "map", "touch"];

export interface SoakRound {
  readonly kind: RoundKind;
  readonly operations: number;
  readonly additions: number;
  /** Dispatches of the device. */
  readonly dispatches: number;
  /** Operations that found no memory. */
  readonly refused: number;
  readonly kills: number;
  /** A kill has stopped the machine: the next round has another one. */
  readonly isStopped: boolean;
  /** What is left after the round, by kind; frames as "frames". */
  readonly left: Readonly<Record<string, number>>;
  readonly heapBytes: number;
  readonly rssBytes: number;
}

export interface SoakOptions {
  readonly seed: number;
  readonly rounds: number;
  readonly roundMs: number;
  readonly onRound: (round: SoakRound) => void;
}

type Counts = Record<string, number>;

class World {
  readonly space: AddressSpace = AddressSpace.createSync({
    ramBytes: 16 * MIB,
    heapBytes: 16 * MIB,
  });

  count(): Counts {
    const { heap, ram } = inside(this.space).machine;
    const counts: Counts = { frames: ram.usage().usedPages };
    for (const { name, live } of heap.accounting()) counts[name] = live;
    return counts;
  }

  makeTables(): void {
    for (const at of [GREEDY, kills.COUNTER, kills.RESIDENT, kills.VICTIM_AREA]) {
      this.space.mmapSync(PAGE, { address: at, fixed: "replace" });
      this.space.u8.store(at, 1);
      this.space.munmapSync(at, PAGE);
    }
  }

  get heapBytes(): number {
    return inside(this.space).machine.heap.usage().usedBytes;
  }
}

interface SoakThread {
  /** It has begun. */
  readonly started: Promise<void>;
  readonly answer: Promise<SoakAnswer>;
}

function startThreads({ space }: World, seed: number, control: Int32Array): SoakThread[] {
  return Array.from({ length: THREADS }, (_, index) => {
    const workerData: SoakRequest = {
      handle: space.handle,
      seed: seed + index,
      area: AREAS + index * AREA_STEP,
      counter: COUNTERS,
      control,
    };
    const worker = new Worker(new URL("./soak-worker.js", import.meta.url), { workerData });
    let start = (): void => {};
    const started = new Promise<void>((resolve) => (start = resolve));
    const answer = new Promise<SoakAnswer>((resolve, reject) => {
      worker.on("message", (said: SoakAnswer | "started") => {
        if (said === "started") start();
        else resolve(said);
      });
      worker.once("error", reject);
    });
    return { started, answer };
  });
}

/**
 * Has a device count until the signal. The number of dispatches of 64 items, at least one: of the
 * first, which makes the device's tables, `ready` is told.
 */
async function keepCounting(
  { space }: World,
  signal: AbortSignal,
  ready: () => void,
): Promise<number> {
  await using device = await SoftwareDevice.create(space, { memoryBytes: 16 * PAGE, threads: 1 });
  const module = new URL("./count-kernel.js", import.meta.url);
  const kernel = device.kernel({ module, exportName: "count" });
  let dispatches = 0;
  do {
    await kernel.dispatch(64, { args: [COUNTERS + PAGE, COUNTER_PAGES - 1] });
    dispatches++;
    ready();
    await sleep(1);
  } while (!signal.aborted);
  return dispatches;
}

/** Takes all frames, and gives them back, until the signal. */
async function keepExhausting({ space }: World, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    space.mmapSync(32 * MIB, { address: GREEDY, fixed: "replace" });
    try {
      for (let at = GREEDY; at < GREEDY + 32 * MIB; at += PAGE) space.u8.store(at, 1);
    } catch {
      // There is no memory: that is what this is for.
    }
    await sleep(2);
    space.munmapSync(GREEDY, 32 * MIB);
    await sleep(20);
  }
}

/** Terminates threads until the signal. How many. */
async function keepKilling({ space }: World, seed: number, signal: AbortSignal): Promise<number> {
  for (const [at, pages] of [
    [kills.COUNTER, 1],
    [kills.RESIDENT, kills.RESIDENT_PAGES],
  ] as const)
    space.mmapSync(pages * PAGE, { address: at, fixed: "replace" });
  let killed = 0;
  for (; !signal.aborted; killed++) {
    const control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4));
    const load = VICTIMS[(seed + killed) % VICTIMS.length] ?? "stores";
    const workerData: LoadRequest = { handle: space.handle, load, control };
    const victim = new Worker(new URL("../kills/load-worker.js", import.meta.url), { workerData });
    const ended = new Promise((resolve) => victim.once("exit", resolve));
    victim.on("error", () => {}); // the machine has stopped: the others say so
    while (Atomics.load(control, VICTIM_ROUNDS) === 0 && !signal.aborted) await sleep(1);
    await victim.terminate();
    await ended;
    await space.stats(); // gives back what it had
  }
  space.munmapSync(kills.COUNTER, kills.AREA_BYTES * 4);
  return killed;
}

function moreThan(before: Counts, now: Counts): Counts {
  const more: Counts = {};
  for (const [name, count] of Object.entries(now))
    if (count > (before[name] ?? 0)) more[name] = count - (before[name] ?? 0);
  return more;
}

/** Sums of the counters: what the threads added, and what the device did. */
function checkSums({ space }: World, additions: number, dispatches: number): void {
  const sum = space.u32.load(COUNTERS);
  if (sum !== additions) throw new Error(`${additions} additions were made, and ${sum} are there`);
  let counted = 0;
  for (let page = 1; page < COUNTER_PAGES; page++)
    counted += space.u32.load(COUNTERS + page * PAGE);
  if (counted !== dispatches * 64)
    throw new Error(`${dispatches * 64} items counted, and ${counted} are there`);
}

async function soakOnce(
  world: World,
  kind: RoundKind,
  seed: number,
  roundMs: number,
): Promise<SoakRound> {
  const { space } = world;
  // Shared: a store after a fork needs no frame, of which there may be none.
  const place = { address: COUNTERS, fixed: "replace", shared: true } as const;
  space.mmapSync(COUNTER_PAGES * PAGE, place);
  for (let page = 0; page < COUNTER_PAGES; page++) space.u32.store(COUNTERS + page * PAGE, 0);
  const control = new Int32Array(new SharedArrayBuffer(4));
  const stopping = new AbortController();
  const { signal } = stopping;
  const threads = startThreads(world, seed, control);
  let ready = (): void => {};
  const counting = new Promise<void>((resolve) => (ready = resolve));
  const device = keepCounting(world, signal, () => ready());
  await Promise.race([counting, device]); // its tables take memory, which is used up soon
  const beside =
    kind === "kills"
      ? keepKilling(world, seed, signal)
      : kind === "exhaustion"
        ? keepExhausting(world, signal)
        : Promise.resolve();
  const answering = threads.map(({ answer }) => answer);
  const all = Promise.all([Promise.all(answering), device, beside]);
  const ended = Promise.allSettled([...answering, device, beside]);
  // On a machine with much else to do, threads take longer to start than a round.
  const begun = Promise.all(threads.map(({ started }) => started));
  all.catch(() => {}); // awaited below
  await Promise.race([begun.then(async () => await sleep(roundMs)), all.catch(() => {})]);
  stopping.abort();
  Atomics.store(control, 0, 1);
  await ended; // also where one has failed: the machine is given up next
  const [answers, dispatches, killed] = await all;
  const sum = (of: (answer: SoakAnswer) => number): number =>
    answers.reduce((total, answer) => total + of(answer), 0);
  const additions = sum((answer) => answer.additions);
  checkSums(world, additions, dispatches);
  space.munmapSync(COUNTERS, COUNTER_PAGES * PAGE);
  return {
    kind,
    operations: sum((answer) => answer.operations),
    additions,
    dispatches,
    refused: sum((answer) => answer.refused),
    kills: killed ?? 0,
    isStopped: false,
    left: {},
    heapBytes: world.heapBytes,
    rssBytes: process.memoryUsage().rss,
  };
}

const STOPPED_ROUND = { operations: 0, additions: 0, dispatches: 0, refused: 0, kills: 1 } as const;

/** Whether a kill has stopped the machine. What a thread has thrown arrives as a plain Error. */
export function isOwnerDead(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EOWNERDEAD";
}

/**
 * Soaks. Throws what was wrong: a byte, a sum, an error that nobody expects, something that is left
 * of a round without kills.
 */
export async function soak({ seed, rounds, roundMs, onRound }: SoakOptions): Promise<void> {
  let world: World | undefined;
  for (let round = 0; round < rounds; round++) {
    const kind = KINDS[round % KINDS.length] ?? "plain";
    if (world === undefined) {
      world = new World();
      // What a machine's first threads and devices make stays, and so do upper page tables.
      world.makeTables();
      await soakOnce(world, "plain", seed, 200);
    }
    const before = world.count();
    try {
      const played = await soakOnce(world, kind, seed + round * 101, roundMs);
      const left = moreThan(before, world.count());
      if (kind !== "kills" && Object.keys(left).length > 0)
        throw new Error(`left after a round (${kind}): ${JSON.stringify(left)}, seed ${seed}`);
      onRound({ ...played, left });
    } catch (error) {
      if (!isOwnerDead(error) || kind !== "kills") throw error;
      const sizes = { heapBytes: world.heapBytes, rssBytes: process.memoryUsage().rss };
      onRound({ kind, ...STOPPED_ROUND, isStopped: true, left: {}, ...sizes });
      await world.space.dispose(); // it would keep its memory
      world = undefined;
    }
  }
  await world?.space.dispose();
}

/** Whether memory has stayed level: the last third of the rounds needs no more than the first. */
export function isLevel(rounds: readonly Pick<SoakRound, "rssBytes">[]): boolean {
  const third = Math.floor(rounds.length / 3);
  if (third === 0) return true;
  const middle = (some: readonly Pick<SoakRound, "rssBytes">[]): number =>
    some.map(({ rssBytes }) => rssBytes).toSorted((a, b) => a - b)[Math.floor(some.length / 2)] ??
    0;
  return middle(rounds.slice(-third)) <= middle(rounds.slice(0, third)) * 1.25 + 64 * MIB;
}
