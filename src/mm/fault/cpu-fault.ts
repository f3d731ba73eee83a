/**
 * @module mm/fault/cpu-fault
 * Translations for the software TLB when it misses: a walk of the page table without a lock, and a
 * page fault if the walk finds no usable entry. The walk follows Linux's fast GUP (`mm/gup.c`), the
 * fault `do_user_addr_fault` in `arch/x86/mm/fault.c`.
 *
 * A munmap may free the leaf during the walk (W3 of mmu/radix-table.ts). The TLB has read the
 * shootdown generation before the walk; a leaf is flushed between unlinking and freeing; and the
 * TLB rechecks the generation when it uses the translation (mmu/soft-tlb.ts). So what was read from
 * a freed leaf is never used.
 */

import type { Machine } from "../../memory/machine.ts";
import type { Translator } from "../../mmu/translator.ts";
import { speculativeLoad } from "../../sync/atomics.ts";
import { EAGAIN, EFAULT, EMFILE, ENOMEM, ENXIO, type Errno, errnoName } from "../../sync/errno.ts";
import { HmmError, SegmentationFault } from "../../sync/errors.ts";
import { isAlerted } from "../../sync/death/panic.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { faultFast } from "./anonymous.ts";
import { explainDevice } from "./device-private.ts";
import { handleMmFault } from "./fault.ts";
import { FAULT_RETRY } from "./vm-fault.ts";
import type { Mm } from "../mm-struct.ts";
import {
  TASK_SIZE_PAGES,
  leafOf,
  nextLeafPage,
  pteAt,
  pteIndex,
  wordAt,
} from "../../mmu/radix-table.ts";
import { PTE_PRESENT, PTE_WRITE, ZERO_PFN, holdsFrame, isAccessible, ptePfn } from "../pte.ts";
import { beginSizeWait, beginWait, bringIn } from "../source/bring-in.ts";
import { isBeyondSource } from "../vma/vma-source.ts";
import { VM_BACKED, VM_READ, VM_WRITE, Vma, findVma, offsetOf, vmaOf } from "../vma/vma.ts";

/**
 * A fault of a CPU thread. 0, EFAULT (no mapping allows the access, or its source ends before the
 * page), ENOMEM, EMFILE; another errno where a source cannot be read. Takes the mmap lock for
 * reading; the caller holds an mm user.
 */
export function* cpuFault(machine: Machine, mm: Mm, page: number, isWrite: boolean): Task<Errno> {
  yield* mm.mmapLock.downRead();
  const vma = vmaOf(machine.memory, mm, page);
  const result = vma === undefined ? EFAULT : yield* handleMmFault(machine, mm, vma, page, isWrite);
  const mayWait = vma !== undefined && result !== 0;
  const wait = mayWait ? yield* waitForSource(machine, vma, page, result) : 0;
  yield* mm.mmapLock.upRead();
  if (wait === 0) return result;
  return wait < 0 ? wait : yield* bringIn(machine, wait);
}

/**
 * What the fault has to wait for without the mmap lock: the record of a page of a source
 * (source/bring-in.ts), 0 for nothing, ENOMEM, EMFILE. A page past the end is waited for, too: the
 * source may have grown. Holding the mmap lock.
 */
export function* waitForSource(
  machine: Machine,
  vma: Vma,
  page: number,
  result: Errno,
): Task<number> {
  if (result === FAULT_RETRY)
    return yield* beginWait(machine, vma.source, offsetOf(vma, page), vma.flags);
  if (result !== EFAULT || (vma.flags & VM_BACKED) === 0) return 0;
  return isBeyondSource(machine, vma, page)
    ? yield* beginSizeWait(machine, vma.source, offsetOf(vma, page))
    : 0;
}

/**
 * `cpuFault` as a plain function, for a fault that does not wait: the lock is free for readers, and
 * `faultFast` can handle it. True: handled, walk again. False: nothing has changed; always so in a
 * debug build. Most first touches end here, in 0.3 us. The task takes 1.2, mostly for generators
 * and what they allocate.
 *
 * @stepped
 */
function cpuFaultFast(machine: Machine, mm: Mm, page: number, isWrite: boolean): boolean {
  const { memory } = machine;
  if (isAlerted(memory) || !mm.mmapLock.tryDownReadNow()) return false;
  const vma = findVma(memory, mm, page);
  const isHandled =
    vma !== 0 &&
    wordAt(memory.words, vma + Vma.offset.startPage) >>> 0 <= page &&
    faultFast(machine, mm, wordAt(memory.words, vma + Vma.offset.flags), page, isWrite);
  mm.mmapLock.upReadNow();
  return isHandled;
}

