/**
 * @module One thread alone, which stores to a user's buffer, lets it go, and stores to another one
 * whose frames have the same numbers: it must forget what it remembers of the first one (X6 of
 * mmu/soft-tlb.ts). It knows another page of that block, and the entry is there when it comes, as
 * after another thread's fault. In the twins the place is not flushed.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { GRANULE_PAGES } from "../../../../src/memory/frames/section-records.ts";
import {
  MAP_FIXED_NOREPLACE,
  MAP_FIXED_REPLACE,
  type MmapRequest,
  doMmap,
} from "../../../../src/mm/calls/mmap.ts";
import { doMremap } from "../../../../src/mm/calls/mremap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { LEAF_WORDS } from "../../../../src/mmu/radix-table.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";
import { withoutFlush } from "./left-out.ts";

export const FIRST: number = 4 * LEAF_WORDS;
const ELSEWHERE: number = 20 * LEAF_WORDS;
/** Where the other buffer comes: the first page of a block of which another page is known. */
export const PLACE: number = 40 * LEAF_WORDS;
export const KNOWN: number = PLACE + 8;
const MOST_PAGES: number = 2 ** 21;
const STORED = 7;

/** All frame numbers are taken but those of one small buffer: each has these. */
export function useUpNumbers(harness: HmmHarness): void {
  const { sections } = harness.machine.ram;
  const add = (pages: number): number =>
    harness.run(sections.add(new SharedArrayBuffer(PAGE_BYTES), pages));
  const hole = add(1);
  for (let pages = MOST_PAGES; pages >= GRANULE_PAGES; pages /= 2) while (add(pages) > 0);
  assert(harness.run(sections.remove(hole)) === 0, "the numbers are still taken");
}

/** Maps the first page of a buffer. */
export function* mapBuffer(
  { machine, mm }: HmmHarness,
  bufferPfn: number,
  page: number,
  placement: MmapRequest["placement"] = MAP_FIXED_NOREPLACE,
): Task<void> {
  const address = page * PAGE_BYTES;
  const protection = VM_READ | VM_WRITE;
  const lengthBytes = PAGE_BYTES;
  const request = { lengthBytes, address, placement, protection, shared: true, bufferPfn };
  const answer = yield* doMmap(machine, mm, { ...request, offsetPages: 0 });
  assert(answer === address, `mmap answered ${answer}`);
}

/** In place of the buffer at FIRST, which goes, comes one whose frames have the same numbers. */
export function* anotherBuffer(
  { machine, mm }: HmmHarness,
  first: number,
): Task<readonly [bufferPfn: number, buffer: SharedArrayBuffer]> {
  const { sections } = machine.ram;
  yield* doMunmap(machine, mm, FIRST * PAGE_BYTES, PAGE_BYTES);
  const answer = yield* sections.remove(first);
  assert(answer === 0, `removing the first buffer answered ${answer}`);
  const buffer = new SharedArrayBuffer(2 * PAGE_BYTES);
  const again = yield* sections.add(buffer);
  assert(again === first, `the numbers begin at ${again}, and began at ${first}`);
  return [again, buffer];
}

/** How the first page of the buffer at `bufferPfn` comes to PLACE. */
interface Way {
  readonly name: string;
  readonly summary: string;
  readonly runs: string;
  /** Before, elsewhere. */
  readonly before?: (harness: HmmHarness, bufferPfn: number) => Task<void>;
  /** What flushes the place. Default: flushPlace. */
  readonly flushes?: string;
  readonly comes: (harness: HmmHarness, bufferPfn: number) => Task<unknown>;
  /** The word of the buffer that PLACE is then. */
  readonly word?: number;
  /** Whether private memory is mapped at PLACE, which nobody has touched. */
  readonly isMapped?: boolean;
}

function* storeToBoth(way: Way, harness: HmmHarness, isFlushed: boolean): Task<void> {
  const { machine, mm } = harness;
  const cpu = new HarnessCpu(harness);
  const first = yield* machine.ram.sections.add(new SharedArrayBuffer(2 * PAGE_BYTES));
  yield* mapBuffer(harness, first, FIRST);
  yield* cpu.store(KNOWN * PAGE_BYTES, 1);
  yield* cpu.store(FIRST * PAGE_BYTES, 1);
  const [again, buffer] = yield* anotherBuffer(harness, first);
  if (way.before !== undefined) yield* way.before(harness, again);
  const coming = way.comes(harness, again);
  yield* isFlushed ? coming : withoutFlush(1, coming);
  yield* cpuFault(machine, mm, PLACE, true);
  yield* cpu.store(PLACE * PAGE_BYTES, STORED);
  const found = new Int32Array(buffer)[way.word ?? 0];
  assert(found === STORED, `the buffer holds ${found}`);
}

function covered(way: Way): Covered {
  return coveringOnHarness<undefined>({
    layer: "mm",
    name: `alone/buffer-again/${way.name}`,
    summary: way.summary,
    harness: { pages: 0, arenaWords: 16_384 },
    mayRemain: "anything",
    setup(harness) {
      useUpNumbers(harness);
      harness.map(KNOWN, 1);
      if (way.isMapped === true) harness.map(PLACE, 1);
      return undefined;
    },
    tasks: {
      thread: [
        [way.runs, way.flushes ?? "mm/vma/vma-source.flushPlace"],
        (_none, harness) => storeToBoth(way, harness, true),
      ],
    },
    twins: [
      [
        "without-flush",
        "The place is not flushed before.",
        "assertion",
        { thread: (_none, harness) => storeToBoth(way, harness, false) },
      ],
    ],
  });
}

const remaps = (
  { machine, mm }: HmmHarness,
  page: number,
  oldPages: number,
  newPages: number,
  to?: number,
): Task<number> =>
  doMremap(machine, mm, {
    address: page * PAGE_BYTES,
    oldLengthBytes: oldPages * PAGE_BYTES,
    newLengthBytes: newPages * PAGE_BYTES,
    mayMove: to !== undefined,
    to: to === undefined ? undefined : to * PAGE_BYTES,
  });

const ways: readonly Way[] = [
  {
    name: "mapped",
    summary: "A thread stores to a buffer that has the numbers of another one, and is mapped.",
    runs: "mm/vma/vma-map.insertVma",
    comes: (harness, bufferPfn) => mapBuffer(harness, bufferPfn, PLACE),
  },
  {
    name: "replacing",
    summary:
      "The same, in place of a mapping that nobody has touched: unmapping that one flushes the place.",
    runs: "mm/vma/vma-map.insertSpareVma",
    flushes: "mm/entries/zap.zapRange",
    isMapped: true,
    comes: (harness, bufferPfn) => mapBuffer(harness, bufferPfn, PLACE, MAP_FIXED_REPLACE),
  },
  {
    name: "grown",
    summary: "The same, and the buffer's mapping grows.",
    runs: "mm/vma/vma-map.extendVma",
    before: (harness, bufferPfn) => mapBuffer(harness, bufferPfn, PLACE - 1),
    comes: (harness) => remaps(harness, PLACE - 1, 1, 2),
    word: PAGE_BYTES / 4,
  },
  {
    name: "moved",
    summary: "The same, and the buffer's mapping moves.",
    runs: "mm/calls/move-mappings.moveMappings",
    before: (harness, bufferPfn) => mapBuffer(harness, bufferPfn, ELSEWHERE),
    comes: (harness) => remaps(harness, ELSEWHERE, 1, 1, PLACE),
  },
];

export const buffersAgain: readonly Covered[] = ways.map((way) => covered(way));
