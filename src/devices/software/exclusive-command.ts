/**
 * @module devices/software/exclusive-command
 * EXCLUSIVE: the device gets pages of RAM for itself, until somebody else touches them. And whether
 * it still has them: CHECK_EXCLUSIVE.
 */

import {
  EBUSY,
  ENOMEM,
  hmmRangeAlloc,
  hmmRangeExclusive,
  hmmRangeFault,
  hmmRangeFree,
  hmmRangeValid,
  hmmRangeWaitUntilValid,
  mmOfRange,
  monotonicMs,
  PAGE_BYTES,
  withHmmRange,
  type Errno,
  type HmmRange,
  type Task,
} from "../../driver-interface.ts";
import type { ServedDevice } from "../service/device.ts";
import {
  ENTRY_EXCLUSIVE,
  ENTRY_PRESENT,
  ENTRY_WRITE,
  ENTRY_YOUNG,
} from "../service/device-table.ts";
import type { FaultService } from "../service/fault-service.ts";
import { DEVICE_ENCODING, registerErrno } from "../service/span-service.ts";
import type { CommandOutcome, CommandRequest } from "./command.ts";

/** Pages that are made exclusive and installed together. */
const PIECE_PAGES = 64;

/**
 * `pages` of the outcome: how many the device has. The first failure ends it; earlier pages stay.
 * Of a piece that fails nothing is installed, and nothing says which page it was: its pages are
 * taken one by one then.
 */
export function* exclusiveCommand(
  service: FaultService,
  { address, lengthBytes }: CommandRequest,
): Task<CommandOutcome> {
  const { device } = service;
  const endPage = Math.ceil((address + lengthBytes) / PAGE_BYTES);
  const startPage = address / PAGE_BYTES;
  const range = yield* hmmRangeAlloc(device.machine, {
    pfns: new Uint32Array(PIECE_PAGES),
    encoding: DEVICE_ENCODING,
    defaultFlags: ENTRY_PRESENT | ENTRY_WRITE,
  });
  if (typeof range === "number") return { errno: range, page: startPage, pages: 0, faults: 0 };
  try {
    let aloneUntil = startPage;
    for (let page = startPage; page < endPage;) {
      const end = page < aloneUntil ? page + 1 : Math.min(page + PIECE_PAGES, endPage);
      const [from, to] = [page * PAGE_BYTES, end * PAGE_BYTES];
      let isOurs = false;
      const errno = yield* withHmmRange(range, device.mirror, from, to, () => {
        isOurs = true;
        return takeRange(device, range);
      });
      if (errno === 0) page = end;
      else if (isOurs && end - page > 1) aloneUntil = end;
      else {
        const pages = page - startPage;
        return { errno: isOurs ? errno : registerErrno(errno), page, pages, faults: 0 };
      }
    }
    return { errno: 0, page: endPage, pages: endPage - startPage, faults: 0 };
  } finally {
    yield* hmmRangeFree(range);
  }
}

/** R4. A page alone is tried until the device's fault timeout, several once. */
function* takeRange(device: ServedDevice, range: HmmRange): Task<Errno> {
  const { record, table } = device;
  const isAlone = range.endPage - range.startPage === 1;
  const deadlineMs = monotonicMs() + record.faultTimeoutMs;
  for (;;) {
    const leftMs = deadlineMs - monotonicMs();
    if (leftMs <= 0 || !(yield* hmmRangeWaitUntilValid(range, isAlone ? leftMs : 0))) return EBUSY;
    const pages = yield* takeOrFault(range, record.serial, isAlone);
    if (pages < 0 && (pages !== EBUSY || !isAlone)) return pages;
    if (pages === EBUSY) continue;
    yield* table.driverLock.lock();
    const isValid = yield* hmmRangeValid(range);
    const isInstalled = isValid && (yield* install(device, range));
    yield* table.driverLock.unlock();
    if (isValid) return isInstalled ? 0 : ENOMEM;
  }
}

/** A page that is still to be read from its source is faulted in, for the next try. */
function* takeOrFault(range: HmmRange, owner: number, mayFault: boolean): Task<number> {
  const { mmapLock } = mmOfRange(range);
  yield* mmapLock.downRead();
  try {
    const pages = yield* hmmRangeExclusive(range, owner);
    if (pages !== EBUSY || !mayFault) return pages;
    const faulted = yield* hmmRangeFault(range);
    return faulted < 0 ? faulted : EBUSY;
  } finally {
    yield* mmapLock.upRead();
  }
}

/**
 * Holding the driver lock, under which the range was found valid. False: no table.
 *
 * @stepped device entry
 */
function* install({ table }: ServedDevice, range: HmmRange): Task<boolean> {
  const { startPage, endPage, pfns } = range;
  for (let page = startPage; page < endPage; page++) {
    const index = yield* table.makeIndex(page);
    if (index === 0) return false;
    table.setEntry(index, pfns[page - startPage]! | ENTRY_EXCLUSIVE | ENTRY_YOUNG);
  }
  return true; // the software device's unit need not hear of what is added
}

/** How many pages of the range the device has for itself now. */
export function* countExclusive(
  { table }: ServedDevice,
  startPage: number,
  endPage: number,
): Task<number> {
  let pages = 0;
  yield* table.driverLock.lock();
  for (let page = startPage; page < endPage; page++)
    if ((table.entryOf(page) & ENTRY_EXCLUSIVE) !== 0) pages++;
  yield* table.driverLock.unlock();
  return pages;
}
