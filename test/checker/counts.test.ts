/**
 * @module The exact counts: each engine finds every class of each program once. The large rows take
 * minutes: they are left to `npm run check:counts`.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { MODEL, checkBounds, checkOptimal, checkSource, rowName } from "./count-checks.ts";
import { smallBoundRows, smallRows } from "./count-rows.ts";

/** The sleep-set oracle and source-DPOR confirm rows up to this size. */
const CONFIRMED_CLASSES = 1300;
/** Source-DPOR confirms rows on which it wastes no more than this. */
const CONFIRMED_WASTE = 2000;
/** The naive oracle confirms rows up to this size; beyond, its interleavings are too many. */
const NAIVE_CLASSES = 40;
const NAIVE_EXECUTIONS = 30_000;

for (const row of smallRows) {
  test(`optimal: ${rowName(row)}`, () => {
    checkOptimal(row);
  });
}

test("the sleep-set oracle and source-DPOR find the same classes as the optimal engine", () => {
  for (const row of smallRows) {
    if (row.classes > CONFIRMED_CLASSES || (row.waste?.published ?? 0) > CONFIRMED_WASTE) continue;
    const options = { ...MODEL, collectClasses: true, ...row.options };
    const optimal = explore(row.program, options);
    assert.deepEqual(checkSource(row).keys, optimal.keys, `source: ${rowName(row)}`);
    if (row.tooWideForSleepSets === true) continue;
    const sleep = explore(row.program, { engine: "sleep", ...options });
    assert.equal(sleep.executions, row.classes, `sleep: ${rowName(row)}`);
    assert.deepEqual(sleep.keys, optimal.keys, `sleep: ${rowName(row)}`);
  }
});

test("the naive oracle finds the same classes, each more than once", () => {
  let confirmed = 0;
  for (const row of smallRows) {
    if (row.classes > NAIVE_CLASSES || row.tooWideForSleepSets === true) continue;
    const options = { ...MODEL, collectClasses: true, ...row.options };
    const naive = explore(row.program, {
      engine: "naive",
      executions: NAIVE_EXECUTIONS,
      ...options,
    });
    if (!naive.complete) continue;
    assert.deepEqual(naive.keys, explore(row.program, options).keys, rowName(row));
    confirmed++;
  }
  assert.ok(confirmed >= 40, `${confirmed} rows were small enough`);
});

test("source-DPOR gives executions up where the optimal engine gives up none", () => {
  const wasteful = smallRows.filter(({ waste }) => (waste?.here ?? waste?.published ?? 0) > 0);
  assert.ok(wasteful.length >= 8, `${wasteful.length} rows say so`);
});

for (const row of smallBoundRows) {
  test(`${row.engine}: ${row.program.name}: ${row.classes.join(", ")}`, () => {
    checkBounds(row);
  });
}
