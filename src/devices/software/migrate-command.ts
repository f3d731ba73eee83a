/**
 * @module devices/software/migrate-command
 * MIGRATE_TO_DEV and MIGRATE_TO_SYS: pages become the device's own, or go back to RAM. Of the
 * device itself nothing is done: the migration has taken its translations away, and its next access
 * finds the pages where they are (span-service.ts).
 */

import {
  hmmRangeAlloc,
  hmmRangeFree,
  mmOfRange,
  withHmmRange,
  type HmmRange,
} from "../../hmm/range/range.ts";
import type { Machine } from "../../memory/machine.ts";
import {
  type PageMover,
  SELECT_DEVICE,
  SELECT_SYSTEM,
  migrateRange,
  toRam,
} from "../../mm/migrate/migrate-vma.ts";
import type { Mm } from "../../mm/mm-struct.ts";
import { PAGE_BYTES, holdsFrame, ptePfn } from "../../mm/pte.ts";
import { VM_READ, vmaOf } from "../../mm/vma/vma.ts";
import { pteAt } from "../../mmu/radix-table.ts";
import { EINVAL, ENOMEM } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { FaultService } from "../service/fault-service.ts";
import type { DeviceRecord } from "../service/device-record.ts";
import { makeRoom, ownerOf, takeOwnFrame } from "../service/own-memory.ts";
import { registerErrno } from "../service/span-service.ts";
import type { CommandOutcome, CommandRequest } from "./command.ts";

/** Pages that one migration moves at most: others wait no longer for a page of it. */
const PIECE_PAGES = 512;

/** `pages` of the outcome: how many are the device's own at the end, moved now or before. */
export function migrateCommand(
  service: FaultService,
  request: CommandRequest,
): Task<CommandOutcome> {
  return inPieces(service, request, true);
}

/** `pages` of the outcome: how many have come back. ENOMEM: RAM is used up. */
export function migrateBackCommand(
  service: FaultService,
  request: CommandRequest,
): Task<CommandOutcome> {
  return inPieces(service, request, false);
}

function* inPieces(
  service: FaultService,
  { address, lengthBytes }: CommandRequest,
  isToDevice: boolean,
): Task<CommandOutcome> {
  const { machine, mirror, record } = service.device;
  const endPage = Math.ceil((address + lengthBytes) / PAGE_BYTES);
  const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(PIECE_PAGES) });
  let page = address / PAGE_BYTES;
  if (typeof range === "number") return { errno: range, page, pages: 0, faults: 0 };
  let pages = 0;
  try {
    while (page < endPage) {
      const end = Math.min(page + PIECE_PAGES, endPage);
      if (isToDevice) yield* makeRoom(machine, record, end - page);
      let moved = 0;
      // The range keeps the address space alive meanwhile, and is not read.
      const [from, to] = [page * PAGE_BYTES, end * PAGE_BYTES];
      const errno = yield* withHmmRange(range, mirror, from, to, function* () {
        moved = yield* movePiece(machine, record, range, isToDevice);
        return Math.min(moved, 0);
      });
      if (errno !== 0)
        return { errno: moved < 0 ? errno : registerErrno(errno), page, pages, faults: 0 };
      pages += moved;
      page = end;
    }
    return { errno: 0, page, pages, faults: 0 };
  } finally {
    yield* hmmRangeFree(range);
  }
}

/** How many pages, or EINVAL (a hole, or a mapping that cannot be moved), ENOMEM. */
function* movePiece(
  machine: Machine,
  record: DeviceRecord,
  range: HmmRange,
  isToDevice: boolean,
): Task<number> {
  const mm = mmOfRange(range);
  yield* mm.mmapLock.downRead();
  try {
    const moved = yield* moveParts(machine, record, mm, range, isToDevice);
    if (moved < 0 || !isToDevice) return moved;
    return countOwn(machine, mm, range, ownerOf(record));
  } finally {
    yield* mm.mmapLock.upRead();
  }
}

function* moveParts(
  machine: Machine,
  record: DeviceRecord,
  mm: Mm,
  { startPage, endPage }: HmmRange,
  isToDevice: boolean,
): Task<number> {
  const mover = isToDevice ? toOwnMemory(machine, record) : toRam(machine);
  const select = isToDevice ? SELECT_SYSTEM : SELECT_DEVICE;
  let moved = 0;
  for (let page = startPage; page < endPage;) {
    const vma = vmaOf(machine.memory, mm, page);
    if (vma === undefined || (vma.flags & VM_READ) === 0) return EINVAL;
    const end = Math.min(vma.endPage, endPage);
    const args = { machine, mm, vma, startPage: page, endPage: end, select };
    const result = yield* migrateRange({ ...args, owner: ownerOf(record) }, mover);
    if (typeof result === "number") return result;
    if (result.lacking > 0 && !isToDevice) return ENOMEM;
    moved += result.moved;
    page = end;
  }
  return moved;
}

function toOwnMemory({ ram }: Machine, record: DeviceRecord): PageMover {
  return {
    alloc: () => takeOwnFrame(record),
    copy: (from, to) => ram.copyFrame(from, to),
  };
}

/**
 * Pages of the range that are in memory of the owner. Holding the mmap lock.
 *
 * @stepped pte
 */
function countOwn(
  { memory, ram }: Machine,
  mm: Mm,
  { startPage, endPage }: HmmRange,
  owner: number,
): number {
  let pages = 0;
  for (let page = startPage; page < endPage; page++) {
    const pte = pteAt(memory, mm.pgd, page);
    if (!holdsFrame(pte) || ptePfn(pte) < ram.ownEndPfn) continue;
    if (ram.sections.deviceKindOf(ptePfn(pte)) >>> 2 === owner) pages++;
  }
  return pages;
}
