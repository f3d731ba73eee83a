/**
 * @module The steps of heap and RAM: every lock, allocation, free and count is offered to a
 * scheduler before it happens.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { notePlainAccess } from "../../src/checker/watch/plain-accesses.ts";
import type { Machine } from "../../src/memory/machine.ts";
import type { Struct, StructView } from "../../src/memory/layout/struct.ts";
import { struct, u32 } from "../../src/memory/layout/struct.ts";
import { EXPLORED } from "../../src/sync/shared-memory.ts";
import { exploreSteps } from "../../src/sync/runners/stepping/offered.ts";
import { type Task, WOKEN } from "../../src/sync/tasks/task.ts";
import { makeMachine, run } from "./harness.ts";

interface Seen extends StructView {
  value: number;
}
const Seen: Struct<Seen> = struct<Seen>("exploredSeen", { value: u32("t", "") });

/** Runs a task alone, as a simple scheduler. Returns its result and the steps that it offered. */
function explore<T>(task: Task<T>): { result: T; offered: string[] } {
  const offered: string[] = [];
  for (;;) {
    const step = task.next(WOKEN);
    if (step.done === true) return { result: step.value, offered };
    offered.push(`${step.value.kind} ${step.value.label}`);
  }
}

function makeExplored(ramPages: number): Machine {
  const machine = makeMachine({ ramPages });
  // The cache is made before, so that the first exploration is as the later ones.
  const at = run(machine, machine.heap.alloc(Seen));
  run(machine, machine.heap.free(Seen, at));
  // As the checker does: this test runs from the same modules.
  machine.memory.plainWatch = { note: notePlainAccess };
  machine.memory.mode = EXPLORED;
  exploreSteps(machine.memory);
  return machine;
}

test("an object's life is two critical sections of its cache, an allocation and a free", () => {
  const { heap } = makeExplored(64);
  const born = explore(heap.alloc(Seen));
  assert.deepEqual(born.offered, ["lock slabLock", "unlock slabLock", "alloc exploredSeen"]);
  const died = explore(heap.free(Seen, born.result));
  assert.deepEqual(died.offered, ["free exploredSeen", "lock slabLock", "unlock slabLock"]);
  const table = explore(heap.allocWords(512));
  assert.deepEqual(table.offered, ["lock heapLock", "unlock heapLock", "alloc table"]);
  assert.deepEqual(explore(heap.freeWords(table.result, 512)).offered, [
    "free table",
    "lock heapLock",
    "unlock heapLock",
  ]);
});

test("a frame's life is offered step by step; on big machines it ends in the thread's own free list", () => {
  for (const ramPages of [64, 4096]) {
    const list = ["read free list", "write free list", "write free list"];
    const place = ramPages === 64 ? ["lock ramLock", "unlock ramLock"] : list;
    const { ram } = makeExplored(ramPages);
    const born = explore(ram.allocFrame(true));
    assert.deepEqual(born.offered, ["lock ramLock", "unlock ramLock", "alloc frame"]);
    assert.deepEqual(explore(ram.refs.pageGet(born.result)).offered, ["update frame count"]);
    assert.deepEqual(explore(ram.refs.pagePut(born.result)).offered, ["update frame count"]);
    const died = explore(ram.refs.pagePut(born.result));
    assert.deepEqual(died.offered, ["update frame count", "free frame", ...place]);
    assert.equal(ram.usage().usedPages, 0);
  }
});

test("two tasks that free one object: whichever comes second is caught, at any point before the first has the lock", () => {
  for (let steps = 0; steps < 3; steps++) {
    const { heap } = makeExplored(64);
    const at = explore(heap.alloc(Seen)).result;
    const first = heap.free(Seen, at);
    for (let i = 0; i < steps; i++) assert.equal(first.next(WOKEN).done, false);
    explore(heap.free(Seen, at));
    assert.throws(
      () => explore(first),
      /Cannot free exploredSeen at .*: it was freed/,
      `after ${steps} steps`,
    );
  }
});
