/**
 * @module mm/fault/fault-around Which pages a fault maps beside its own, where their frames are
 * there already: a fault costs more than fifteen entries. Linux: `do_fault_around` in
 * `mm/memory.c`, which does it for files, too, and not for stores.
 */

import { type PageRange, offsetOf } from "../vma/vma.ts";
import type { VmFault } from "./vm-fault.ts";

/** Linux: `fault_around_bytes`. A power of two, so all of them lie in one leaf. */
const AROUND_PAGES = 16;

/** Those of a source of `sourcePages` that lie in one row with `fault.page`, itself included. */
export function pagesAround({ vma, page }: VmFault, sourcePages: number): PageRange {
  const pastSource = page - offsetOf(vma, page) + sourcePages;
  const first = page - (page % AROUND_PAGES);
  return {
    startPage: Math.max(first, vma.startPage),
    endPage: Math.min(first + AROUND_PAGES, vma.endPage, pastSource),
  };
}
