/**
 * @module devices/webgpu/prefetch
 * Adds to the pages that a pass has missed those that are worth bringing with them, as far as
 * frames are free: prefetching evicts nothing.
 *
 * - Faults that follow each other: a run of pages, faulted or there, is doubled. So a kernel that
 *   goes through memory in order has twice as much with each batch.
 * - Faults that lie close together: a part of 64 KiB a quarter of which is wanted or there is taken
 *   whole, and from there on the tree of policy/prefetch.ts decides.
 *
 * A fault that is alone is left alone: one page of a hundred, at random, would else bring sixteen
 * (measured: 1 % of the pages of 128 MiB took 12 times as many).
 */

import { BLOCK_PAGES, GROWN_PAGES, growBlock } from "../policy/prefetch.ts";
import { type PageWant, WANT_PREFETCH, WANT_READ } from "./bring.ts";
import type { FramePool } from "./frame-pool.ts";

const wanted = new Uint8Array(BLOCK_PAGES);
const resident = new Uint8Array(BLOCK_PAGES);
const grown = new Uint8Array(BLOCK_PAGES);

/** Pages of 64 KiB that must be wanted or there for the others to be taken. */
const GROWN_MIN = 4;
/** Pages of a run that is doubled, at least; and what is added to it at most. */
const RUN_MIN = 2;
const RUN_ADDED_MAX = 8192;

export function addPrefetch(wants: Map<number, PageWant>, pool: FramePool): void {
  let room = pool.freeFrames - wants.size;
  if (room <= 0) return;
  const reads = [...wants.keys()].filter((page) => wants.get(page) === WANT_READ);
  reads.sort((a, b) => a - b);
  room = growParts(reads, wants, pool, room);
  doubleRuns(reads, wants, pool, room);
}

/** What is left of `room`. */
function growParts(
  reads: readonly number[],
  wants: Map<number, PageWant>,
  pool: FramePool,
  room: number,
): number {
  let left = room;
  for (let i = 0; i < reads.length && left > 0;) {
    const block = partOf(reads[i] ?? 0, BLOCK_PAGES);
    let isDense = false;
    wanted.fill(0);
    while (i < reads.length && partOf(reads[i] ?? 0, BLOCK_PAGES) === block) {
      const part = partOf(reads[i] ?? 0, GROWN_PAGES);
      const first = i;
      while (i < reads.length && partOf(reads[i] ?? 0, GROWN_PAGES) === part) i++;
      let there = i - first;
      for (let page = part; page < part + GROWN_PAGES && there < GROWN_MIN; page++)
        if (pool.frameOf(page) !== 0) there++;
      if (there < GROWN_MIN) continue;
      isDense = true;
      for (const page of reads.slice(first, i)) wanted[page - block] = 1;
    }
    if (isDense) left = growOne(block, wants, pool, left);
  }
  return left;
}

/** By `wanted`, of this block. What is left of `room`. */
function growOne(
  block: number,
  wants: Map<number, PageWant>,
  pool: FramePool,
  room: number,
): number {
  let left = room;
  for (let i = 0; i < BLOCK_PAGES; i++) resident[i] = pool.frameOf(block + i) === 0 ? 0 : 1;
  growBlock(wanted, resident, grown, true);
  for (let i = 0; i < BLOCK_PAGES && left > 0; i++)
    if (grown[i] === 1 && prefetchPage(block + i, wants)) left--;
  return left;
}

function doubleRuns(
  reads: readonly number[],
  wants: Map<number, PageWant>,
  pool: FramePool,
  room: number,
): void {
  let left = room;
  let [start, end] = [0, 0];
  const isThere = (page: number): boolean => wants.has(page) || pool.frameOf(page) !== 0;
  for (let i = 0; i < reads.length && left > 0; i++) {
    const first = reads[i] ?? 0;
    if (first < end) continue; // of the run before
    const endBefore = end;
    let from = first;
    while (from > endBefore && first - from < RUN_ADDED_MAX && isThere(from - 1)) from--;
    if (from > endBefore || endBefore === 0) start = from;
    end = first + 1;
    while (end - first < RUN_ADDED_MAX && isThere(end)) end++;
    if (end - start < RUN_MIN) continue;
    const addedEnd = end + Math.min(end - start, RUN_ADDED_MAX);
    for (; end < addedEnd && left > 0; end++) if (!isThere(end) && prefetchPage(end, wants)) left--;
  }
}

/** False: it is wanted anyway. */
function prefetchPage(page: number, wants: Map<number, PageWant>): boolean {
  if (wants.has(page)) return false;
  wants.set(page, WANT_PREFETCH);
  return true;
}

function partOf(page: number, pages: number): number {
  return page - (page % pages);
}
