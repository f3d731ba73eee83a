/**
 * @module space/transfer
 * Bulk copies between an address space and the caller's bytes, through the page table.
 * Follows Linux `copy_to_user`, `copy_from_user`.
 *
 * Pages are copied inside a store (S1 of sync/primitives/shootdown.ts), also for reads. A thread
 * that takes a page away waits until the copy has ended, so the frames are the pages' during all of
 * it. Pages whose frames follow each other are copied as one row: a store's mark and a generator
 * for each page cost half as much as the copy itself. To check the generation afterwards, as single
 * loads do, would need a fence between copy and check, which JavaScript does not have.
 *
 * A copy of a page is not atomic: it may have part of what another thread stores meanwhile.
 */

import type { Machine } from "../memory/machine.ts";
import { PAGE_BYTES } from "../memory/ram.ts";
import { dataSteps } from "../memory/frames/page-data.ts";
import { cpuTranslate, framesInRow } from "../mm/fault/cpu-fault.ts";
import type { Mm } from "../mm/mm-struct.ts";
import { TASK_SIZE_PAGES } from "../mmu/radix-table.ts";
import { sectionUnlessMoved } from "../mmu/soft-tlb.ts";
import { atomicLoad } from "../sync/atomics.ts";
import { EAGAIN, EINVAL } from "../sync/errno.ts";
import { type HmmError, SegmentationFault } from "../sync/errors.ts";
import type { Task } from "../sync/tasks/task.ts";
import { checkArgument, someBytes, wholeNumber } from "../sync/argument-rules.ts";
import { customFailure, refusalBy } from "./failures.ts";

/**
 * Tries of one page. A try fails when the page is taken away between the walk and the copy.
 */
const COPY_TRIES_MAX = 1_000_000;
/** Pages copied inside one store: 13 to 20 us, for which an invalidation may have to wait. */
const ROW_PAGES_MAX = 64;

/**
 * Throws HmmError EINVAL for an address or bytes of the wrong kind, SegmentationFault where no
 * mapping can be.
 */
export function checkTransfer(syscall: "read" | "write", address: number, bytes: Uint8Array): void {
  const refuse = refusalBy(syscall, address);
  checkArgument(refuse, "the address", address, wholeNumber(0));
  checkArgument(refuse, "what holds the bytes", bytes, someBytes);
  if (bytes.length > 0 && address + bytes.length > TASK_SIZE_PAGES * PAGE_BYTES) {
    throw new SegmentationFault(address, syscall, "the range ends beyond the highest address");
  }
}

/**
 * Copies `bytes.length` bytes at `address` into `bytes`, or with `isWrite` the other way. Throws
 * SegmentationFault at the first page that no mapping allows, with everything before it copied;
 * HmmError ENOMEM likewise, and EINVAL if `bytes` is transferred or shrinks while a page is waited
 * for.
 */
export function* transfer(
  machine: Machine,
  mm: Mm,
  address: number,
  bytes: Uint8Array,
  isWrite: boolean,
): Task<void> {
  if (bytes.length === 0) return;
  // Not a subclass, whose methods may throw; and what shrinks has no length at all then.
  const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  const { length } = plain;
  for (let done = 0; done < length;) {
    if (plain.length === 0) throw bytesGone(address + done, isWrite);
    done += yield* copyRow(machine, mm, address + done, plain, done, isWrite);
  }
}

function bytesGone(address: number, isWrite: boolean): HmmError {
  return customFailure(
    isWrite ? "write" : "read",
    EINVAL,
    "the array was transferred or has shrunk meanwhile; keep it until the promise has settled",
    address,
  );
}

/**
 * Copies what lies in a row from `address` on, to or from the bytes from `first` on: within one
 * block of 2 MiB, as far as frame follows frame, ROW_PAGES_MAX pages at most. Returns how many.
 *
 * @stepped generation
 */
function* copyRow(
  machine: Machine,
  mm: Mm,
  address: number,
  bytes: Uint8Array,
  first: number,
  isWrite: boolean,
): Task<number> {
  const left = bytes.length - first;
  const page = Math.floor(address / PAGE_BYTES);
  const offset = address - page * PAGE_BYTES;
  const wantedPages = Math.min(Math.ceil((offset + left) / PAGE_BYTES), ROW_PAGES_MAX);
  const generationWord = mm.shootdown.generationWord(page);
  for (let tries = 0; tries < COPY_TRIES_MAX; tries++) {
    const { words } = machine.memory;
    const generation = atomicLoad(words, generationWord);
    const pfn = yield* cpuTranslate(machine, mm, page, isWrite, address);
    const section = sectionUnlessMoved(machine, pfn, generationWord, generation);
    if (section === undefined) continue;
    // Frames of a row that the section does not have belong to others: not read from its array.
    const most = Math.min(wantedPages, section.basePfn + section.pages - pfn);
    const pages = framesInRow(machine, mm, page, pfn, most, isWrite);
    const lengthBytes = Math.min(pages * PAGE_BYTES - offset, left);
    const start = (pfn - section.basePfn) * PAGE_BYTES + offset;
    yield* mm.shootdown.enterStore();
    const isCurrent = atomicLoad(words, generationWord) === generation;
    if (isCurrent) yield* dataSteps(machine.memory, isWrite ? "write" : "read", pfn, pages);
    // Whoever waited may find the bytes gone. Nothing else can throw past leaveStore.
    const isThere = bytes.length > 0;
    if (isCurrent && isThere && isWrite)
      section.u8.set(bytes.subarray(first, first + lengthBytes), start);
    else if (isCurrent && isThere)
      bytes.set(section.u8.subarray(start, start + lengthBytes), first);
    yield* mm.shootdown.leaveStore();
    if (!isThere) throw bytesGone(address, isWrite);
    if (isCurrent) return lengthBytes;
  }
  throw customFailure(
    isWrite ? "write" : "read",
    EAGAIN,
    "other threads take the page away all the time; let them pause",
    address,
  );
}
