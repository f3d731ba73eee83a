/**
 * @module The Worker of the tests of spaces: it attaches to a space by its handle and runs one
 * part.
 */

import { parentPort, workerData } from "node:worker_threads";
import {
  AddressSpace,
  type AddressSpaceHandle,
  HmmError,
  SegmentationFault,
  type View,
} from "../../src/index.ts";
import { FAR, PAGE } from "./fixture.ts";

export interface PartRequest {
  readonly handle: AddressSpaceHandle;
  readonly part: PartName;
  /** Distinguishes the threads, and seeds them. */
  readonly index: number;
  /** How often, where the part has an end. */
  readonly rounds: number;
  /** The part begins when word 0 is no longer 0. */
  readonly gate?: Int32Array;
}

/** What "copy" writes. */
export const COPIED_BYTE = 0xee;

/** A thread that runs only while the range is unmapped copies nothing for some time. */
const COPY_TRIES_MAX = 100_000;

const parts = {
  /** Attaches and leaves again. */
  visit: (space: AddressSpace, { rounds }: PartRequest): number => {
    for (let i = 0; i < rounds; i++) space.u32.atomicAdd(FAR, 1);
    return rounds;
  },

  /**
   * Stores to a new page, unmaps it, and opens a view: how many of the three are refused since the
   * thread lacks a driver's code. It attached before the driver came into use.
   */
  late: (space: AddressSpace, { gate, index, rounds }: PartRequest): number => {
    let refused = 0;
    for (let round = 0; round < rounds; round++) {
      if (gate !== undefined) Atomics.wait(gate, 0, round); // round 0 has begun already
      const page = FAR + (1 + index) * PAGE;
      const attempts = [
        () => space.u32.store(page, 1),
        () => space.munmapSync(page, PAGE),
        () => space.viewSync(FAR, PAGE, "write")[Symbol.dispose](),
      ];
      for (const attempt of attempts) {
        try {
          attempt();
        } catch (error) {
          if (!(error instanceof HmmError) || error.code !== "ENODEV") throw error;
          if (!error.message.includes('"driver of this test"')) throw error;
          refused++;
        }
      }
      parentPort?.postMessage({ said: refused });
    }
    return refused;
  },

  /** Adds to the common counters at FAR while it maps, protects, forks and unmaps beside them. */
  storm: (space: AddressSpace, { index, rounds }: PartRequest): number => {
    const own = FAR + 2 ** 30 + index * 64 * PAGE;
    let sum = 0;
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < 50; i++) space.u32.atomicAdd(FAR + (i % 4) * PAGE, 1);
      sum += 50;
      stormBeside(space, own, round);
    }
    return sum;
  },

  /**
   * Copies to and from [FAR, FAR + 64 pages), which others unmap and map again all the time. Goes
   * on until one got through, within reason. Returns how many did.
   */
  copy: (space: AddressSpace, { rounds }: PartRequest): number => {
    const pattern = new Uint8Array(64 * PAGE).fill(COPIED_BYTE);
    const found = new Uint8Array(64 * PAGE);
    let copies = 0;
    for (let round = 0; round < rounds || (copies === 0 && round < COPY_TRIES_MAX); round++) {
      try {
        space.writeSync(FAR, pattern);
        space.readSync(FAR, found);
        copies++;
      } catch (error) {
        if (!(error instanceof SegmentationFault)) throw error;
      }
      const strange = found.find((byte) => byte !== 0 && byte !== COPIED_BYTE);
      if (strange !== undefined) throw new Error(`read ${strange}, which nobody wrote there`);
    }
    return copies;
  },

  /**
   * Stores for ever, with views and a space of its own open, holding a lock only while it faults.
   */
  loiter: (space: AddressSpace, { index }: PartRequest): never => {
    const own = FAR + 2 ** 30 + index * 64 * PAGE;
    space.mmapSync(8 * PAGE, { address: own, fixed: "replace" });
    const second = AddressSpace.attachSync(space.handle);
    const views: View[] = [
      space.viewSync(own, 4 * PAGE, "write"),
      second.viewSync(own + 4 * PAGE, PAGE, "read"),
    ];
    for (let i = 0; i < 8; i++) space.u32.store(own + i * PAGE, index);
    parentPort?.postMessage({ said: "loitering" });
    const pause = new Int32Array(new SharedArrayBuffer(4));
    for (let i = 0; ; i++) {
      second.u32.store(own + (i % 8) * PAGE + 4 * views.length, i);
      if (i % 1000 === 0) Atomics.wait(pause, 0, 0, 1); // others want the processor too
    }
  },

  /** Does everything for ever. */
  rage: (space: AddressSpace, { index }: PartRequest): never => {
    const own = FAR + 2 ** 30 + index * 64 * PAGE;
    parentPort?.postMessage({ said: "raging" });
    for (let round = 0; ; round++) {
      stormBeside(space, own, round);
      for (let i = 0; i < 20; i++) space.u32.atomicAdd(FAR + (i % 4) * PAGE, 1);
    }
  },
} as const;

export type PartName = keyof typeof parts;

/**
 * Maps, touches, protects, resizes, views, forks and unmaps pages that no other thread uses, and
 * compares what it finds there.
 */
function stormBeside(space: AddressSpace, own: number, round: number): void {
  const pages = 3 + (round % 9);
  space.mmapSync(pages * PAGE, { address: own, fixed: "noreplace", shared: round % 3 === 0 });
  for (let i = 0; i < pages; i++) space.u32.store(own + i * PAGE, round + i);
  if (round % 2 === 0) space.mprotectSync(own + PAGE, PAGE, "read");
  if (round % 4 === 1) {
    using view = space.viewSync(own, 3 * PAGE, "write");
    const words = view.as(Uint32Array);
    expectSame(words[PAGE / 2], round + 2);
    words[PAGE / 2] = round + 7;
    space.u32.store(own + 2 * PAGE, round + 2);
    expectSame(words[PAGE / 2], round + 2);
  }
  if (round % 5 === 2) {
    using child = space.forkSync();
    child.u32.store(own, 1_000_000);
    expectSame(child.u32.load(own + 2 * PAGE), round + 2);
    if (round % 3 === 0) space.u32.store(own, round);
  }
  if (round % 2 === 0) space.mprotectSync(own + PAGE, PAGE, "read-write");
  const moved = space.mremapSync(own, pages * PAGE, (pages + 2) * PAGE, {
    mayMove: true,
    to: own + 32 * PAGE,
  });
  for (let i = 0; i < pages; i++) expectSame(space.u32.load(moved + i * PAGE), round + i);
  space.munmapSync(moved, (pages + 2) * PAGE);
}

function expectSame(actual: unknown, expected: number): void {
  if (actual !== expected) throw new Error(`found ${String(actual)} where ${expected} was stored`);
}

const request = workerData as PartRequest;
const space = AddressSpace.attachSync(request.handle);
if (request.gate !== undefined) {
  parentPort?.postMessage({ said: "attached" });
  Atomics.wait(request.gate, 0, 0);
}
const result = parts[request.part](space, request);
await space.dispose();
parentPort?.postMessage({ result });
