/**
 * @module devices/software/migrate-command
 * MIGRATE_TO_DEV and MIGRATE_TO_SYS: pages become the device's own, or go back to RAM. Of the
 * device itself nothing is done: the migration has taken its translations away, and its next access
 * finds the pages where they are (span-service.ts).
 */

import {
  doneNumber,
  ENOMEM,
  hmmRangeAlloc,
  hmmRangeCountOwn,
  hmmRangeFree,
  hmmRangeMigrate,
  mmOfRange,
  PAGE_BYTES,
  pageCopiers,
  SELECT_SYSTEM,
  toRam,
  withHmmRange,
  type HmmRange,
  type Machine,
  type PageMover,
  SELECT_DEVICE,
  type Task,
} from "../../driver-interface.ts";
import type { FaultService } from "../service/fault-service.ts";
import type { DeviceRecord } from "../service/device-record.ts";
import { isToFail, makeRoom, ownerOf, takeOwnFrame, takeOwnRun } from "../service/own-memory.ts";
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
      // A huge page lies in one piece.
      const end = Math.min(page - (page % PIECE_PAGES) + PIECE_PAGES, endPage);
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
  const owner = ownerOf(record);
  const mover = isToDevice ? toOwnMemory(machine, record) : backToRam(machine, record);
  const select = isToDevice ? SELECT_SYSTEM : SELECT_DEVICE;
  const { mmapLock } = mmOfRange(range);
  yield* mmapLock.downRead();
  try {
    const result = yield* hmmRangeMigrate(range, { select, owner }, mover);
    if (typeof result === "number") return result;
    if (isToDevice) return hmmRangeCountOwn(range, owner);
    return result.lacking > 0 ? ENOMEM : result.moved;
  } finally {
    yield* mmapLock.upRead();
  }
}

function toOwnMemory(machine: Machine, record: DeviceRecord): PageMover {
  return {
    alloc: () => takeOwnFrame(record),
    allocHuge: () => takeOwnRun(record),
    ...pageCopiers(machine),
  };
}

function backToRam(machine: Machine, record: DeviceRecord): PageMover {
  const mover = toRam(machine);
  return {
    ...mover,
    alloc: (page, from) => (isToFail(record) ? doneNumber(0) : mover.alloc(page, from)),
    allocHuge: (page) =>
      isToFail(record) ? doneNumber(0) : (mover.allocHuge?.(page) ?? doneNumber(0)),
  };
}
