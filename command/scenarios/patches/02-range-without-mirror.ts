/**
 * @module Patch 2: a range could be registered without a mirror.
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
  HARNESS_PAGE,
  harnessScenario,
} from "../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { hmmGetOrCreate } from "../../../src/hmm/mirror/get-or-create.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import { readSequence, startSequence } from "../../../src/hmm/range-record.ts";
import { addRange } from "../../../src/hmm/range-tree.ts";
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
 * Takes the mm. (The old code did not hold the mmap lock for creation either. This one does, so
 * that one defect is left.)
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
  addRange(hmm, record);
  yield* startSequence(hmm, record);
  range.notifierSeq = readSequence(record);
  yield* hmm.rangesLock.unlock();
}

/** The driver's mirror is not registered, and no error says so. */
function* oldFault({ device, range: { handle } }: Shared, harness: HmmHarness): Task<void> {
  yield* oldRangeRegister(handle, harness, HARNESS_PAGE);
  yield* device.serveRange(handle);
}

function discard(_shared: unknown, { machine, mm }: HmmHarness): Task<number> {
  return doMadvise(machine, mm, HARNESS_PAGE * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
}

const FAULTER = 0;

const before: AnyScenario = harnessScenario<Shared>({
  name: "patches/02/before",
  summary:
    "a device uses a page through a range without a mirror; the page is discarded, and no call-back runs",
  expects: "assertion",
  harness: { pages: 1 },
  setup: (harness) => ({ device: new HarnessDevice(harness), range: freshRange(harness, FAULTER) }),
  tasks: { faulter: oldFault, discard },
  check: ({ device }) => device.requireCoherent(),
  reopen: ({ range }) => range.reopen(),
});

const after: AnyScenario = harnessScenario({
  name: "patches/02/after",
  summary: "a device uses a page through a range on its mirror, while the page is discarded",
  harness: { pages: 1 },
  setup: (harness) => deviceOf(harness, FAULTER),
  tasks: { faulter: (device) => device.serve(HARNESS_PAGE, 1), discard },
  check: (device) => device.requireCoherent(),
});

export const rangeWithoutMirror: Exhibit = {
  id: "patches/02",
  title: "A range could be registered without a mirror",
  was: `
\`hmm_range_register\` took the address space as its argument, and found or made the hmm for it. A
driver needs two things. The range tells it whether what was read is still true. The mirror's
call-back tells it that a page is about to change.
`,
  wrong: `
The first was possible without the second. The range is marked invalid and valid as it should be,
and the page is programmed while the range is valid. Then the page is unmapped, and no call-back
takes it out of the device. No race is needed. There were two more defects. The hmm was made
without the mmap lock that making one needs. And registering failed without a reason if another
hmm of the address space was being freed (patch 4).
`,
  now: `
The function takes a mirror, and the mirror must be registered. A registered mirror owns a
reference of its hmm, so nothing is looked up or made: taking one more reference is correct and
cannot fail. The signature says what the caller relies on. The shipped function checks at each
call that the mirror is registered.
`,
  before: [before],
  after: [after],
};
