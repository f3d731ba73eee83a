/**
 * @module The calls of an address space against the running kernel's own, in C (native/calls.c):
 * the same calls on as many pages of private memory, without huge pages. Our frames have been used
 * before, as the kernel's have, so both sides zero them.
 */

import { AddressSpace } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { NativeProgram } from "./native-program.ts";
import { measurePairs, timeEachNs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const MiB = 2 ** 20;
const PAGE_BYTES = 4096;

/** One call, on both sides. */
interface Call {
  readonly label: string;
  /** What native/calls.c calls it. */
  readonly peer: string;
  /** Nanoseconds a page of ours. */
  readonly ours: (space: AddressSpace, pages: number) => number;
  /** Default true. */
  readonly isBound?: boolean;
}

function storeEach(space: AddressSpace, address: number, pages: number): void {
  const { u32 } = space;
  for (let page = 0; page < pages; page++) u32.store(address + page * PAGE_BYTES, 1);
}

function loadEach(space: AddressSpace, address: number, pages: number): void {
  const { u32 } = space;
  for (let page = 0; page < pages; page++) u32.load(address + page * PAGE_BYTES);
}

/** Maps the pages, has them stored to if asked, and times `work`; unmaps what `work` left. */
function timeOn(
  space: AddressSpace,
  pages: number,
  isPopulated: boolean,
  work: (address: number, lengthBytes: number) => void,
): number {
  const lengthBytes = pages * PAGE_BYTES;
  const address = space.mmapSync(lengthBytes);
  if (isPopulated) storeEach(space, address, pages);
  const ns = timeEachNs(pages, () => work(address, lengthBytes));
  space.munmapSync(address, lengthBytes);
  return ns;
}

/** Neighbours differ in protection, so that they do not merge. */
function mapSingles(space: AddressSpace, count: number): number[] {
  const at: number[] = [];
  for (let i = 0; i < count; i++)
    at.push(space.mmapSync(PAGE_BYTES, { protection: i % 2 === 0 ? "read-write" : "read" }));
  return at;
}

function unmapSingles(space: AddressSpace, at: readonly number[]): void {
  for (const address of at) space.munmapSync(address, PAGE_BYTES);
}

const MMAP: Call = {
  label: "mmap of one page",
  peer: "mmap",
  ours(space, count) {
    let at: number[] = [];
    const ns = timeEachNs(count, () => (at = mapSingles(space, count)));
    unmapSingles(space, at);
    return ns;
  },
};

const MUNMAP: Call = {
  label: "munmap of one page",
  peer: "munmap",
  ours(space, count) {
    const at = mapSingles(space, count);
    return timeEachNs(count, () => unmapSingles(space, at));
  },
};

const COPY: Call = {
  label: "copy-on-write store in a child",
  peer: "copy",
  ours: (space, pages) => {
    const lengthBytes = pages * PAGE_BYTES;
    const address = space.mmapSync(lengthBytes);
    storeEach(space, address, pages);
    using child = space.forkSync();
    const ns = timeEachNs(pages, () => storeEach(child, address, pages));
    space.munmapSync(address, lengthBytes);
    return ns;
  },
};

const FORK: Call = {
  label: "fork",
  peer: "fork",
  ours(space, pages) {
    let child: AddressSpace | undefined;
    const ns = timeOn(space, pages, true, () => (child = space.forkSync()));
    child?.[Symbol.dispose]();
    return ns;
  },
};

const UNMAP: Call = {
  label: "munmap",
  peer: "unmap",
  ours: (space, pages) => timeOn(space, pages, true, (at, bytes) => space.munmapSync(at, bytes)),
};

const DONTNEED: Call = {
  label: "madvise(DONTNEED)",
  peer: "dontneed",
  ours: (space, pages) =>
    timeOn(space, pages, true, (at, bytes) => space.madviseSync(at, bytes, "dontneed")),
};

const TOUCH_LOAD: Call = {
  label: "first touch by a load",
  peer: "touch-load",
  ours: (space, pages) => timeOn(space, pages, false, (at) => loadEach(space, at, pages)),
};

const TOUCH_STORE: Call = {
  label: "first touch by a store",
  peer: "touch-store",
  ours: (space, pages) => timeOn(space, pages, false, (at) => storeEach(space, at, pages)),
};

/** A cache has the pages: of a mapping that stays. */
const LOAD_AGAIN: Call = {
  label: "first load of pages that a file's cache has",
  peer: "again-load",
  isBound: false,
  ours(space, pages) {
    const lengthBytes = pages * PAGE_BYTES;
    const source = {
      lengthBytes,
      read: (_offsetBytes: number, into: Uint8Array): void => void into.fill(1),
    };
    const [before, address] = [
      space.mmapSync(lengthBytes, { source }),
      space.mmapSync(lengthBytes, { source }),
    ];
    loadEach(space, before, pages);
    const ns = timeEachNs(pages, () => loadEach(space, address, pages));
    for (const at of [before, address]) space.munmapSync(at, lengthBytes);
    return ns;
  },
};

const SHARED_AGAIN: Call = {
  label: "first store to shared memory that is there",
  peer: "again-store",
  isBound: false,
  ours(space, pages) {
    const lengthBytes = pages * PAGE_BYTES;
    const address = space.mmapSync(lengthBytes, { shared: true });
    storeEach(space, address, pages);
    space.madviseSync(address, lengthBytes, "dontneed");
    const ns = timeEachNs(pages, () => storeEach(space, address, pages));
    space.munmapSync(address, lengthBytes);
    return ns;
  },
};

const STORE_AGAIN: Call = {
  label: "first store to pages of a buffer",
  peer: "again-store",
  isBound: false,
  ours(space, pages) {
    const lengthBytes = pages * PAGE_BYTES;
    const buffer = new SharedArrayBuffer(lengthBytes);
    new Float64Array(buffer).fill(1);
    const address = space.mmapSync(lengthBytes, { buffer });
    const ns = timeEachNs(pages, () => storeEach(space, address, pages));
    space.munmapSync(address, lengthBytes);
    return ns;
  },
};

const MPROTECT: Call = {
  label: "mprotect to read-only",
  peer: "mprotect",
  ours: (space, pages) =>
    timeOn(space, pages, true, (at, bytes) => space.mprotectSync(at, bytes, "read")),
};

const MREMAP: Call = {
  label: "mremap to another place",
  peer: "mremap",
  ours(space, pages) {
    const lengthBytes = pages * PAGE_BYTES;
    const place = space.mmapSync(lengthBytes);
    const ns = timeOn(space, pages, true, (at, bytes) =>
      space.mremapSync(at, bytes, bytes, { mayMove: true, to: place }),
    );
    space.munmapSync(place, lengthBytes);
    return ns;
  },
};

async function measureCalls(
  options: MeasureOptions,
  calls: readonly Call[],
  pages: number,
): Promise<Measurement> {
  const program = NativeProgram.make("calls");
  if (typeof program === "string") return { notMeasured: program };
  try {
    const rounds = roundsOf(options);
    const onRound = roundCounter(calls.length * rounds, options);
    await using space = await AddressSpace.create({
      ramBytes: 2 * pages * PAGE_BYTES + 16 * MiB,
      heapBytes: 256 * MiB,
    });
    useAllFrames(space, pages);
    const readings: Reading[] = [];
    for (const { label, peer, ours, isBound = true } of calls) {
      const warmUps = options.isQuick ? 1 : peer === "mremap" ? MOVES_TO_WARM_UP : WARM_UPS;
      for (let i = 0; i < warmUps; i++) ours(space, WARM_UP_PAGES);
      const reading = await measurePairs({
        label,
        unit: "ns a page",
        isBound,
        rounds,
        onRound,
        ours: () => ours(space, pages),
        plain: () => Number(program.run([peer, pages])[0]),
      });
      readings.push(reading);
    }
    return { readings };
  } finally {
    program.dispose();
  }
}

/** A call that is made once a round would be measured as it is before it is compiled. */
const WARM_UPS = 200;
/** A move is more code, and none of it is in a loop until there are many leaves. */
const MOVES_TO_WARM_UP = 5000;
/** More than a leaf of the page table has. */
const WARM_UP_PAGES = 1100;

/** So that a frame that is allocated later has to be zeroed. */
function useAllFrames(space: AddressSpace, pages: number): void {
  timeOn(space, 2 * pages, true, () => {});
}

const singlesOf = ({ isQuick }: MeasureOptions): number => (isQuick ? 2000 : 60_000);
/** 128 MiB, or 4. */
const pagesOf = ({ isQuick }: MeasureOptions): number => (isQuick ? 1024 : 32_768);
/** 1 GiB, or 4 MiB. */
const movedPagesOf = ({ isQuick }: MeasureOptions): number => (isQuick ? 1024 : 262_144);

export const measureMmap = (options: MeasureOptions): Promise<Measurement> =>
  measureCalls(options, [MMAP], singlesOf(options));

export const measureMunmap = (options: MeasureOptions): Promise<Measurement> =>
  measureCalls(options, [MUNMAP], singlesOf(options));

export const measurePages = (options: MeasureOptions): Promise<Measurement> =>
  measureCalls(options, [COPY, FORK, UNMAP, DONTNEED], pagesOf(options));

export async function measureTouches(options: MeasureOptions): Promise<Measurement> {
  const calls = [TOUCH_LOAD, TOUCH_STORE, LOAD_AGAIN, SHARED_AGAIN, STORE_AGAIN, MPROTECT];
  const touches = await measureCalls(options, calls, pagesOf(options));
  if (touches.notMeasured !== undefined) return touches;
  const moves = await measureCalls(options, [MREMAP], movedPagesOf(options));
  if (moves.notMeasured !== undefined) return moves;
  return { readings: [...touches.readings, ...moves.readings] };
}
