/**
 * @module The flaw of the valid flag: a whole invalidation has run since the page table was read.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness, HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { useTranslation } from "../../../src/checker/watch/translations.ts";
import { DEFAULT_ENCODING, entryPfn } from "../../../src/hmm/entry.ts";
import { readSequence, sequenceIndex, sequenceIsValid } from "../../../src/hmm/range-record.ts";
import type { HmmRange } from "../../../src/hmm/range/range.ts";
import { hmmRangeSnapshot } from "../../../src/hmm/walk/snapshot.ts";
import { hmmRangeValid } from "../../../src/hmm/range/valid.ts";
import { type Task, access } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { type DeviceAndRange, deviceOf, discard, registeredRange, reopenRange } from "./setting.ts";

const FAULTS = 0;

/** Whether an invalidation is in flight. */
function* validAsOf2019({ machine, record }: HmmRange): Task<boolean> {
  yield* access(machine.memory, "read", sequenceIndex(record), 1, "range->valid");
  return sequenceIsValid(readSequence(record));
}

/** The device uses the translation in its table, if there is one. Holding the driver lock. */
function* useEntry(device: HarnessDevice, { machine, mm }: HmmHarness): Task<void> {
  const entry = device.entry(HARNESS_PAGE);
  if (entry !== 0) {
    yield* useTranslation(machine, mm, {
      page: HARNESS_PAGE,
      frame: entryPfn(entry, DEFAULT_ENCODING),
    });
  }
}

/** One round of a driver's fault: read the page table, recheck under the driver lock, program. */
function* faultOnce(
  { device, range }: DeviceAndRange,
  harness: HmmHarness,
  isValid: (range: HmmRange) => Task<boolean>,
): Task<void> {
  const { mm } = harness;
  yield* mm.mmapLock.downRead();
  const pages = yield* hmmRangeSnapshot(range);
  yield* mm.mmapLock.upRead();
  if (pages < 0) return; // an invalidation is in flight: the device will fault again
  yield* device.driverLock.lock();
  if (yield* isValid(range)) {
    device.program(range);
    yield* useEntry(device, harness);
  }
  yield* device.driverLock.unlock();
}

function scenario(
  about: Pick<HarnessScenario<DeviceAndRange>, "name" | "summary" | "expects">,
  isValid: (range: HmmRange) => Task<boolean>,
): AnyScenario {
  return harnessScenario<DeviceAndRange>({
    ...about,
    harness: { pages: 1 },
    setup: (harness) => {
      const device = deviceOf(harness, FAULTS);
      return { device, range: registeredRange(harness, device) };
    },
    reopen: reopenRange,
    tasks: { fault: (shared, harness) => faultOnce(shared, harness, isValid), discard },
    check: ({ device }) => device.requireCoherent(),
  });
}

export const aba: Exhibit = {
  id: "holes/aba",
  title: "A flag that was cleared and set again",
  was: `
The series gave each range a flag, \`valid\`. The start of an invalidation that overlaps the range
clears it. When the last invalidation of the address space has ended, the flag of every range is
set again. A driver reads the page table, takes its own lock, reads the flag, and programs the
device if it is set.
`,
  wrong: `
The flag says whether an invalidation is in flight. The driver must know whether one has run since
it read the page table. Between its read and its lock a whole invalidation fits. That clears the
flag. It calls the driver, whose table does not have the page yet. It takes the frame from the
page and frees it. It sets the flag again. Then the driver finds the flag set, and programs a
frame that is now used for something else. No call-back will clear that translation: the
invalidation is over.

In lock-free code this is the ABA problem: a value that equals the earlier one is taken for one
that has not changed. The mmap lock does not help. Threads that discard pages, copy them on a
write or move them hold it at most for reading, as the driver does.
`,
  now: `
The flag became the lowest bit of a *sequence* number (\`src/hmm/range-record.ts\`, S1 to S4). A
start gives the range a new number before it calls any driver. The driver keeps the sequence
before it reads the page table (read-begin), and under its lock it compares (recheck). If the
call-back took the driver lock first, the driver sees a new number. If the driver took it first,
the call-back comes later and clears what the driver has programmed.

The two scenarios differ in the recheck alone.
`,
  notes: `
The author of the series described this flaw while it was being written. Linux fixed it half a
year later (5.5) with \`mmu_interval_notifier\`: there a driver compares sequence numbers in the
same place.
`,
  before: [
    scenario(
      {
        name: "holes/aba/before",
        summary: `a device faults page ${HARNESS_PAGE} in while the CPU discards it`,
        expects: "stale-translation",
      },
      validAsOf2019,
    ),
  ],
  after: [
    scenario(
      {
        name: "holes/aba/after",
        summary: "the same, with a recheck whether an invalidation has run since",
      },
      hmmRangeValid,
    ),
  ],
};
