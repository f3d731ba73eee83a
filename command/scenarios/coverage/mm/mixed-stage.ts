/**
 * @module A space with memory of all kinds: private memory, memory that it shares with its
 * children, a user's buffer, and an untouched mapping. Attempts of this folder begin with it.
 */

import { type HmmHarness, HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { MAP_FIXED_REPLACE, type MmapRequest, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { PAGE_BYTES, ptePfn } from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { bug } from "../../../../src/sync/errors.ts";
import type { Attempt } from "../attempts.ts";

export const RW: number = VM_READ | VM_WRITE;

/** Pages from HARNESS_PAGE on: four private ones, three of them present. */
export const PRIVATE = 0;
/** Two shared ones, one of them present. */
export const SHARED = 4;
/** A buffer of two, one of them present. */
export const BUFFER = 6;
/** Three private ones, untouched. */
export const UNTOUCHED = 1024;
/** Free, and without a page table. */
export const ELSEWHERE = 4096;
/** Free, and under another entry of the top table. */
export const FAR: number = 2 ** 20;

const PRESENT: readonly number[] = [0, 1, 2, SHARED, BUFFER];

/** The four mappings in the words of `mapped`. */
export const AS_IT_WAS = {
  private: "0-4 rw: 100 101 102 0",
  shared: "4-6 rw shared: 104 0",
  buffer: "6-8 rw buffer: 106 0",
  untouched: "1024-1027 rw: 0 0 0",
} as const;

/** The mappings after a change: the text of each, and what follows them. */
export function changed(
  parts: Partial<Record<keyof typeof AS_IT_WAS, string>>,
  ...more: readonly string[]
): string {
  const all = [...Object.values({ ...AS_IT_WAS, ...parts }), ...more];
  return all.filter((text) => text !== "").join(", ");
}

export interface Stage {
  /** The buffer's first frame. */
  readonly bufferPfn: number;
}

export const address = (page: number): number => (HARNESS_PAGE + page) * PAGE_BYTES;

/** A mapping of `pages` pages, in place of what is there. */
export function mapping(page: number, pages: number, more: Partial<MmapRequest> = {}): MmapRequest {
  const place = {
    address: address(page),
    lengthBytes: pages * PAGE_BYTES,
    placement: MAP_FIXED_REPLACE,
  };
  return { ...place, protection: RW, shared: false, bufferPfn: 0, offsetPages: 0, ...more };
}

/** The page is present, and holds its number plus 100. */
export function stamp(harness: HmmHarness, page: number): void {
  const pfn = ptePfn(harness.entryOf(HARNESS_PAGE + page));
  harness.machine.ram.sections.of(pfn).i32[harness.machine.ram.sections.wordIndex(pfn)] =
    100 + page;
}

/** Every present page holds its number plus 100. */
export function makeStage(harness: HmmHarness): Stage {
  const { machine, mm } = harness;
  const bufferPfn = harness.run(machine.ram.sections.add(new SharedArrayBuffer(2 * PAGE_BYTES)));
  if (bufferPfn < 0) bug(`Cannot add a section: ${bufferPfn}`);
  harness.map(HARNESS_PAGE + PRIVATE, 4);
  harness.map(HARNESS_PAGE + SHARED, 2, RW, true);
  harness.run(doMmap(machine, mm, mapping(BUFFER, 2, { shared: true, bufferPfn })));
  harness.map(HARNESS_PAGE + UNTOUCHED, 3);
  for (const page of PRESENT) {
    harness.run(cpuFault(machine, mm, HARNESS_PAGE + page, true));
    stamp(harness, page);
  }
  return { bufferPfn };
}

/** The stage, with more. */
export function stageWith(more: (harness: HmmHarness) => unknown): (harness: HmmHarness) => Stage {
  return (harness) => {
    const stage = makeStage(harness);
    more(harness);
    return stage;
  };
}

/** How many references the buffer has. */
export const bufferCount = ({ machine }: HmmHarness, { bufferPfn }: Stage): string =>
  `${machine.ram.refs.pageCount(bufferPfn)} count the buffer`;

type Parts = Pick<Attempt<Stage>, "name" | "summary" | "act"> & Partial<Attempt<Stage>>;

/** An attempt on that stage. */
export const onStage = (parts: Parts): Attempt<Stage> => ({
  layer: "mm",
  runs: [],
  setup: makeStage,
  also: bufferCount,
  ...parts,
});
