/**
 * @module devices/service/own-pages
 * Pages move to a device's own memory, and back: when the program says so, and when the device's
 * work touches them (policy/placement.ts). When the memory is full, pages leave it by a clock with
 * a second chance, as copies do (policy/eviction.ts). Here ACCESSED is ENTRY_YOUNG of the page's
 * entry in the device's table: the thread that uses a page for the first time sets it, and the hand
 * clears it and flushes, so that the next use is seen:
 *
 *     device thread                            hand (whoever makes room)
 *     no young entry: sets YOUNG, uses it
 *                                              driver lock: YOUNG was set: clears it, flushes
 *     faults on the entry, sets YOUNG again
 *                                              next time round: still in use
 *                                              not young: the page moves to RAM, as one migration
 *
 * Holding no lock.
 */

import {
  devicePageHint,
  doneNumber,
  EINVAL,
  ENOMEM,
  hmmRangeAlloc,
  hmmRangeCountOwn,
  hmmRangeFirstOwn,
  hmmRangeFree,
  hmmRangeMigrate,
  hmmRangeMovableEnd,
  mmOfRange,
  PAGE_BYTES,
  pageCopiers,
  SELECT_DEVICE,
  SELECT_SYSTEM,
  toRam,
  withHmmRange,
  type DeviceFrame,
  type Errno,
  type HmmRange,
  type Machine,
  type PageMover,
  type Task,
} from "../../driver-interface.ts";
import { BLOCK_PAGES } from "../policy/prefetch.ts";
import type { ServedDevice } from "./device.ts";
import type { DeviceRecord } from "./device-record.ts";
import { ENTRY_YOUNG, entryFrameNumber } from "./device-table.ts";
import {
  isToFail,
  makeRoom,
  ownFrames,
  ownerOf,
  takeOwnFrame,
  takeOwnFrames,
  takeOwnRun,
} from "./own-memory.ts";
import { registerErrno } from "./span-service.ts";

/**
 * Pages that one migration moves at most: others wait no longer for a page of it, and room is made
 * for all of them at once. What a piece costs beside its pages (a range, the notifiers, a flush, a
 * record) is as much as a third of what 2 MiB cost, so it is more than one huge page where the
 * memory has room for several pieces.
 */
function piecePages(record: DeviceRecord): number {
  const pages = Math.floor(ownFrames(record) / 4 / BLOCK_PAGES) * BLOCK_PAGES;
  return Math.min(Math.max(pages, BLOCK_PAGES), PIECE_PAGES_MAX);
}

const PIECE_PAGES_MAX: number = 4 * BLOCK_PAGES;
/** The entries of ranges that are migrated only, which nobody reads or writes: one for all. */
const UNUSED_PFNS: Uint32Array = new Uint32Array(PIECE_PAGES_MAX);

/** What came of a move: up to where, and how many pages. */
export interface MovedPages {
  readonly errno: Errno;
  /** The first page that could not be had, or was not tried. */
  readonly page: number;
  /** How many are the device's own, or have come back. */
  readonly pages: number;
}

/**
 * Moves [startPage, endPage) to the device's own memory, or back to RAM. EINVAL (a hole, or a
 * mapping that cannot be moved), ENOMEM (RAM is used up); what lies before has been moved.
 */
export function* moveOwnPages(
  device: ServedDevice,
  startPage: number,
  endPage: number,
  isToDevice: boolean,
): Task<MovedPages> {
  const { machine, mirror, record } = device;
  const most = piecePages(record);
  const range = yield* hmmRangeAlloc(machine, { pfns: UNUSED_PFNS });
  let page = startPage;
  if (typeof range === "number") return { errno: range, page, pages: 0 };
  let pages = 0;
  try {
    while (page < endPage) {
      // A huge page lies in one piece, for pieces begin at multiples of their size.
      const end = Math.min(page - (page % most) + most, endPage);
      if (isToDevice) yield* makeOwnRoom(device, end - page);
      let moved: MovedPages = { errno: 0, page, pages: 0 };
      // The range keeps the address space alive meanwhile, and is not read.
      const [from, to] = [page * PAGE_BYTES, end * PAGE_BYTES];
      const errno = yield* withHmmRange(range, mirror, from, to, function* () {
        moved = yield* movePiece(machine, record, range, isToDevice);
        return moved.errno;
      });
      if (moved.errno !== 0) return { ...moved, pages };
      if (errno !== 0) return { errno: registerErrno(errno), page, pages };
      pages += moved.pages;
      page = end;
    }
    return { errno: 0, page, pages };
  } finally {
    yield* hmmRangeFree(range);
  }
}

