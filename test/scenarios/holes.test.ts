/**
 * @module The exhibits of the holes: each old way is found, by kind and sites, and is as short as
 * it was when it was last looked at; each shipped one is explored as far as its scenario says,
 * without a finding and without a blocked run.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { holeExhibits } from "../../command/scenarios/holes/exhibits.ts";
import { type Smallest, checkAfter, checkBefore } from "./exhibit-checks.ts";

const smallest: Readonly<Record<string, Smallest>> = {
  "holes/aba/before": {
    kind: "stale-translation",
    sites: ["discard update pte", "fault read translation"],
    message: /^the device reaches frame \d+ for page 64, which has no frame any more$/,
    preemptions: 1,
    steps: 49,
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
    steps: 36,
  },
  "holes/never-registered/before": {
    kind: "assertion",
    sites: ["open2 unlock cardLock"],
    message: /^Cannot use hmm at null/,
    preemptions: 0,
    steps: 31,
  },
  "holes/driver-lock/before": {
    kind: "deadlock",
    sites: ["migrate downRead mirrorsSem", "close downWrite mirrorsSem", "discard lock driverLock"],
    message: /, behind close; close .*, which discard holds; discard .*, which migrate holds$/,
    preemptions: 1,
    steps: 21,
    also: ["lock-order"],
  },
  "holes/last-user/before": {
    kind: "deadlock",
    sites: ["fault lock driverLock"],
    message: /^fault waits for ever \(lock of driverLock\), which fault holds/,
    preemptions: 0,
    steps: 14,
    also: ["lock-order", "lock-recursion"],
  },
  "holes/parked/before": {
    kind: "lost-wakeup",
    sites: ["open park wait queue"],
    message: /^open waits for ever/,
    preemptions: 2,
    steps: 32,
  },
  "holes/read-held/before": {
    kind: "lock-misuse",
    sites: ["reap upRead mmapLock"],
    message: /^task "reap" ended while it held regionsSem/,
    preemptions: 1,
    steps: 9,
  },
  "holes/read-held/open/before": {
    kind: "deadlock",
    sites: ["open downWrite regionsSem"],
    message: /^open waits for ever \(downWrite of regionsSem\), which reap holds$/,
    preemptions: 1,
    steps: 11,
    also: ["lock-misuse"],
  },
};

for (const { id, title, before, after } of holeExhibits) {
  test(`${id}: ${title}`, () => {
    assert.ok(before.length > 0 && after.length > 0);
    for (const scenario of before) checkBefore(scenario, smallest[scenario.name]);
    for (const scenario of after) checkAfter(scenario, 2);
    assert.ok(
      after.some(({ exploration }) => exploration?.engine === undefined),
      "one at least must be explored to the end",
    );
  });
}
