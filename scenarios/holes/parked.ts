/** @module On-demand paging, first bug: a registration that decides to wait after whoever would have woken it looked. */

import { defineScenario } from "../../src/checker/scenario.ts";
import { countInFlight } from "../../src/hmm/in-flight.ts";
import { settleStamp, startStamp } from "../../src/hmm/range-record.ts";
import { type HmmRange, hmmRangeRegister, hmmRangeUnregister } from "../../src/hmm/range.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/valid.ts";
import type { Task } from "../../src/sync/task.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Setting } from "./setting.ts";
import { type Device, END, FIRST_PAGE, START, discard, inSetting } from "./setting.ts";

interface Shared {
  readonly setting: Setting;
  readonly device: Device;
  readonly range: HmmRange;
}

const REGISTERS = 0;

function build(setting: Setting): () => Shared {
  const device = setting.device(REGISTERS);
  const place = setting.rangePlace();
  return () => ({ setting, device, range: setting.openRange(place) });
}

/** Looks whether anything is in flight, and lists the range in a section of its own. */
function* registerInTwoSteps({ setting, range: { record } }: Shared): Task<void> {
  const { hmm } = setting;
  yield* hmm.rangesLock.lock();
  const seen = countInFlight(hmm, FIRST_PAGE, FIRST_PAGE + 1);
  yield* hmm.rangesLock.unlock();

  yield* hmm.rangesLock.lock();
  record.hmm = hmm.at;
  record.startPage = FIRST_PAGE;
  record.endPage = FIRST_PAGE + 1;
  hmm.ranges.addTail(record.node);
  startStamp(hmm, record);
  record.invalidators = seen;
  settleStamp(hmm, record);
  yield* hmm.rangesLock.unlock();
}

function* open(shared: Shared): Task<void> {
  yield* registerInTwoSteps(shared);
  yield* hmmRangeWaitUntilValid(shared.range, Infinity);
}

function* openAtOnce({ setting, device, range }: Shared): Task<void> {
  yield* hmmRangeRegister(range, setting.mirrorOf(device), START, END);
  yield* hmmRangeWaitUntilValid(range, Infinity);
  yield* hmmRangeUnregister(range);
}

export const parked: Exhibit = {
  id: "holes/parked",
  title: "On-demand paging: parked for ever",
  was: ``,
  wrong: ``,
  now: ``,
  before: [
    defineScenario<Shared>({
      name: "holes/parked/before",
      summary: "a region is registered while an invalidation ends",
      expects: "lost-wakeup",
      ...inSetting(build),
      tasks: { open, discard },
    }),
  ],
  after: [
    defineScenario<Shared>({
      name: "holes/parked/after",
      summary: "the same with hmmRangeRegister, which looks and lists in one section",
      ...inSetting(build),
      tasks: { open: openAtOnce, discard },
    }),
  ],
};
