/**
 * @module memory/frames/section-records
 * The records of a machine's sections, in the kernel heap: the same for all threads. Which of the
 * sections this thread has been given is sections.ts's business.
 *
 * Frame numbers have 24 bits. A section starts at a multiple of GRANULE_PAGES, so the granule of a
 * frame identifies its section. The numbers of a removed section are reused as late as possible. A
 * record's serial distinguishes a section from a later one in the same record.
 *
 * Lock: ramLock around the records. A record of a section that somebody uses does not change, but
 * for `pages`, which only rises, and its counts.
 */

import { atomicLoad } from "../../sync/atomics.ts";
import { ENXIO } from "../../sync/errno.ts";
import { HmmError } from "../../sync/errors.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { SECTION_NONE, SectionRecord, countsOfRecord } from "./ram-section.ts";

/** Frame numbers are below this. */
export const PFN_LIMIT: number = 2 ** 24;
export const GRANULE_SHIFT = 9;
export const GRANULE_PAGES: number = 2 ** GRANULE_SHIFT;
/** Sections of a machine at one time. */
const SECTION_LIMIT = 128;

/** Words of all records. */
export const SECTION_RECORDS_WORDS: number = SECTION_LIMIT * SectionRecord.sizeWords;

export class SectionRecords {
  readonly #memory: SharedMemory;
  readonly #at: number;

  /** Over SECTION_RECORDS_WORDS words at `at`, zeroed when they were new. */
  constructor(memory: SharedMemory, at: number) {
    this.#memory = memory;
    this.#at = at;
  }

  all(): SectionRecord[] {
    return Array.from({ length: SECTION_LIMIT }, (_, i) => this.#record(i));
  }

  /** The record at a pointer that another thread has sent, or undefined where there is none. */
  byPointer(at: number): SectionRecord | undefined {
    const i = (at - this.#at) / SectionRecord.sizeWords;
    return Number.isInteger(i) && i >= 0 && i < SECTION_LIMIT ? this.#record(i) : undefined;
  }

  /** The record of a section by its first frame, or undefined. Holding ramLock. */
  at(basePfn: number): SectionRecord | undefined {
    return this.#find((record) => record.kind !== SECTION_NONE && record.basePfn === basePfn);
  }

  #record(i: number): SectionRecord {
    return SectionRecord.at(this.#memory, this.#at + i * SectionRecord.sizeWords);
  }

  /** The first of them. Most machines use few of the records. */
  #find(isWanted: (record: SectionRecord) => boolean): SectionRecord | undefined {
    for (let i = 0; i < SECTION_LIMIT; i++) {
      const record = this.#record(i);
      if (isWanted(record)) return record;
    }
    return undefined;
  }

  /** The record of the section that has the frame. Throws HmmError ENXIO where none has. */
  ofFrame(pfn: number): SectionRecord {
    const record = this.#find(
      ({ kind, basePfn, pages }) =>
        kind !== SECTION_NONE && pfn >= basePfn && pfn < basePfn + pages,
    );
    if (record !== undefined) return record;
    throw new HmmError(
      ENXIO,
      "section",
      `Cannot reach frame ${pfn}: no section has it; the number is stale or damaged`,
    );
  }

  /** A free record with numbers for so many frames, or undefined. Holding ramLock. */
  reserve(reservedPages: number): SectionRecord | undefined {
    const records = this.all();
    const free = records.find((record) => record.kind === SECTION_NONE);
    if (free === undefined) return undefined;
    // From the end of the newest section on: so the numbers of a removed one are reused last.
    const newest = records.reduce((a, b) => (b.born > a.born ? b : a));
    const basePfn =
      findHole(records, reservedPages, newest.basePfn + newest.reservedPages) ??
      findHole(records, reservedPages, 0);
    if (basePfn === undefined) return undefined;
    free.basePfn = basePfn;
    free.reservedPages = reservedPages;
    free.born = newest.born + 1;
    return free;
  }

  /** Whether any frame of a user's section is referred to. */
  isCounted(record: SectionRecord): boolean {
    const counts = countsOfRecord(this.#memory, record);
    return atomicLoad(counts.words, counts.index(record.basePfn)) !== 0;
  }
}

/**
 * Lowest multiple of a granule from `fromPfn` on at which `pages` frame numbers are free, or
 * undefined.
 */
function findHole(
  records: readonly SectionRecord[],
  pages: number,
  fromPfn: number,
): number | undefined {
  const taken = records
    .filter(({ kind }) => kind !== SECTION_NONE)
    .toSorted((a, b) => a.basePfn - b.basePfn);
  let start = roundUpGranule(fromPfn);
  for (const { basePfn, reservedPages } of taken) {
    if (basePfn >= start + pages) break;
    start = Math.max(start, roundUpGranule(basePfn + reservedPages));
  }
  return start + pages <= PFN_LIMIT ? start : undefined;
}

export function roundUpGranule(pfn: number): number {
  return Math.ceil(pfn / GRANULE_PAGES) * GRANULE_PAGES;
}
