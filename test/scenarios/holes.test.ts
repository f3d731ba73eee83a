/**
 * @module The exhibits of the holes: each old way is found, by kind and sites, and is as short as
 * it was when it was last looked at; each shipped one is explored as far as its scenario says,
 * without a finding and without a blocked run.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { holeExhibits } from "../../command/scenarios/holes/exhibits.ts";
import { explore } from "../../src/checker/explore.ts";
import type { Exploration } from "../../src/checker/explore.ts";
import { minimise, replay } from "../../src/checker/replay/minimise.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";

/** What the smallest sighting of each is. */
interface Smallest {
  readonly kind: string;
  /** `task operation label`. */
  readonly sites: readonly string[];
  readonly message: RegExp;
  readonly preemptions: number;
  readonly steps: number;
}

const smallest: Readonly<Record<string, Smallest>> = {
  "holes/aba/before": {
    kind: "stale-translation",
    sites: ["discard update pte", "fault read translation"],
    message: /^the device reaches frame \d+ for page 64, which has no frame any more$/,
    preemptions: 1,
    steps: 52,
  },
  "holes/two-notifiers/before": {
    kind: "assertion",
    sites: [],
    message: /^hmm counts 1 invalidation in flight, and no task will end it$/,
    preemptions: 1,
    steps: 19,
  },
  "holes/two-notifiers/fault/before": {
    kind: "lost-wakeup",
    sites: ["fault park wait queue"],
    message: /^fault waits for ever/,
    preemptions: 1,
    steps: 21,
  },
  "holes/timeout/before": {
    kind: "assertion",
    sites: [],
    message: /^the address space has 2 users, and one thread that uses it$/,
    preemptions: 1,
    steps: 37,
  },
  "holes/never-registered/before": {
    kind: "assertion",
    sites: ["open2 unlock cardLock"],
    message: /^Cannot use hmm at null/,
    preemptions: 0,
    steps: 33,
  },
  "holes/driver-lock/before": {
    kind: "deadlock",
    sites: ["migrate downRead mirrorsSem", "close downWrite mirrorsSem", "discard lock driverLock"],
    message: /, behind close; close .*, which discard holds; discard .*, which migrate holds$/,
    preemptions: 1,
    steps: 21,
  },
  "holes/last-user/before": {
    kind: "deadlock",
    sites: ["fault lock driverLock"],
    message: /^fault waits for ever \(lock of driverLock\), which fault holds/,
    preemptions: 0,
    steps: 13,
  },
  "holes/parked/before": {
    kind: "lost-wakeup",
    sites: ["open park wait queue"],
    message: /^open waits for ever/,
    preemptions: 2,
    steps: 33,
  },
  "holes/read-held/before": {
    kind: "lock-misuse",
    sites: ["reap upRead mmapLock"],
    message: /^task "reap" ended while it held regionsSem/,
    preemptions: 1,
    steps: 10,
  },
  "holes/read-held/open/before": {
    kind: "deadlock",
    sites: ["open downWrite regionsSem"],
    message: /^open waits for ever \(downWrite of regionsSem\), which reap holds$/,
    preemptions: 1,
    steps: 12,
  },
};

/** What is to be found on the way to the deadlock, or beside it. */
const alsoFound: Readonly<Record<string, readonly string[]>> = {
  "holes/driver-lock/before": ["lock-order"],
  "holes/last-user/before": ["lock-order", "lock-recursion"],
  "holes/read-held/open/before": ["lock-misuse"],
};

function look(scenario: AnyScenario): Exploration {
  return explore(scenario, scenario.exploration);
}

function checkBefore(scenario: AnyScenario): void {
  const golden = smallest[scenario.name] ?? assert.fail("there is no golden finding for it");
  const { findings, complete } = look(scenario);
  assert.ok(complete);
  const kinds = new Set(findings.map(({ kind }) => kind));
  assert.deepEqual(kinds, new Set([golden.kind, ...(alsoFound[scenario.name] ?? [])]));
  const found = findings.find(({ kind }) => kind === scenario.expects) ?? assert.fail("not found");
  const small = minimise(scenario, found, scenario.exploration);
  assert.match(small.message, golden.message);
  assert.deepEqual(
    { kind: small.kind, preemptions: small.preemptions, steps: small.steps },
    { kind: golden.kind, preemptions: golden.preemptions, steps: golden.steps },
  );
  const sites = small.sites.map(({ task, operation, label }) => `${task} ${operation} ${label}`);
  assert.deepEqual(sites, golden.sites);
  const again = replay(scenario, small.token, scenario.exploration);
  assert.ok(again.some(({ kind, message }) => kind === small.kind && message === small.message));
}

function checkAfter(scenario: AnyScenario): void {
  const { findings, complete, blocked, bound, engine, classes } = look(scenario);
  assert.deepEqual(findings, []);
  assert.ok(complete && classes > 1);
  if (engine === "optimal") assert.deepEqual({ blocked, bound }, { blocked: 0, bound: Infinity });
  else assert.ok(bound >= 2);
}

for (const { id, title, before, after } of holeExhibits) {
  test(`${id}: ${title}`, () => {
    assert.ok(before.length > 0 && after.length > 0);
    for (const scenario of before) checkBefore(scenario);
    for (const scenario of after) checkAfter(scenario);
    assert.ok(
      after.some(({ exploration }) => exploration?.engine === undefined),
      "one at least must be explored to the end",
    );
  });
}
