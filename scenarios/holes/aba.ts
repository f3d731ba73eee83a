/** @module The flaw of the valid flag: an invalidation that has come and gone since the page table was read. */

import { defineScenario } from "../../src/checker/scenario.ts";
import { entryIsValid } from "../../src/hmm/entry.ts";
import { readStamp, stampIsValid } from "../../src/hmm/range-record.ts";
import type { HmmRange } from "../../src/hmm/range.ts";
import { hmmRangeSnapshot } from "../../src/hmm/snapshot.ts";
import { hmmRangeValid } from "../../src/hmm/valid.ts";
import type { Task } from "../../src/sync/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { type Device, type Setting, checkTable, discard, inSetting } from "./setting.ts";

interface Shared {
  readonly setting: Setting;
  readonly device: Device;
  readonly range: HmmRange;
}

const FAULTS = 0;

function build(setting: Setting): () => Shared {
  setting.touch();
  const device = setting.device(FAULTS);
  const place = setting.registeredRange(device);
  return () => ({ setting, device, range: setting.openRange(place) });
}

/** One round of a driver's fault: read the page table, and under the driver lock, if that is still good, use it. */
function* fault({ setting: { mm }, device, range }: Shared, isValid: (range: HmmRange) => boolean): Task<void> {
  yield* mm.mmapLock.downRead();
  const pages = yield* hmmRangeSnapshot(range);
  yield* mm.mmapLock.upRead();
  if (pages < 0) return; // an invalidation is running: the device will fault again
  yield* device.driverLock.lock();
  const entry = range.pfns[0] ?? 0;
  if (isValid(range) && entryIsValid(entry, range.encoding)) device.table.set(0, entry);
  yield* device.driverLock.unlock();
}

/** Is an invalidation running? */
function validAsOf2019(range: HmmRange): boolean {
  return stampIsValid(readStamp(range.record));
}

export const aba: Exhibit = {
  id: "holes/aba",
  title: "The flag that came back",
  was: ``,
  wrong: ``,
  now: ``,
  before: [
    defineScenario<Shared>({
      name: "holes/aba/before",
      summary: "a device faults a page in while the CPU gives it up",
      expects: "assertion",
      ...inSetting(build),
      tasks: { fault: (shared) => fault(shared, validAsOf2019), discard },
      check: ({ setting, device, range }) => checkTable(setting, device, range),
    }),
  ],
  after: [
    defineScenario<Shared>({
      name: "holes/aba/after",
      summary: "the same, asking whether an invalidation has run since",
      ...inSetting(build),
      tasks: { fault: (shared) => fault(shared, hmmRangeValid), discard },
      check: ({ setting, device, range }) => checkTable(setting, device, range),
    }),
  ],
};
