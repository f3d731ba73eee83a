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
 */

import type { Machine } from "../../memory/machine.ts";
import { atomicCompareExchange } from "../../sync/atomics.ts";
import type { Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { makePte } from "../pte.ts";
import type { Vma } from "../vma/vma.ts";

/** A fault that the vma allows and the entry does not. Used by one thread, for one call. */
export interface VmFault {
  readonly machine: Machine;
  readonly mm: Mm;
  readonly vma: Vma;
  readonly page: number;
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
export function* replacePte({ machine, index, pte }: VmFault, fresh: number): Task<boolean> {
  return atomicCompareExchange(machine.memory.words, index, pte, fresh) === pte;
}

/** Installs a frame. The caller's count of it goes to the entry, or is given back (F2). */
export function* installFrame(fault: VmFault, pfn: number, rights: number): Task<void> {
  if (!(yield* replacePte(fault, makePte(pfn, rights)))) yield* fault.machine.ram.refs.pagePut(pfn);
}
