/**
 * @module mm/migrate/stream-to-ram
 * A touch of a page in a device's memory, where the CPU goes on from one page to the next: the
 * page comes back with as many behind it as lie in RAM before it. A migration costs as much as ten
 * pages, so page by page a stream takes ten times as long. A page that is touched alone comes
 * alone: what lies beside it is the device's, which may be using it. Linux leaves that to drivers:
 * amdgpu brings 2 MiB, xe a range of 64 KiB or more.
 */

import type { DeviceMemory } from "../../memory/frames/device-frames.ts";
import { pteAt } from "../../mmu/radix-table.ts";
import type { Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { VmFault } from "../fault/vm-fault.ts";
import { KIND_DEVICE_PRIVATE, holdsFrame, pteKind, ptePfn } from "../pte.ts";
import { migrateFaultToRam, toRam } from "./migrate-vma.ts";

/** Pages that come together, at most: others wait no longer for one of them. */
const STREAM_PAGES_MAX = 512;

/** `migrateToRam` for a memory that the CPU can copy, and reads in order. */
export function* migrateStreamToRam(fault: VmFault, device: DeviceMemory): Task<Errno> {
  const past = pastStream(fault, device);
  return yield* migrateFaultToRam(fault, device, toRam(fault.machine), past);
}

/**
 * One past the last page that comes with that of the fault, which is in `device`.
 *
 * @stepped pte
 */
export function pastStream(fault: VmFault, device: DeviceMemory): number {
  const { vma, page } = fault;
  let pages = 1;
  while (pages < STREAM_PAGES_MAX && isInRam(fault, page - pages)) pages *= 2;
  const most = Math.min(page + pages, vma.endPage);
  let past = page + 1;
  while (past < most && isInMemory(fault, device, past)) past++;
  return past;
}

/** Whether the page is one of the mapping, and in RAM. The answer may be old. @stepped pte */
function isInRam({ machine, mm, vma }: VmFault, page: number): boolean {
  if (page < vma.startPage) return false;
  const pte = pteAt(machine.memory, mm.pgd, page);
  return holdsFrame(pte) && ptePfn(pte) < machine.ram.ownEndPfn;
}

/**
 * Whether the page is in a memory of the same owner, whose buffer is here; the answer may be old.
 *
 * @stepped pte
 */
function isInMemory({ machine, mm }: VmFault, device: DeviceMemory, page: number): boolean {
  const pte = pteAt(machine.memory, mm.pgd, page);
  if (pteKind(pte) !== KIND_DEVICE_PRIVATE) return false;
  const pfn = ptePfn(pte);
  if (pfn >= device.basePfn && pfn < device.basePfn + device.pages) return true;
  const { sections } = machine.ram;
  return sections.deviceKindOf(pfn) >>> 2 === device.owner && sections.isReached(pfn);
}
