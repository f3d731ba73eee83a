/**
 * @module devices/policy/prefetch
 * Which pages to bring to a device beside those that faulted. After NVIDIA's UVM
 * (`uvm_perf_prefetch.c`): a fault is grown to its 64 KiB, and then to the largest power-of-two
 * part of its 2 MiB block more than 51 % of whose pages would be on the device anyway. The tree of
 * parts is never stored: it is recomputed from one flag per page. Pure functions over one block; no
 * locks, and no opinion about memory pressure (the caller's) or what may be read at all (hmm's
 * walk).
 */

/** Pages of a block: 2 MiB. */
export const BLOCK_PAGES = 512;
/** log2 of BLOCK_PAGES. */
export const BLOCK_SHIFT = 9;
/** Pages that a single fault is grown to: 64 KiB. */
export const GROWN_PAGES = 16;
/** A part is taken whole when more than this percentage of it is wanted or there. */
export const DENSITY_PERCENT = 51;

/** Occupied pages before each index of the block: scratch, of this thread, used within one call. */
const before = new Uint16Array(BLOCK_PAGES + 1);

/**
 * Marks in `grown` (1 = bring it, else 0) the pages to prefetch. `wanted[i]` is nonzero for the
 * pages that faulted, `resident[i]` for those that are on the device; neither is marked. All three
 * have BLOCK_PAGES elements. Without `byDensity` faults are grown to their 64 KiB and no further.
 * Returns how many were marked.
 */
export function growBlock(
  wanted: Uint8Array,
  resident: Uint8Array,
  grown: Uint8Array,
  byDensity: boolean,
): number {
  grown.fill(0);
  for (let page = 0; page < BLOCK_PAGES; page++) {
    if (wanted[page] === 0) continue;
    const start = page & ~(GROWN_PAGES - 1);
    grown.fill(1, start, start + GROWN_PAGES);
    page = start + GROWN_PAGES - 1;
  }
  if (byDensity) growByDensity(wanted, resident, grown);
  let count = 0;
  for (let page = 0; page < BLOCK_PAGES; page++) {
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
