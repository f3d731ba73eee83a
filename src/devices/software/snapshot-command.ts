/**
 * @module devices/software/snapshot-command
 * SNAPSHOT: what the CPU's page table says of a range, page by page, without bringing anything in.
 */

import {
  DEFAULT_ENCODING,
  EBUSY,
  entryIsValid,
  entryIsWritable,
  entryPfn,
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeSnapshot,
  hmmRangeWaitUntilValid,
  HOLES_MARK,
  mmOfRange,
  monotonicMs,
  PAGE_BYTES,
  withHmmRange,
  ZERO_PFN,
  type Errno,
  type HmmRange,
  type Machine,
  type Task,
} from "../../driver-interface.ts";
import type { SnapshotPage } from "../driver.ts";
import type { DeviceRecord } from "../service/device-record.ts";
import { ownerOf } from "../service/own-memory.ts";
import type { FaultService } from "../service/fault-service.ts";
import { SPAN_TRIES_MAX, SPAN_WAIT_MS, registerErrno } from "../service/span-service.ts";
import type { CommandOutcome, CommandRequest } from "./command.ts";

/** Pages looked at through one range at most. */
const SNAPSHOT_PAGES_AT_ONCE = 512;

/**
 * A span whose mapping is being changed is cut in two, down to single pages, and only a single page
 * is waited for. So EBUSY names the first page whose mapping does not stop changing, and pages
 * before it do not wait.
 */
export function* snapshotCommand(
  service: FaultService,
  { address, lengthBytes, bytes }: CommandRequest,
): Task<CommandOutcome> {
  const { machine, mirror, record } = service.device;
  const startPage = address / PAGE_BYTES;
  const endPage = Math.ceil((address + lengthBytes) / PAGE_BYTES);
  const pagesMax = Math.min(endPage - startPage, SNAPSHOT_PAGES_AT_ONCE);
  const range = yield* hmmRangeAlloc(machine, {
    pfns: new Uint32Array(pagesMax),
    holes: HOLES_MARK,
    owner: ownerOf(record),
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
  const { machine, record } = service.device;
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
    // It was true of all pages when the snapshot ended, which has checked that. Nothing is
    // installed (R4), so that is enough.
    for (let i = 0; i < into.length; i++) into[i] = snapshotByte(machine, record, range.pfns[i]!);
    return 0;
  }
}

const PRESENT_PAGES = [
  "read",
  "zero",
  "write",
  "own-read",
  "own-write",
  "other-read",
  "other-write",
] as const;

/** By the byte that a snapshot has of a page. */
const SNAPSHOT_PAGES: readonly SnapshotPage[] = [
  "none",
  "error",
  ...PRESENT_PAGES,
  ...PRESENT_PAGES.map((page) => `${page}-huge` as const),
];

/** What the bytes that a snapshot command filled say. */
export function snapshotPages(bytes: Uint8Array): SnapshotPage[] {
  return Array.from(bytes, (byte) => SNAPSHOT_PAGES[byte] ?? "error");
}

function snapshotByte(machine: Machine, record: DeviceRecord, entry: number): number {
  return SNAPSHOT_PAGES.indexOf(snapshotPage(machine, record, entry));
}

function snapshotPage(machine: Machine, record: DeviceRecord, entry: number): SnapshotPage {
  const { flags, values } = DEFAULT_ENCODING;
  if (!entryIsValid(entry, DEFAULT_ENCODING)) return entry === values.none ? "none" : "error";
  const page = presentPage(machine, record, entry);
  return (entry & (flags.huge ?? 0)) === 0 ? page : `${page}-huge`;
}

function presentPage(
  machine: Machine,
  record: DeviceRecord,
  entry: number,
): (typeof PRESENT_PAGES)[number] {
  const isWritable = entryIsWritable(entry, DEFAULT_ENCODING);
  const kind = machine.ram.sections.deviceKindOf(entryPfn(entry, DEFAULT_ENCODING));
  if (kind !== 0 && kind >>> 2 === ownerOf(record)) return isWritable ? "own-write" : "own-read";
  if (kind !== 0) return isWritable ? "other-write" : "other-read";
  if (isWritable) return "write";
  return entryPfn(entry, DEFAULT_ENCODING) === ZERO_PFN ? "zero" : "read";
}
