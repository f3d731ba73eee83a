/**
 * @module The calls of random programs, and which errors each may return: the mmap family on an
 * address space, range fault, snapshot and access of a device, and what moves pages
 * (moving-operations.ts). Tests pass a table with a bug in
 * it.
 */

import { HARNESS_PAGE } from "../../../src/checker/harness/hmm-harness.ts";
import { HARNESS_TABLE_PAGES } from "../../../src/checker/harness/harness-device.ts";
import {
  hmmRangeAlloc,
  hmmRangeFree,
  mmOfRange,
  withHmmRange,
} from "../../../src/hmm/range/range.ts";
import type { HmmRange } from "../../../src/hmm/range/range.ts";
import { hmmRangeSnapshot } from "../../../src/hmm/walk/snapshot.ts";
import { cpuFault } from "../../../src/mm/fault/cpu-fault.ts";
import { doFork } from "../../../src/mm/lifetime/fork.ts";
import {
  MADV_COLD,
  MADV_COLLAPSE,
  MADV_DONTNEED,
  MADV_FREE,
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  MADV_PAGEOUT,
  MADV_POPULATE,
  MADV_WILLNEED,
  doMadvise,
} from "../../../src/mm/calls/madvise.ts";
import type { Mm } from "../../../src/mm/mm-struct.ts";
import { mmput } from "../../../src/mm/lifetime/mm.ts";
import { doMmap } from "../../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../../src/mm/calls/munmap.ts";
import { doMprotect } from "../../../src/mm/calls/mprotect.ts";
import { doMremap } from "../../../src/mm/calls/mremap.ts";
import { PAGE_BYTES } from "../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../../src/mm/vma/vma.ts";
import { EAGAIN, EBUSY, EEXIST, EFAULT, EINVAL, ENOMEM, EPERM } from "../../../src/sync/errno.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { FuzzCall } from "./fuzz-program.ts";
import type { FuzzStage, Operation, OperationTable, PlacedCall } from "./fuzz-stage.ts";
import { accessOperations } from "./access-operations.ts";
import { placementOf } from "./placement.ts";
import { movingOperations } from "./moving-operations.ts";

function protectionOf({ write, none }: FuzzCall): number {
  if (none === true) return 0;
  return write === true ? VM_READ | VM_WRITE : VM_READ;
}

function doMmapCall(
  { harness }: FuzzStage,
  mm: Mm,
  { call, startPage, pages }: PlacedCall,
): Task<number> {
  return doMmap(harness.machine, mm, {
    lengthBytes: pages * PAGE_BYTES,
    address: call.place === undefined ? 0 : startPage * PAGE_BYTES,
    placement: placementOf(call),
    protection: protectionOf(call),
    shared: call.shared === true,
    bufferPfn: 0,
    offsetPages: 0,
  });
}

/**
 * The pages of the call that are in the device's table; undefined if there are none.
 */
function tablePages({
  startPage,
  pages,
}: PlacedCall): { readonly start: number; readonly pages: number } | undefined {
  const end = Math.min(startPage + pages, HARNESS_PAGE + HARNESS_TABLE_PAGES);
  return startPage >= HARNESS_PAGE && startPage < end
    ? { start: startPage, pages: end - startPage }
    : undefined;
}

function* serve(stage: FuzzStage, _mm: Mm, placed: PlacedCall): Task<number> {
  const part = tablePages(placed);
  if (part === undefined) return 0;
  return yield* stage
    .deviceOf(placed.task)
    .serve(part.start, part.pages, { write: placed.call.write === true });
}

function* snapshot(
  stage: FuzzStage,
  _mm: Mm,
  { task, startPage, pages }: PlacedCall,
): Task<number> {
  const range = yield* hmmRangeAlloc(stage.harness.machine, { pfns: new Uint32Array(pages) });
  if (typeof range === "number") return ENOMEM;
  const start = startPage * PAGE_BYTES;
  const end = start + pages * PAGE_BYTES;
  const result = yield* withHmmRange(range, stage.deviceOf(task).mirror, start, end, () =>
    snapshotOnce(range),
  );
  yield* hmmRangeFree(range);
  return result;
}

