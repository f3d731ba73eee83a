/**
 * @module What an exploration says about itself while it runs: counts, the estimate of what is
 * left, and the words for both.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { EngineName } from "../../src/checker/scenario.ts";
import { estimateFrom, fractionOf } from "../../src/checker/engines/estimate.ts";
import { explore } from "../../src/checker/explore.ts";
import type { Progress } from "../../src/checker/explore.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import { coverageText, progressText } from "../../src/checker/session/coverage-text.ts";
import * as locks from "./programs/locks.ts";
import * as variables from "./programs/variables.ts";

function progressOf(program: Scenario<unknown>, engine: EngineName): Progress[] {
  const seen: Progress[] = [];
  explore(program, { engine, lockdep: false, progressEvery: 1, onProgress: (so) => seen.push(so) });
  return seen;
}

test("the part done of a tree of which all branches are known is exact", () => {
  // Two branches at the root, the second is being explored: three there, one done.
  assert.equal(
    fractionOf([1, 1], (depth) => depth * 2),
    (1 + 1 / 3) / 2,
  );
  assert.equal(
    fractionOf([], () => 0),
    0,
  );
  assert.equal(estimateFrom(10, 0.25)?.executions, 40);
  assert.equal(estimateFrom(10, 0), undefined);
});

/**
 * How far off the estimate may be from a tenth of the way on; the module's head says what was seen.
 */
const FACTOR = 20;
const counted: readonly (readonly [Scenario<unknown>, EngineName])[] = [
  [variables.fib(3), "optimal"],
  [variables.lastzero(8), "optimal"],
  [variables.readers(8), "optimal"],
  [variables.inc(3), "source"],
  [variables.coa(3), "sleep"],
  [variables.casw(3), "sleep"],
  [locks.dispatcher(5, 2), "optimal"],
  [locks.mpat(3), "optimal"],
];

for (const [program, engine] of counted) {
  test(`${engine}: the estimate for ${program.name} is of the right size, and exact at the end`, () => {
    const seen = progressOf(program, engine);
    const last = seen.at(-1);
    assert.ok(last?.estimate !== undefined);
    const total = last.executions + last.blocked;
    assert.deepEqual(last.estimate, { executions: total, fraction: 1 });
    for (const { executions, blocked, estimate } of seen.slice(Math.ceil(total / 10))) {
      assert.ok(estimate !== undefined && estimate.fraction > 0 && estimate.fraction <= 1);
      const ratio = estimate.executions / total;
      assert.ok(
        ratio > 1 / FACTOR && ratio < FACTOR,
        `${ratio} after ${executions + blocked} of ${total}`,
      );
    }
  });
}

test("a sampling engine has no estimate", () => {
  const seen: Progress[] = [];
  const onProgress = (so: Progress): void => void seen.push(so);
  explore(variables.inc(2), { engine: "random", executions: 5, progressEvery: 1, onProgress });
  assert.deepEqual(
    seen.map(({ estimate, executions }) => [executions, estimate]),
    [1, 2, 3, 4, 5].map((executions) => [executions, undefined]),
  );
});

test("what was covered, in words", () => {
  const inc = variables.inc(3);
  assert.equal(coverageText(explore(inc)), "complete");
  assert.equal(
    coverageText(explore(inc, { engine: "bounded", preemptions: 1 })),
    "complete to 1 preemption",
  );
  assert.equal(coverageText(explore(inc, { engine: "bounded", preemptions: 9 })), "complete");
  assert.equal(coverageText(explore(inc, { engine: "delay", delays: 0 })), "complete to 0 delays");
  assert.equal(
    coverageText(explore(inc, { engine: "pos", executions: 1000 })),
    "sampled: 1,000 executions",
  );
  assert.equal(coverageText(explore(inc, { executions: 7 })), "stopped after 7 executions");
  assert.equal(
    coverageText(explore(locks.abba(), { stopAtFinding: true })),
    "stopped after 1 execution",
  );
});

test("the progress line", () => {
  const so: Progress = {
    executions: 12_345,
    classes: 12_345,
    blocked: 0,
    findings: 1,
    seconds: 2,
    executionsPerSecond: 6000.4,
    estimate: { executions: 30_345, fraction: 0.4068 },
  };
  assert.equal(
    progressText(so),
    "12,345 classes, 6,000 executions/s, 0 blocked, 1 finding, about 40 % done, 3 s left",
  );
  assert.equal(
    progressText({ ...so, classes: 1, findings: 0, estimate: undefined }),
    "1 class, 6,000 executions/s, 0 blocked",
  );
});
