/**
 * @module A thread has died while it made an address space or a page cache: it has its top table,
 * and nobody else knows it. Who gives it back dies, too (inheriting.ts).
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { beginInvalidation } from "../../../../src/mm/entries/invalidation.ts";
import { runOf, runUsedOf } from "../../../../src/mm/entries/run.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PageCache } from "../../../../src/mm/vma/page-cache.ts";
import { PGD_WORDS } from "../../../../src/mmu/radix-table.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { resourceKind } from "../../../../src/sync/lockdep/resources.ts";
import type { Covered } from "../covered.ts";
import { inheriting } from "./inheriting.ts";

/** What a space is until it has a user (mm/lifetime/mm.ts). */
const MM_MAKING: number = resourceKind("address space being made");
/** What a cache is until it is whole (mm/vma/page-cache.ts). */
const CACHE_MAKING: number = resourceKind("page cache being made");

function ownSpace(harness: HmmHarness): void {
  const { heap } = harness.machine;
  const at = harness.run(heap.alloc(Mm, MM_MAKING));
  const table = harness.run(heap.allocWords(PGD_WORDS, at + Mm.offset.pgd));
  assert(at > 0 && table > 0, "a space can be had");
}

function ownCache(harness: HmmHarness): void {
  const { heap, memory } = harness.machine;
  const at = harness.run(heap.alloc(PageCache, CACHE_MAKING));
  const cache = PageCache.at(memory, at);
  cache.directoryWords = 512;
  const table = harness.run(heap.allocWords(512, at + PageCache.offset.directory));
  assert(at > 0 && table > 0, "a cache can be had");
}

/** Pages without a frame, which are about to get a row of them. */
const ROW_PAGE: number = HARNESS_PAGE + 2;
const ROW_PAGES = 3;

/** Each of the row's frames has a reference for its page, and no page has got it yet. */
function ownRow(harness: HmmHarness): void {
  const { machine, mm } = harness;
  const { memory, ram } = machine;
  const at = harness.run(beginInvalidation(mm, ROW_PAGE, ROW_PAGE + ROW_PAGES));
  const note = runOf(memory, at, ROW_PAGES);
  const pfn = harness.run(ram.allocRun(ROW_PAGES, true, false, note));
  assert(pfn > 0, "a row of frames can be had");
  memory.words[runUsedOf(at)] = 1;
}

export const heirsOfMaking: readonly Covered[] = [
  inheriting("mm", {
    name: "space-being-made",
    summary: "A thread has died that made a space; who gives it back dies, too.",
    runs: ["mm/lifetime/mm.unmake"],
    prepare: () => undefined,
    own: ownSpace,
  }),
  inheriting("mm", {
    name: "cache-being-made",
    summary: "A thread has died that made a page cache; who gives it back dies, too.",
    runs: ["mm/vma/page-cache.freeDirectory"],
    prepare: () => undefined,
    own: ownCache,
  }),
  inheriting("mm", {
    name: "untouched-row",
    summary:
      "A thread has died that was about to give pages a row of frames; who puts those dies, too.",
    runs: ["mm/entries/run.putUnset"],
    prepare: () => undefined,
    own: ownRow,
  }),
];
