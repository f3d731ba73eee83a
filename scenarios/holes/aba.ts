/** @module The flaw of the valid flag: an invalidation that has come and gone since the page table was read. */

import { RIG_PAGE, rigScenario } from "../../src/checker/rig/hmm-rig.ts";
import type { HmmRig, RigScenario } from "../../src/checker/rig/hmm-rig.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";
import { readStamp, stampIndex, stampIsValid } from "../../src/hmm/range-record.ts";
import type { HmmRange } from "../../src/hmm/range.ts";
import { hmmRangeSnapshot } from "../../src/hmm/snapshot.ts";
import { hmmRangeValid } from "../../src/hmm/valid.ts";
import { type Task, access } from "../../src/sync/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { type DeviceAndRange, deviceOf, discard, registeredRange, reopenRange } from "./setting.ts";

const FAULTS = 0;

/** "Is an invalidation running?" */
function* validAsOf2019({ machine, record }: HmmRange): Task<boolean> {
  yield* access(machine.memory, "read", stampIndex(record), 1, "range->valid");
  return stampIsValid(readStamp(record));
}

/** One round of a driver's fault: read the page table, and under the driver lock, if that is still good, use it. */
function* faultOnce(
  { device, range }: DeviceAndRange,
  { mm }: HmmRig,
  isValid: (range: HmmRange) => Task<boolean>,
): Task<void> {
  yield* mm.mmapLock.downRead();
  const pages = yield* hmmRangeSnapshot(range);
  yield* mm.mmapLock.upRead();
  if (pages < 0) return; // an invalidation is running: the device will fault again
  yield* device.driverLock.lock();
  if (yield* isValid(range)) device.program(range);
  yield* device.driverLock.unlock();
}

function scenario(
  about: Pick<RigScenario<DeviceAndRange>, "name" | "summary" | "expects">,
  isValid: (range: HmmRange) => Task<boolean>,
): AnyScenario {
  return rigScenario<DeviceAndRange>({
    ...about,
    rig: { pages: 1 },
    setup: (rig) => {
      const device = deviceOf(rig, FAULTS);
      return { device, range: registeredRange(rig, device) };
    },
    reopen: reopenRange,
    tasks: { fault: (shared, rig) => faultOnce(shared, rig, isValid), discard },
    check: ({ device }) => device.requireCoherent(),
  });
}

export const aba: Exhibit = {
  id: "holes/aba",
  title: "The flag that came back",
  was: ``,
  wrong: ``,
  now: ``,
  before: [
    scenario(
      {
        name: "holes/aba/before",
        summary: `a device faults page ${RIG_PAGE} in while the CPU gives it up`,
        expects: "assertion",
      },
      validAsOf2019,
    ),
  ],
  after: [
    scenario(
      { name: "holes/aba/after", summary: "the same, asking whether an invalidation has run since" },
      hmmRangeValid,
    ),
  ],
};
