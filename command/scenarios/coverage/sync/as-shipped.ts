/**
 * @module The fast paths of the primitives, as a thread takes them that nobody explores: in the
 * mode in which machines run, access by access. Only what differs from the other scenarios of this
 * folder is here.
 */

import { Places } from "../../../../src/checker/primitives/program.ts";
import type { Cell } from "../../../../src/checker/primitives/program.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { REAL } from "../../../../src/sync/shared-memory.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../../../src/sync/primitives/wait-queue.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";
import { threadOf } from "./threads.ts";

/** The queue, with a handle of each task's thread. */
interface Waiting {
  readonly first: WaitQueue;
  readonly second: WaitQueue;
  readonly waker: WaitQueue;
  readonly flag: Cell;
}

function waiting(memory: SharedMemory): Waiting {
  const places = new Places(memory);
  const at = places.take(WaitQueue.WORDS);
  const [first, second, waker] = [1, 2, 3].map(
    (agentId) => new WaitQueue(threadOf(memory, agentId, REAL), at, { name: "queue" }),
  ) as [WaitQueue, WaitQueue, WaitQueue]; // as many as numbers
  return { first, second, waker, flag: places.cell("flag") };
}

function* waitForFlag({ flag }: Waiting, queue: WaitQueue): Task<void> {
  yield* flag.load();
  assert(yield* queue.waitEvent(() => flag.peek() !== 0), "the wait without an end timed out");
  assert((yield* flag.load()) !== 0, "the wait ended before the condition held");
}

const WAIT = [
  "sync/primitives/wait-queue.waitEvent",
  "sync/primitives/wait-queue.waitSlow",
] as const;

function wakes(name: "wakeAll" | "wakeOne"): Covered {
  const wake = function* ({ waker }: Waiting): Task<void> {
    yield* yield* callInSteps(waker, name);
  };
  return covering<Waiting>({
    layer: "sync",
    name: `as-shipped/${name}`,
    summary: `Two wait until a flag is set, and ${name === "wakeAll" ? "one wake of all" : "a wake for each"} lets them go.`,
    exploration: { spelledOut: true, spuriousWakes: 0, engine: "bounded", preemptions: 2 },
    setup: waiting,
    reopen: waiting,
    tasks: {
      first: { runs: WAIT, body: (shared) => waitForFlag(shared, shared.first) },
      second: { runs: WAIT, body: (shared) => waitForFlag(shared, shared.second) },
      waker: {
        runs: [`sync/primitives/wait-queue.${name}`, "sync/primitives/wait-queue.wake"],
        *body(shared) {
          yield* shared.flag.store(1);
          yield* wake(shared);
          if (name === "wakeOne") yield* wake(shared);
        },
      },
    },
    twins: [
      {
        name: "wake-first",
        summary: "The waker wakes before it sets the flag.",
        expects: "lost-wakeup",
        tasks: {
          *waker(shared) {
            yield* wake(shared);
            yield* shared.flag.store(1);
          },
        },
      },
    ],
  });
}

export const asShipped: readonly Covered[] = [wakes("wakeAll"), wakes("wakeOne")];
