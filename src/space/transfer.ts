/**
 * @module space/transfer
 * Bulk copies between an address space and the caller's bytes, page by page through the page table.
 * Follows Linux `copy_to_user`, `copy_from_user`.
 *
 * A page is copied inside a store (S1 of sync/primitives/shootdown.ts), also for reads. A thread
 * that takes the page away waits until the copy has ended, so the frame is the page's during all of
 * it. To check the generation afterwards, as single loads do, would need a fence between copy and
 * check, which JavaScript does not have.
 *
 * A copy of a page is not atomic: it may have part of what another thread stores meanwhile.
 */

import type { Machine } from "../memory/machine.ts";
import { PAGE_BYTES } from "../memory/ram.ts";
import { dataStep } from "../memory/frames/page-data.ts";
import type { RamSection } from "../memory/frames/ram-section.ts";
import { cpuTranslate } from "../mm/fault/cpu-fault.ts";
import type { Mm } from "../mm/mm-struct.ts";
import { TASK_SIZE_PAGES } from "../mmu/radix-table.ts";
import { atomicLoad } from "../sync/atomics.ts";
import { EAGAIN, EINVAL } from "../sync/errno.ts";
import { SegmentationFault } from "../sync/errors.ts";
import type { Task } from "../sync/tasks/task.ts";
import { customFailure } from "./failures.ts";

/**
 * Tries of one page. A try fails when the page is taken away between the walk and the copy.
 */
const COPY_TRIES_MAX = 1_000_000;

/**
 * Throws HmmError EINVAL for an address or bytes of the wrong kind, SegmentationFault where no
 * mapping can be.
 */
export function checkTransfer(syscall: "read" | "write", address: number, bytes: Uint8Array): void {
  if (!(bytes instanceof Uint8Array)) {
    throw customFailure(syscall, EINVAL, "the bytes are not a Uint8Array; give one", address);
  }
  if (!Number.isSafeInteger(address) || address < 0) {
    throw customFailure(
      syscall,
      EINVAL,
      "the address is not a whole number from 0 on; give one that mmap returned",
      address,
    );
  }
  if (bytes.length > 0 && address + bytes.length > TASK_SIZE_PAGES * PAGE_BYTES) {
    throw new SegmentationFault(address, syscall, "the range ends beyond the highest address");
  }
}

/**
 * Copies `bytes.length` bytes at `address` into `bytes`, or with `isWrite` the other way. Throws
 * SegmentationFault at the first page that no mapping allows, with everything before it copied;
 * HmmError ENOMEM likewise.
 */
export function* transfer(
  machine: Machine,
  mm: Mm,
  address: number,
  bytes: Uint8Array,
  isWrite: boolean,
): Task<void> {
  for (let done = 0; done < bytes.length;) {
    const from = address + done;
    const lengthBytes = Math.min(PAGE_BYTES - (from % PAGE_BYTES), bytes.length - done);
    yield* copyPart(machine, mm, from, bytes.subarray(done, done + lengthBytes), isWrite);
    done += lengthBytes;
  }
}

/**
 * Copies within one page.
 *
 * @stepped generation
 */
function* copyPart(
  machine: Machine,
  mm: Mm,
  address: number,
  bytes: Uint8Array,
  isWrite: boolean,
): Task<void> {
  const page = Math.floor(address / PAGE_BYTES);
  const generationWord = mm.shootdown.generationWord(page);
  for (let tries = 0; tries < COPY_TRIES_MAX; tries++) {
    const { words } = machine.memory;
    const generation = atomicLoad(words, generationWord);
    const pfn = yield* cpuTranslate(machine, mm, page, isWrite, address);
    const section = sectionUnlessMoved(machine, pfn, generationWord, generation);
    if (section === undefined) continue;
    const start = (pfn - section.basePfn) * PAGE_BYTES + (address % PAGE_BYTES);
    const frame = section.u8.subarray(start, start + bytes.length);
    yield* mm.shootdown.enterStore();
    const isCurrent = atomicLoad(words, generationWord) === generation;
    if (isCurrent) yield* dataStep(machine.memory, isWrite ? "write" : "read", pfn);
    // Same length, neither detached: this cannot throw past leaveStore.
    if (isCurrent && isWrite) frame.set(bytes);
    else if (isCurrent) bytes.set(frame);
    yield* mm.shootdown.leaveStore();
    if (isCurrent) return;
  }
  throw customFailure(
    isWrite ? "write" : "read",
    EAGAIN,
    "other threads take the page away all the time; let them pause",
    address,
  );
}

/**
 * Undefined if the table has changed since the walk: then `pfn` may be no frame.
 *
 * @stepped generation
 */
function sectionUnlessMoved(
  machine: Machine,
  pfn: number,
  generationWord: number,
  generation: number,
): RamSection | undefined {
  try {
    return machine.ram.sections.of(pfn);
  } catch (error) {
    if (atomicLoad(machine.memory.words, generationWord) !== generation) return undefined;
    throw error;
  }
}
