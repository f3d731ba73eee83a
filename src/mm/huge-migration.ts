/**
 * @module mm/huge-migration
 * How a huge page of a migration (mm/migration.ts) ends: all of its entries at once. Which huge
 * pages a migration has, and when one is split, is migrate/migrate-huge.ts.
 */

import { DeviceMemory, setDevicePageHint } from "../memory/frames/device-frames.ts";
import type { Machine } from "../memory/machine.ts";
import { wordAt } from "../mmu/radix-table.ts";
import type { Task } from "../sync/tasks/task.ts";
import {
  HUGE_PAGES,
  hugeLeafAt,
  isHugeAt,
  rewriteHuge,
  rewriteHugeNoted,
  splitIfDead,
} from "./huge.ts";
import type { Mm } from "./mm-struct.ts";
import { KIND_MIGRATION, makeNonPresent, ptePfn } from "./pte.ts";

/** Of `old`: the page has no migration entry. No entry is this: a kind that there is not. */
export const NOT_ISOLATED = 0x0e;

/** The pages of a migration, as far as this file needs them. */
interface HugeMoving {
  readonly machine: Machine;
  readonly mm: Mm;
  readonly startPage: number;
  readonly old: Int32Array;
}

/** Words that note how far the entries of a huge page are new; 0: none. */
export interface HugeNotes {
  /** Becomes the number of the page behind each in the step in which that is in its new frame. */
  readonly next: number;
  /** Before that: one more than the number of the first. */
  readonly hugeAt: number;
}

export const NO_NOTES: HugeNotes = { next: 0, hugeAt: 0 };

/** Whether page `i` of the migration is the first of a huge page that is isolated. */
export function startsHuge({ machine, mm, startPage, old }: HugeMoving, i: number): boolean {
  const page = startPage + i;
  const isWhole = page % HUGE_PAGES === 0 && i + HUGE_PAGES <= old.length;
  return isWhole && old[i] !== NOT_ISOLATED && isHugeAt(machine.memory, mm, page);
}

/**
 * Gives all pages of a huge page, of which page `i` is the first, the entries that begin with
 * `head`. False: it was split since, or cleared, and nothing has changed: its pages end one by one.
 *
 * @stepped pte
 */
export function* replaceHuge(
  { machine, mm, startPage, old }: HugeMoving,
  i: number,
  head: number,
  { next, hugeAt }: HugeNotes,
): Task<boolean> {
  const { memory } = machine;
  const { words } = memory;
  yield* mm.pageTableLock.lock();
  const leaf = hugeLeafAt(memory, mm, startPage + i);
  const entry = makeNonPresent(KIND_MIGRATION, ptePfn(old[i]!));
  const isOurs = leaf !== 0 && wordAt(words, leaf) === entry;
  if (isOurs) splitIfDead(memory, mm, startPage + i, mm.pageTableLock.at);
  if (isOurs && next === 0) rewriteHuge(words, leaf, head);
  if (isOurs && next !== 0) {
    noteHuge(words, hugeAt, i);
    rewriteHugeNoted(words, leaf, head, next, i);
  }
  yield* mm.pageTableLock.unlock();
  return isOurs;
}

/** In the record of the migration. */
function noteHuge(words: Int32Array, hugeAt: number, i: number): void {
  words[hugeAt] = i + 1;
}

/** Says of the frames of a huge page where they are put, for an eviction; of RAM nothing. */
export function hintHuge({ memory, ram }: Machine, pfn: number, page: number): void {
  if (pfn < ram.ownEndPfn) return;
  const device = DeviceMemory.at(memory, ram.sections.deviceOf(pfn));
  setDevicePageHint(device, pfn, page, HUGE_PAGES);
}