/** Evicts pages that are not in use until `wanted` frames are free, as far as that goes. */
function makeOwnRoom(device: ServedDevice, wanted: number): Task<void> {
  const { machine, record } = device;
  return makeRoom(machine, record, wanted, (frames) => takeChances(device, frames));
}

/**
 * Those of the frames whose pages have not been used since the hand came by; from now on none has.
 */
function* takeChances(
  { table }: ServedDevice,
  frames: readonly DeviceFrame[],
): Task<readonly DeviceFrame[]> {
  const { driverLock, unit } = table;
  const unused: DeviceFrame[] = [];
  let [startPage, endPage] = [Infinity, 0]; // of those that were
  yield* driverLock.lock();
  for (const frame of frames) {
    const page = devicePageHint(frame.device, frame.pfn);
    const entry = table.entryOf(page);
    if ((entry & ENTRY_YOUNG) === 0 || entryFrameNumber(entry) !== frame.pfn) {
      unused.push(frame);
      continue;
    }
    table.makeOld(page);
    startPage = Math.min(startPage, page);
    endPage = Math.max(endPage, page + 1);
  }
  // Pages in between are walked anew, which costs less than a flush for each run.
  if (startPage < endPage) yield* unit.flush(startPage, endPage);
  yield* driverLock.unlock();
  return unused;
}

/** EINVAL (a hole, or a mapping that cannot be moved), ENOMEM. */
function* movePiece(
  machine: Machine,
  record: DeviceRecord,
  range: HmmRange,
  isToDevice: boolean,
): Task<MovedPages> {
  const owner = ownerOf(record);
  const mover = isToDevice ? toOwnMemory(machine, record) : backToRam(machine, record);
  const select = isToDevice ? SELECT_SYSTEM : SELECT_DEVICE;
  const { mmapLock } = mmOfRange(range);
  yield* mmapLock.downRead();
  try {
    const result = yield* hmmRangeMigrate(range, { select, owner }, mover);
    if (typeof result === "number") {
      const page = result === EINVAL ? hmmRangeMovableEnd(range) : range.startPage;
      return { errno: result, page, pages: 0 };
    }
    if (isToDevice) return { errno: 0, page: range.endPage, pages: hmmRangeCountOwn(range, owner) };
    const page = result.lacking === 0 ? range.endPage : hmmRangeFirstOwn(range, owner);
    return { errno: page < range.endPage ? ENOMEM : 0, page, pages: result.moved };
  } finally {
    yield* mmapLock.upRead();
  }
}

function toOwnMemory(machine: Machine, record: DeviceRecord): PageMover {
  return {
    alloc: () => takeOwnFrame(record),
    allocPages: (frames) => takeOwnFrames(record, frames),
    allocHuge: (_page, frames) => takeOwnRun(record, frames),
    ...pageCopiers(machine),
  };
}

function backToRam(machine: Machine, record: DeviceRecord): PageMover {
  const mover = toRam(machine);
  return {
    ...mover,
    alloc: (page, from) => (isToFail(record) ? doneNumber(0) : mover.alloc(page, from)),
    allocPages: (frames, notes) =>
      machine.ram.allocFrames(frames.subarray(isToFail(record) ? 1 : 0), notes),
    allocHuge: (page, frames, notes) =>
      isToFail(record) ? doneNumber(0) : (mover.allocHuge?.(page, frames, notes) ?? doneNumber(0)),
  };
}
