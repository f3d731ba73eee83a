/**
 * @module What the exhibits of this folder have in common: devices and ranges that a task's thread
 * owns, and a CPU that discards a page.
 */

import type { HmmHarness } from "../../../src/checker/harness/hmm-harness.ts";
import { HARNESS_PAGE } from "../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import { HmmRange, hmmRangeAlloc, hmmRangeRegister } from "../../../src/hmm/range/range.ts";
import { MADV_DONTNEED, doMadvise } from "../../../src/mm/calls/madvise.ts";
import { PAGE_BYTES } from "../../../src/mm/pte.ts";
import { selectAgent } from "../../../src/sync/runners/agents.ts";
import { type Errno, errnoName } from "../../../src/sync/errno.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";

/** Each range covers the first page. */
export const START: number = HARNESS_PAGE * PAGE_BYTES;
export const END: number = START + PAGE_BYTES;

/** For scenarios that need no present page: fewer steps. */
export const ABSENT = { pages: 2, present: 0 } as const;

/** Runs `task` in the set-up as the thread of task `index`, which owns what it registers. */
function runAs<T>(harness: HmmHarness, index: number, task: Task<T>): T {
  const { memory } = harness.machine;
  const own = memory.agentId;
  selectAgent(memory, index + 1);
  try {
    return harness.run(task);
  } finally {
    selectAgent(memory, own);
  }
}

function must(answer: Errno): void {
  if (answer !== 0) throw new RangeError(`Cannot set up the exhibit: ${errnoName(answer)}`);
}

/** A device whose mirror the thread of task `owner` has registered. */
export function deviceOf(harness: HmmHarness, owner: number, opsId?: number): HarnessDevice {
  const device = new HarnessDevice(harness, opsId);
  must(runAs(harness, owner, device.register()));
  return device;
}

/** A range that is not registered. */
export function rangeOf(harness: HmmHarness): HmmRange {
  const range = harness.run(hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) }));
  if (typeof range === "number")
    throw new RangeError(`Cannot set up the exhibit: ${errnoName(range)}`);
  return range;
}

/** A range over the first page that is registered. */
export function registeredRange(harness: HmmHarness, device: HarnessDevice): HmmRange {
  const range = rangeOf(harness);
  must(harness.run(hmmRangeRegister(range, device.mirror, START, END)));
  return range;
}

/** Another handle of the same range, before any read-begin. */
function freshRange({ machine, record, resourceSlot }: HmmRange): HmmRange {
  return new HmmRange(machine, record, resourceSlot, { pfns: new Uint32Array(1) });
}

/** What the tasks of most exhibits share. */
export interface DeviceAndRange {
  readonly device: HarnessDevice;
  range: HmmRange;
}

/** For `reopen` of a scenario with {@link DeviceAndRange}. */
export function reopenRange(shared: DeviceAndRange): void {
  shared.range = freshRange(shared.range);
}

/** The hmm of the harness's address space. */
export function hmmOf({ machine, mm }: HmmHarness): Hmm {
  return Hmm.at(machine.memory, mm.hmm);
}

/** The CPU discards the first page. */
export function* discard(_shared: unknown, { machine, mm }: HmmHarness): Task<void> {
  yield* doMadvise(machine, mm, START, PAGE_BYTES, MADV_DONTNEED);
}
