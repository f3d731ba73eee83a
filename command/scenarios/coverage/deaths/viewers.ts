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
import { ViewHold } from "../../../../src/mm/view/view-hold.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { mmuNotifierInvalidateRangeEnd } from "../../../../src/notifier/mmu-notifier.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { invalidationOf } from "../../patches/stage.ts";
import { ONE_STORE_OPS, checkSettled, useRange } from "./told-device.ts";

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
    tasks: { dies: view, use: (device) => useRange(device) },
    check: (_device, harness) => checkSettled(harness),
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