/** Why an access is not allowed, and what Linux would send. */
interface Refusal {
  readonly signal: SegmentationFault["signal"];
  readonly reason: string;
  readonly remedy: string;
}

const SEGMENT = "SIGSEGV";
const NOT_MAPPED: Refusal = {
  signal: SEGMENT,
  reason: "nothing is mapped there",
  remedy: "map it with mmap before, or check the address; maps() lists what is mapped",
};
const NO_ACCESS: Refusal = {
  signal: SEGMENT,
  reason: "the mapping allows no access",
  remedy: 'change that with mprotect to "read" or "read-write", or check the address',
};
const READ_ONLY: Refusal = {
  signal: SEGMENT,
  reason: "the mapping is read-only",
  remedy: 'change that with mprotect to "read-write", or do not store there',
};
const BEYOND_SOURCE: Refusal = {
  signal: "SIGBUS",
  reason: "the mapping goes on there, but the memory that it maps ends before",
  remedy: "let the source or the buffer grow, or do not go past its end",
};

/**
 * Why an access to `page` is refused, or undefined if it is allowed. `vma` contains the page, if
 * there is one. Holding the mmap lock.
 */
function refusalOf(
  machine: Machine,
  vma: Vma | undefined,
  page: number,
  isWrite: boolean,
): Refusal | undefined {
  if (vma === undefined) return NOT_MAPPED;
  if ((vma.flags & VM_READ) === 0) return NO_ACCESS;
  if (isWrite && (vma.flags & VM_WRITE) === 0) return READ_ONLY;
  return isBeyondSource(machine, vma, page) ? BEYOND_SOURCE : undefined;
}

/** `refusalOf` with the mappings as they are now. Takes the mmap lock for reading. */
function* explainFault(
  machine: Machine,
  mm: Mm,
  page: number,
  isWrite: boolean,
): Task<Refusal | undefined> {
  yield* mm.mmapLock.downRead();
  const refusal = refusalOf(machine, vmaOf(machine.memory, mm, page), page, isWrite);
  yield* mm.mmapLock.upRead();
  return refusal;
}

/** Tries of one access. Each failure means that another thread has changed the entry. */
const TRANSLATE_TRIES_MAX = 1_000_000;
/** What `frameFor` answers when a fault is needed. */
const NO_FRAME = -1;

/**
 * The frame that an access to `page` may use as the page table stands, or NO_FRAME. Takes no lock:
 * see the head.
 *
 * @stepped pte
 */
function frameFor(machine: Machine, mm: Mm, page: number, isWrite: boolean): number {
  const { memory } = machine;
  const leaf = leafOf(memory, mm.pgd, page);
  const pte = leaf === 0 ? 0 : speculativeLoad(memory.words, pteIndex(leaf, page));
  return isAccessible(pte, isWrite) ? ptePfn(pte) : NO_FRAME;
}

/**
 * Pages from `page` on, `most` at most, whose frames follow each other from `pfn` on, the frame of
 * `page`. All of them lie in one block, so have one generation. Takes no lock: see the head.
 *
 * @stepped pte
 */
export function framesInRow(
  machine: Machine,
  mm: Mm,
  page: number,
  pfn: number,
  most: number,
  isWrite: boolean,
): number {
  const { memory } = machine;
  const end = Math.min(most, nextLeafPage(page) - page);
  if (end <= 1) return 1;
  const leaf = leafOf(memory, mm.pgd, page);
  if (leaf === 0) return 1;
  let count = 1;
  for (; count < end; count++) {
    const pte = speculativeLoad(memory.words, pteIndex(leaf, page + count));
    if (!isAccessible(pte, isWrite) || ptePfn(pte) !== pfn + count) break;
  }
  return count;
}

/**
 * The frame for one access of a CPU thread, after a fault if one is needed. To be used as the TLB
 * does (mmu/soft-tlb.ts): read the shootdown generation before, and recheck it at the use. Throws
 * SegmentationFault, or HmmError ENOMEM, EMFILE. The caller holds an mm user.
 */
export function* cpuTranslate(
  machine: Machine,
  mm: Mm,
  page: number,
  isWrite: boolean,
  address: number,
): Task<number> {
  for (let tries = 0; tries < TRANSLATE_TRIES_MAX; tries++) {
    const found = frameFor(machine, mm, page, isWrite);
    if (found !== NO_FRAME) return found;
    yield* faultOrThrow(machine, mm, page, isWrite, address);
  }
  throw new HmmError(
    EAGAIN,
    isWrite ? "write" : "read",
    "Cannot access memory: other threads change the mapping all the time; let them pause",
    address,
  );
}

