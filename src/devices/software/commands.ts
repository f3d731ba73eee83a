/**
 * @module devices/software/commands
 * What the host can have the device do without a kernel: the commands of Linux's test device
 * (`lib/test_hmm.c`), with its results and errno values. A command runs as a task in the caller's
 * thread. They stand in a table, so that a new one is an entry.
 *
 * READ and WRITE go through the device's own page table under the driver lock, page by page as far
 * as there are entries; then everything that is missing is faulted in at once, which counts as one
 * `faults`; and on from there. Under the lock no page can be taken away, so nothing has to be
 * checked again.
 */

import { DEFAULT_ENCODING, entryIsValid, entryIsWritable, entryPfn } from "../../hmm/entry.ts";
import {
  HOLES_MARK,
  type HmmRange,
  hmmRangeAlloc,
  hmmRangeFree,
  mmOfRange,
  withHmmRange,
} from "../../hmm/range/range.ts";
import { hmmRangeSnapshot } from "../../hmm/walk/snapshot.ts";
import { hmmRangeWaitUntilValid } from "../../hmm/range/valid.ts";
import { dataStep } from "../../memory/frames/page-data.ts";
import { PAGE_BYTES, ZERO_PFN } from "../../mm/pte.ts";
import { monotonicMs } from "../../sync/tasks/clock.ts";
import { EBUSY, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { SnapshotPage } from "../driver.ts";
import { entryAllows, entryFrameNumber } from "../service/device-table.ts";
import type { FaultService } from "../service/fault-service.ts";
import { SPAN_TRIES_MAX, SPAN_WAIT_MS, registerErrno } from "../service/span-service.ts";

/** How a command ended. */
export interface CommandOutcome {
  /** 0, or why it failed. */
  readonly errno: Errno;
  /** With an errno: the page at which it failed. */
  readonly page: number;
  readonly pages: number;
  readonly faults: number;
}

/** What a command is given: the range, and the caller's bytes that it fills or empties. */
export interface CommandRequest {
  readonly address: number;
  readonly lengthBytes: number;
  /** Of `lengthBytes` bytes for READ and WRITE, of a byte for each page for SNAPSHOT. */
  readonly bytes: Uint8Array;
}

export interface Command {
  /** The access that it makes, for error messages. */
  readonly access: "read" | "write";
  readonly run: (service: FaultService, request: CommandRequest) => Task<CommandOutcome>;
}

export type CommandName = "read" | "write" | "snapshot";

/** The commands. */
export const COMMANDS: { readonly [N in CommandName]: Command } = {
  read: { access: "read", run: readCommand },
  write: {
    access: "write",
    run: (service, request) => transferThroughTable(service, request, true),
  },
  snapshot: { access: "read", run: snapshotCommand },
};

/** Pages copied in one section of the driver lock: an invalidation waits no longer than that. */
const PAGES_AT_ONCE = 64;

/** Delivers nothing unless it has everything. */
function* readCommand(
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

/**
 * The pages in their order: a failure further on counts only when the transfer has come to it,
 * since a page before it may still be waited for, and fail first. So the error names the first page
 * that cannot be had, whatever was served with it.
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
    isLast = isLate; // once more: it may have come to rest while this thread slept
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

/** Pages looked at through one range at most. */
const SNAPSHOT_PAGES_AT_ONCE = 512;

/**
 * A span that does not come to rest at once is cut in two, down to single pages, and only a
 * single page is waited for: so what is answered EBUSY is the first page that does not come to
 * rest, and whatever lies before it does not wait.
 */
function* snapshotCommand(
  service: FaultService,
  { address, lengthBytes, bytes }: CommandRequest,
): Task<CommandOutcome> {
  const { machine, mirror } = service.device;
  const startPage = address / PAGE_BYTES;
  const endPage = Math.ceil((address + lengthBytes) / PAGE_BYTES);
  const pagesMax = Math.min(endPage - startPage, SNAPSHOT_PAGES_AT_ONCE);
  const range = yield* hmmRangeAlloc(machine, {
    pfns: new Uint32Array(pagesMax),
    holes: HOLES_MARK,
  });
  if (typeof range === "number") return { errno: range, page: startPage, pages: 0, faults: 0 };
  try {
    let pages = pagesMax;
    for (let page = startPage; page < endPage;) {
      const end = Math.min(page + pages, endPage);
      const into = bytes.subarray(page - startPage, end - startPage);
      const errno = yield* withHmmRange(range, mirror, page * PAGE_BYTES, end * PAGE_BYTES, () =>
        snapshotPart(service, range, into),
      );
      if (errno === EBUSY && into.length > 1) pages = Math.ceil(into.length / 2);
      // A snapshot asks for no page, so EFAULT is register's.
      else if (errno !== 0)
        return { errno: registerErrno(errno), page, pages: page - startPage, faults: 0 };
      else {
        page = end;
        pages = Math.min(pages * 2, pagesMax);
      }
    }
    return { errno: 0, page: endPage, pages: endPage - startPage, faults: 0 };
  } finally {
    yield* hmmRangeFree(range);
  }
}

function* snapshotPart(service: FaultService, range: HmmRange, into: Uint8Array): Task<Errno> {
  const { faultTimeoutMs } = service.device.table.record;
  const deadlineMs = monotonicMs() + faultTimeoutMs;
  const isLone = into.length === 1;
  for (let tries = 0; ; tries++) {
    const leftMs = isLone ? Math.max(0, deadlineMs - monotonicMs()) : SPAN_WAIT_MS;
    const isOver = isLone ? tries > 0 && leftMs === 0 : tries === SPAN_TRIES_MAX;
    if (isOver) return EBUSY;
    if (!(yield* hmmRangeWaitUntilValid(range, leftMs))) return EBUSY;
    const mm = mmOfRange(range);
    yield* mm.mmapLock.downRead();
    const answer = yield* hmmRangeSnapshot(range);
    yield* mm.mmapLock.upRead();
    if (answer === EBUSY) continue;
    if (answer < 0) return answer;
    // It was true of all pages when the snapshot ended, which has looked. Nothing is put in (R4),
    // so that is enough.
    for (let i = 0; i < into.length; i++) into[i] = snapshotByte(range.pfns[i]!);
    return 0;
  }
}

/** By the byte that a snapshot has of a page. */
const SNAPSHOT_PAGES: readonly SnapshotPage[] = ["none", "read", "zero", "write", "error"];

/** What the bytes that a snapshot command filled say. */
export function snapshotPages(bytes: Uint8Array): SnapshotPage[] {
  return Array.from(bytes, (byte) => SNAPSHOT_PAGES[byte] ?? "error");
}

function snapshotByte(entry: number): number {
  return SNAPSHOT_PAGES.indexOf(snapshotPage(entry));
}

function snapshotPage(entry: number): SnapshotPage {
  if (!entryIsValid(entry, DEFAULT_ENCODING)) {
    return entry === DEFAULT_ENCODING.values.none ? "none" : "error";
  }
  if (entryIsWritable(entry, DEFAULT_ENCODING)) return "write";
  return entryPfn(entry, DEFAULT_ENCODING) === ZERO_PFN ? "zero" : "read";
}
