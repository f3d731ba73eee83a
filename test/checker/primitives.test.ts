/**
 * @module The shipped primitives under the checker: what their rules forbid is found, what they
 * promise holds in every class.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import type { Exploration, ExploreOptions } from "../../src/checker/explore.ts";
import { Objects } from "../../src/checker/primitives/objects.ts";
import { Cell } from "../../src/checker/primitives/program.ts";
import type { Places } from "../../src/checker/primitives/program.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import { Completion } from "../../src/sync/primitives/completion.ts";
import { RefCount } from "../../src/sync/primitives/refcount.ts";
import { RwSem } from "../../src/sync/primitives/rwsem.ts";
import { Srcu } from "../../src/sync/primitives/srcu.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../src/sync/primitives/wait-queue.ts";
import { program } from "./programs/program-of.ts";
import type { Body } from "./programs/program-of.ts";

/** Explores under the optimal engine and the oracle, which must agree. */
function agreed(scenario: Scenario<unknown>, options: ExploreOptions = {}): Exploration {
  const optimal = explore(scenario, { collectClasses: true, ...options });
  const oracle = explore(scenario, { collectClasses: true, engine: "sleep", ...options });
  assert.deepEqual(optimal.keys, oracle.keys);
  assert.equal(optimal.executions, oracle.executions);
  assert.equal(optimal.blocked, 0);
  return optimal;
}

function kindsOf({ findings }: Exploration): string[] {
  return Array.from(new Set(findings.map(({ kind }) => kind)));
}

const ARENA_WORDS = 8;

/**
 * An updater takes an object out and frees it; readers use what they find inside a read section.
 */
function graceful(readers: number, waits: boolean): Scenario<unknown> {
  const start = (places: Places): { srcu: Srcu; pointer: Cell; objects: Objects } => {
    const pointer = places.cell("pointer");
    const objects = new Objects(pointer.memory, places.take(4 * ARENA_WORDS), ARENA_WORDS);
    pointer.init(places.take(2));
    return { srcu: new Srcu(pointer.memory, places.take(Srcu.WORDS)), pointer, objects };
  };
  const updater: Body<ReturnType<typeof start>> = function* ({ srcu, pointer, objects }) {
    const at = yield* pointer.load();
    yield* pointer.store(0);
    if (waits) yield* srcu.synchronize();
    yield* objects.free(at, 2, "object");
  };
  const reader: Body<ReturnType<typeof start>> = function* ({ srcu, pointer }) {
    const index = yield* srcu.readLock();
    const at = yield* pointer.load();
    if (at !== 0) yield* new Cell(pointer.memory, at, "object").load();
    yield* srcu.readUnlock(index);
  };
  return program("srcu", start, [updater, ...Array.from({ length: readers }, () => reader)]);
}

test("SRCU: what a reader found stays until its section ends, if the updater waits for a grace period", () => {
  for (const readers of [1, 2]) {
    assert.deepEqual(kindsOf(agreed(graceful(readers, true))), []);
    assert.deepEqual(kindsOf(agreed(graceful(readers, false))), ["use-after-free"]);
  }
});

function nestedReaders(nested: boolean): Scenario<unknown> {
  const start = (places: Places): RwSem =>
    new RwSem(places.cell("x").memory, places.take(RwSem.WORDS));
  const reader: Body<RwSem> = function* (sem): Task<void> {
    yield* sem.downRead();
    if (nested) {
      yield* sem.downRead();
      yield* sem.upRead();
    }
    yield* sem.upRead();
  };
  const writer: Body<RwSem> = function* (sem): Task<void> {
    yield* sem.downWrite();
    yield* sem.upWrite();
  };
  return program("nested readers", start, [reader, writer]);
}

test("rwsem: a reader that enters twice deadlocks with a writer that queues in between", () => {
  assert.deepEqual(kindsOf(agreed(nestedReaders(true), { lockdep: false })), ["deadlock"]);
  assert.deepEqual(kindsOf(agreed(nestedReaders(true))).toSorted(), ["deadlock", "lock-recursion"]);
  assert.deepEqual(kindsOf(agreed(nestedReaders(false))), []);
});

test("rwsem: readers commute, so any number of them alone is one class", () => {
  const start = (places: Places): RwSem =>
    new RwSem(places.cell("x").memory, places.take(RwSem.WORDS));
  const reader: Body<RwSem> = function* (sem): Task<void> {
    yield* sem.downRead();
    yield* sem.upRead();
  };
  assert.equal(agreed(program("readers", start, [reader, reader, reader])).classes, 1);
});

test("rwsem: what a writer writes no reader sees half", () => {
  const start = (places: Places): { sem: RwSem; cells: Cell[] } => {
    const cells = places.cells("x", 2);
    return { sem: new RwSem(cells[0]!.memory, places.take(RwSem.WORDS)), cells };
  };
  const writer = (locks: boolean): Body<ReturnType<typeof start>> =>
    function* ({ sem, cells }) {
      if (locks) yield* sem.downWrite();
      for (const cell of cells) yield* cell.store(1);
      if (locks) yield* sem.upWrite();
    };
  const reader: Body<ReturnType<typeof start>> = function* ({ sem, cells }) {
    yield* sem.downRead();
    assert.equal(yield* cells[0]!.load(), yield* cells[1]!.load());
    yield* sem.upRead();
  };
  assert.deepEqual(kindsOf(agreed(program("locked", start, [writer(true), reader, reader]))), []);
  assert.deepEqual(
    kindsOf(agreed(program("unlocked", start, [writer(false), reader]), { lockdep: false })),
    ["assertion"],
  );
});

test("completion: one complete lets one waiter go, a timeout explores both ends, two waiters are one too many", () => {
  const start = (places: Places): Completion =>
    new Completion(places.cell("x").memory, places.take(1));
  const completer: Body<Completion> = (done) => done.complete();
  const waiter =
    (timeoutMs: number): Body<Completion> =>
    (done) =>
      done.wait(timeoutMs);
  assert.equal(agreed(program("one", start, [completer, waiter(Infinity)])).stuck, 0);
  assert.ok(
    agreed(program("two", start, [completer, waiter(Infinity), waiter(Infinity)])).stuck > 0,
  );
  const timed = agreed(program("timed", start, [completer, waiter(5)]));
  assert.equal(timed.classes, 2);
  assert.deepEqual(kindsOf(timed), []);
});

test("a count that was set up by plain stores, in memory allocated by a task, is predicted right", () => {
  const start = (places: Places): { pointer: Cell; objects: Objects; queue: WaitQueue } => {
    const pointer = places.cell("pointer");
    const objects = new Objects(pointer.memory, places.take(2 * ARENA_WORDS), ARENA_WORDS);
    return { pointer, objects, queue: new WaitQueue(pointer.memory, places.take(WaitQueue.WORDS)) };
  };
  const maker: Body<ReturnType<typeof start>> = function* ({ pointer, objects, queue }) {
    const at = yield* objects.alloc(2, "object");
    new RefCount(pointer.memory, at + 1).init(1);
    yield* pointer.store(at);
    yield* queue.waitEvent(() => true, Infinity); // reads who knows what, perhaps the count
  };
  const user: Body<ReturnType<typeof start>> = function* ({ pointer }) {
    const at = yield* pointer.waitWhile(0);
    assert.ok(yield* new RefCount(pointer.memory, at + 1).getNotZero());
  };
  const scenario: Scenario<unknown> = {
    ...program("plain count", start, [maker, user]),
    mayRemain: ["object"],
  };
  assert.deepEqual(kindsOf(agreed(scenario)), []);
});