/** Takes the fault; throws where the access is not allowed, or memory is used up. */
function* faultOrThrow(
  machine: Machine,
  mm: Mm,
  page: number,
  isWrite: boolean,
  address: number,
): Task<void> {
  const result = yield* cpuFault(machine, mm, page, isWrite);
  if (result !== 0) yield* throwFault(machine, mm, page, isWrite, address, result);
}

function* throwFault(
  machine: Machine,
  mm: Mm,
  page: number,
  isWrite: boolean,
  address: number,
  result: Errno,
): Task<void> {
  if (result === ENOMEM) {
    throw new HmmError(
      ENOMEM,
      isWrite ? "write" : "read",
      "Cannot bring the page in: RAM or kernel heap is used up; unmap something, or create the space with more",
      address,
    );
  }
  if (result === EMFILE) {
    throw new HmmError(
      EMFILE,
      isWrite ? "write" : "read",
      "Cannot bring the page in: this thread owns as many things as it may; dispose of some of its views and devices, or touch the page in another thread",
      address,
    );
  }
  if (result === ENXIO) {
    yield* receiveBuffer(machine, mm, page);
    return;
  }
  if (result !== EFAULT) {
    const explained = explainDevice(machine, yield* framePfn(machine, mm, page));
    const reason =
      explained ?? `its source, or the device that has it, cannot give it (${errnoName(result)})`;
    const remedy =
      explained === undefined
        ? "look at what the source's read function threw (see cause), whether its thread has ended, or at the device"
        : "give those pages up with munmap or madvise, and make them anew";
    throw new SegmentationFault(address, isWrite ? "write" : "read", reason, "SIGBUS", remedy);
  }
  const refusal = yield* explainFault(machine, mm, page, isWrite);
  // Another thread has mapped the page since the fault: the access is tried again.
  if (refusal === undefined) return;
  const { reason, signal, remedy } = refusal;
  throw new SegmentationFault(address, isWrite ? "write" : "read", reason, signal, remedy);
}

/** Receives the buffer of the device that has the page, or throws BufferNotHere. */
export function* receiveBuffer(machine: Machine, mm: Mm, page: number): Task<void> {
  machine.ram.sections.of(yield* framePfn(machine, mm, page));
}

/**
 * The frame that the entry of `page` names as it is now. Takes the mmap lock for reading.
 *
 * @stepped pte
 */
function* framePfn(machine: Machine, mm: Mm, page: number): Task<number> {
  yield* mm.mmapLock.downRead();
  const pte = pteAt(machine.memory, mm.pgd, page);
  yield* mm.mmapLock.upRead();
  return holdsFrame(pte) ? ptePfn(pte) : ZERO_PFN;
}

/** How a thread runs a task to its end without returning to its event loop. */
export interface TaskRunner {
  runToEnd<T>(task: Task<T>): T;
}

/** The page table of a space and its faults, for one thread's accesses to it. */
export class CpuTranslator implements Translator {
  readonly writeBits: number = PTE_PRESENT | PTE_WRITE;
  readonly #machine: Machine;
  readonly #mm: Mm;
  readonly #pgd: number;
  readonly #runner: TaskRunner;
  #refusal: (() => Error) | undefined;
  /** Faults that were taken, including those that another thread overtook. */
  faults = 0;

  constructor(machine: Machine, mm: Mm, runner: TaskRunner) {
    this.#machine = machine;
    this.#mm = mm;
    this.#pgd = mm.pgd;
    this.#runner = runner;
  }

  /** The owner is about to give up its mm user: from now on every access throws. */
  close(refusal: () => Error): void {
    this.#refusal = refusal;
  }

  /** @stepped */
  root(): number {
    if (this.#refusal !== undefined) throw this.#refusal();
    return this.#pgd;
  }

  /** @stepped */
  fault(page: number, write: boolean, address: number): void {
    if (page >= TASK_SIZE_PAGES) {
      throw new SegmentationFault(
        address,
        write ? "write" : "read",
        "it lies beyond the highest address",
      );
    }
    this.faults++;
    if (cpuFaultFast(this.#machine, this.#mm, page, write)) return;
    this.#runner.runToEnd(faultOrThrow(this.#machine, this.#mm, page, write, address));
  }
}