function* snapshotOnce(range: HmmRange): Task<number> {
  const mm = mmOfRange(range);
  yield* mm.mmapLock.downRead();
  const result = yield* hmmRangeSnapshot(range);
  yield* mm.mmapLock.upRead();
  return result;
}

function advising(advice: number): Operation {
  return {
    perform: ({ harness }, mm, { startPage, pages }) =>
      doMadvise(harness.machine, mm, startPage * PAGE_BYTES, pages * PAGE_BYTES, advice),
    answers: [ENOMEM, EINVAL, EFAULT, EAGAIN],
  };
}

/** The device accesses its pages: its translations must agree with the page table. */
function* use(stage: FuzzStage, _mm: Mm, { task }: PlacedCall): Task<number> {
  yield* stage.requireCoherent(stage.deviceOf(task));
  return 0;
}

/**
 * The address of this module. Workers get the address of the module that exports their operations.
 */
export const shippedOperations: string = import.meta.url;

/** The shipped code. */
export const operations: OperationTable = {
  mmap: { perform: doMmapCall, answers: [ENOMEM, EEXIST, EINVAL] },
  munmap: {
    perform: ({ harness }, mm, { startPage, pages }) =>
      doMunmap(harness.machine, mm, startPage * PAGE_BYTES, pages * PAGE_BYTES),
    answers: [ENOMEM, EINVAL],
  },
  mprotect: {
    perform: ({ harness }, mm, { call, startPage, pages }) =>
      doMprotect(
        harness.machine,
        mm,
        startPage * PAGE_BYTES,
        pages * PAGE_BYTES,
        protectionOf(call),
      ),
    answers: [ENOMEM, EINVAL],
  },
  mremap: {
    perform: ({ harness }, mm, { call, startPage, pages }) =>
      doMremap(harness.machine, mm, {
        address: startPage * PAGE_BYTES,
        oldLengthBytes: pages * PAGE_BYTES,
        newLengthBytes: (call.newPages ?? 1) * PAGE_BYTES,
        mayMove: call.place !== "noreplace",
        to: call.place === "fixed" ? (HARNESS_PAGE + (call.to ?? 0)) * PAGE_BYTES : undefined,
      }),
    answers: [EINVAL, EFAULT, ENOMEM],
  },
  dontneed: advising(MADV_DONTNEED),
  free: advising(MADV_FREE),
  cold: advising(MADV_COLD),
  populate: advising(MADV_POPULATE),
  willneed: advising(MADV_WILLNEED),
  pageout: advising(MADV_PAGEOUT),
  hugepage: advising(MADV_HUGEPAGE),
  nohugepage: advising(MADV_NOHUGEPAGE),
  collapse: advising(MADV_COLLAPSE),
  ...movingOperations,
  ...accessOperations,
  fork: { perform: ({ harness }, mm) => doFork(harness.machine, mm), answers: [ENOMEM] },
  "exit-child": {
    *perform({ harness }, mm) {
      yield* mmput(harness.machine, mm);
      return 0;
    },
    answers: [],
  },
  touch: {
    perform: ({ harness }, mm, { call, startPage }) =>
      cpuFault(harness.machine, mm, startPage, call.write === true),
    answers: [EFAULT, ENOMEM],
  },
  serve: { perform: serve, answers: [EBUSY, EFAULT, EPERM, ENOMEM] },
  snapshot: { perform: snapshot, answers: [EBUSY, EFAULT, EPERM, ENOMEM] },
  use: { perform: use, answers: [] },
  register: { perform: (stage, _mm, { task }) => stage.register(task), answers: [ENOMEM] },
  unregister: {
    *perform(stage, _mm, { task }) {
      yield* stage.unregister(task);
      return 0;
    },
    answers: [],
  },
};
