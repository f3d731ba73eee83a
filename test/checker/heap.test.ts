/**
 * @module The shipped heap under the checker: a machine as a scenario's memory, with fresh handles
 * for each execution.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { UncontrolledNondeterminism } from "../../src/checker/scenario.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import { Heap } from "../../src/memory/heap/heap.ts";
import { Machine } from "../../src/memory/machine.ts";
import { struct, u32 } from "../../src/memory/layout/struct.ts";
import type { Struct, StructView } from "../../src/memory/layout/struct.ts";
import { Cell } from "../../src/checker/primitives/program.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

interface Thing extends StructView {
  value: number;
}
const Thing: Struct<Thing> = struct<Thing>("checkedThing", { value: u32("const", "a number") });

interface Shared {
  readonly heap: Heap;
  /** Where the tasks find each other's object. */
  readonly pointer: Cell;
}

function heapScenario(tasks: Scenario<Shared>["tasks"], reopens: boolean): Scenario<Shared> {
  const machine = Machine.create({
    ramBytes: 1 << 20,
    heapBytes: 1 << 20,
    debug: true,
    name: "set-up",
  });
  const { memory } = machine;
  // The last word of the heap's last page, which so small a scenario does not reach.
  const pointer = new Cell(memory, memory.words.length - 1, "pointer");
  const scenario: Scenario<Shared> = {
    name: "heap",
    memory: () => memory,
    setup: () => ({ heap: machine.heap, pointer }),
    tasks,
  };
  return reopens ? { ...scenario, reopen: () => ({ heap: new Heap(memory), pointer }) } : scenario;
}

function* allocateAndFree({ heap }: Shared): Task<void> {
  const at = yield* heap.alloc(Thing);
  assert.notEqual(at, 0);
  yield* heap.free(Thing, at);
}

function* takeAndFree({ heap, pointer }: Shared, exchanges: boolean): Task<void> {
  const at = yield* pointer.load();
  if (at === 0 || (exchanges && !(yield* pointer.compareExchange(at, 0)))) return;
  yield* heap.free(Thing, at);
}

function* publish({ heap, pointer }: Shared): Task<void> {
  yield* pointer.store(yield* heap.alloc(Thing));
}

test("the heap hands out and takes back in every order", () => {
  const scenario = heapScenario({ a: allocateAndFree, b: allocateAndFree }, true);
  const optimal = explore(scenario, { collectClasses: true });
  assert.ok(optimal.complete);
  assert.deepEqual(optimal.findings, []);
  assert.deepEqual(optimal.keys, explore(scenario, { collectClasses: true, engine: "sleep" }).keys);
});

test("an object of the heap that two tasks free is found, and one of which they agree is not", () => {
  for (const exchanges of [true, false]) {
    const freer = (shared: Shared): Task<void> => takeAndFree(shared, exchanges);
    const { findings, complete } = explore(heapScenario({ publish, a: freer, b: freer }, true), {
      executions: 5000,
    });
    assert.ok(complete);
    assert.equal(
      findings.some(({ kind }) => kind === "double-free"),
      !exchanges,
    );
  }
});

test("a heap whose handle remembers an earlier execution is noticed", () => {
  assert.throws(
    () => explore(heapScenario({ a: allocateAndFree, b: allocateAndFree }, false)),
    UncontrolledNondeterminism,
  );
});
