/**
 * @module devices/webgpu/prefetch
 * Which pages are worth bringing with those that a pass has missed, as far as frames are free:
 * prefetching evicts nothing.
 *
 * - Advice of the program (madvise) comes first: random, and nothing is brought along; sequential,
 *   and each fault brings what follows it, up to the end of the mapping.
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
import type { AdvisedPages } from "./advised-pages.ts";
import type { FramePool } from "./frame-pool.ts";

const wanted = new Uint8Array(BLOCK_PAGES);
const resident = new Uint8Array(BLOCK_PAGES);
const grown = new Uint8Array(BLOCK_PAGES);

/** Pages of 64 KiB that must be wanted or there for the others to be taken. */
const GROWN_MIN = 4;
/** What is added at least where pages are used in order (madvise): 256 KiB. */
const SEQUENTIAL_PAGES = 64;
/** Pages of a run that is doubled, at least; and what is added to it at most. */
const RUN_MIN = 2;
const RUN_ADDED_MAX = 8192;

/** What a batch that asks for `wants` brings along, beside frames for those that are not there. */
export function prefetchFor(
  wants: ReadonlyMap<number, PageWant>,
  pool: FramePool,
  advised: AdvisedPages,
): Map<number, PageWant> {
  const early = new Map<number, PageWant>();
  let room = pool.freeFrames;
  const reads: number[] = [];
  for (const [page, want] of wants) {
    if (pool.frameOf(page) === 0) room--;
    if (want === WANT_READ && !advised.isRandom(page)) reads.push(page);
  }
  if (room <= 0 || reads.length === 0) return early;
  reads.sort((a, b) => a - b);
  const plan: Plan = { wants, early, pool, advised, room };
  growParts(reads, plan);
  doubleRuns(reads, plan);
  return early;
}

/** What is prefetched for one batch. */
interface Plan {
  readonly wants: ReadonlyMap<number, PageWant>;
  readonly early: Map<number, PageWant>;
  readonly pool: FramePool;
  readonly advised: AdvisedPages;
  /** Free frames that are left. */
  room: number;
}

function growParts(reads: readonly number[], plan: Plan): void {
  for (let i = 0; i < reads.length && plan.room > 0;) {
    const block = partOf(reads[i] ?? 0, BLOCK_PAGES);
    let isDense = false;
    wanted.fill(0);
    while (i < reads.length && partOf(reads[i] ?? 0, BLOCK_PAGES) === block) {
      const part = partOf(reads[i] ?? 0, GROWN_PAGES);
      const first = i;
      while (i < reads.length && partOf(reads[i] ?? 0, GROWN_PAGES) === part) i++;
      const asked = reads.slice(first, i);
      if (!isDensePart(part, asked, plan)) continue;
      isDense = true;
      for (const page of asked) wanted[page - block] = 1;
    }
    if (isDense) growOne(block, plan);
  }
}

/** Whether enough of 64 KiB is asked for, or there. */
function isDensePart(part: number, asked: readonly number[], { pool }: Plan): boolean {
  let there = asked.length;
  for (let page = part; page < part + GROWN_PAGES && there < GROWN_MIN; page++)
    if (pool.frameOf(page) !== 0 && !asked.includes(page)) there++;
  return there >= GROWN_MIN;
}

/** By `wanted`, of this block. */
function growOne(block: number, plan: Plan): void {
  const { pool } = plan;
  for (let i = 0; i < BLOCK_PAGES; i++) resident[i] = pool.frameOf(block + i) === 0 ? 0 : 1;
  growBlock(wanted, resident, grown, true);
  for (let i = 0; i < BLOCK_PAGES; i++) if (grown[i] === 1) prefetchPage(block + i, plan);
}

function doubleRuns(reads: readonly number[], plan: Plan): void {
  const { wants, early, pool, advised } = plan;
  let [start, end] = [0, 0];
  const isThere = (page: number): boolean =>
    wants.has(page) || early.has(page) || pool.frameOf(page) !== 0;
  for (let i = 0; i < reads.length && plan.room > 0; i++) {
    const first = reads[i] ?? 0;
    if (first < end) continue; // of the run before
    const endBefore = end;
    let from = first;
    while (from > endBefore && first - from < RUN_ADDED_MAX && isThere(from - 1)) from--;
    if (from > endBefore || endBefore === 0) start = from;
    end = first + 1;
    while (end - first < RUN_ADDED_MAX && isThere(end)) end++;
    const isSequential = advised.isSequential(first);
    if (end - start < RUN_MIN && !isSequential) continue;
    const least = isSequential ? SEQUENTIAL_PAGES : 0;
    const added = Math.min(Math.max(end - start, least), RUN_ADDED_MAX);
    const addedEnd = Math.min(end + added, advised.endOf(first));
    for (; end < addedEnd && plan.room > 0; end++) prefetchPage(end, plan);
  }
}

function prefetchPage(page: number, plan: Plan): void {
  const { wants, early, pool, advised } = plan;
  if (plan.room === 0 || wants.has(page) || early.has(page) || pool.frameOf(page) !== 0) return;
  if (advised.isRandom(page)) return;
  early.set(page, WANT_PREFETCH);
  plan.room--;
}

function partOf(page: number, pages: number): number {
  return page - (page % pages);
}
