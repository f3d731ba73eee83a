/**
 * @module The exhibits of the twelve patches: the old code of each is found to be wrong, by the
 * kind that it expects, and its smallest schedule is as short as it was when it was last looked at;
 * the shipped code is explored to the end, without a finding and without a blocked run.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { patchExhibits } from "../../command/scenarios/patches/exhibits.ts";
import { explore } from "../../src/checker/explore.ts";
import { minimise, replay } from "../../src/checker/replay/minimise.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";

/** The smallest sighting of each: preemptions, steps, where, what. */
type Golden = readonly [
  preemptions: number,
  steps: number,
  sites: readonly string[],
  message: RegExp,
];

const STALE = /^The device reaches frame \d+ for page 64, which has no frame any more$/;

const golden: Readonly<Record<string, Golden>> = {
  "patches/01/before": [
    1,
    15,
    ["close free hmm", "invalidate refGetNotZero refcount"],
    /which close freed/,
  ],
  "patches/02/before": [0, 65, [], STALE],
  "patches/03/before": [0, 19, ["close free mm", "close lock pageTableLock"], /which close freed/],
  "patches/04/two-creators/before": [1, 14, ["openToo free hmm"], /^register answers ENOMEM/],
  "patches/04/dying/before": [
    1,
    11,
    ["close free hmm", "open refGetNotZero refcount"],
    /which close freed/,
  ],
  "patches/05/before": [2, 10, ["wait read range->valid"], /^the wait says that its time went by/],
  "patches/05/noticed/before": [
    0,
    1,
    ["wait lock pageTableLock"],
    /holds the spinlock pageTableLock may sleep/,
  ],
  "patches/06/before": [
    1,
    9,
    ["driver free hmmRange", "look read range->startPage"],
    /which driver freed/,
  ],
  "patches/07/before": [1, 35, ["exit free table", "worker read pte"], /which exit freed/],
  "patches/08/silent/before": [
    1,
    17,
    ["madvise unlock rangesLock"],
    /^Cannot end the invalidation .* not in flight/,
  ],
  "patches/08/noticed/before": [
    0,
    1,
    ["open downRead mmapLock"],
    /^task "open" must hold mmapLock here/,
  ],
  "patches/09/before": [
    1,
    24,
    ["close free hmm", "closeToo queueWrite mirrorsSem"],
    /which close freed/,
  ],
  "patches/10/silent/before": [1, 50, [], STALE],
  "patches/10/noticed/before": [
    0,
    13,
    ["faulter lock driverLock"],
    /^Cannot ask for the validity .* it was unregistered/,
  ],
  "patches/11/before": [
    1,
    16,
    ["close free harnessDevice", "exit read mirror->ops"],
    /which close freed/,
  ],
  "patches/12/leaked-count/before": [1, 22, [], /^1 invalidation is counted, none is in flight/],
  "patches/12/swallowed-eagain/before": [1, 48, [], STALE],
};

function checkBefore(scenario: AnyScenario): void {
  const { expects } = scenario;
  const { findings } = explore(scenario, {
    ...scenario.exploration,
    stopAt: ({ kind }) => kind === expects,
  });
  const found =
    findings.find(({ kind }) => kind === expects) ?? assert.fail(`no ${expects} was found`);
  const small = minimise(scenario, found, scenario.exploration);
  const sites = small.sites.map(({ task, operation, label }) => `${task} ${operation} ${label}`);
  const [preemptions, steps, goldenSites, message] =
    golden[scenario.name] ?? assert.fail("it has no golden finding");
  assert.deepEqual([small.preemptions, small.steps, sites], [preemptions, steps, goldenSites]);
  assert.match(small.message, message);
  const again = replay(scenario, small.token, scenario.exploration);
  assert.ok(again.some(({ kind, message: text }) => kind === small.kind && text === small.message));
}

function checkAfter(scenario: AnyScenario): void {
  const { findings, complete, bound, blocked, classes } = explore(scenario, scenario.exploration);
  assert.deepEqual(findings, []);
  assert.deepEqual({ complete, bound, blocked }, { complete: true, bound: Infinity, blocked: 0 });
  assert.ok(classes > 1, "nothing happens at the same time");
}

for (const { id, title, before, after } of patchExhibits) {
  test(`${id}: ${title}`, () => {
    for (const scenario of before) checkBefore(scenario);
    for (const scenario of after) checkAfter(scenario);
    assert.ok(before.length > 0 && after.length > 0);
  });
}

test("each of the twelve has its exhibit", () => {
  const ids = Array.from({ length: 12 }, (_, i) => `patches/${String(i + 1).padStart(2, "0")}`);
  assert.deepEqual(
    patchExhibits.map(({ id }) => id),
    ids,
  );
  const names = patchExhibits.flatMap(({ before }) => before.map(({ name }) => name));
  assert.deepEqual(names, Object.keys(golden));
});
