/**
 * @module mm/calls/page-arguments
 * The addresses and lengths of a call, which are bytes, as pages. -1 or undefined: the call answers
 * EINVAL, unless it says otherwise.
 */

import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import { PAGE_BYTES } from "../pte.ts";

/** A length in whole pages; -1 if it is not a positive safe integer, or exceeds the addresses. */
export function lengthPagesOf(lengthBytes: number): number {
  if (!Number.isSafeInteger(lengthBytes) || lengthBytes <= 0) return -1;
  const pages = Math.ceil(lengthBytes / PAGE_BYTES);
  return pages <= TASK_SIZE_PAGES ? pages : -1;
}

/**
 * Whether mprotect, madvise and the old range of mremap take the length: 0 or more. How far it
 * reaches is checked later.
 */
export function isLengthOrZero(lengthBytes: number): boolean {
  return Number.isSafeInteger(lengthBytes) && lengthBytes >= 0;
}

/** The page of a page-aligned address, which may lie past the end of addresses; or -1. */
export function alignedPageOf(address: number): number {
  return Number.isSafeInteger(address) && address >= 0 && address % PAGE_BYTES === 0
    ? address / PAGE_BYTES
    : -1;
}

/** As `alignedPageOf`, and -1 also past the end of addresses. */
export function pageOf(address: number): number {
  const page = alignedPageOf(address);
  return page <= TASK_SIZE_PAGES ? page : -1;
}

/** A page-aligned range inside the addresses, or undefined. */
export function pagesOf(
  address: number,
  lengthBytes: number,
): { startPage: number; endPage: number } | undefined {
  const startPage = pageOf(address);
  const pages = lengthPagesOf(lengthBytes);
  if (startPage < 0 || pages < 0 || startPage + pages > TASK_SIZE_PAGES) return undefined;
  return { startPage, endPage: startPage + pages };
}
