/**
 * @module The state of an address space as tables for reports: lifetimes, page table. Its reads are
 * no accesses for the checker. It shows that memory is freed.
 */

import { Hmm } from "../../hmm/hmm-struct.ts";
import type { Machine } from "../../memory/machine.ts";
import { POISON_FREE } from "../../memory/layout/poison.ts";
import { Mm } from "../../mm/mm-struct.ts";
import { leafOf, pteIndex } from "../../mmu/radix-table.ts";
import { PTE_PRESENT, PTE_TRACKED, PTE_WRITE, pteKind, ptePfn } from "../../mm/pte.ts";
import type { StateTable } from "../scenario.ts";

/** The tables of an address space, for pages [startPage, endPage). */
export function describeSpace(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
): StateTable[] {
  return [lifetimes(machine, mm), pageTable(machine, mm, startPage, endPage)];
}

/** The page's entry in the page table, 0 if there is none. */
export function entryOfPage({ memory }: Machine, mm: Mm, page: number): number {
  const pgd = memory.words[mm.at + Mm.offset.pgd]!;
  const leaf = pgd === 0 ? 0 : leafOf(memory, pgd, page);
  return leaf === 0 ? 0 : memory.words[pteIndex(leaf, page)]!;
}

function lifetimes({ memory }: Machine, mm: Mm): StateTable {
  const { words } = memory;
  const rows: string[][] = [];
  if (words[mm.at] === POISON_FREE) rows.push(["mm", "freed", ""]);
  else {
    rows.push([
      "mm",
      counted(words[mm.at + Mm.offset.users]!, "user"),
      counted(words[mm.at + Mm.offset.count]!, "holder"),
    ]);
    const hmm = words[mm.at + Mm.offset.hmm]!;
    if (hmm !== 0 && words[hmm] === POISON_FREE) rows.push(["hmm", "freed", ""]);
    else if (hmm !== 0) {
      const inFlight = words[hmm + Hmm.offset.notifiers]!;
      rows.push([
        "hmm",
        counted(words[hmm + Hmm.offset.refs]!, "reference"),
        `${counted(inFlight, "invalidation")} in flight`,
      ]);
    }
  }
  return { title: "lifetimes", rows };
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function pageTable(machine: Machine, mm: Mm, startPage: number, endPage: number): StateTable {
  const rows: string[][] = [];
  if (machine.memory.words[mm.at] !== POISON_FREE) {
    for (let page = startPage; page < endPage; page++) {
      rows.push([`page ${page}`, ...entryInWords(entryOfPage(machine, mm, page))]);
    }
  }
  return { title: "page table", columns: ["", "frame", "rights"], rows };
}

function entryInWords(pte: number): [string, string] {
  if (pte === POISON_FREE) return ["", "table freed"];
  if ((pte & PTE_PRESENT) === 0)
    return pte === 0 ? ["none", ""] : [`${ptePfn(pte)}`, `not present, kind ${pteKind(pte)}`];
  const rights = (pte & PTE_WRITE) === 0 ? "read" : "read, write";
  return [`${ptePfn(pte)}`, (pte & PTE_TRACKED) === 0 ? rights : `${rights}; a device may read it`];
}
