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
import { ENTRY_EXCLUSIVE, ENTRY_YOUNG } from "../service/device-table.ts";
import type { FaultService } from "../service/fault-service.ts";
import { DEVICE_ENCODING, registerErrno } from "../service/span-service.ts";
import type { CommandOutcome, CommandRequest } from "./command.ts";

/** Pages that are made exclusive and installed together. */
const PIECE_PAGES = 64;

/**
 * `pages` of the outcome: how many the device has. The first failure ends it; earlier pages stay.
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
  });
  if (typeof range === "number") return { errno: range, page: startPage, pages: 0, faults: 0 };
  try {
    for (let page = startPage; page < endPage; page += PIECE_PAGES) {
      const end = Math.min(page + PIECE_PAGES, endPage);
      const [from, to] = [page * PAGE_BYTES, end * PAGE_BYTES];
      let isOurs = false;
      const errno = yield* withHmmRange(range, device.mirror, from, to, () => {
        isOurs = true;
        return takeRange(device, range);
      });
      const pages = page - startPage;
      if (errno !== 0)
        return { errno: isOurs ? errno : registerErrno(errno), page, pages, faults: 0 };
    }
    return { errno: 0, page: endPage, pages: endPage - startPage, faults: 0 };
  } finally {
    yield* hmmRangeFree(range);
  }
}

/** R4, until the device's fault timeout. */
function* takeRange(device: ServedDevice, range: HmmRange): Task<Errno> {
  const { record, table } = device;
  const mm = mmOfRange(range);
  const deadlineMs = monotonicMs() + record.faultTimeoutMs;
  for (;;) {
    const leftMs = deadlineMs - monotonicMs();
    if (leftMs <= 0 || !(yield* hmmRangeWaitUntilValid(range, leftMs))) return EBUSY;
    yield* mm.mmapLock.downRead();
    const pages = yield* hmmRangeExclusive(range, record.serial);
    yield* mm.mmapLock.upRead();
    if (pages < 0 && pages !== EBUSY) return pages;
    if (pages === EBUSY) continue;
    yield* table.driverLock.lock();
    const isValid = yield* hmmRangeValid(range);
    const isInstalled = isValid && (yield* install(device, range));
    yield* table.driverLock.unlock();
    if (isValid) return isInstalled ? 0 : ENOMEM;
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
