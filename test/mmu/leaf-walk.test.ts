/**
 * @module Walks over the leaves of a table: those of a range, in order, with their parts of it;
 * also for a caller who is alone with the table, who passes over what is empty and reads no entry
 * behind the range.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Machine } from "../../src/memory/machine.ts";
import {
  LEAF_WORDS,
  MID_SPAN_PAGES,
  PGD_WORDS,
  TASK_SIZE_PAGES,
  forEachLeaf,
  leafAlloc,
} from "../../src/mmu/radix-table.ts";
import type { SharedMemory } from "../../src/sync/shared-memory.ts";
import { type Dice, diceOf } from "../dice.ts";
import { MIB, makeMachine, run, seedFor } from "../memory/harness.ts";

const TABLES = 20;
const RANGES = 300;
/** Starts of mid tables between which leaves and ranges lie. */
const PLACES = [0, MID_SPAN_PAGES, 5 * MID_SPAN_PAGES, TASK_SIZE_PAGES - 8 * LEAF_WORDS];

/** `leaf:start-end` of each leaf that is visited. */
function walk(machine: Machine, pgd: number, start: number, end: number, alone: boolean): string[] {
  const seen: string[] = [];
  const { memory } = machine;
  const visit = function* (leaf: number, from: number, to: number): Generator<never, number> {
    seen.push(`${leaf}:${from}-${to}`);
    return 0;
  };
  run(machine, forEachLeaf(memory, pgd, start, end, visit, alone));
  return seen;
}

function pageNear(dice: Dice): number {
  const place = PLACES[dice(PLACES.length)] ?? 0;
  const page = place + dice(8) * LEAF_WORDS - 4 * LEAF_WORDS + dice(3) - 1;
  return Math.min(Math.max(page, 0), TASK_SIZE_PAGES - 1);
}

test("the leaves of a range, in order", (context) => {
  const dice = diceOf(seedFor(context));
  for (let table = 0; table < TABLES; table++) {
    const machine = makeMachine({ heapBytes: 16 * MIB });
    const pgd = run(machine, machine.heap.allocWords(PGD_WORDS));
    const leaves = new Map<number, number>();
    for (let i = dice(12); i > 0; i--) {
      const page = pageNear(dice);
      leaves.set(Math.floor(page / LEAF_WORDS), run(machine, leafAlloc(machine, pgd, page)));
    }
    const inOrder = [...leaves].toSorted(([a], [b]) => a - b);
    for (let i = 0; i < RANGES; i++) {
      const [one, other] = [pageNear(dice), pageNear(dice)];
      const [start, end] = [Math.min(one, other), Math.max(one, other) + 1];
      const wanted = inOrder
        .map(([n, leaf]) => ({ leaf, from: n * LEAF_WORDS, to: (n + 1) * LEAF_WORDS }))
        .filter(({ from, to }) => from < end && to > start)
        .map(({ leaf, from, to }) => `${leaf}:${Math.max(from, start)}-${Math.min(to, end)}`);
      assert.deepEqual(walk(machine, pgd, start, end, false), wanted, `${start} to ${end}`);
      assert.deepEqual(walk(machine, pgd, start, end, true), wanted, `${start} to ${end}, alone`);
    }
  }
});

/** How many words of the heap a walk alone reads. */
function countReads(machine: Machine, pgd: number, start: number, end: number): number {
  let reads = 0;
  const words = new Proxy(machine.memory.words, {
    get(target, key) {
      if (typeof key === "string" && /^\d+$/u.test(key)) reads++;
      return Reflect.get(target, key) as unknown;
    },
  });
  const counted = { words: { value: words }, ensure: { value() {} } };
  const memory = Object.create(machine.memory, counted) as SharedMemory;
  const visit = function* (): Generator<never, number> {
    return 0;
  };
  run(machine, forEachLeaf(memory, pgd, start, end, visit, true));
  return reads;
}

test("a walk alone reads no entry behind its range", () => {
  const machine = makeMachine({ heapBytes: 16 * MIB });
  const pgd = run(machine, machine.heap.allocWords(PGD_WORDS));
  assert.ok(countReads(machine, pgd, 7, 8) < 10, "an empty table");
  run(machine, leafAlloc(machine, pgd, 900 * LEAF_WORDS));
  run(machine, leafAlloc(machine, pgd, 900 * MID_SPAN_PAGES));
  assert.ok(countReads(machine, pgd, 7, 8) < 10, "a page before the first leaf");
  assert.ok(countReads(machine, pgd, 2 * MID_SPAN_PAGES, 2 * MID_SPAN_PAGES + 1) < 10);
  // Of a range that is all of the space, each entry of the tables once.
  const reads = countReads(machine, pgd, 0, TASK_SIZE_PAGES);
  assert.ok(reads > PGD_WORDS && reads < 3 * PGD_WORDS, `${reads} reads`);
});
