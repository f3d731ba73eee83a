/**
 * @module AddressSpace beside the running kernel: random traces of trace.c, a fixed seed and few of
 * them; `npm run linux` makes as many as you like. Runs where there is Linux on x64 and a C
 * compiler; elsewhere the tests are skipped and say why.
 */

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { type AddressSpace, HmmError, SegmentationFault } from "../../src/index.ts";
import { type Wanted, compare } from "./comparison.ts";
import { Mismatch } from "./play.ts";
import { TraceProgram } from "./trace-program.ts";
import type { Alteration } from "./traced-space.ts";

const WANTED: Wanted = { seed: 7, first: 0, traces: 120, steps: 200 };

/** The line that a failure ends with, to be pasted. */
const AGAIN: RegExp = /\nagain: npm run linux -- --seed 7 --first \d+ --traces 1 --steps 200$/;

/** A load that answers `fallback` where the real one would be refused with `signal`. */
function blindTo(
  space: AddressSpace,
  signal: SegmentationFault["signal"],
  fallback: () => number,
): AddressSpace["u32"] {
  const { u32 } = space;
  const load = (address: number): number => {
    try {
      return u32.load(address);
    } catch (error) {
      if (error instanceof SegmentationFault && error.signal === signal) return fallback();
      throw error;
    }
  };
  return {
    load,
    loadInto: (address, target, targetOffset, count) =>
      u32.loadInto(address, target, targetOffset, count),
    store: (address, value) => u32.store(address, value),
    atomicLoad: (address) => u32.atomicLoad(address),
    atomicStore: (address, value) => u32.atomicStore(address, value),
    atomicAdd: (address, value) => u32.atomicAdd(address, value),
    atomicSub: (address, value) => u32.atomicSub(address, value),
    atomicAnd: (address, value) => u32.atomicAnd(address, value),
    atomicOr: (address, value) => u32.atomicOr(address, value),
    atomicXor: (address, value) => u32.atomicXor(address, value),
    atomicExchange: (address, value) => u32.atomicExchange(address, value),
    atomicCompareExchange: (address, expected, replacement) =>
      u32.atomicCompareExchange(address, expected, replacement),
  };
}

/** Whether the space has as many mappings as it may. */
function isFull(space: AddressSpace): boolean {
  using fork = space.forkSync();
  try {
    fork.mmapSync(4096, { shared: true });
    return false;
  } catch {
    return true;
  }
}

