/**
 * @module space/operations
 * The operations of an address space as tasks that throw. They turn the core's errno results (mm/)
 * into errors, and keep account of the buffers that this thread has mapped. Both public forms of
 * each operation are in address-space.ts.
 */

import { forkListed } from "../mm/lifetime/fork.ts";
import { doMadvise } from "../mm/calls/madvise.ts";
import { type MmapRequest, doMmap } from "../mm/calls/mmap.ts";
import { doMunmap } from "../mm/calls/munmap.ts";
import { lengthPagesOf } from "../mm/calls/page-arguments.ts";
import { type MmLimits, mmCreateListed } from "../mm/lifetime/mm.ts";
import { doMsync } from "../mm/calls/msync.ts";
import { doMprotect } from "../mm/calls/mprotect.ts";
import { doMremap, type MremapRequest } from "../mm/calls/mremap.ts";
import type { Mm } from "../mm/mm-struct.ts";
import { EINVAL, ENOMEM } from "../sync/errno.ts";
import type { Task } from "../sync/tasks/task.ts";
import { customFailure, failure, unwrap } from "./failures.ts";
import type { Seat } from "./machine-seat.ts";
import { type MappedMemory, type MmapOptions, checkPages } from "./options.ts";
import { type SpaceHold, enlistSpace, holdSpace } from "./space-hold.ts";

/** A new, empty space on the machine. */
export function* createTask(seat: Seat, limits: MmLimits): Task<SpaceHold> {
  const mm = yield* mmCreateListed(seat.machine, limits);
  if (mm === 0) throw failure("create", ENOMEM);
  const hold = yield* enlistSpace(seat, mm);
  if (typeof hold === "number") throw failure("create", hold);
  return hold;
}

/** A further hold on the space of that number. */
export function* attachTask(seat: Seat, space: number): Task<SpaceHold> {
  const hold = yield* holdSpace(seat, space);
  if (typeof hold === "number") throw failure("attach", hold);
  return hold;
}

/** A copy-on-write copy of the space. */
export function* forkTask({ seat, mm }: SpaceHold): Task<SpaceHold> {
  const child = unwrap("fork", yield* forkListed(seat.machine, mm));
  const hold = yield* enlistSpace(seat, child);
  if (typeof hold === "number") throw failure("fork", hold);
  return hold;
}

export function* mmapTask(
  { seat, mm }: SpaceHold,
  request: MmapRequest,
  { buffer, source }: MappedMemory,
): Task<number> {
  if (source !== undefined) return yield* mmapSource(seat, mm, request, source);
  if (buffer !== undefined) return yield* mmapBuffer(seat, mm, request, buffer);
  const result = yield* doMmap(seat.machine, mm, request);
  yield* sweep(seat);
  return unwrap("mmap", result, request.address === 0 ? undefined : request.address);
}

/** Lets go what nothing maps any more. A write-back that failed then is not this call's failure. */
function* sweep(seat: Seat): Task<void> {
  yield* seat.buffers.sweep();
  if (seat.sources.isServing) yield* seat.sources.settle();
}

function* mmapSource(
  seat: Seat,
  mm: Mm,
  request: MmapRequest,
  source: NonNullable<MmapOptions["source"]>,
): Task<number> {
  const cache = yield* seat.sources.acquire(source);
  const result = yield* doMmap(seat.machine, mm, { ...request, cache });
  yield* seat.sources.release(cache);
  yield* sweep(seat);
  return unwrap("mmap", result);
}

function* mmapBuffer(
  seat: Seat,
  mm: Mm,
  request: MmapRequest,
  buffer: NonNullable<MmapOptions["buffer"]>,
): Task<number> {
  const basePfn = yield* seat.buffers.acquire(buffer);
  if (basePfn === EINVAL) {
    const text =
      "the buffer is not a SharedArrayBuffer or shared WebAssembly.Memory of at least 4096 bytes; give one";
    throw customFailure("mmap", EINVAL, text);
  }
  unwrap("mmap", basePfn);
  const { pages } = seat.machine.ram.sections.of(basePfn);
  const isInside = request.offsetPages + Math.max(lengthPagesOf(request.lengthBytes), 0) <= pages;
  const result = isInside
    ? yield* doMmap(seat.machine, mm, { ...request, bufferPfn: basePfn })
    : EINVAL;
  yield* seat.buffers.release(basePfn);
  if (!isInside) {
    const text = `the range ends beyond the buffer's ${pages} whole pages; map less, or let the buffer grow first`;
    throw customFailure("mmap", EINVAL, text);
  }
  return unwrap("mmap", result);
}

export function* munmapTask(
  { seat, mm }: SpaceHold,
  address: number,
  lengthBytes: number,
): Task<void> {
  checkPages("munmap", address, lengthBytes, 1);
  unwrap("munmap", yield* doMunmap(seat.machine, mm, address, lengthBytes), address);
  yield* seat.buffers.sweep();
  const failed = seat.sources.isServing ? yield* seat.sources.settle() : undefined;
  if (failed !== undefined) throw failed;
}

export function* mprotectTask(
  { seat, mm }: SpaceHold,
  address: number,
  lengthBytes: number,
  protection: number,
): Task<void> {
  checkPages("mprotect", address, lengthBytes, 0);
  unwrap(
    "mprotect",
    yield* doMprotect(seat.machine, mm, address, lengthBytes, protection),
    address,
  );
}

export function* mremapTask({ seat, mm }: SpaceHold, request: MremapRequest): Task<number> {
  const result = unwrap("mremap", yield* doMremap(seat.machine, mm, request), request.address);
  yield* sweep(seat);
  return result;
}

export function* msyncTask(
  { seat, mm }: SpaceHold,
  address: number,
  lengthBytes: number,
): Task<void> {
  checkPages("msync", address, lengthBytes, 0);
  unwrap("msync", yield* doMsync(seat.machine, mm, address, lengthBytes), address);
}

export function* madviseTask(
  { seat, mm }: SpaceHold,
  address: number,
  lengthBytes: number,
  advice: number,
): Task<void> {
  checkPages("madvise", address, lengthBytes, 0);
  unwrap("madvise", yield* doMadvise(seat.machine, mm, address, lengthBytes, advice), address);
}
