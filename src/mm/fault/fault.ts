/**
 * @module mm/fault/fault
 * Makes one page accessible, or says why not. Follows Linux `handle_mm_fault` and
 * `handle_pte_fault` in `mm/memory.c`. CPU threads come here through cpu-fault.ts, devices through
 * hmm's walk: both take the same faults. A table gives each kind of entry its handler.
 *
 *     entry                read                 write                          handled in
 *     none, private        zero page            fresh zeroed frame             anonymous.ts
 *     none, shared         the source's frame   the source's frame, writable   shared-fault.ts
 *     none, of a store     the cache's frame    the same, and once more        file-fault.ts
 *     zero page, private   (accessible)         replaced by a fresh frame [N]  copy-on-write.ts
 *     read-only, private   (accessible)         exclusive: made writable  [T]  copy-on-write.ts
 *                                               else: replaced by a copy  [N]
 *     read-only, shared    (accessible)         made writable                  shared-fault.ts
 *       of a store         (accessible)         DIRTY, made writable           file-fault.ts
 *     protection none      present again, read-only; a write faults once more  this file
 *     migration            waits until the entry is another one                migration-entry.ts
 *     device private       the driver brings the page back to RAM         [N]  device-private.ts
 *     device exclusive     present again, writable                        [N]  device-exclusive.ts
 *
 *     [N] notifiers are called, [T] only if the entry is TRACKED
 *
 * A page of a huge page, or one that may become so, is first a matter of huge-fault.ts. It leaves
 * to this table what it has split, and the kinds of entries that are handled page by page.
 */

import type { Machine } from "../../memory/machine.ts";
import { counterPlace } from "../../memory/space-counters.ts";
import {
  MID_HUGE,
  leafAlloc,
  leafIn,
  leafOf,
  midEntryOf,
  pteAt,
  pteIndex,
  wordAt,
} from "../../mmu/radix-table.ts";
import { EFAULT, ENOMEM, ENXIO, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import { type Task, doneNumber } from "../../sync/tasks/task.ts";
import { isHugeAt } from "../huge.ts";
import { tablesOf } from "../entries/hand.ts";
import { beginHand, endInvalidation } from "../entries/invalidation.ts";
import type { Mm } from "../mm-struct.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  KIND_DEVICE_PRIVATE,
  KIND_FRAME,
  KIND_MIGRATION,
  KIND_NONE,
  KIND_PROT_NONE,
  KIND_SPECIAL,
  KIND_SWAP,
  PTE_ACCESSED,
  type PteKind,
  holdsFrame,
  isAccessible,
  makePte,
  pteKind,
  ptePfn,
} from "../pte.ts";
import { VM_BACKED, VM_READ, VM_SHARED, VM_WRITE, type Vma, vmaOf } from "../vma/vma.ts";
import { anonymousFault, faultFast } from "./anonymous.ts";
import { replaceByCopy, writeProtectedPrivate } from "./copy-on-write.ts";
import { deviceExclusiveFault } from "./device-exclusive.ts";
import { devicePrivateFault, isBufferHere } from "./device-private.ts";
import { fileFault, fileWriteFault } from "./file-fault.ts";
import { FAULT_SMALL, concernsHuge, hugeFault, isForHugeFault } from "./huge-fault.ts";
import { migrationEntryWait } from "./migration-entry.ts";
import { sharedFault, sharedWriteFault } from "./shared-fault.ts";
import { type FaultHandler, type VmFault, replacePte } from "./vm-fault.ts";

/**
 * The handlers for entries of one kind: in a private mapping, and in a shared one; and in those of
 * a source with a backing store (VM_BACKED), where they differ.
 */
interface HandlerRow {
  /** Where its faults are counted; undefined: the handlers do that. */
  readonly counter?: number;
  readonly inPrivate: FaultHandler;
  readonly inShared: FaultHandler;
  readonly inBackedPrivate?: FaultHandler;
  readonly inBackedShared?: FaultHandler;
}

const alike = (handler: FaultHandler, counter: number): HandlerRow => ({
  inPrivate: handler,
  inShared: handler,
  counter,
});

const handlers: Readonly<Record<PteKind, HandlerRow>> = {
  [KIND_NONE]: {
    inPrivate: anonymousFault,
    inShared: sharedFault,
    inBackedPrivate: fileFault,
    inBackedShared: fileFault,
  },
  [KIND_FRAME]: {
    inPrivate: writeProtectedPrivate,
    inShared: sharedWriteFault,
    inBackedShared: fileWriteFault,
  },
  [KIND_SPECIAL]: { inPrivate: replaceByCopy, inShared: badEntry },
  [KIND_PROT_NONE]: alike(restoreAccess, counterPlace("protectionFaults")),
  [KIND_SWAP]: { inPrivate: badEntry, inShared: badEntry },
  [KIND_MIGRATION]: alike(migrationEntryWait, counterPlace("migrationWaits")),
  [KIND_DEVICE_PRIVATE]: alike(devicePrivateFault, counterPlace("deviceFaults")),
  [KIND_DEVICE_EXCLUSIVE]: alike(deviceExclusiveFault, counterPlace("exclusiveFaults")),
};

