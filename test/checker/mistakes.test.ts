/**
 * @module What people get wrong when they write a scenario, and what they are told: where it is,
 * and what to do.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { Cell, Places } from "../../src/checker/primitives/program.ts";
import { replay } from "../../src/checker/replay/minimise.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import { parseCheckpoint } from "../../src/checker/session/checkpoint.ts";
import type { Mutex } from "../../src/sync/primitives/mutex.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

const cell = (memory: Places["memory"]): Cell => new Places(memory).cell("x");

/** A scenario whose only task is what the types forbid. */
function scenarioOf(task: unknown): Scenario<Cell> {
  return { name: "mistaken", setup: cell, tasks: { a: task as (x: Cell) => Task<unknown> } };
}

test("a task that is none is named, with what it returned", () => {
  const returned: readonly (readonly [unknown, RegExp])[] = [
    [(): void => {}, /task "a" returned nothing, and must return a task: write it as function\*/],
    [(x: Cell): unknown => x, /returned an object/],
    [(): number => 3, /returned a number/],
    [async (x: Cell): Promise<unknown> => x, /returned a promise/],
    [(x: Cell): unknown => x.load.bind(x), /returned a function/],
    [
      async function* (x: Cell): AsyncGenerator {
        yield x;
      },
      /returned an async generator/,
    ],
  ];
  for (const [task, message] of returned) {
    assert.throws(() => explore(scenarioOf(task)), { name: "TypeError", message });
  }
  assert.deepEqual(explore(scenarioOf((x: Cell) => x.store(1))).findings, []);
});

test("a setup and a check that would have to be waited for are refused", () => {
  const tasks = { a: (x: Cell): Task<unknown> => x.store(1) };
  const late = async (): Promise<void> => {
    throw new Error("late");
  };
  const setup = (async (memory: Places["memory"]) => cell(memory)) as never as typeof cell;
  assert.throws(() => explore({ name: "mistaken", setup, tasks }), {
    name: "TypeError",
    message: /its setup returned a promise, and must be done when it returns/,
  });
  const checks: readonly (readonly [unknown, RegExp])[] = [
    [late, /its check returned a promise, and must be done when it returns/],
    [
      function* (x: Cell): Task<void> {
        assert.equal(yield* x.load(), 2);
      },
      /its check returned a task, and must be done when it returns/,
    ],
  ];
  for (const [check, message] of checks) {
    const scenario = { name: "mistaken", setup: cell, tasks, check: check as (x: Cell) => void };
    const { findings } = explore(scenario);
    assert.deepEqual(
      findings.map(({ kind }) => kind),
      ["assertion"],
    );
    assert.match(findings[0]?.message ?? "", message);
  }
});

test("a yield without its star is a finding that says so", () => {
  const yields: readonly (readonly [unknown, RegExp])[] = [
    [
      (x: Cell): unknown => x.store(1),
      /the task yields a task, which is no operation: .* yield\*, not with yield/,
    ],
    [(): unknown => undefined, /the task yields nothing/],
    [(): unknown => 7, /the task yields a number/],
  ];
  for (const [what, message] of yields) {
    const scenario = scenarioOf(function* (x: Cell) {
      yield (what as (x: Cell) => unknown)(x);
    });
    const { findings } = explore(scenario);
    const finding = findings.at(-1);
    assert.deepEqual([finding?.kind, finding?.threads], ["error", ["a"]]);
    assert.match(finding?.message ?? "", message);
  }
});

test("a checkpoint that is not given as text is told what it is", () => {
  const given: readonly (readonly [unknown, RegExp])[] = [
    [
      { format: "hmm-checkpoint" },
      /it is an object and no text; .* give a checkpoint itself to resumeFrom/,
    ],
    [undefined, /it is undefined and no text/],
    [new Uint8Array(2), /it is a buffer \(read the file as text\)/],
    [3, /it is a number/],
  ];
  for (const [value, message] of given) {
    assert.throws(() => parseCheckpoint(value as string), { name: "CheckpointError", message });
  }
});

