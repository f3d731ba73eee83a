/**
 * @module Where it is the state that decides whether two steps depend on each other, or whether a
 * wait can end by itself: the optimal engine finds what the sleep-set oracle finds, and plans
 * nothing that cannot be done.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import type { ExploreOptions } from "../../src/checker/explore.ts";
import type { Cell, Places } from "../../src/checker/primitives/program.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import { Completion } from "../../src/sync/primitives/completion.ts";
import { RefCount } from "../../src/sync/primitives/refcount.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../src/sync/primitives/wait-queue.ts";
import { program } from "./programs/program-of.ts";
import type { Body } from "./programs/program-of.ts";

function agrees(scenario: Scenario<unknown>, options: ExploreOptions): void {
  const both = { lockdep: false, collectClasses: true, ...options };
  const oracle = explore(scenario, { engine: "sleep", ...both });
  const optimal = explore(scenario, both);
  assert.ok(oracle.classes > 1);
  assert.equal(optimal.executions, oracle.executions);
  assert.equal(optimal.blocked, 0);
  assert.deepEqual(optimal.keys, oracle.keys);
}

interface Shared {
  readonly flag: Cell;
  readonly completion: Completion;
  readonly queue: WaitQueue;
  readonly count: RefCount;
}

function start(places: Places): Shared {
  const flag = places.cell("flag");
  const { memory } = flag;
  const count = new RefCount(memory, places.take(RefCount.WORDS));
  count.init(1);
  return {
    flag,
    completion: new Completion(memory, places.take(Completion.WORDS)),
    queue: new WaitQueue(memory, places.take(WaitQueue.WORDS)),
    count,
  };
}

const waits: Body<Shared> = ({ flag, queue }) => queue.waitEvent(() => flag.peek() !== 0, 5);
const completesItself: Body<Shared> = function* ({ completion }): Task<void> {
  yield* completion.complete();
  yield* completion.wait(5);
};

test("the one timeout there is is not planned for a wait that can go on", () => {
  for (const timeouts of [1, 2])
    agrees(program("own completion", start, [waits, completesItself]), { timeouts });
});

test("nor for one that somebody else has ended", () => {
  const completes: Body<Shared> = ({ completion }) => completion.complete();
  const timed: Body<Shared> = ({ completion }) => completion.wait(5);
  const bodies = [waits, timed, completes, timed];
  for (const timeouts of [1, 2]) agrees(program("completions", start, bodies), { timeouts });
});

test("two references taken from nothing do not commute: the first of them spoils the count", () => {
  const puts: Body<Shared> = ({ count }) => count.put();
  const gets: Body<Shared> = ({ count }) => count.get();
  agrees(program("late gets", start, [puts, gets, gets]), {});
});
