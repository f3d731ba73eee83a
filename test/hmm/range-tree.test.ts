/**
 * @module The tree of ranges against a naive list: after every step the two agree on what overlaps,
 * and the tree keeps T1 and T2 of memory/layout/avl-tree.ts. HMM_SEED repeats one run.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Hmm } from "../../src/hmm/hmm-struct.ts";
import { HmmRangeRecord } from "../../src/hmm/range-record.ts";
import { addRange, overlappingRanges, rangesOf, removeRange } from "../../src/hmm/range-tree.ts";
import { TASK_SIZE_PAGES } from "../../src/mmu/radix-table.ts";
import { forSeeds } from "./interleaver.ts";
import { Harness } from "./harness.ts";
import { fractionsOf } from "../dice.ts";

const RECORDS = 200;
const STEPS = 1500;

interface Measured {
  readonly height: number;
  readonly endPage: number;
}

function checkSubtree(hmm: Hmm, at: number): Measured {
  if (at === 0) return { height: 0, endPage: 0 };
  const node = HmmRangeRecord.at(hmm.memory, at);
  const left = checkSubtree(hmm, node.left);
  const right = checkSubtree(hmm, node.right);
  assert.ok(Math.abs(left.height - right.height) <= 1, `unbalanced at page ${node.startPage}`);
  const endPage = Math.max(node.endPage, left.endPage, right.endPage);
  const height = 1 + Math.max(left.height, right.height);
  assert.deepEqual([node.height, node.lastEndPage], [height, endPage]);
  return { height, endPage };
}

function byPlace(a: HmmRangeRecord, b: HmmRangeRecord): number {
  return a.startPage - b.startPage || a.at - b.at;
}

/** A hmm's struct and records of ranges, of nothing else. */
function makeRecords(harness: Harness, count: number): { hmm: Hmm; records: HmmRangeRecord[] } {
  const { machine } = harness;
  const records = Array.from({ length: count }, () =>
    HmmRangeRecord.at(machine.memory, harness.run(machine.heap.alloc(HmmRangeRecord))),
  );
  return { hmm: Hmm.at(machine.memory, harness.run(machine.heap.alloc(Hmm))), records };
}

test("the tree finds what a list finds, whatever is added and removed", () => {
  forSeeds(3, (seed) => {
    const harness = new Harness({ ramBytes: 2 ** 20, heapBytes: 2 ** 21 });
    const random = fractionsOf(seed);
    const below = (limit: number): number => Math.floor(random() * limit);
    const { hmm, records: idle } = makeRecords(harness, RECORDS);
    const listed: HmmRangeRecord[] = [];
    for (let step = 0; step < STEPS; step++) {
      // fills up, then empties; often several at one start, and now and then at the very end
      const isAdding = idle.length > 0 && (listed.length === 0 || random() < (step % 600) / 600);
      if (isAdding) {
        const record = idle.pop()!;
        const isLast = random() < 0.05;
        record.startPage = isLast
          ? TASK_SIZE_PAGES - 1
          : below(64) * (random() < 0.5 ? 1 : 2 ** 20);
        record.endPage = isLast ? TASK_SIZE_PAGES : record.startPage + 1 + below(20);
        addRange(hmm, record);
        listed.push(record);
      } else {
        const [record] = listed.splice(below(listed.length), 1);
        removeRange(hmm, record!);
        idle.push(record!);
      }
      checkSubtree(hmm, hmm.ranges);
      const startPage = below(80) * (random() < 0.5 ? 1 : 2 ** 20);
      const endPage = random() < 0.1 ? TASK_SIZE_PAGES : startPage + 1 + below(30);
      const sorted = listed.toSorted(byPlace);
      const expected = sorted.filter((one) => one.startPage < endPage && startPage < one.endPage);
      const pointers = expected.map(({ at }) => at);
      assert.deepEqual(overlappingRanges(hmm, startPage, endPage), pointers, `seed ${seed}`);
      assert.equal(rangesOf(hmm).length, listed.length);
    }
  });
});

test("to add a range twice, or to remove one that was not added, is caught", () => {
  const harness = new Harness({ ramBytes: 2 ** 20, heapBytes: 2 ** 21 });
  const { hmm, records } = makeRecords(harness, 2);
  const [first, second] = records as [HmmRangeRecord, HmmRangeRecord];
  addRange(hmm, first);
  assert.throws(() => addRange(hmm, first), /it is there already/);
  assert.throws(() => removeRange(hmm, second), /it was not added/);
  removeRange(hmm, first);
  assert.equal(hmm.ranges, 0);
  assert.throws(() => removeRange(hmm, first), /it was not added/);
});
