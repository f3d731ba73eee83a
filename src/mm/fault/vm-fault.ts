/**
 * @module mm/fault/vm-fault
 * One page fault as its handler sees it, and how a handler changes the entry. Follows Linux `struct
 * vm_fault`. Which handler a fault gets is in fault.ts. All faults keep two rules:
 *
 *   F1  The caller holds the mmap lock at least for reading, and an mm user. So vmas and tables
 *       stay.
 *   F2  Several threads may fault on one page at once. Every change is a compare-and-swap from the
 *       entry that was judged (P1, P3 of pte.ts). The thread that loses gives its frame back and
 *       reports success, and the access is tried again.
 *   F3  An entry that was read may be gone a moment later, and with it the memory of a device that
 *       its frame belonged to. Who counts a reference of such a frame without having one does it in
 *       a read section of `notifierSrcu`, after it has seen there that the entry still names the
 *       frame. Then the frame is used, and its count is not freed before the section ends (D2 of
 *       memory/frames/device-frames.ts). RAM stays, so its frames need no section.
 *
 *       thread with an old entry                  thread that zaps           device's owner
 *       reads entry: device frame 9
 *                                                 entry none, frame 9 free
 *                                                                            removes the memory,
 *                                                                            frees the frame table
 *       count of frame 9 + 1 [a word of
 *       somebody else's]
 */

import type { Machine } from "../../memory/machine.ts";
import { wordAt } from "../../mmu/radix-table.ts";
import { notifierSrcu } from "../../notifier/mmu-notifier.ts";
import { atomicCompareExchange, compareExchangeNoted } from "../../sync/atomics.ts";
import type { Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { ptePfn } from "../pte.ts";
import type { Vma } from "../vma/vma.ts";

/** A fault that the vma allows and the entry does not. Used by one thread, for one call. */
export interface VmFault {
  /** The machine of the address space. */
  readonly machine: Machine;
  /** The address space. */
  readonly mm: Mm;
  /** The mapping that the page is in. The mmap lock is held. */
  readonly vma: Vma;
  /** The virtual page number. */
  readonly page: number;
  /** Whether the access stores. */
  readonly isWrite: boolean;
  /** Word index of the page's entry. */
  readonly index: number;
  /** The entry for which the handler was chosen. It may have changed since (F2). */
  readonly pte: number;
}

/**
 * The page has to be brought in from its source, which may take long: the caller drops the mmap
 * lock first (source/bring-in.ts). No errno. Linux: VM_FAULT_RETRY.
 */
export const FAULT_RETRY = 1;

/** Handles the faults of one kind of entry. Results are those of `handleMmFault`. F1, F2. */
export type FaultHandler = (fault: VmFault) => Task<Errno>;

/**
 * Installs `fresh` if the entry is still `fault.pte`. False: another thread has changed it (F2).
 *
 * @stepped pte
 */
export function replacePte({ machine, index, pte }: VmFault, fresh: number): boolean {
  return atomicCompareExchange(machine.memory.words, index, pte, fresh) === pte;
}

/**
 * As `replacePte`, and if it does, the word `note` of this thread's operation becomes `noted`
 * (K2 of mm/entries/batch.ts).
 *
 * @stepped pte
 */
export function replacePteNoted(
  { machine, index, pte }: VmFault,
  fresh: number,
  note: number,
  noted: number,
): boolean {
  const { words } = machine.memory;
  return compareExchangeNoted(words, index, pte, fresh, words, note, noted) === pte;
}

/**
 * Runs `task`, which judges or raises the count of frame `pfn` without having a reference: F3.
 */
export function countingFrame<T>(machine: Machine, pfn: number, task: () => Task<T>): Task<T> {
  return pfn < machine.ram.ownEndPfn ? task() : countingInSection(machine, task);
}

function* countingInSection<T>(machine: Machine, task: () => Task<T>): Task<T> {
  const srcu = yield* notifierSrcu(machine);
  const section = yield* srcu.readLock();
  const result = yield* task();
  yield* srcu.readUnlock(section);
  return result;
}

/**
 * Whether the count of the frame that `pte` names is there to be read: that of RAM always is.
 * Inside `countingFrame`.
 *
 * @stepped pte
 */
export function isCountable({ memory, ram }: Machine, index: number, pte: number): boolean {
  return ptePfn(pte) < ram.ownEndPfn || wordAt(memory.words, index) === pte;
}

/**
 * A reference of the frame that the entry at `index` names, if the entry still is `pte`. Inside
 * `countingFrame`. If so, the frame stays the entry's frame as long as the entry is `pte`. With a
 * `note` of the caller's operation, that may note a reference even if the answer is false.
 *
 * @stepped pte
 */
export function* getIfNamed(
  machine: Machine,
  index: number,
  pte: number,
  note: number = 0,
): Task<boolean> {
  const { memory, ram } = machine;
  const pfn = ptePfn(pte);
  if (!isCountable(machine, index, pte) || !(yield* ram.refs.pageGetNotZero(pfn, note)))
    return false;
  if (wordAt(memory.words, index) === pte) return true;
  if (note === 0) yield* ram.refs.pagePut(pfn);
  return false;
}
