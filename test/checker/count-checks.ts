/**
 * @module What must hold of each row of the counts; used by the tests and by `npm run
 * check:counts`.
 */

import assert from "node:assert/strict";
import { explore } from "../../src/checker/explore.ts";
import type { Exploration, ExploreOptions } from "../../src/checker/explore.ts";
import type { BoundRow, CountRow } from "./count-rows.ts";

/**
 * Classes are counted a second time, by their keys, up to this size: a key for each costs memory.
 */
const KEYED_CLASSES = 100_000;

export function rowName({ program, classes, options }: CountRow): string {
  const spurious =
    options?.spuriousWakes === undefined ? "" : ` with ${options.spuriousWakes} spurious wakes`;
  return `${program.name}${spurious}: ${classes}`;
}

/**
 * The model of the published counts: no locks are judged, equal tasks are told apart, nobody wakes
 * for no reason unless the row says so.
 */
export const MODEL: ExploreOptions = { lockdep: false, symmetry: false, spuriousWakes: 0 };

/**
 * The optimal engine performs each class once, all of them, and begins nothing that it gives up.
 */
export function checkOptimal(row: CountRow, watch: ExploreOptions = {}): Exploration {
  const options = {
    ...MODEL,
    collectClasses: row.classes <= KEYED_CLASSES,
    ...watch,
    ...row.options,
  };
  const seen = explore(row.program, { engine: "optimal", ...options });
  assert.equal(seen.executions, row.classes, "executions");
  assert.equal(seen.classes, row.classes, "no class twice");
  assert.equal(seen.blocked, 0, "blocked");
  assert.ok(seen.complete);
  if (row.stuck !== undefined) assert.equal(seen.stuck, row.stuck, "stuck");
  return seen;
}

/**
 * Source-DPOR finds them too; it gives up as many executions on the way as the row says, if it
 * says.
 */
export function checkSource(row: CountRow, watch: ExploreOptions = {}): Exploration {
  const options = {
    ...MODEL,
    collectClasses: row.classes <= KEYED_CLASSES,
    ...watch,
    ...row.options,
  };
  const seen = explore(row.program, { engine: "source", ...options });
  assert.equal(seen.executions, row.classes, "executions");
  assert.equal(seen.classes, row.classes, "no class twice");
  assert.ok(seen.complete);
  if (row.waste !== undefined)
    assert.equal(seen.blocked, row.waste.here ?? row.waste.published, "blocked");
  return seen;
}

/** Each bound finds exactly its classes, and says whether that was all. */
export function checkBounds(
  { program, engine, classes }: BoundRow,
  watch: ExploreOptions = {},
): void {
  const counted = classes.map((_, bound) => {
    const limit = engine === "delay" ? { delays: bound } : { preemptions: bound };
    const seen = explore(program, { ...MODEL, engine, ...limit, ...watch });
    return seen.classes - seen.stuckClasses;
  });
  assert.deepEqual(counted, classes);
}