test("who looks on is told which executions were given up", () => {
  const seen = { ended: 0, abandoned: 0 };
  const count = function* (x: Cell): Task<void> {
    for (let i = 0; i < 2; i++) yield* x.store((yield* x.load()) + 1);
  };
  const scenario: Scenario<Cell> = {
    name: "counts",
    setup: cell,
    tasks: { a: count, b: count, c: count },
  };
  const options = {
    observer: {
      ended: (_: unknown, __: boolean, isAbandoned: boolean): void => {
        seen.ended++;
        if (isAbandoned) seen.abandoned++;
      },
    },
  };
  const sleep = explore(scenario, {
    engine: "bounded",
    preemptions: 2,
    symmetry: false,
    ...options,
  });
  assert.ok(sleep.blocked > 0);
  assert.deepEqual(seen, { ended: sleep.executions + sleep.blocked, abandoned: sleep.blocked });
});

/**
 * Two tasks count under a lock, whose `lock` or `store` one of them may call without its `yield*`.
 */
function counting(forgets: "lock" | "store" | "nothing"): Scenario<{ x: Cell; mutex: Mutex }> {
  return {
    name: "counting",
    setup: (memory) => {
      const places = new Places(memory);
      return { x: places.cell("x"), mutex: places.mutex("m") };
    },
    tasks: {
      *careful({ x, mutex }) {
        yield* mutex.lock();
        yield* x.store((yield* x.load()) + 1);
        yield* mutex.unlock();
      },
      *hasty({ x, mutex }) {
        if (forgets === "lock") mutex.lock();
        else yield* mutex.lock();
        const seen = yield* x.load();
        if (forgets === "store") x.store(seen + 1);
        else yield* x.store(seen + 1);
        yield* mutex.unlock();
      },
    },
    check: ({ x }) => assert.equal(x.peek(), 2),
  };
}

test("an operation without its yield* is the first finding, with its place, and a replay shows it again", () => {
  const calls: readonly (readonly ["lock" | "store", RegExp])[] = [
    [
      "lock",
      /^hasty calls Mutex\.lock without yield\* at test\/checker\/mistakes\.test\.ts:\d+, so nothing of it happens/,
    ],
    ["store", /^hasty calls Cell\.store without yield\* at test\/checker\/mistakes\.test\.ts:\d+/],
  ];
  for (const [forgets, message] of calls) {
    const { findings } = explore(counting(forgets));
    const [first] = findings;
    assert.ok(findings.length > 1, "what comes of it is told as well");
    assert.match(first?.message ?? "", message);
    assert.deepEqual(first?.threads, ["hasty"]);
    assert.match(replay(counting(forgets), first?.token ?? "")[0]?.message ?? "", message);
  }
  assert.deepEqual(explore(counting("nothing")).findings, []);
});

test("the methods of the primitives are left as they were", () => {
  const before = Object.getOwnPropertyDescriptors(Cell.prototype);
  explore(counting("nothing"));
  assert.deepEqual(Object.getOwnPropertyDescriptors(Cell.prototype), before);
});

test("an option that is misspelt, or of a wrong type, is named", () => {
  const rows: readonly (readonly [unknown, RegExp])[] = [
    [{ executon: 5 }, /no option "executon"; give executions/],
    [{ preemtions: 1 }, /no option "preemtions"; give preemptions/],
    [{ executions: "5" }, /executions is "5"; give a number/],
    [{ engine: "foo" }, /engine is "foo"; give one of optimal, source/],
    [{ stopAtFinding: 1 }, /stopAtFinding is 1; give true or false/],
    [{ onProgress: {} }, /onProgress is an object; give a function/],
    [null, /the options are null; give an object or nothing/],
  ];
  const scenario = scenarioOf(function* (x: Cell): Task<void> {
    yield* x.store(1);
  });
  for (const [options, message] of rows)
    assert.throws(() => explore(scenario, options as object), { code: "EINVAL", message });
  assert.equal(explore(scenario, { executions: Infinity, seed: 1 }).findings.length, 0);
});

test("a scenario's field that is misspelt is named; others are a program's own", () => {
  const scenario = scenarioOf(function* (x: Cell): Task<void> {
    yield* x.store(1);
  });
  const misspelt = { ...scenario, chek: () => assert.fail() };
  const message = /has a field "chek"; if check is meant/;
  assert.throws(() => explore(misspelt), { code: "EINVAL", message });
  assert.equal(explore(Object.assign({ author: "me" }, scenario)).findings.length, 0);
});
