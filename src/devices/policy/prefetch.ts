/**
 * @module devices/policy/prefetch
 * Which pages to bring to a device beside those that faulted. After NVIDIA's UVM
 * (`uvm_perf_prefetch.c`): a fault is grown to its 64 KiB, and then to the largest power-of-two
 * part of its 2 MiB block more than 51 % of whose pages would be on the device anyway. The tree of
 * parts is never stored: it is recomputed from one flag per page.
 *
 * How many of them is decided by what is free. When nothing is, device memory is under pressure:
 * then prefetched pages push out cold ones, a few at a time, as long as enough of the pages
 * prefetched lately were used. A score remembers that. Pure functions; no locks, and no opinion
 * about what may be read at all (hmm's walk).
 */

/** Pages of a block, which is 2 MiB and so aligned. */
export const BLOCK_PAGES = 512;
/** log2 of BLOCK_PAGES. */
export const BLOCK_SHIFT = 9;
/** Pages that a single fault is grown to: 64 KiB. */
export const GROWN_PAGES = 16;
/** A part is taken whole when more than this percentage of it is wanted or there. */
export const DENSITY_PERCENT = 51;

/** Under pressure, every so many batches prefetch although it has not paid lately. */
const PROBE_BATCHES = 64;
/**
 * Under pressure, one block's prefetch takes no more than this part of device memory: one frame in
 * so many.
 */
const COLD_SHARE = 16;
/**
 * Bringing a page that nobody uses costs a copy. One that is used saves a fault, which costs
 * several times as much (measured: 0.5 us, 3 to 7 us).
 */
const SCORE_USED = 4;
const SCORE_UNUSED = -1;
/** The score stays within this, so that it follows a change of what the device does. */
const SCORE_MAX = 256;

/** Device memory when a block's faults are served. */
export interface MemoryPressure {
  /** All frames of device memory. */
  readonly frames: number;
  /** Frames that are free once all faulted pages have theirs. Below 0: so many are missing. */
  readonly free: number;
  /** Pages of the block that faulted for reading. */
  readonly reads: number;
  /** How well the last prefetches did: below 0, too few of their pages were used. */
  readonly score: number;
  /** Number of the batch. */
  readonly batch: number;
}

/**
 * One past the last page to bring together with `page`, where a device goes on from one page to the
 * next: the rest of its 64 KiB, or, where it has used as much before it, of the 128 KiB, and so on
 * up to a block. So a stream takes seven faults in its first block and one in each other, and no
 * more is brought than has been used. `isUsed` is asked of pages before it, also of page numbers
 * below 0.
 */
export function streamEnd(page: number, isUsed: (page: number) => boolean): number {
  let part = GROWN_PAGES;
  while (part < BLOCK_PAGES && isUsed(page - part)) part *= 2;
  return page - (page % part) + part;
}

/** Pages that may be prefetched for a block. */
export function prefetchRoom({ frames, free, reads, score, batch }: MemoryPressure): number {
  if (free > 0) return free;
  if (!prefetchPays(score) && batch % PROBE_BATCHES !== 0) return 0;
  return Math.min(reads * GROWN_PAGES, Math.floor(frames / COLD_SHARE));
}

/** Whether enough of the pages prefetched lately were used. */
export function prefetchPays(score: number): boolean {
  return score >= 0;
}

/** The score after a prefetched page was used for the first time, or went unused. */
export function nextScore(score: number, wasUsed: boolean): number {
  const next = score + (wasUsed ? SCORE_USED : SCORE_UNUSED);
  return Math.max(-SCORE_MAX, Math.min(SCORE_MAX, next));
}

/** Occupied pages before each index of the block: scratch, of this thread, used within one call. */
const before = new Uint16Array(BLOCK_PAGES + 1);

/**
 * Marks in `grown` (1 = bring it, else 0) the pages to prefetch. `wanted[i]` is nonzero for the
 * pages that faulted, `resident[i]` for those that are on the device; neither is marked. All three
 * have BLOCK_PAGES elements. Without `byDensity` faults are grown to their 64 KiB and no further:
 * then nothing before `first` and from `end` on is looked at, and all that is wanted lies between
 * them, in whole parts of 64 KiB. Returns how many were marked.
 */
export function growBlock(
  wanted: Uint8Array,
  resident: Uint8Array,
  grown: Uint8Array,
  byDensity: boolean,
  first: number = 0,
  end: number = BLOCK_PAGES,
): number {
  grown.fill(0);
  for (let page = first; page < end; page++) {
    if (wanted[page] === 0) continue;
    const start = page & ~(GROWN_PAGES - 1);
    grown.fill(1, start, start + GROWN_PAGES);
    page = start + GROWN_PAGES - 1;
  }
  if (byDensity) growByDensity(wanted, resident, grown);
  let count = 0;
  for (let page = first; page < end; page++) {
    if (wanted[page] !== 0 || resident[page] !== 0) grown[page] = 0;
    count += grown[page]!;
  }
  return count;
}

/**
 * The counts are those from before any part was taken, as in UVM: one part does not talk its
 * neighbour into being taken.
 */
function growByDensity(wanted: Uint8Array, resident: Uint8Array, grown: Uint8Array): void {
  for (let page = 0; page < BLOCK_PAGES; page++) {
    const isOccupied = grown[page] !== 0 || resident[page] !== 0;
    before[page + 1] = before[page]! + (isOccupied ? 1 : 0);
  }
  for (let page = 0; page < BLOCK_PAGES; page++) {
    if (wanted[page] === 0) continue;
    const size = densestPart(page);
    const start = page & ~(size - 1);
    grown.fill(1, start, start + size);
    page = start + size - 1;
  }
}

/** Size of the largest part around `page` that is dense enough; GROWN_PAGES at least. */
function densestPart(page: number): number {
  let densest = GROWN_PAGES;
  for (let size = GROWN_PAGES * 2; size <= BLOCK_PAGES; size *= 2) {
    const start = page & ~(size - 1);
    const occupied = before[start + size]! - before[start]!;
    if (occupied * 100 > size * DENSITY_PERCENT) densest = size;
  }
  return densest;
}
