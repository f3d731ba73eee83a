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
 *       frames in a row, or none moves: so at the end the entries are those of one huge page again,
 *       and get there under pageTableLock.
 *   V3  While they end, one by one or all at once, a reader of the bit may read an entry that is in
 *       its new frame, and conclude the ones behind it, which are not yet. That is right a moment
 *       early: the contents are there, and nobody uses the old frames.
 */

import type { Machine } from "../../memory/machine.ts";
import { midEntryOf, wordAt } from "../../mmu/radix-table.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { atomicStore } from "../../sync/atomics.ts";
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
import { MIGRATE_PFN_MIGRATE } from "../migration.ts";
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

/** Each with its note. Holding pageTableLock. */
function* isolateEach(
  { machine, mm, startPage, src, old }: MovingPages,
  page: number,
  leaf: number,
  head: number,
  { sourceOf }: Isolation,
): Task<void> {
  const { memory } = machine;
  const { words } = memory;
  const entry = makeNonPresent(KIND_MIGRATION, ptePfn(head));
  splitIfDead(memory, mm, page, mm.pageTableLock.at);
  // From page to page the entry and the source grow alike, but for the page of zeros.
  const step = hugePte(head, 1) - head;
  const first = page - startPage;
  const source = sourceOf(head);
  for (let k = 0; k < HUGE_PAGES; k++) {
    const i = first + k;
    isolateEntry(words, leaf + k, entry + k * step);
    // No function is entered between these (H1 of sync/lockdep/held-locks.ts).
    old[i] = head + k * step;
    src[i] = source + k * step;
  }
}

/** @stepped pte */
function isolateEntry(words: Int32Array, index: number, entry: number): void {
  atomicStore(words, index, entry);
}

/** All pages are the migration's. */
export const HUGE_ISOLATED = 0;

/** There is no huge page. */
export const HUGE_NONE = 1;
/** It is not moved. */
export const HUGE_STAYS = 2;

export type HugeAnswer = typeof HUGE_ISOLATED | typeof HUGE_NONE | typeof HUGE_STAYS;

/**
 * Whether page `i` of the migration is the first of a huge page that still is the migration's, and
 * moves into frames in a row. One entry speaks for all: U4 of mm/huge.ts.
 *
 * @stepped pte
 */
export function movesAsHuge(moving: MovingPages, i: number): boolean {
  const { machine, mm, startPage, dst, old } = moving;
  const { memory } = machine;
  const to = dst[i]!;
  if (to === 0 || to % HUGE_PAGES !== 0 || !startsHuge(moving, i)) return false;
  const leaf = hugeLeafAt(memory, mm, startPage + i);
  const entry = makeNonPresent(KIND_MIGRATION, ptePfn(old[i]!));
  return leaf !== 0 && wordAt(memory.words, leaf) === entry && isRow(moving, i);
}

/** Whether all pages from `i` on are marked, and move into frames in a row. */
function isRow({ src, dst }: MovingPages, i: number): boolean {
  const to = dst[i]!;
  for (let k = 0; k < HUGE_PAGES; k++)
    if ((src[i + k]! & MIGRATE_PFN_MIGRATE) === 0 || dst[i + k] !== to + k) return false;
  return true;
}

/**
 * V2, of a huge page of which page `i` is the first, if it is one and does not move as one. It is
 * split before any of its pages moves.
 */
export function* settleHuge(moving: MovingPages, i: number, moves: boolean): Task<void> {
  const { machine, mm, startPage } = moving;
  if (moves && startsHuge(moving, i)) yield* splitHuge(machine, mm, startPage + i);
}