const BROKEN: readonly (readonly [what: string, alter: Alteration])[] = [
  [
    "munmap leaves a page that is not whole",
    (space) => ({
      munmapSync: (address, length) => {
        const whole = length - (length % 4096);
        if (whole > 0 || length === 0) space.munmapSync(address, whole);
      },
    }),
  ],
  [
    "at the limit of mappings the end of one cannot be unmapped",
    (space) => ({
      munmapSync: (address, length) => {
        const isCut = space.mapsSync().some(({ start, end }) => start < address && end > address);
        if (isCut && isFull(space)) throw new HmmError("ENOMEM", "munmap", "Cannot unmap", address);
        space.munmapSync(address, length);
      },
    }),
  ],
  [
    "dontneed keeps the contents",
    (space) => ({ madviseSync: (at, length) => space.madviseSync(at, length, "normal") }),
  ],
  [
    "sequential and random leave no trace in the mappings",
    (space) => ({
      madviseSync: (at, length, advice) =>
        space.madviseSync(
          at,
          length,
          advice === "sequential" || advice === "random" ? "willneed" : advice,
        ),
    }),
  ],
  [
    "populating for stores gives no frames",
    (space) => ({
      madviseSync: (at, length, advice) =>
        space.madviseSync(at, length, advice === "populate-write" ? "populate-read" : advice),
    }),
  ],
  [
    "populating does not stop at a hole",
    (space) => ({
      madviseSync: (at, length, advice) =>
        space.madviseSync(at, length, advice.startsWith("populate") ? "willneed" : advice),
    }),
  ],
  [
    "mprotect to none leaves the right to read",
    (space) => ({
      mprotectSync: (at, length, protection) =>
        space.mprotectSync(at, length, protection === "none" ? "read" : protection),
    }),
  ],
  [
    "keepOld is forgotten",
    (space) => ({
      mremapSync: (at, old, length, options) =>
        space.mremapSync(at, old, length, { ...options, keepOld: false }),
    }),
  ],
  [
    "a move of several mappings takes the first",
    (space) => ({
      mremapSync: (at, old, length, options) => {
        const first = space.mapsSync().find(({ end }) => end > at);
        const most = first === undefined || old !== length ? old : Math.min(old, first.end - at);
        return space.mremapSync(at, most, old === length ? most : length, options);
      },
    }),
  ],
  [
    "beyond the memory that is shared there are zeros",
    (space) => ({ u32: blindTo(space, "SIGBUS", () => 0) }),
  ],
  [
    "a bus error is told as a segmentation fault",
    (space) => ({
      u32: blindTo(space, "SIGBUS", () => {
        throw new SegmentationFault(0, "read", "nothing is mapped there");
      }),
    }),
  ],
  [
    "a page that was only read has a frame of its own",
    (space) => ({
      pagemapSync: (address, length) =>
        space.pagemapSync(address, length).map((page) => ({ ...page, zero: false })),
    }),
  ],
  [
    "a hint is taken for nothing",
    (space) => ({
      mmapSync: (length, options) =>
        space.mmapSync(length, options?.fixed ? options : { ...options, address: 0 }),
    }),
  ],
];

/** What cannot be seen where the kernel gives a page that is only loaded from a frame. */
const ABOUT_ZEROS: ReadonlySet<string> = new Set([
  "populating for stores gives no frames",
  "a page that was only read has a frame of its own",
]);

describe("the running kernel", () => {
  const obstacle = TraceProgram.obstacle();
  if (obstacle !== undefined) {
    test("is compared with AddressSpace", (t) => t.skip(`not here: ${obstacle}`));
    return;
  }
  const program = TraceProgram.compile();
  after(() => program[Symbol.dispose]());

  test(`answers as AddressSpace does, seed ${WANTED.seed}`, async (t) => {
    const result = await compare(program, WANTED);
    if (typeof result === "string") return t.skip(`not here: ${result}`);
    t.diagnostic(`Linux ${result.kernel}, ${result.steps} steps`);
    assert.ok(result.steps > WANTED.traces * 150);
    // Where we mean to differ, the comparison has a look of its own, which these traces need.
    for (const kind of ["E'", "H", "M", "N", "O"])
      assert.ok((result.kinds.get(kind) ?? 0) > 0, `kind ${kind} is never met`);
  });

  for (const [what, alter] of BROKEN) {
    test(`would be found: ${what}`, async (t) => {
      const run = (): Promise<unknown> => compare(program, WANTED, () => {}, alter);
      const first = program.run(WANTED.seed, 0, 1, 1);
      if (typeof first === "string") return t.skip(`not here: ${first}`);
      if (first.zerosHaveFrames && ABOUT_ZEROS.has(what))
        return t.skip("not here: the kernel has no page of zeros");
      await assert.rejects(run, (error) => error instanceof Mismatch && AGAIN.test(error.message));
    });
  }

  test("a trace ends where it cannot be seen what the kernel has done", async (t) => {
    // Step 180: of two mappings one has moved over another that looks like it, and was written.
    const result = await compare(program, { seed: 3, first: 3, traces: 1, steps: 200 });
    if (typeof result === "string") return t.skip(`not here: ${result}`);
  });

  test("the same trace is printed each time, alone or among others", (t) => {
    const [all, one] = [program.run(3, 0, 3, 100), program.run(3, 2, 1, 100)];
    if (typeof all === "string" || typeof one === "string") return t.skip("not here");
    assert.deepEqual(one.traces[0], all.traces[2]);
  });
});
