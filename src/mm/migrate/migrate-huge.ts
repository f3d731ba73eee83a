/**
 * @module mm/migrate/migrate-huge
 * Huge pages (mm/huge.ts) in the steps of migrate-vma.ts. Follows Linux
 * `migrate_vma_collect_huge_pmd` and `migrate_vma_insert_huge_pmd_page`.
 *
 *   V1  A huge page that lies in the range as a whole is isolated as one, under pageTableLock: all
 *       512 entries become migration entries, and MID_HUGE stays. From then on the entries are the
 *       migration's. Nobody else changes them, but for a zap, which clears the bit first if it
 *       clears a part (then the migration ends page by page, as always).
 *   V2  A driver gets 512 frames in a row for it, if there are any, and copies once. If not, frames
 *       one by one. Before the pages end, the page is split, unless all of its pages move into
 *       frames in a row, or none moves: so at the end the entries are those of one huge page again.
 *   V3  While they end, one by one or all at once, a reader of the bit may read an entry that is in
 *       its new frame, and conclude the ones behind it, which are not yet. That is right a moment
 *       early: the contents are there, and nobody uses the old frames.
 */

import { notedFrame } from "../../memory/frames/frame-allocator.ts";
import type { Machine } from "../../memory/machine.ts";
import { midEntryOf, wordAt } from "../../mmu/radix-table.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { storeNoted } from "../../sync/atomics.ts";
import {
  HUGE_PAGES,
  type LinkNotes,
  hugeLeafAt,
  hugePte,
  isHugeAt,
  linkHuge,
  splitHuge,
  splitIfDead,
} from "../huge.ts";
import { startsHuge } from "../huge-migration.ts";
import type { MovingPages } from "../migration-record.ts";
import type { Mm } from "../mm-struct.ts";
import { KIND_MIGRATION, ZERO_PFN, makeNonPresent, ptePfn } from "../pte.ts";
import { mayBeHuge } from "../vma/huge-vma.ts";
import type { Vma } from "../vma/vma.ts";

/**
 * Where nothing was touched yet and huge pages are wanted, links an empty one, to be moved as one.
 * Holding the mmap lock.
 */
export function* prepareHuge(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  page: number,
  notes: LinkNotes,
): Task<void> {
  const isUntouched = midEntryOf(machine.memory, mm.pgd, page) === 0;
  if (isUntouched && mayBeHuge(mm, vma, page)) yield* linkHuge(machine, mm, page, 0, notes);
}

/** What a migration wants of a huge page. */
interface Isolation {
  /** The word that notes a reference in hand. */
  readonly hand: number;
  /** Whether it wants the huge page with that entry 0. */
  readonly mayMove: (head: number) => boolean;
  /** What `src` says of a page with that entry. */
  readonly sourceOf: (pte: number) => number;
}

/**
 * Isolates the huge page from `page` on: entry by entry, so that a thread that dies in it leaves a
 * split page of which some entries are the migration's (Q4 of mm/migration.ts). HUGE_ISOLATED;
 * HUGE_NONE: it is none, or split now, because some of it is pinned; HUGE_STAYS. V1.
 *
 * @stepped pte
 */
export function* isolateHuge(
  moving: MovingPages,
  page: number,
  isolation: Isolation,
): Task<HugeAnswer> {
  const { machine, mm } = moving;
  const { memory, ram } = machine;
  if (!isHugeAt(memory, mm, page)) return HUGE_NONE;
  yield* mm.pageTableLock.lock();
  const leaf = hugeLeafAt(memory, mm, page);
  const head = leaf === 0 ? 0 : wordAt(memory.words, leaf);
  const pfn = ptePfn(head);
  let answer: HugeAnswer =
    leaf === 0 ? HUGE_NONE : isolation.mayMove(head) ? HUGE_ISOLATED : HUGE_STAYS;
  if (answer === HUGE_ISOLATED) {
    const isPinned = pfn !== ZERO_PFN && (yield* ram.refs.isAnyPinned(pfn, HUGE_PAGES));
    if (isPinned) answer = HUGE_NONE;
    else yield* isolateEach(moving, page, leaf, head, isolation);
  }
  yield* mm.pageTableLock.unlock();
  if (answer === HUGE_NONE) yield* splitHuge(machine, mm, page);
  return answer;
}

/** Each with its reference, and its note. Holding pageTableLock. */
function* isolateEach(
  { machine, mm, startPage, src, old }: MovingPages,
  page: number,
  leaf: number,
  head: number,
  { hand, sourceOf }: Isolation,
): Task<void> {
  const { memory, ram } = machine;
  const { words } = memory;
  const entry = makeNonPresent(KIND_MIGRATION, ptePfn(head));
  splitIfDead(memory, mm, page, mm.pageTableLock.at);
  for (let k = 0; k < HUGE_PAGES; k++) {
    const i = page - startPage + k;
    const pte = hugePte(head, k);
    const source = sourceOf(pte);
    const pfn = ptePfn(pte);
    if (pfn !== ZERO_PFN) ram.refs.pageGetNoted(pfn, hand, notedFrame(pfn));
    isolateEntry(words, leaf + k, hugePte(entry, k), hand);
    // No function is entered between these (H1 of sync/lockdep/held-locks.ts).
    old[i] = pte;
    src[i] = source;
  }
}

/** @stepped pte */
function isolateEntry(words: Int32Array, index: number, entry: number, hand: number): void {
  storeNoted(words, index, entry, words, hand);
}

/** All pages are the migration's. */
export const HUGE_ISOLATED = 0;

/** There is no huge page. */
export const HUGE_NONE = 1;
/** It is not moved. */
export const HUGE_STAYS = 2;

export type HugeAnswer = typeof HUGE_ISOLATED | typeof HUGE_NONE | typeof HUGE_STAYS;

/** V2, before the pages end. `moves` tells whether page i moves. */
export function* settleHuge(moving: MovingPages, moves: (i: number) => boolean): Task<void> {
  const { machine, mm, startPage, old } = moving;
  const first = (HUGE_PAGES - (startPage % HUGE_PAGES)) % HUGE_PAGES;
  for (let i = first; i < old.length; i += HUGE_PAGES)
    if (startsHuge(moving, i) && !endsAlike(moving, i, moves))
      yield* splitHuge(machine, mm, startPage + i);
}

/** Whether all pages of the huge page move into frames in a row, or none moves. */
function endsAlike({ dst }: MovingPages, i: number, moves: (i: number) => boolean): boolean {
  const isMoved = moves(i);
  if (isMoved && dst[i]! % HUGE_PAGES !== 0) return false;
  for (let k = 0; k < HUGE_PAGES; k++)
    if (moves(i + k) !== isMoved || (isMoved && dst[i + k] !== dst[i]! + k)) return false;
  return true;
}
