/**
 * @module Everything that a user of an address space can rely on, as a text, to be compared:
 * what is mapped, what each page says and may be done with, and the counts that keep it all.
 * Frames and objects have no names in it, so that two spaces with the same history read the
 * same. Plain looks, no steps.
 */

import type { HmmHarness } from "../../../src/checker/harness/hmm-harness.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import { rangesOf } from "../../../src/hmm/range-tree.ts";
import type { List } from "../../../src/memory/layout/list.ts";
import type { Machine } from "../../../src/memory/machine.ts";
import type { Mm } from "../../../src/mm/mm-struct.ts";
import { LEAF_WORDS, TASK_SIZE_PAGES, wordAt } from "../../../src/mmu/radix-table.ts";
import {
  PTE_PRESENT,
  PTE_SPECIAL,
  PTE_TRACKED,
  PTE_WRITE,
  holdsFrame,
  ptePfn,
} from "../../../src/mm/pte.ts";
import { PageCache, cacheEntryPfn } from "../../../src/mm/vma/page-cache.ts";
import { isBeyondSource } from "../../../src/mm/vma/vma-source.ts";
import {
  VM_BUFFER,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
  type Vma,
  vmasIn,
} from "../../../src/mm/vma/vma.ts";
import { listedResources } from "../../../src/sync/lockdep/resources.ts";

/** How much of a state is told. */
export interface Telling {
  /** Without what only a fault can tell: which entries are there and which are writable. */
  readonly withoutEntries?: boolean;
}

/** The state of `mm`, a line for each mapping, page and count. */
export function spaceState(
  harness: HmmHarness,
  mm: Mm = harness.mm,
  telling: Telling = {},
): string {
  const { machine } = harness;
  const { memory } = machine;
  const lines: string[] = [];
  for (const vma of vmasIn(memory, mm, 0, TASK_SIZE_PAGES)) {
    lines.push(mapping(machine, vma));
    for (let page = vma.startPage; page < vma.endPage; page++) {
      const entry = telling.withoutEntries === true ? "" : ` ${entryText(harness, mm, page)}`;
      lines.push(`  ${page}: ${contentsOf(harness, mm, vma, page)}${entry}`);
    }
  }
  lines.push(
    `${mm.users.read()} users, ${mm.count.read()} counts, ${mm.vmaCount} vmas, ${mm.mappedPages} pages`,
  );
  lines.push(
    `${listedResources(memory, memory.record).length} things owned, ${lengthOf(mm.holds)} write views`,
  );
  lines.push(mirrors(machine, mm));
  return lines.join("\n");
}

/**
 * What is mapped in `mm`, by pages from `firstPage` on, with the first word of each page: `0-2 rw:
 * 100 0, 8-9 r buffer: 7`.
 */
export function mapped(harness: HmmHarness, firstPage: number, mm: Mm = harness.mm): string {
  const { machine } = harness;
  const all = [...vmasIn(machine.memory, mm, 0, TASK_SIZE_PAGES)].map((vma) => {
    const { startPage, endPage, flags } = vma;
    const words = Array.from(
      { length: endPage - startPage },
      (_, i) => contentsOf(harness, mm, vma, startPage + i) ?? "x",
    );
    const source =
      (flags & VM_SHARED) === 0 ? "" : (flags & VM_BUFFER) === 0 ? " shared" : " buffer";
    return `${startPage - firstPage}-${endPage - firstPage} ${rightsOf(vma)}${source}: ${words.join(" ")}`;
  });
  return all.join(", ");
}

function rightsOf({ flags }: Vma): string {
  return `${(flags & VM_READ) === 0 ? "-" : "r"}${(flags & VM_WRITE) === 0 ? "-" : "w"}`;
}

/** The first word of a page, as a load would read it; nothing where what is mapped ends before. */
export function contentsOf(
  harness: HmmHarness,
  mm: Mm,
  vma: Vma,
  page: number,
): number | undefined {
  const { machine } = harness;
  if (isBeyondSource(machine, vma, page)) return undefined;
  const pte = harness.entryOf(page, mm);
  const pfn = holdsFrame(pte)
    ? ptePfn(pte)
    : frameOfSource(machine, vma, vma.offsetPages + (page - vma.startPage));
  return pfn === 0 ? 0 : machine.ram.sections.of(pfn).i32[machine.ram.sections.wordIndex(pfn)]!;
}

/** The frame of a shared source, 0 where it has none yet. */
function frameOfSource({ memory }: Machine, { flags, source }: Vma, offset: number): number {
  if (source === 0) return 0;
  if ((flags & VM_BUFFER) !== 0) return source + offset;
  const { directory, pages } = PageCache.at(memory, source);
  const table =
    offset < pages ? wordAt(memory.words, directory + Math.floor(offset / LEAF_WORDS)) : 0;
  return table === 0 ? 0 : cacheEntryPfn(wordAt(memory.words, table + (offset % LEAF_WORDS)));
}

function mapping({ memory, ram }: Machine, vma: Vma): string {
  const { startPage, endPage, flags, source, offsetPages } = vma;
  const place = `${startPage}-${endPage} ${rightsOf(vma)}`;
  if ((flags & VM_SHARED) === 0) return place;
  const isBuffer = (flags & VM_BUFFER) !== 0;
  const references = isBuffer
    ? ram.refs.pageCount(source)
    : PageCache.at(memory, source).refs.read();
  return `${place} ${isBuffer ? "buffer" : "shared"} from ${offsetPages}, ${references} references`;
}

/** What may be done with the page, and how many have its frame. */
function entryText(harness: HmmHarness, mm: Mm, page: number): string {
  const pte = harness.entryOf(page, mm);
  if (pte === 0) return "no entry";
  if ((pte & PTE_SPECIAL) !== 0) return "zeros";
  const rights = (pte & PTE_PRESENT) === 0 ? "none" : (pte & PTE_WRITE) === 0 ? "read" : "write";
  const tracked = (pte & PTE_TRACKED) === 0 ? "" : " tracked";
  return `${rights}${tracked}, ${harness.machine.ram.refs.pageCount(ptePfn(pte))} have its frame`;
}

function mirrors({ memory }: Machine, mm: Mm): string {
  if (mm.hmm === 0) return "no hmm";
  const hmm = Hmm.at(memory, mm.hmm);
  const hung = `${lengthOf(hmm.mirrors)} mirrors, ${rangesOf(hmm).length} ranges`;
  return `${hmm.refs.read()} references of the hmm, ${hung}, ${hmm.notifiers} in flight`;
}

function lengthOf(list: List): number {
  return [...list.nodes()].length;
}
