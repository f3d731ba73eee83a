/**
 * @module Wakes for no reason, as the runners have them: by default each wait may end so once. Code
 * that stands it is complete; code that does not is found. A wait on a queue goes straight back,
 * and costs nothing; that it does is seen.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { Places } from "../../src/checker/primitives/program.ts";
import type { Cell, Condition } from "../../src/checker/primitives/program.ts";
import { defineScenario } from "../../src/checker/scenario.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import { describe } from "../../src/sync/tasks/task.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../src/sync/primitives/wait-queue.ts";
import { minimise, replay } from "../../src/checker/replay/minimise.ts";
import { program } from "./programs/program-of.ts";
import { handMade } from "./programs/waits.ts";
import type { Body } from "./programs/program-of.ts";

interface Shared {
  readonly flag: Cell;
  readonly done: Cell;
  readonly condition: Condition;
  readonly queue: WaitQueue;
}

function start(places: Places): Shared {
  const [flag, done] = [places.cell("flag"), places.cell("done")];
  const queue = new WaitQueue(flag.memory, places.take(WaitQueue.WORDS));
  return { flag, done, condition: places.condition("c"), queue };
}

const sets: Body<Shared> = function* ({ flag, condition }) {
  yield* condition.mutex.lock();
  yield* flag.store(1);
  yield* condition.broadcast();
  yield* condition.mutex.unlock();
};

/** Goes on once the flag is set; `isCareful`: looks again after each wait. */
function waits(isCareful: boolean): Body<Shared> {
  return function* ({ flag, done, condition }) {
    yield* condition.mutex.lock();
    if (isCareful) while ((yield* flag.load()) === 0) yield* condition.wait();
    else if ((yield* flag.load()) === 0) yield* condition.wait();
    yield* done.store(yield* flag.load());
    yield* condition.mutex.unlock();
  };
}

function waiting(...bodies: Body<Shared>[]): Scenario<unknown> {
  return defineScenario<Shared>({
    name: "waiting",
    setup: (memory) => start(new Places(memory)),
    tasks: Object.fromEntries(bodies.map((body, i) => [`t${i}`, body])),
    check({ done }) {
      if (done.peek() !== 1) throw new Error("it went on before the flag was set");
    },
  });
}

const kindsOf = (scenario: Scenario<unknown>, spuriousWakes?: number): string[] =>
  explore(scenario, spuriousWakes === undefined ? {} : { spuriousWakes }).findings.map(
    ({ kind }) => kind,
  );

test("if (!flag) wait() is found by default; in a loop it is sound", () => {
  assert.deepEqual(kindsOf(waiting(sets, waits(false))), ["assertion"]);
  assert.deepEqual(kindsOf(waiting(sets, waits(false)), 0), []);
  assert.deepEqual(kindsOf(waiting(sets, waits(true))), []);
  assert.deepEqual(kindsOf(waiting(sets, waits(true), waits(true))), []);
});

test("each wait has one, and a loop of waits that nobody ends comes to rest", () => {
  const once: Body<Shared> = function* ({ flag, done }): Task<void> {
    for (let round = 0; round < 2; round++) {
      yield describe("park", flag.memory, flag.at, 1, "flag", round);
      yield* done.fetchAdd(1);
    }
  };
  const changes: Body<Shared> = function* ({ flag }) {
    yield* flag.store(1);
    yield describe("wakeAll", flag.memory, flag.at, 1, "flag");
  };
  const seen = new Set<number>();
  const scenario: Scenario<unknown> = {
    ...program("twice", start, [once, changes]),
    check: (shared) => void seen.add((shared as Shared).flag.peek()),
  };
  // The first wait ends for no reason, or is ended; only in the latter case the second one may end
  // for no reason, too.
  const { complete, stuck, classes } = explore(scenario);
  assert.ok(complete && stuck > 0 && classes > stuck);
  assert.deepEqual(Array.from(seen), [1]);
  const forEver: Body<Shared> = function* ({ flag }): Task<void> {
    for (;;) yield describe("park", flag.memory, flag.at, 1, "flag", 0);
  };
  assert.deepEqual(kindsOf(program("for ever", start, [forEver])), ["lost-wakeup"]);
});

test("a wait on a queue costs nothing", () => {
  const body: Body<Shared> = ({ queue, flag }) => queue.waitEvent(() => flag.peek() !== 0);
  const wakes: Body<Shared> = function* ({ queue, flag }) {
    yield* queue.wakeOne();
    yield* flag.store(1);
    yield* queue.wakeAll();
  };
  const scenario = program("queue", start, [body, body, wakes]);
  const byDefault = explore(scenario);
  const without = explore(scenario, { spuriousWakes: 0 });
  const withOne = explore(scenario, { spuriousWakes: 1 });
  assert.equal(byDefault.executions, without.executions);
  assert.ok(withOne.executions > 2 * without.executions);
  for (const seen of [byDefault, without, withOne])
    assert.ok(seen.complete && seen.findings.length === 0);
});

test("a wait on a queue that does not go back is seen, and what comes of it is found", () => {
  const hasty: Body<Shared> = function* ({ queue, flag, done }): Task<void> {
    const { memory, at } = queue;
    yield describe("enqueue", memory, at, WaitQueue.WORDS, "queue");
    const sequence = memory.words[at] ?? 0;
    yield describe("testCondition", memory, at, 0, "queue", 0, Infinity, { at: flag.at, words: 1 });
    if (flag.peek() === 0) yield describe("park", memory, at, 1, "queue", sequence);
    yield describe("dequeue", memory, at, WaitQueue.WORDS, "queue");
    yield* done.store(yield* flag.load());
  };
  const setsAndWakes: Body<Shared> = function* ({ queue, flag }) {
    yield* flag.store(1);
    yield* queue.wakeAll();
  };
  assert.deepEqual(kindsOf(waiting(setsAndWakes, hasty)), ["assertion"]);
  assert.deepEqual(kindsOf(waiting(setsAndWakes, hasty), 0), []);
});

test("a lost wake-up is told although the sleeper may wake for no reason, and its token shows it again", () => {
  const scenario = handMade(1, true, Infinity);
  const lost = explore(scenario).findings.find(({ kind }) => kind === "lost-wakeup");
  assert.ok(lost !== undefined && !lost.token.includes("!"));
  assert.deepEqual(
    replay(scenario, lost.token).map(({ kind }) => kind),
    ["lost-wakeup"],
  );
  const hasty = waiting(sets, waits(false));
  const [early] = explore(hasty).findings;
  assert.ok(early !== undefined && early.token.includes("!"));
  assert.deepEqual(
    replay(hasty, early.token).map(({ kind }) => kind),
    ["assertion"],
  );
  assert.equal(minimise(hasty, early).kind, "assertion");
});

test("the two searches are one exploration", () => {
  const scenario = waiting(sets, waits(true));
  const [none, each, both] = [{ spuriousWakes: 0 }, { spuriousWakes: "each" } as const, {}].map(
    (options) => {
      return explore(scenario, { ...options, collectClasses: true });
    },
  );
  assert.ok(none !== undefined && each !== undefined && both !== undefined);
  assert.equal(both.executions, none.executions + each.executions);
  assert.deepEqual(both.keys, new Set([...(none.keys ?? []), ...(each.keys ?? [])]));
  assert.ok(both.complete);
});