function handlerFor(mm: Mm, vma: Vma, pte: number): FaultHandler {
  const row = handlers[pteKind(pte)];
  if (row.counter !== undefined) mm.counters.add(row.counter);
  const isBacked = (vma.flags & VM_BACKED) !== 0;
  return (vma.flags & VM_SHARED) === 0
    ? ((isBacked ? row.inBackedPrivate : undefined) ?? row.inPrivate)
    : ((isBacked ? row.inBackedShared : undefined) ?? row.inShared);
}

/**
 * Handles a fault on `page` of `vma`. 0: handled, or overtaken by another thread; the access is
 * tried again. EFAULT: the vma does not allow the access, or the page lies beyond the end of the
 * source. ENOMEM: no frame or no table. FAULT_RETRY: the page is to be brought in without the mmap
 * lock, and the access tried again. ENXIO: a page of a device is needed, whose buffer has not
 * arrived in this thread. Another errno: the device cannot give the page back. F1 of vm-fault.ts.
 *
 * @stepped
 */
export function handleMmFault(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  page: number,
  isWrite: boolean,
): Task<Errno> {
  return faultFast(machine, mm, vma.flags, page, isWrite)
    ? doneNumber(0)
    : faultAsTask(machine, mm, vma, page, isWrite);
}

/**
 * The first store to a private page, ahead of one that is expected. True: the page has an entry.
 * False: nothing was done, for no mapping allows a store, something would have to wait, or another
 * thread was faster. F1 of vm-fault.ts.
 *
 * @stepped
 */
export function touchAhead(machine: Machine, mm: Mm, page: number): boolean {
  if (pteAt(machine.memory, mm.pgd, page) !== 0) return true;
  const vma = vmaOf(machine.memory, mm, page);
  return vma !== undefined && faultFast(machine, mm, vma.flags, page, true);
}

/** @stepped */
function faultAsTask(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  page: number,
  isWrite: boolean,
): Task<Errno> {
  if ((vma.flags & (isWrite ? VM_WRITE : VM_READ)) === 0) return doneNumber(EFAULT);
  const midEntry = midEntryOf(machine.memory, mm.pgd, page);
  return midEntry === 0 || concernsHuge(mm, vma, page, midEntry)
    ? faultWithoutLeaf(machine, mm, vma, page, isWrite, midEntry)
    : faultInLeaf(machine, mm, vma, page, isWrite, leafIn(midEntry));
}

/** The leaf is to be made, or may be huge. */
function* faultWithoutLeaf(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  page: number,
  isWrite: boolean,
  midEntry: number,
): Task<Errno> {
  if (concernsHuge(mm, vma, page, midEntry)) {
    const result = yield* hugeFault(machine, mm, vma, page, isWrite);
    if (result !== FAULT_SMALL) return result;
  }
  const leaf = leafOf(machine.memory, mm.pgd, page) || (yield* makeLeaf(machine, mm, page));
  if (leaf === 0) return ENOMEM;
  // Another thread has linked a huge page since (U4 of mm/huge.ts): its entries are not for this
  // table.
  if (midEntry === 0 && isHugeAt(machine.memory, mm, page)) return 0;
  const wasHuge = (midEntry & MID_HUGE) !== 0;
  return yield* faultInLeaf(machine, mm, vma, page, isWrite, leaf, wasHuge);
}

/** @stepped pte */
function faultInLeaf(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  page: number,
  isWrite: boolean,
  leaf: number,
  wasHuge: boolean = false,
): Task<Errno> {
  const index = pteIndex(leaf, page);
  const pte = wordAt(machine.memory.words, index);
  if (isAccessible(pte, isWrite)) return doneNumber(0);
  // The migration of a huge page has ended since. Its entries change alike (U4 of mm/huge.ts).
  if (wasHuge && isForHugeFault(pte) && isHugeAt(machine.memory, mm, page)) return doneNumber(0);
  const isOfDevice = holdsFrame(pte) && ptePfn(pte) >= machine.ram.ownEndPfn;
  if (isOfDevice && (vma.flags & VM_SHARED) === 0 && !isBufferHere(machine, ptePfn(pte)))
    return doneNumber(ENXIO);
  return handlerFor(mm, vma, pte)({ machine, mm, vma, page, isWrite, index, pte });
}

/** As `leafAlloc`, so that a thread that dies leaves no table that nobody knows. */
function* makeLeaf(machine: Machine, mm: Mm, page: number): Task<number> {
  const hand = yield* beginHand(mm);
  const leaf = yield* leafAlloc(machine, mm.pgd, page, tablesOf(hand));
  endInvalidation(mm, hand);
  return leaf;
}

/** Of protection none: the vma allows access again, so the entry becomes present, read-only. */
function* restoreAccess(fault: VmFault): Task<Errno> {
  replacePte(fault, makePte(ptePfn(fault.pte), PTE_ACCESSED));
  return 0;
}

/** Of a kind of entry that nothing makes yet. */
function badEntry({ page, pte }: VmFault): Task<Errno> {
  return bug(
    `page ${page} has entry ${pte >>> 0} of kind ${pteKind(pte)}, for which no fault exists`,
  );
}
