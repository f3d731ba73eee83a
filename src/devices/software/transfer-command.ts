/**
 * @module devices/software/transfer-command
 * READ and WRITE: bytes that go through the device's own page table, under the driver lock, page by
 * page as far as there are entries. Then everything that is missing is faulted in at once, which
 * counts as one of `faults`; and on from there. Under the lock no page can be invalidated, so
 * nothing has to be checked again.
 */

import { dataStep, EBUSY, monotonicMs, PAGE_BYTES, type Task } from "../../driver-interface.ts";
import { entryAllows, entryFrameNumber } from "../service/device-table.ts";
import type { FaultService } from "../service/fault-service.ts";
import type { CommandOutcome, CommandRequest } from "./command.ts";

/** Pages copied in one section of the driver lock: an invalidation waits no longer than that. */
const PAGES_AT_ONCE = 64;

/** Delivers nothing unless it has everything. */
export function* readCommand(
  service: FaultService,
  { address, lengthBytes, bytes }: CommandRequest,
): Task<CommandOutcome> {
  const bounce = new Uint8Array(lengthBytes);
  const outcome = yield* transferThroughTable(
    service,
    { address, lengthBytes, bytes: bounce },
    false,
  );
  if (outcome.errno === 0) bytes.set(bounce);
  return outcome;
}

/** Stores the caller's bytes. */
export function writeCommand(service: FaultService, request: CommandRequest): Task<CommandOutcome> {
  return transferThroughTable(service, request, true);
}

/**
 * Takes the pages in their order. A failure counts only when the transfer has reached its page: a
 * page before it may still be waited for, and fail first. So the error names the first page that
 * cannot be had.
 */
function* transferThroughTable(
  service: FaultService,
  request: CommandRequest,
  isWrite: boolean,
): Task<CommandOutcome> {
  const { address, lengthBytes } = request;
  const startPage = Math.floor(address / PAGE_BYTES);
  const endPage = Math.ceil((address + lengthBytes) / PAGE_BYTES);
  const { table } = service.device;
  const { faultTimeoutMs } = table.record;
  let page = startPage;
  let faults = 0;
  let deadlineMs = Infinity;
  let isLast = false;
  for (;;) {
    const reached = yield* copyWhileMapped(service, request, page, endPage, isWrite);
    if (reached === endPage) return { errno: 0, page: endPage, pages: endPage - startPage, faults };
    const nowMs = monotonicMs();
    if (reached > page || faults === 0) deadlineMs = nowMs + faultTimeoutMs;
    page = reached;
    const failure = { page, pages: page - startPage, faults };
    const isLate = nowMs >= deadlineMs;
    if (isLate && isLast) return { errno: EBUSY, ...failure };
    isLast = isLate; // once more: the mapping may be quiet since this thread slept
    const failed = yield* service.serveRange(page, endPage, isWrite);
    if (failed?.page === page) return { errno: failed.errno, ...failure };
    faults++;
    if (entryAllows(table.entryOf(page), isWrite)) continue;
    if (isLast) return { errno: EBUSY, ...failure };
    const waited = yield* service.waitUntilQuiet(page, deadlineMs - nowMs);
    if (waited !== 0) return { errno: waited, ...failure };
  }
}

/**
 * Copies from `page` on until one has no entry for the access, or `endPage`. Returns the page at
 * which it stopped.
 */
function* copyWhileMapped(
  service: FaultService,
  request: CommandRequest,
  page: number,
  endPage: number,
  isWrite: boolean,
): Task<number> {
  const { table } = service.device;
  const { driverLock } = table;
  while (page < endPage) {
    const stop = Math.min(page + PAGES_AT_ONCE, endPage);
    yield* driverLock.lock();
    try {
      for (; page < stop; page++) {
        const entry = table.entryOf(page);
        if (!entryAllows(entry, isWrite)) return page;
        const pfn = entryFrameNumber(entry);
        yield* dataStep(table.machine.memory, isWrite ? "write" : "read", pfn);
        copyPage(service, request, page, pfn, isWrite);
      }
    } finally {
      yield* driverLock.unlock();
    }
  }
  return page;
}

/**
 * The part of the request that lies in `page`. Holding the driver lock, so the frame is the page's.
 */
function copyPage(
  service: FaultService,
  request: CommandRequest,
  page: number,
  pfn: number,
  isWrite: boolean,
): void {
  const { address, lengthBytes, bytes } = request;
  const first = Math.max(address, page * PAGE_BYTES);
  const end = Math.min(address + lengthBytes, (page + 1) * PAGE_BYTES);
  const section = service.device.machine.ram.sections.of(pfn);
  const at = section.wordIndex(pfn) * 4 + (first % PAGE_BYTES);
  const inFrame = section.u8.subarray(at, at + end - first);
  const inRequest = bytes.subarray(first - address, end - address);
  if (isWrite) inFrame.set(inRequest);
  else inRequest.set(inFrame);
}
