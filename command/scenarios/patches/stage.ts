/**
 * @module What the exhibits of this folder have in common beside the harness
 * (src/checker/harness/): devices and ranges that a task's thread owns. Only the owner may
 * unregister or free them, so the set-up runs as that thread.
 */

import { type HmmHarness, HARNESS_PAGE } from "../../../src/checker/harness/hmm-harness.ts";
import { HARNESS_DEVICE_OPS, HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import { registerMirrorOps } from "../../../src/hmm/mirror/mirror-ops.ts";
import { HmmRange, hmmRangeAlloc, hmmRangeRegister } from "../../../src/hmm/range/range.ts";
import type { Mm } from "../../../src/mm/mm-struct.ts";
import { PAGE_BYTES } from "../../../src/mm/pte.ts";
import {
  EVENT_CLEAR,
  type InvalidateRange,
  invalidateRange,
} from "../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  mmuNotifierRegister,
  mmuNotifierUnregisterNoRelease,
} from "../../../src/notifier/mmu-notifier.ts";
import { selectAgent } from "../../../src/sync/runners/agents.ts";
import type { Errno } from "../../../src/sync/errno.ts";
import { assert } from "../../../src/sync/errors.ts";
import { DONE, type Task, doneNumber } from "../../../src/sync/tasks/task.ts";

/** Runs `task` in the set-up as the thread of the scenario's task `owner`. */
export function asThreadOf<T>(harness: HmmHarness, owner: number, task: Task<T>): T {
  const { memory } = harness.machine;
  const own = memory.agentId;
  selectAgent(memory, owner + 1);
  try {
    return harness.run(task);
  } finally {
    selectAgent(memory, own);
  }
}

/** Of a driver whose call-backs do nothing. */
export const IDLE_OPS: number = registerMirrorOps("idle driver", {
  invalidate: () => doneNumber(0),
  release: () => DONE,
});

/** In the set-up: a device whose mirror task number `owner` has registered. */
export function deviceOf(
  harness: HmmHarness,
  owner: number,
  opsId: number = HARNESS_DEVICE_OPS,
): HarnessDevice {
  const device = new HarnessDevice(harness, opsId);
  assert(
    asThreadOf(harness, owner, device.register()) === 0,
    "Cannot set up the exhibit: the mirror was not registered",
  );
  return device;
}

/** A range whose handle, a JavaScript object with state, is made anew for each execution. */
export class OwnRange {
  handle: HmmRange;
  readonly #notifierSeq: number;

  constructor(handle: HmmRange) {
    this.handle = handle;
    this.#notifierSeq = handle.notifierSeq;
  }

  /** Makes the handle as the set-up left it. */
  reopen(): void {
    const { machine, record, resourceSlot } = this.handle;
    this.handle = new HmmRange(machine, record, resourceSlot, { pfns: new Uint32Array(1) });
    this.handle.notifierSeq = this.#notifierSeq;
  }
}

/** In the set-up: a range of task number `owner`, not registered. */
export function freshRange(harness: HmmHarness, owner: number): OwnRange {
  const range = asThreadOf(
    harness,
    owner,
    hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) }),
  );
  if (!(range instanceof HmmRange))
    throw new RangeError("Cannot set up the exhibit: no memory for a range");
  return new OwnRange(range);
}

/** In the set-up: a range over the first page that task number `owner` has registered. */
export function rangeOf(harness: HmmHarness, owner: number, device: HarnessDevice): OwnRange {
  const { handle } = freshRange(harness, owner);
  assert(
    asThreadOf(harness, owner, registerOver(handle, device)) === 0,
    "Cannot set up the exhibit: the range was not registered",
  );
  return new OwnRange(handle);
}

/** Registers over the first page. */
export function registerOver(range: HmmRange, device: HarnessDevice): Task<Errno> {
  return hmmRangeRegister(
    range,
    device.mirror,
    HARNESS_PAGE * PAGE_BYTES,
    (HARNESS_PAGE + 1) * PAGE_BYTES,
  );
}

/** The hmm of the harness's address space. */
export function hmmOf({ machine, mm }: HmmHarness): Hmm {
  return Hmm.at(machine.memory, mm.hmm);
}

/** In the set-up: from now on the notifiers find the call-backs of `opsId` on the hmm. */
export function listenWith(harness: HmmHarness, opsId: number): void {
  const { machine, mm } = harness;
  const { notifier } = hmmOf(harness);
  harness.run(mmuNotifierUnregisterNoRelease(mm.notifiers, notifier));
  harness.run(mmuNotifierRegister(machine, mm.notifiers, notifier, opsId));
}

/** An invalidation of the first page, for its start and its end. */
export function invalidationOf(mm: Mm, blockable: boolean = true): InvalidateRange {
  return invalidateRange(mm, HARNESS_PAGE, HARNESS_PAGE + 1, EVENT_CLEAR, { blockable });
}

/** The start and end of a change of the first page's entry; the change itself is left out. */
export function* invalidate({ machine, mm }: HmmHarness): Task<void> {
  const range = invalidationOf(mm);
  if ((yield* mmuNotifierInvalidateRangeStart(machine, range)) === 0) {
    yield* mmuNotifierInvalidateRangeEnd(machine, range);
  }
}
