/**
 * @module A thread that dies while it opens or closes a write view, which is an invalidation that
 * lasts (W5 of notifier/notice.ts): its end comes with the end of the view, whoever closes it. A
 * device that waits for the page gets it.
 */

import {
  HARNESS_PAGE,
  type HmmHarness,
  harnessScenario,
} from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import {
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../../../../src/hmm/range/range.ts";
import { hmmRangeWaitUntilValid } from "../../../../src/hmm/range/valid.ts";
import { registerMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { ViewHold } from "../../../../src/mm/view/view-hold.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { mmuNotifierInvalidateRangeEnd } from "../../../../src/notifier/mmu-notifier.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { hmmOf, invalidationOf } from "../../patches/stage.ts";

/** A driver whose call-back is one store, and which needs no lock for it. */
const ONE_STORE_OPS: number = registerMirrorOps("driver that stores one word, beside a view", {
  *invalidate(mirror) {
    const { memory, table } = HarnessDevice.recordOf(mirror);
    yield* access(memory, "update", table.at, 1, "device table");
    atomicStore(memory.words, table.at, 0);
    return 0;
  },
});

/** Uses a range of the page, as soon as it is valid. */
function* useRange(device: HarnessDevice, { machine }: HmmHarness): Task<void> {
  const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
  assert(typeof range !== "number", "there is memory for a range");
  const [start, end] = [HARNESS_PAGE * PAGE_BYTES, (HARNESS_PAGE + 1) * PAGE_BYTES];
  assert((yield* hmmRangeRegister(range, device.mirror, start, end)) === 0, "the space is alive");
  assert(yield* hmmRangeWaitUntilValid(range, Infinity), "nobody takes the mirror away");
  yield* hmmRangeUnregister(range);
  yield* hmmRangeFree(range);
}

function* views(_device: HarnessDevice, { machine, mm }: HmmHarness): Task<void> {
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
  assert(at > 0, `the view answered ${at}`);
  yield* viewClose(machine, at);
}

/** As `views`, but the view is off the list a moment before its invalidation ends. */
function* viewsUnnoted(_device: HarnessDevice, { machine, mm }: HmmHarness): Task<void> {
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
  assert(at > 0, `the view answered ${at}`);
  yield* mm.mmapLock.downWrite();
  ViewHold.at(machine.memory, at).node.del(mm.mmapLock.at);
  yield* mm.mmapLock.upWrite();
  yield* mm.mmapLock.downRead();
  yield* mmuNotifierInvalidateRangeEnd(machine, invalidationOf(mm));
  yield* mm.mmapLock.upRead();
  yield* viewClose(machine, at);
}

function besideView(
  name: string,
  summary: string,
  view: typeof views,
  isTwin: boolean,
): AnyScenario {
  return harnessScenario<HarnessDevice>({
    name,
    summary,
    ...(isTwin ? { expects: "lost-wakeup" } : {}),
    exploration: { deaths: 1, engine: "bounded", preemptions: 0 },
    harness: { pages: 1 },
    killable: ["dies"],
    mustSurvive: true,
    mayRemain: "anything",
    setup: (harness) => HarnessDevice.registered(harness, ONE_STORE_OPS),
    tasks: { dies: view, use: useRange },
    check(_device, harness) {
      const { notifiers, inFlightCount } = hmmOf(harness);
      assert(notifiers === 0 && inFlightCount === 0, "an invalidation goes on for ever");
    },
  });
}

const VIEW = "coverage/mm/death/view-vs-range";

export const deathsOfViewers: readonly Covered[] = [
  {
    layer: "mm",
    scenario: besideView(
      VIEW,
      "A thread dies at any step of a write view's life, while a device waits for the page.",
      views,
      false,
    ),
    twins: [
      besideView(
        `${VIEW}/unnoted`,
        "The view is off the list a moment before its invalidation ends: nobody ends it for a dead thread.",
        viewsUnnoted,
        true,
      ),
    ],
    runs: {
      dies: ["mm/view/view-open.viewOpen", "mm/view/view-hold.endHold"],
      use: ["hmm/range/range.hmmRangeRegister"],
    },
  },
];
