/**
 * @module Memory runs out while a device is registered, is served, and gets more invalidations than
 * fit in the records. And a thread that owns as many things as it may registers a mirror, makes a
 * range, opens a view.
 */

import { type HmmHarness, HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import {
  HARNESS_DEVICE_OPS,
  HarnessDevice,
} from "../../../../src/checker/harness/harness-device.ts";
import { IN_FLIGHT_INLINE } from "../../../../src/hmm/hmm-struct.ts";
import { hmmRangeAlloc, hmmRangeFree } from "../../../../src/hmm/range/range.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { EVENT_CLEAR, invalidateRange } from "../../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  notifierSrcu,
} from "../../../../src/notifier/mmu-notifier.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, doneNumber } from "../../../../src/sync/tasks/task.ts";
import { type Attempt, attempted, crowded } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import { requireNoDrivers } from "./drivers.ts";

const REGISTER = [
  "hmm/mirror/mirror.hmmMirrorRegister",
  "hmm/mirror/get-or-create.hmmGetOrCreate",
  "hmm/mirror/mirror-ops.useMirrorOps",
];

const comes: Attempt<HarnessDevice> = {
  layer: "hmm",
  name: "register",
  summary: "A device is registered, the first of its space and of its machine.",
  runs: REGISTER,
  harness: { pages: 1 },
  setup: (harness) => new HarnessDevice(harness),
  act: (_harness, device) => device.register(),
  *undo(harness, device) {
    yield* device.unregister();
    yield* requireNoDrivers(harness);
  },
};

function* unregister({ machine }: HmmHarness, device: HarnessDevice): Task<void> {
  yield* device.unregister();
  yield* (yield* notifierSrcu(machine)).barrier();
}

/** Registers the device, and unregisters it if `use` fails. */
function* comeFor(
  harness: HmmHarness,
  device: HarnessDevice,
  use: () => Task<number>,
): Task<number> {
  const errno = yield* device.register();
  if (errno !== 0) return errno;
  const answer = yield* use();
  if (answer >= 0) return answer;
  yield* unregister(harness, device);
  device.mirror.init(HARNESS_DEVICE_OPS);
  assert(device.mirror.record.hmm === 0, "a mirror that is not registered names a hmm");
  return answer;
}

const isServed: Attempt<HarnessDevice> = {
  ...comes,
  name: "serve",
  summary: "A device is registered and writes to a page that is not present.",
  runs: [...REGISTER, "hmm/range/range.hmmRangeAlloc", "hmm/walk/fault.hmmRangeFault"],
  harness: { pages: 1, present: 0 },
  undo: unregister,
  act: (harness, device) =>
    comeFor(harness, device, () => device.serve(HARNESS_PAGE, 1, { write: true })),
};

/** Invalidations of far pages: as many as there are records, and one more. */
function* invalidateMany(harness: HmmHarness): Task<number> {
  const { machine, mm } = harness;
  const far = Array.from({ length: IN_FLIGHT_INLINE + 1 }, (_, i) =>
    invalidateRange(mm, HARNESS_PAGE + 1000 + i, HARNESS_PAGE + 1001 + i, EVENT_CLEAR),
  );
  for (const range of far) {
    assert(
      (yield* mmuNotifierInvalidateRangeStart(machine, range)) === 0,
      "a start that may block is refused",
    );
  }
  for (const range of far) yield* mmuNotifierInvalidateRangeEnd(machine, range);
  return 0;
}

const manyInvalidations: Attempt<HarnessDevice> = {
  ...comes,
  name: "in-flight",
  summary:
    "A device gets more invalidations at once than fit in the records: without memory they are only counted.",
  runs: [
    "hmm/in-flight.growInFlight",
    "hmm/in-flight.recordInFlight",
    "hmm/in-flight.forgetInFlight",
  ],
  act: (harness, device) => comeFor(harness, device, () => invalidateMany(harness)),
  undo: unregister,
};

/** A range without a driver. */
function* makeRange({ machine }: HmmHarness): Task<number> {
  const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
  if (typeof range === "number") return range;
  yield* hmmRangeFree(range);
  return 0;
}

const range: Attempt<HarnessDevice> = {
  ...comes,
  name: "range",
  summary: "A range is made and freed.",
  runs: ["hmm/range/range.hmmRangeAlloc", "hmm/range/range.hmmRangeFree"],
  act: makeRange,
  undo: () => doneNumber(0),
};

const view: Attempt<HarnessDevice> = {
  ...comes,
  name: "view",
  summary: "A view is opened.",
  runs: ["mm/view/view-open.viewOpen"],
  act: ({ machine, mm }) => viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true),
  undo: ({ machine }, _device, answer) => viewClose(machine, answer),
};

/** Continues without the device. */
function* neverGoes(
  attempt: Attempt<HarnessDevice>,
  harness: HmmHarness,
  device: HarnessDevice,
): Task<number> {
  const answer = yield* attempt.act(harness, device);
  if (answer >= 0) return answer;
  yield* harness.shortage.end();
  assert((yield* device.register()) === 0, "the device could not be registered");
  return answer;
}

export const hmmWithoutMemory: readonly Covered[] = [
  attempted(comes, { name: "keeps-it", act: neverGoes }),
  attempted(isServed),
  attempted(manyInvalidations),
  attempted(range),
  crowded(comes),
  crowded(range),
  crowded(view),
];
