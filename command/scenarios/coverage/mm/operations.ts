/**
 * @module Operations on an address space. Each is a task that holds a user, and drops it at its
 * end. The last one runs the exit of the space. After it there is as much free memory as before the
 * space was made.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { mmgetNotZero, mmput } from "../../../../src/mm/lifetime/mm.ts";
import { MAP_FIXED_REPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { doMremap } from "../../../../src/mm/calls/mremap.ts";
import { readMaps, readPagemap } from "../../../../src/mm/calls/pagemap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { trackRange } from "../../../../src/mm/fault/track.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { zapNonBlocking } from "../../../../src/mm/entries/zap.ts";
import { EBUSY, EFAULT } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";

const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
const ELSEWHERE: number = (HARNESS_PAGE + 4) * PAGE_BYTES;

/** An operation, with the answers that it may give. */
export interface Operation {
  readonly name: string;
  readonly runs: readonly string[];
  readonly body: (harness: HmmHarness) => Task<unknown>;
}

function* requireAnswer(task: Task<number>, allowed: (answer: number) => boolean): Task<void> {
  const answer = yield* task;
  assert(allowed(answer), `the answer was ${answer}`);
}

const isDone = (answer: number): boolean => answer === 0;
const isDoneOrUnmapped = (answer: number): boolean => answer === 0 || answer === EFAULT;
const isAddress = (answer: number): boolean => answer === ADDRESS;

function* forkAndExit({ machine, mm }: HmmHarness): Task<void> {
  const child = yield* doFork(machine, mm);
  assert(child > 0, `fork answered ${child}`);
  const childMm = Mm.at(machine.memory, child);
  yield* requireAnswer(cpuFault(machine, childMm, HARNESS_PAGE, true), isDoneOrUnmapped);
  yield* mmput(machine, childMm);
}

function* view({ machine, mm }: HmmHarness, isWrite: boolean): Task<void> {
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, isWrite);
  if (at < 0) assert(at === EFAULT || at === EBUSY, `the view answered ${at}`);
  else yield* viewClose(machine, at);
}

function* track({ machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* trackRange(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, new Uint8Array(1));
  yield* mm.mmapLock.upRead();
}

function* reap({ machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* requireAnswer(zapNonBlocking(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1), isDone);
  yield* mm.mmapLock.upRead();
}

/** Reads the mappings, and the page's entry. */
function* look({ machine, mm }: HmmHarness): Task<void> {
  const maps = yield* readMaps(machine, mm);
  for (const { start, end } of maps)
    assert(start < end && start % PAGE_BYTES === 0, `a mapping of ${start} to ${end}`);
  const [page] = yield* readPagemap(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1);
  assert(page !== undefined && page.address === ADDRESS, "the page is not told of");
}

/** A holder of a count tries to get a user. */
function* visit({ mm }: HmmHarness): Task<void> {
  assert(yield* mmgetNotZero(mm), "somebody with a user is told that there is none");
  yield* mm.users.put();
}

const FAULT = [
  "mm/fault/cpu-fault.cpuFault",
  "mm/fault/fault.handleMmFault",
  "mmu/radix-table.leafAlloc",
] as const;
const VIEW = ["mm/view/view-open.viewOpen", "mm/view/view-open.viewClose"] as const;

/** The operations of all pairs, on the first page. */
export const operations: readonly Operation[] = [
  {
    name: "read",
    runs: FAULT,
    body: ({ machine, mm }) =>
      requireAnswer(cpuFault(machine, mm, HARNESS_PAGE, false), isDoneOrUnmapped),
  },
  {
    name: "write",
    runs: FAULT,
    body: ({ machine, mm }) =>
      requireAnswer(cpuFault(machine, mm, HARNESS_PAGE, true), isDoneOrUnmapped),
  },
  {
    name: "munmap",
    runs: ["mm/calls/munmap.doMunmap", "mm/entries/zap.zapRange"],
    body: ({ machine, mm }) => requireAnswer(doMunmap(machine, mm, ADDRESS, PAGE_BYTES), isDone),
  },
  {
    name: "mmap",
    runs: ["mm/calls/mmap.doMmap"],
    body: ({ machine, mm }) =>
      requireAnswer(
        doMmap(machine, mm, {
          lengthBytes: PAGE_BYTES,
          address: ADDRESS,
          placement: MAP_FIXED_REPLACE,
          protection: VM_READ | VM_WRITE,
          shared: false,
          bufferPfn: 0,
          offsetPages: 0,
        }),
        isAddress,
      ),
  },
  {
    name: "mprotect",
    runs: ["mm/calls/mprotect.doMprotect"],
    body: ({ machine, mm }) =>
      requireAnswer(doMprotect(machine, mm, ADDRESS, PAGE_BYTES, VM_READ), (answer) => answer <= 0),
  },
  {
    name: "madvise",
    runs: ["mm/calls/madvise.doMadvise", "mm/entries/zap.zapRange"],
    body: ({ machine, mm }) =>
      requireAnswer(
        doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED),
        (answer) => answer <= 0,
      ),
  },
  {
    name: "mremap",
    runs: ["mm/calls/mremap.doMremap"],
    body: ({ machine, mm }) => {
      const lengths = { oldLengthBytes: PAGE_BYTES, newLengthBytes: PAGE_BYTES };
      const request = { address: ADDRESS, ...lengths, mayMove: true, to: ELSEWHERE };
      return requireAnswer(
        doMremap(machine, mm, request),
        (answer) => answer <= 0 || answer === ELSEWHERE,
      );
    },
  },
  { name: "fork", runs: ["mm/lifetime/fork.doFork", "mm/lifetime/mm.mmput"], body: forkAndExit },
  { name: "read-view", runs: VIEW, body: (harness) => view(harness, false) },
  {
    name: "write-view",
    runs: [...VIEW, "mm/view/view-hold.beginHold", "mm/view/view-hold.endHold"],
    body: (harness) => view(harness, true),
  },
  { name: "track", runs: ["mm/fault/track.trackRange"], body: track },
  { name: "reap", runs: ["mm/entries/zap.zapNonBlocking"], body: reap },
  { name: "look", runs: ["mm/calls/pagemap.readMaps", "mm/calls/pagemap.readPagemap"], body: look },
  { name: "visit", runs: ["mm/lifetime/mm.mmgetNotZero"], body: visit },
];
