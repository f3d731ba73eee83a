/**
 * @module A scenario that depends on more than the order of its steps is noticed, whatever it is
 * that differs: each in at least 99 of 100 explorations. What is told must not depend on how long
 * an exploration takes, so nothing here does.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { Places } from "../../src/checker/primitives/program.ts";
import type { Cell } from "../../src/checker/primitives/program.ts";
import { UncontrolledNondeterminism } from "../../src/checker/scenario.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import { monotonicMs, sharedMs } from "../../src/sync/tasks/clock.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

const EXPLORATIONS = 100;
const WANTED = 99;

type Body = (cells: readonly Cell[]) => Task<unknown>;

function scenarioOf(tasks: number, body: Body): Scenario<readonly Cell[]> {
  return {
    name: "impure",
    setup: (memory) => new Places(memory).cells("x", 4),
    tasks: Object.fromEntries(Array.from({ length: tasks }, (_, i) => [`t${i}`, body])),
  };
}

/** How many of the explorations notice; `makeBody` is called for each. */
function noticed(tasks: number, makeBody: () => Body): number {
  let count = 0;
  for (let i = 0; i < EXPLORATIONS; i++) {
    try {
      explore(scenarioOf(tasks, makeBody()));
    } catch (error) {
      assert.ok(error instanceof UncontrolledNondeterminism, String(error));
      count++;
    }
  }
  return count;
}

const at = (cells: readonly Cell[], i: number): Cell => cells[i] ?? assert.fail();

const impure: Readonly<Record<string, () => Body>> = {
  "a random number that is stored": () =>
    function* (cells) {
      yield* at(cells, 0).store(Math.floor(Math.random() * 1000));
    },
  "one of two random values": () =>
    function* (cells) {
      yield* at(cells, 1).load();
      yield* at(cells, 0).store(Math.random() < 0.5 ? 1 : 2);
    },
  "a counter that outlives an execution": () => {
    let count = 0;
    return function* (cells) {
      yield* at(cells, 0).store(++count);
    };
  },
  "a branch on the time of day": () =>
    function* (cells) {
      if (Date.now() % 2 === 0) yield* at(cells, 0).store(1);
      else yield* at(cells, 1).store(1);
    },
  "a branch on the performance clock": () =>
    function* (cells) {
      yield* at(cells, 2).load();
      if (performance.now() % 2 < 1) yield* at(cells, 0).store(1);
      else yield* at(cells, 1).store(1);
    },
  "a branch on the second of a date": () =>
    function* (cells) {
      yield* at(cells, new Date().getSeconds() % 2).store(1);
    },
  "a random address": () =>
    function* (cells) {
      yield* at(cells, Math.floor(Math.random() * 4)).store(1);
      yield* at(cells, 0).load();
    },
  "a random value, stored where nobody watches": () =>
    function* (cells) {
      yield* at(cells, 0).load();
      at(cells, 1).init(Math.floor(Math.random() * 1000));
    },
};

for (const [name, makeBody] of Object.entries(impure)) {
  test(`noticed in 99 of 100 explorations of one, two and three tasks: ${name}`, () => {
    for (const tasks of [1, 2, 3]) {
      const count = noticed(tasks, makeBody);
      assert.ok(count >= WANTED, `${count} of ${EXPLORATIONS} with ${tasks} tasks`);
    }
  });
}

test("so are those that only sample", () => {
  for (const engine of [
    "random",
    "pct",
    "pos",
    "bounded",
    "delay",
    "sleep",
    "source",
    "naive",
  ] as const) {
    let count = 0;
    const scenario = scenarioOf(2, function* (cells) {
      yield* at(cells, 0).store(++count);
    });
    assert.throws(
      () => explore(scenario, { engine, executions: 20 }),
      UncontrolledNondeterminism,
      engine,
    );
  }
});

test("what is told names the step, and what it left", () => {
  let count = 6;
  const scenario = scenarioOf(1, function* (cells) {
    yield* at(cells, 2).load();
    yield* at(cells, 0).store(++count);
  });
  assert.throws(
    () => explore(scenario),
    /step 1 was "write" of x\[0\] that left 7 and is now one that leaves 8; keep clocks, chance and state/,
  );
});

test("a pure one is not accused, though the clock is asked, and the clocks are left as they were", () => {
  const date = Date;
  const descriptor = Object.getOwnPropertyDescriptor(performance, "now");
  const times: number[] = [];
  const body: Body = function* (cells) {
    const before = Date.now();
    const value = yield* at(cells, 0).fetchAdd(1);
    times.push(Date.now() - before, Number(Date()), performance.now());
    yield* at(cells, 1).store(value);
  };
  const seen = explore(scenarioOf(2, body));
  assert.ok(seen.complete);
  assert.deepEqual(seen.findings, []);
  assert.ok(times.length > 0);
  assert.equal(Date, date);
  assert.deepEqual(Object.getOwnPropertyDescriptor(performance, "now"), descriptor);
});

test("executions that are done again are not counted, and no one is told of them", () => {
  let [checks, ends] = [0, 0];
  const scenario = scenarioOf(2, function* (cells) {
    yield* at(cells, 0).fetchAdd(1);
  });
  const observer = { ended: (): void => void ends++ };
  const seen = explore({ ...scenario, check: () => void checks++ }, { observer });
  assert.deepEqual([seen.executions, checks, ends], [2, 2, 2]);
});

test("the clocks of tasks stand still while they are explored", () => {
  const seen = new Set<number>();
  const body: Body = function* (cells) {
    yield* at(cells, 0).store(sharedMs());
    seen.add(monotonicMs());
    seen.add(sharedMs());
  };
  assert.deepEqual(explore(scenarioOf(2, body)).findings, []);
  // A shared time of 0 stands for a time that never was.
  assert.deepEqual([...seen], [0, 1]);
  assert.ok(monotonicMs() > 0);
});
