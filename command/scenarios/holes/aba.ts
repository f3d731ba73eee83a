/**
 * @module The flaw of the valid flag: an invalidation that has come and gone since the page table
 * was read.
 */

import { RIG_PAGE, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
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

/** "Is an invalidation running?" */
function* validAsOf2019({ machine, record }: HmmRange): Task<boolean> {
  yield* access(machine.memory, "read", sequenceIndex(record), 1, "range->valid");
  return sequenceIsValid(readSequence(record));
}

/** The device goes where its table says, if it says anything. Holding the driver lock. */
function* useEntry(device: HarnessDevice, { machine, mm }: HmmHarness): Task<void> {
  const entry = device.entry(RIG_PAGE);
  if (entry !== 0) {
    yield* useTranslation(machine, mm, {
      page: RIG_PAGE,
      frame: entryPfn(entry, DEFAULT_ENCODING),
    });
  }
}

/**
 * One round of a driver's fault: read the page table, and under the driver lock, if that is still
 * good, use it.
 */
function* faultOnce(
  { device, range }: DeviceAndRange,
  harness: HmmHarness,
  isValid: (range: HmmRange) => Task<boolean>,
): Task<void> {
  const { mm } = harness;
  yield* mm.mmapLock.downRead();
  const pages = yield* hmmRangeSnapshot(range);
  yield* mm.mmapLock.upRead();
  if (pages < 0) return; // an invalidation is running: the device will fault again
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
  title: "The flag that came back",
  was: `
The series gave each range a flag, \`valid\`. The start of an invalidation that overlaps the range clears it; when the
last invalidation of the address space has ended, every range gets its flag back. A driver reads the page table, takes
its own lock, looks at the flag, and if it is set tells the device what it has read.
`,
  wrong: `
The flag answers "is an invalidation running?". What the driver has to know is "has one run since I read the page
table?", and between its reading and its lock a whole one fits. It clears the flag. It asks the driver to sweep its
table, where the page is not yet. It takes the frame from the page and gives it away. It sets the flag again. Then the
driver comes, finds the flag as it had left it, and programs a frame that is somebody else's by now. Nobody will ever
sweep it: that invalidation is over.

Programmers of lock-free stacks know this as the ABA problem: a value that is the same as before is taken for one that
has not changed. The mmap lock does not help. Who gives up pages, copies them on a write or moves them holds it for
reading at most, as the driver does.
`,
  now: `
The flag has become the lowest bit of a *sequence* number (\`src/hmm/range-record.ts\`, S1
to S4). A start gives the range a new number before it calls any driver. The driver notes the sequence before it reads
the page table, and under its lock asks whether it is still the same one. Either the invalidator's call-back had the
driver lock first, and then the driver sees a new number; or the driver had it first, and then the call-back comes
after it and sweeps what it has programmed.

Between the two scenarios nothing differs but that one question.
`,
  notes: `
The author of the series described this flaw while it was being written; Linux closed it half a year later (5.5) with
\`mmu_interval_notifier\`, whose sequence numbers a driver compares in the same place.
`,
  before: [
    scenario(
      {
        name: "holes/aba/before",
        summary: `a device faults page ${RIG_PAGE} in while the CPU gives it up`,
        expects: "stale-translation",
      },
      validAsOf2019,
    ),
  ],
  after: [
    scenario(
      {
        name: "holes/aba/after",
        summary: "the same, asking whether an invalidation has run since",
      },
      hmmRangeValid,
    ),
  ],
};
