/**
 * @module A listener that refuses the start of an invalidation to the thread that goes on with it
 * for a dead one, as a mirror does whose lock that thread may not wait for. The invalidation is not
 * finished then: the start is tried again later, and no end is told before.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { registerNotifierOps } from "../../../../src/notifier/mmu-notifier.ts";
import { deadRecordOf } from "../../../../src/notifier/notice.ts";
import { EAGAIN } from "../../../../src/sync/errno.ts";
import { recoverTask } from "../../../../src/sync/death/recovery.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { ONE_DIES, coveringOnHarness } from "../on-harness.ts";
import { Listener, invalidate, listening } from "./listener.ts";

/** Refuses a recoverer the first time. Its calls may come twice (W2 of notifier/notice.ts). */
const RELUCTANT_OPS: number = registerNotifierOps("covered listener that refuses a recoverer", {
  *invalidateRangeStart({ memory }, at, range) {
    const { inside, heard, refused } = Listener.at(memory, at);
    if (deadRecordOf(range) !== 0 && refused.read() === 1) {
      yield* refused.get();
      return EAGAIN;
    }
    yield* heard.get();
    if (inside.read() === 1) yield* inside.get();
    return 0;
  },
  *invalidateRangeEnd({ memory }, at) {
    const { inside, heard } = Listener.at(memory, at);
    assert(heard.read() > 1, "a listener hears an end of what it refused");
    if (inside.read() === 2) yield* inside.put();
  },
  isRepeatable: true,
});

/** As each thread does every now and then. Who is refused leaves it to the next one. */
function* recovers(_listener: Listener, { machine: { memory } }: HmmHarness): Task<void> {
  yield* recoverTask(memory);
}

/** Calls the listener, and writes down nowhere that it does. */
function* invalidateUnnoted(listener: Listener, { mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* listener.inside.get();
  yield* listener.inside.put();
  yield* mm.mmapLock.upRead();
}

export const refusedRecoverers: readonly Covered[] = [
  coveringOnHarness<Listener>({
    layer: "notifier",
    name: "death/refused-start",
    summary:
      "A thread dies at any step of an invalidation, and the listener refuses at first who goes on for it.",
    harness: { pages: 1 },
    ...ONE_DIES,
    setup: (harness) => listening(harness, RELUCTANT_OPS),
    tasks: {
      dies: [["notifier/mmu-notifier.finishNotice"], (_listener, harness) => invalidate(harness)],
      recovers: [["sync/death/recovery.recoverTask"], recovers],
    },
    mayRemain: "anything", // if nobody comes after the one that was refused
    check({ inside, refused }) {
      const isDone = inside.read() === 1 || refused.read() === 2;
      assert(isDone, "an invalidation is under way for ever");
    },
    twins: [
      ["unnoted", "It notes nowhere whom it calls.", "assertion", { dies: invalidateUnnoted }],
    ],
  }),
];
