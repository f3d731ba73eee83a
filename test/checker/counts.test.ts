/**
 * @module The exact counts: each engine finds every class of each program once. The large rows take minutes: they run when
 * the argument is --large (`npm run check:counts`).
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import type { EngineName } from "../../src/checker/engines.ts";
import { largeBoundRows, largeRows, smallBoundRows, smallRows } from "./count-rows.ts";
import type { CountRow } from "./count-rows.ts";

const isLarge = process.argv.includes("--large");
const rows: readonly CountRow[] = isLarge ? [...smallRows, ...largeRows] : smallRows;
/** The sleep-set oracle and source-DPOR confirm rows up to this size. */
const CONFIRMED_CLASSES = 1300;
/** The naive oracle confirms rows up to this size; beyond, its interleavings are too many. */
const NAIVE_CLASSES = 40;
const NAIVE_EXECUTIONS = 30_000;

function nameOf({ program, classes, options }: CountRow): string {
  const spurious = options?.spuriousWakes === undefined ? "" : ` with ${options.spuriousWakes} spurious wakes`;
  return `${program.name}${spurious}: ${classes}`;
}

for (const row of rows) {
  test(`optimal: ${nameOf(row)}`, () => {
    const options = { lockdep: false, collectClasses: row.classes < CONFIRMED_CLASSES, ...row.options };
    const seen = explore(row.program, { engine: "optimal", ...options });
    assert.equal(seen.executions, row.classes);
    assert.equal(seen.classes, row.classes, "no class twice");
    assert.equal(seen.blocked, 0);
    assert.ok(seen.complete);
    if (row.stuck !== undefined) assert.equal(seen.stuck, row.stuck);
  });
}

test("the sleep-set oracle and source-DPOR find the same classes as the optimal engine", () => {
  for (const row of smallRows) {
    if (row.classes > CONFIRMED_CLASSES) continue;
    const optimal = explore(row.program, { lockdep: false, collectClasses: true, ...row.options });
    const engines: readonly EngineName[] = row.tooWideForSleepSets === true ? ["source"] : ["source", "sleep"];
    for (const engine of engines) {
      const seen = explore(row.program, { engine, lockdep: false, collectClasses: true, ...row.options });
      assert.equal(seen.executions, row.classes, `${engine}: ${nameOf(row)}`);
      assert.deepEqual(seen.keys, optimal.keys, `${engine}: ${nameOf(row)}`);
    }
  }
});

test("the naive oracle finds the same classes, each more than once", () => {
  let confirmed = 0;
  for (const row of smallRows) {
    if (row.classes > NAIVE_CLASSES || row.tooWideForSleepSets === true) continue;
    const options = { lockdep: false, collectClasses: true, ...row.options };
    const naive = explore(row.program, { engine: "naive", executions: NAIVE_EXECUTIONS, ...options });
    if (!naive.complete) continue;
    assert.deepEqual(naive.keys, explore(row.program, options).keys, nameOf(row));
    confirmed++;
  }
  assert.ok(confirmed >= 40, `${confirmed} rows were small enough`);
});

test("source-DPOR gives executions up where the optimal engine gives up none", () => {
  const row = smallRows.find(({ program }) => program.name === "ssbexp(8)");
  assert.ok(row !== undefined);
  assert.ok(explore(row.program, { engine: "source", lockdep: false }).blocked > 0);
});

for (const { program, classes } of isLarge ? [...smallBoundRows, ...largeBoundRows] : smallBoundRows) {
  test(`bounded: ${program.name}: ${classes.join(", ")}`, () => {
    const counted = classes.map(
      (_, preemptions) => explore(program, { engine: "bounded", preemptions, lockdep: false }).classes,
    );
    assert.deepEqual(counted, classes);
  });
}
