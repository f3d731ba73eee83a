/**
 * @module Several tasks request grace periods at the same time, one of them the period after the
 * current one. Access by access, and with nothing else around it.
 */

import { Places } from "../../../../src/checker/primitives/program.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { lockClass } from "../../../../src/sync/lock-class.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { removeResource } from "../../../../src/sync/lockdep/resources.ts";
import {
  SRCU_CALL_WORDS,
  registerSrcuCallback,
} from "../../../../src/sync/primitives/srcu-callbacks.ts";
import { STATE, isIdle } from "../../../../src/sync/words/srcu-words.ts";
import { Srcu } from "../../../../src/sync/primitives/srcu.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";

interface Asking {
  readonly memory: SharedMemory;
  readonly srcu: Srcu;
  readonly head: number;
}

const nothing: number = registerSrcuCallback(
  "coverage: nothing to do",
  function* (memory, _, slot) {
    yield* [];
    removeResource(memory, slot);
  },
);

function setup(memory: SharedMemory): Asking {
  const places = new Places(memory);
  const srcu = new Srcu(memory, places.take(Srcu.WORDS), lockClass("covered srcu"));
  srcu.init();
  return { memory, srcu, head: places.take(SRCU_CALL_WORDS) };
}

function* read({ srcu }: Asking): Task<void> {
  yield* srcu.readUnlock(yield* srcu.readLock());
}

/** Never leaves its section, so no grace period ends. */
function* readForEver({ srcu }: Asking): Task<void> {
  yield* srcu.readLock();
}

const ASK = [
  "sync/words/srcu-words.requestGracePeriod",
  "sync/words/srcu-words.advanceGracePeriods",
  "sync/primitives/srcu.waitForGracePeriod",
] as const;

const several = covering<Asking>({
  layer: "sync",
  name: "grace-periods",
  summary:
    "One defers a call and then waits for the readers, another one begins to wait for them meanwhile.",
  exploration: { spelledOut: true, spuriousWakes: 0, engine: "bounded", preemptions: 2 },
  setup,
  tasks: {
    reader: {
      runs: ["sync/primitives/srcu.readLock", "sync/primitives/srcu.readUnlock"],
      body: read,
    },
    owner: {
      runs: ["sync/primitives/srcu.call", ...ASK],
      *body({ srcu, head }) {
        yield* srcu.call(nothing, head);
        yield* srcu.synchronize();
      },
    },
    other: { runs: ["sync/primitives/srcu.synchronize"], body: ({ srcu }) => srcu.synchronize() },
  },
  check: ({ memory, srcu }) => {
    assert(srcu.pendingCalls() === 0, "a deferred call is left over");
    assert(
      isIdle(memory.words[srcu.at + STATE]!),
      "a grace period goes on, and nobody asks for it",
    );
  },
  twins: [
    {
      name: "staying",
      summary: "The reader never leaves.",
      expects: "lock-misuse",
      tasks: { reader: readForEver },
    },
  ],
});

export const gracePeriods: readonly Covered[] = [several];
