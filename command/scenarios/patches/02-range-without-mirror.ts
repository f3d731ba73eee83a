/**
 * @module Patch 2: a range could be registered where no driver listens.
 *
 *     faulter                                        discard
 *     registers a range on the mm, not on a mirror
 *     faults, takes the driver lock, range valid:
 *     programs the page, unlocks
 *                                                    start: there is an hmm, and no mirror on it
 *                                                    takes the page out, frees its frame
 *     [the device still reaches the frame]
 */

import {
  type HmmHarness,
  RIG_PAGE,
  harnessScenario,
} from "../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { hmmGetOrCreate } from "../../../src/hmm/mirror/get-or-create.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import { readSequence, startSequence } from "../../../src/hmm/range-record.ts";
import type { HmmRange } from "../../../src/hmm/range/range.ts";
import { MADV_DONTNEED, doMadvise } from "../../../src/mm/calls/madvise.ts";
import { PAGE_BYTES } from "../../../src/mm/pte.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { type OwnRange, deviceOf, freshRange } from "./stage.ts";

interface Shared {
  readonly device: HarnessDevice;
  readonly range: OwnRange;
}

/**
 * By the mm. (That creation needs the mmap lock was overlooked as well; it is held here, so that
 * one defect is left.)
 */
function* oldRangeRegister(range: HmmRange, { machine, mm }: HmmHarness, page: number): Task<void> {
  const { record } = range;
  yield* mm.mmapLock.downWrite();
  const at = yield* hmmGetOrCreate(machine, mm);
  yield* mm.mmapLock.upWrite();
  const hmm = Hmm.at(machine.memory, at);
  record.startPage = page;
  record.endPage = page + 1;
  record.pageShift = 12;
  yield* hmm.rangesLock.lock();
  record.hmm = at;
  hmm.ranges.addTail(record.node);
  yield* startSequence(hmm, record);
  range.notifierSeq = readSequence(record);
  yield* hmm.rangesLock.unlock();
}

/** The driver's mirror is not registered, and nothing tells it so. */
function* oldFault({ device, range: { handle } }: Shared, harness: HmmHarness): Task<void> {
  yield* oldRangeRegister(handle, harness, RIG_PAGE);
  yield* device.serveRange(handle);
}

function discard(_shared: unknown, { machine, mm }: HmmHarness): Task<number> {
  return doMadvise(machine, mm, RIG_PAGE * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
}

const FAULTER = 0;

const before: AnyScenario = harnessScenario<Shared>({
  name: "patches/02/before",
  summary:
    "a device uses a page through a range that hangs on no mirror; then the page is given up, and nobody is told",
  expects: "assertion",
  harness: { pages: 1 },
  setup: (harness) => ({ device: new HarnessDevice(harness), range: freshRange(harness, FAULTER) }),
  tasks: { faulter: oldFault, discard },
  check: ({ device }) => device.requireCoherent(),
  reopen: ({ range }) => range.reopen(),
});

const after: AnyScenario = harnessScenario({
  name: "patches/02/after",
  summary: "a device uses a page through a range on its mirror, while the page is given up",
  harness: { pages: 1 },
  setup: (harness) => deviceOf(harness, FAULTER),
  tasks: { faulter: (device) => device.serve(RIG_PAGE, 1), discard },
  check: (device) => device.requireCoherent(),
});

export const rangeWithoutMirror: Exhibit = {
  id: "patches/02",
  title: "A range could be registered where no driver listens",
  was: `
\`hmm_range_register\` took the address space as its argument, and found or made the hmm for it. A range is one half of what
a driver needs: it says whether what was read is still true. The other half is the mirror, by which the driver hears that a
page changes.`,
  wrong: `
Nothing kept one from having the one without the other. The range is marked invalid and valid as it should be; the page is
programmed while it is valid, as it should be; then the page goes, and there is no call-back that takes it out of the
device. No race is needed. Two smells came with it: the hmm was made by whoever came along, without the mmap lock that
making one needs, and registering failed for no reason if another hmm of the address space was just dying (patch 4).`,
  now: `
The function takes a mirror, and the mirror must be registered. A registered mirror owns a reference of its hmm, so nothing
is looked up or made: a plain "one more reference" is right, and cannot fail. Who may rely on what can be read off the
signature. The shipped function checks that the mirror is registered, at each call.`,
  before: [before],
  after: [after],
};
