/**
 * @module mm/source/mappings Every mapping of a source, in every space. Follows the walks of
 * Linux's `i_mmap` (`mm/rmap.c`, `unmap_mapping_range`), but takes the mmap lock of one space after
 * the other, and no lock of the source meanwhile: spaces that are added during the walk are visited
 * too (B3 of vma/source.ts), and in one that is added after it, every entry is made after the walk.
 */

import type { PlainField } from "../../memory/layout/struct.ts";
import type { Machine } from "../../memory/machine.ts";
import { pteAt } from "../../mmu/radix-table.ts";
import { EVENT_CLEAR, invalidateRange } from "../../notifier/events.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { mmput } from "../lifetime/mm.ts";
import { mmapWriteLock } from "../migration.ts";
import type { Mm } from "../mm-struct.ts";
import { holdsFrame, ptePfn } from "../pte.ts";
import type { PageCache } from "../vma/page-cache.ts";
import { type Source, nextMapper } from "../vma/source.ts";
import { nextVma } from "../vma/vma-tree.ts";
import { type PageRange, VM_BACKED, Vma, type VmaPart } from "../vma/vma.ts";
import { zapRange } from "../entries/zap.ts";

const SOURCE: PlainField = Vma.plain("source");

/**
 * Calls `visit` for what each mapping has of the source's pages [startPage, endPage), holding the
 * mmap lock of its space for reading or writing. Holding no lock; the caller has a reference of the
 * cache. It may drop the last user of a space that exits meanwhile.
 */
export function* forEachMapping(
  machine: Machine,
  cache: PageCache,
  source: Source,
  pages: PageRange,
  mode: "read" | "write",
  visit: (mm: Mm, part: VmaPart) => Task<void>,
): Task<void> {
  for (let after = 0; ;) {
    const found = yield* nextMapper(cache, source, after);
    if (found === undefined) return;
    const { mm, slot } = found;
    after = found.number;
    if (mode === "read") yield* mm.mmapLock.downRead();
    else yield* mmapWriteLock(machine, mm);
    for (const part of partsOf(machine, mm, cache.at, pages)) yield* visit(mm, part);
    if (mode === "read") yield* mm.mmapLock.upRead();
    else yield* mm.mmapLock.upWrite();
    yield* mmput(machine, mm, slot);
  }
}

/** The parts of one space. Holding its mmap lock. */
function* partsOf(
  machine: Machine,
  mm: Mm,
  cache: number,
  { startPage, endPage }: PageRange,
): Generator<VmaPart, void, void> {
  const { memory } = machine;
  // A space may have tens of thousands: no view is made of those that map something else.
  for (let at = mm.vmaFirst; at !== 0; at = nextVma(memory, at)) {
    if (SOURCE.load(memory, at) !== cache) continue;
    const vma = Vma.at(memory, at);
    if ((vma.flags & VM_BACKED) === 0) continue;
    const firstPage = vma.startPage + Math.max(0, startPage - vma.offsetPages);
    const pastPage = Math.min(vma.endPage, vma.startPage + (endPage - vma.offsetPages));
    if (firstPage < pastPage) yield { vma, startPage: firstPage, endPage: pastPage };
  }
}

/**
 * No space maps the pages any more. Private copies go only with `evenCopies`: the store has no such
 * page. `isWanted` is asked for each mapping, holding the mmap lock of its space for writing.
 * Linux: `unmap_mapping_range`.
 */
export function* unmapPages(
  machine: Machine,
  cache: PageCache,
  source: Source,
  startPage: number,
  endPage: number,
  evenCopies: boolean,
  isWanted?: () => Task<boolean>,
): Task<void> {
  if (startPage >= endPage) return;
  const pages = { startPage, endPage };
  yield* forEachMapping(machine, cache, source, pages, "write", function* (mm, part) {
    if (isWanted !== undefined && !(yield* isWanted())) return;
    if (!evenCopies) yield* unmapCached(machine, mm, cache.at, part);
    else
      yield* zapRange(machine, mm, invalidateRange(mm, part.startPage, part.endPage, EVENT_CLEAR));
  });
}

/**
 * Clears the entries that have frames of the cache, run by run; copies stay. Holding the mmap lock
 * for writing: a fault might replace the frame by a copy after it was judged.
 */
export function* unmapCached(
  machine: Machine,
  mm: Mm,
  cache: number,
  { startPage, endPage }: PageRange,
): Task<void> {
  for (let page = startPage; page < endPage;) {
    let end = page;
    while (end < endPage && isCachePage(machine, mm, cache, end)) end++;
    if (end > page) yield* zapRange(machine, mm, invalidateRange(mm, page, end, EVENT_CLEAR));
    page = end + 1;
  }
}

/** Whether the page's entry has a frame of the cache, and no copy. Holding the mmap lock. */
function isCachePage(machine: Machine, mm: Mm, cache: number, page: number): boolean {
  const pte = pteAt(machine.memory, mm.pgd, page);
  return holdsFrame(pte) && machine.ram.refs.mappingOf(ptePfn(pte)) === cache;
}
