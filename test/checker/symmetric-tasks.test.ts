/**
 * @module Equal tasks are seen in one order, and no bug is lost by that: told by who is equal, and
 * by who only seems to be.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { Places } from "../../src/checker/primitives/program.ts";
import type { Cell } from "../../src/checker/primitives/program.ts";
import { defineScenario } from "../../src/checker/scenario.ts";
import type { AnyScenario, Scenario } from "../../src/checker/scenario.ts";
import type { Mutex } from "../../src/sync/primitives/mutex.ts";
import type { SharedMemory } from "../../src/sync/shared-memory.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

interface Shared {
  readonly memory: SharedMemory;
  readonly mutex: Mutex;
  readonly other: Mutex;
  readonly cell: Cell;
  readonly own: readonly Cell[];
}

function setup(memory: SharedMemory): Shared {
  const places = new Places(memory);
  return {
    memory,
    mutex: places.mutex("mutex"),
    other: places.mutex("other"),
    cell: places.cell("cell"),
    own: places.cells("own", 4),
  };
}

type Body = (shared: Shared) => Task<unknown>;

function three(body: Body, more: Partial<Scenario<Shared>> = {}): AnyScenario {
  return defineScenario<Shared>({
    name: "three",
    setup,
    tasks: { a: body, b: body, c: body },
    ...more,
  });
}

const increments: Body = function* ({ cell }) {
  const seen = yield* cell.load();
  yield* cell.store(seen + 1);
};
const locks: Body = function* ({ mutex, cell }) {
  yield* mutex.lock();
  yield* cell.fetchAdd(1);
  yield* mutex.unlock();
};

test("three of a kind are a sixth of the classes", () => {
  for (const [body, classes] of [
    [locks, 6],
    [increments, 36],
  ] as const) {
    const scenario = three(body);
    assert.equal(explore(scenario, { symmetry: false }).classes, classes);
    const seen = explore(scenario);
    assert.deepEqual([seen.classes, seen.blocked, seen.complete], [classes / 6, 0, true]);
    for (const engine of ["source", "sleep"] as const) {
      const other = explore(scenario, { engine, collectClasses: true });
      assert.deepEqual(other.keys, explore(scenario, { collectClasses: true }).keys, engine);
    }
  }
});

test("each has data of its own behind a mutex: one class", () => {
  const body: Body = function* ({ memory, mutex, own }) {
    yield* mutex.lock();
    yield* own[memory.agentId]!.fetchAdd(1); // one for each agent
    yield* mutex.unlock();
  };
  assert.equal(explore(three(body)).classes, 1);
});

test("a scenario with a verdict may tell tasks apart, unless it says that it does not", () => {
  const last: Body = function* ({ memory, mutex, cell }) {
    yield* mutex.lock();
    yield* cell.store(memory.agentId);
    yield* mutex.unlock();
  };
  const check = ({ cell }: Shared): void => assert.notEqual(cell.peek(), 1);
  const { findings, classes } = explore(three(last, { check }));
  assert.deepEqual([findings[0]?.kind, classes], ["assertion", 6]);
  const isSum = ({ cell }: Shared): void => assert.equal(cell.peek(), 3);
  const equal = three(locks, { check: isSum, symmetricTasks: [["a", "b", "c"]] });
  assert.equal(explore(equal).classes, 1);
  assert.equal(explore(three(locks, { symmetricTasks: false })).classes, 6);
});

test("what goes wrong among equals goes wrong in the order that is seen", () => {
  const isSum = ({ cell }: Shared): void => assert.equal(cell.peek(), 3, "an increment was lost");
  const lost = explore(three(increments, { check: isSum, symmetricTasks: [["a", "b", "c"]] }));
  assert.deepEqual([lost.findings[0]?.kind, lost.classes], ["assertion", 6]);
  const hangs: Body = function* ({ mutex, other, cell }) {
    const turn = yield* cell.fetchAdd(1);
    const [first, second] = turn % 2 === 0 ? [mutex, other] : [other, mutex];
    yield* first.lock();
    yield* second.lock();
    yield* second.unlock();
    yield* first.unlock();
  };
  const kindsOf = (symmetry: boolean): string[] => {
    const { findings } = explore(three(hangs), { lockdep: false, symmetry });
    return [...new Set(findings.map(({ kind }) => kind))];
  };
  assert.deepEqual(kindsOf(true), ["deadlock"]);
  assert.deepEqual(kindsOf(false), ["deadlock"]);
});

test("tasks of one function that do different things are not equal", () => {
  const differ: Body = function* ({ memory, mutex, cell }) {
    yield* mutex.lock();
    if (memory.agentId === 2) yield* cell.store(1);
    yield* mutex.unlock();
  };
  assert.equal(explore(three(differ)).classes, 6);
});

test("where the steps of equals need not conflict, all orders are seen", () => {
  const waits: Body = function* ({ cell, mutex }) {
    const isFirst = yield* cell.compareExchange(0, 1);
    if (isFirst) return;
    if (yield* mutex.tryLock()) yield* mutex.unlock();
  };
  const plain = explore(three(waits), { symmetry: false, collectClasses: true });
  const seen = explore(three(waits), { collectClasses: true });
  assert.ok(seen.complete && seen.classes <= plain.classes);
  for (const key of seen.keys ?? []) assert.ok(plain.keys?.has(key));
});

test("symmetricTasks that are no tasks, or not of one function, are refused", () => {
  const other: Body = (shared) => locks(shared);
  const tasks = { a: locks, b: other };
  for (const symmetricTasks of [[["a", "b"]], [["a", "x"]]]) {
    const scenario = defineScenario<Shared>({ name: "odd", setup, tasks, symmetricTasks });
    assert.throws(() => explore(scenario), {
      name: "RangeError",
      message: /which are not tasks of one function/,
    });
  }
});
