/**
 * @module A thread that dies in an invalidation, while a listener unregisters and is freed. Who
 * brings the invalidation to its end calls the listeners in a read section of its own (W4 of
 * notifier/notice.ts): the dead thread need not have been in one.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { EVENT_CLEAR, invalidateRange } from "../../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  mmuNotifierUnregisterNoRelease,
  registerNotifierOps,
} from "../../../../src/notifier/mmu-notifier.ts";
import { mmdrop } from "../../../../src/mm/lifetime/mm.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { ONE_DIES, coveringOnHarness } from "../on-harness.ts";
import { Listener, listening, unregister } from "./listener.ts";

function* hear(at: number, memory: HmmHarness["machine"]["memory"]): Task<void> {
  yield* Listener.at(memory, at).heard.get();
}

/** Who is called may be called again: it only listens. */
const REPEATABLE_OPS: number = registerNotifierOps("covered listener that may be called again", {
  *invalidateRangeStart({ memory }, at) {
    yield* hear(at, memory);
    return 0;
  },
  invalidateRangeEnd: ({ memory }, at) => hear(at, memory),
  isRepeatable: true,
});

function* invalidate(_listener: Listener, { machine, mm }: HmmHarness): Task<void> {
  const range = invalidateRange(mm, HARNESS_PAGE, HARNESS_PAGE + 1, EVENT_CLEAR);
  yield* mm.mmapLock.downRead();
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* access(machine.memory, "read", mm.at, 1, "between start and end");
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  yield* mm.mmapLock.upRead();
}

function* goAndFree(listener: Listener, harness: HmmHarness): Task<void> {
  yield* unregister(harness, listener);
  yield* harness.machine.heap.free(Listener, listener.at);
}

function* goAndFreeAtOnce(listener: Listener, { machine, mm }: HmmHarness): Task<void> {
  yield* mmuNotifierUnregisterNoRelease(mm.notifiers, listener.node);
  yield* machine.heap.free(Listener, listener.at);
  yield* mmdrop(machine, mm);
}

export const deathsBesideListeners: readonly Covered[] = [
  coveringOnHarness<Listener>({
    layer: "notifier",
    name: "death/invalidate-vs-unregister",
    summary:
      "A thread dies at any step of an invalidation, while the only listener unregisters and is freed.",
    harness: { pages: 1 },
    ...ONE_DIES,
    setup: (harness) => listening(harness, REPEATABLE_OPS),
    tasks: {
      dies: [["notifier/mmu-notifier.finishNotice"], invalidate],
      go: [["notifier/mmu-notifier.mmuNotifierUnregister"], goAndFree],
    },
    twins: [
      [
        "frees-at-once",
        "The listener is freed without waiting for those who call it.",
        "use-after-free",
        { go: goAndFreeAtOnce },
      ],
    ],
  }),
];
