/**
 * @module The data of a whole page: copied, zeroed, poisoned. With plain accesses; the caller keeps
 * writers away. To an explorer all data of a page is one word (`dataNumber` of ram-section.ts), and
 * a copy is a read of one page and a write of another: a store to the old page after the read is
 * lost.
 */

import { EXPLORED } from "../../sync/shared-memory.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { DONE, access } from "../../sync/tasks/task.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { POISON_FREE } from "../layout/poison.ts";
import { PAGE_BYTES, PAGE_WORDS, dataNumber } from "./ram-section.ts";
import type { RamSection } from "./ram-section.ts";

/** To copy from, where there is no `bulk`: 190 ns; `fill` on shared memory takes 350. */
const ZEROS = new Int32Array(PAGE_WORDS);

/**
 * The kind of access. `peek`: the frame may have been freed, and the caller notices that
 * afterwards.
 */
export type DataAccess = "read" | "peek" | "write";

/** Tells an explorer that the caller is about to access the data of a page. */
export function dataStep(memory: SharedMemory, kind: DataAccess, pfn: number): Task<void> {
  return access(memory, kind, dataNumber(pfn), 1, "page data");
}

/**
 * The same of `pages` pages in a row, whose data are accessed at once. To go through them for a
 * thread that nobody explores took 3 % of a copy.
 */
export function dataSteps(
  memory: SharedMemory,
  kind: DataAccess,
  pfn: number,
  pages: number,
): Task<void> {
  return memory.mode === EXPLORED ? eachDataStep(memory, kind, pfn, pages) : DONE;
}

function* eachDataStep(
  memory: SharedMemory,
  kind: DataAccess,
  pfn: number,
  pages: number,
): Task<void> {
  for (let i = 0; i < pages; i++) yield* dataStep(memory, kind, pfn + i);
}

/**
 * Copies page `fromPfn`, of section `from`, to `toPfn`, of section `to`. `kind`: how the first one
 * is read.
 */
export function copyPage(
  memory: SharedMemory,
  from: RamSection,
  fromPfn: number,
  to: RamSection,
  toPfn: number,
  kind: "read" | "peek",
): Task<void> {
  if (memory.mode === EXPLORED) return copyInSteps(memory, from, fromPfn, to, toPfn, kind);
  copyPages(from, fromPfn, to, toPfn, 1);
  return DONE;
}

function* copyInSteps(
  memory: SharedMemory,
  from: RamSection,
  fromPfn: number,
  to: RamSection,
  toPfn: number,
  kind: "read" | "peek",
): Task<void> {
  yield* dataStep(memory, "write", toPfn);
  yield* dataStep(memory, kind, fromPfn);
  copyPages(from, fromPfn, to, toPfn, 1);
}

/** The data of pages in a row. It is no step. */
export function copyPages(
  from: RamSection,
  fromPfn: number,
  to: RamSection,
  toPfn: number,
  pages: number,
): void {
  if (from.bulk !== undefined && to.bulk !== undefined) {
    const fromByte = from.bulkByte(fromPfn);
    if (to.bulk.copy(to.bulkByte(toPfn), from.bulk, fromByte, pages * PAGE_BYTES)) return;
  }
  const start = from.wordIndex(fromPfn);
  const target = to.wordIndex(toPfn);
  const end = start + pages * PAGE_WORDS;
  if (from === to) to.i32.copyWithin(target, start, end);
  else to.i32.set(from.i32.subarray(start, end), target);
}

export function zeroPage(section: RamSection, pfn: number): void {
  if (section.bulk !== undefined) section.bulk.clear(section.bulkByte(pfn), PAGE_BYTES);
  else section.i32.set(ZEROS, section.wordIndex(pfn));
}

/**
 * For debug builds and explorers: poisons a page that is freed, so that a load through a stale
 * translation is noticed.
 */
export function poisonPage(section: RamSection, pfn: number): void {
  const start = section.wordIndex(pfn);
  section.i32.fill(POISON_FREE, start, start + PAGE_WORDS);
}
