/**
 * @module The calls of random programs that access memory as a CPU thread does, through its
 * software TLB: a load, a store, and a section of stores under one mark; and those about a source:
 * mapping it, writing it back, and its growing and shrinking.
 */

import type { HarnessCpu } from "../../../src/checker/harness/harness-cpu.ts";
import { doMmap } from "../../../src/mm/calls/mmap.ts";
import { doMsync } from "../../../src/mm/calls/msync.ts";
import type { Mm } from "../../../src/mm/mm-struct.ts";
import { PAGE_BYTES } from "../../../src/mm/pte.ts";
import { refreshSize } from "../../../src/mm/source/size.ts";
import { VM_READ, VM_WRITE } from "../../../src/mm/vma/vma.ts";
import { EEXIST, EFAULT, EINVAL, ENOMEM } from "../../../src/sync/errno.ts";
import { HmmError, SegmentationFault } from "../../../src/sync/errors.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { FuzzStage, Operation, PlacedCall } from "./fuzz-stage.ts";
import { placementOf } from "./placement.ts";
import { STORE_PAGES } from "./program-store.ts";

/** The value that stores of random programs leave. */
const STORED = 9;

/** What a program sees of an access: 0, EFAULT for SIGSEGV and SIGBUS, ENOMEM. */
function* asErrno(access: Task<unknown>): Task<number> {
  try {
    yield* access;
    return 0;
  } catch (error) {
    if (error instanceof SegmentationFault) return EFAULT;
    if (error instanceof HmmError && error.code === "ENOMEM") return ENOMEM;
    throw error;
  }
}

function* loadAndStore(cpu: HarnessCpu, address: number, pages: number): Task<void> {
  for (let page = 0; page < pages; page++) {
    yield* cpu.store(address + page * PAGE_BYTES, STORED);
    yield* cpu.load(address + page * PAGE_BYTES);
  }
}

function accessing(
  access: (cpu: HarnessCpu, address: number, pages: number) => Task<unknown>,
): Operation {
  return {
    perform: (stage: FuzzStage, mm: Mm, { task, startPage, pages }: PlacedCall): Task<number> =>
      asErrno(access(stage.cpuOf(task, mm), startPage * PAGE_BYTES, pages)),
    answers: [EFAULT, ENOMEM],
  };
}

function mapSource(
  { harness, cache }: FuzzStage,
  mm: Mm,
  { call, startPage, pages }: PlacedCall,
): Task<number> {
  return doMmap(harness.machine, mm, {
    lengthBytes: pages * PAGE_BYTES,
    address: startPage * PAGE_BYTES,
    placement: placementOf(call),
    protection: call.write === true ? VM_READ | VM_WRITE : VM_READ,
    shared: call.shared === true,
    bufferPfn: 0,
    offsetPages: 0,
    cache,
  });
}

type AccessCall = "load" | "store" | "section" | "map-source" | "msync" | "resize-source";

/** By name. */
export const accessOperations: Readonly<Record<AccessCall, Operation>> = {
  load: accessing((cpu, address) => cpu.load(address)),
  store: accessing((cpu, address) => cpu.store(address, STORED)),
  section: accessing((cpu, address, pages) => cpu.section(loadAndStore(cpu, address, pages))),
  "map-source": { perform: mapSource, answers: [ENOMEM, EEXIST, EINVAL] },
  msync: {
    perform: ({ harness }, mm, { startPage, pages }) =>
      doMsync(harness.machine, mm, startPage * PAGE_BYTES, pages * PAGE_BYTES),
    answers: [ENOMEM, EINVAL],
  },
  "resize-source": {
    perform({ harness, store, cache }, _mm, { pages }) {
      store.resize(pages % (STORE_PAGES + 1));
      return refreshSize(harness.machine, cache);
    },
    answers: [ENOMEM],
  },
};
