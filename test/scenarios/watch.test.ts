/**
 * @module The seeded bugs: one for each kind of finding, found with at most two preemptions,
 * minimised to the schedule that stands here; and the sound twins, explored to their end or bound
 * without a finding.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { watch } from "../../command/scenarios/watch/list.ts";
import { explore } from "../../src/checker/explore.ts";
import type { FindingKind } from "../../src/checker/findings/finding.ts";
import { minimise, replay } from "../../src/checker/replay/minimise.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";

interface Golden {
  /** Numbers of words and frames as N. */
  readonly message: string;
  /** Task, operation, label. */
  readonly sites: readonly string[];
  readonly preemptions: number;
  /**
   * The smallest schedule, where it is short and none of it is the shipped code's walk of a page
   * table.
   */
  readonly token?: string;
  /** What else the same bug leads to. */
  readonly also?: readonly FindingKind[];
}

const MOST_PREEMPTIONS = 2;

const goldens: Readonly<Partial<Record<FindingKind, Golden>>> = {
  "use-after-free": {
    message: "discard uses harnessDevice, which close freed",
    sites: ["close free harnessDevice", "discard use harnessDevice"],
    preemptions: 0,
    also: ["assertion"],
  },
  "double-free": {
    message: "one frees again harnessDevice, which two freed",
    sites: ["two free harnessDevice", "one free harnessDevice"],
    preemptions: 1,
    token: "h1-ab3a2",
    also: ["use-after-free"],
  },
  refcount: {
    message: "refcount at word N: get on 0, the object is already being freed",
    sites: ["fault refGet refcount"],
    preemptions: 0,
    token: "h1-ab",
  },
  leak: {
    message: "hmmRange, which fault allocated, is never freed",
    sites: ["fault alloc hmmRange"],
    preemptions: 1,
    token: "h1-b2a2b",
  },
  "refcount-leak": {
    message:
      "a reference count is 2 at the end and was 1 at the beginning; walk took the last reference",
    sites: ["walk refGetNotZero refcount"],
    preemptions: 1,
    token: "h1-b2a2b",
  },
  error: {
    message: "there is no frame for the page",
    sites: ["device unlock driverLock"],
    preemptions: 1,
  },
  deadlock: {
    message:
      "program waits for ever (downRead of mmapLock), which unmap holds; unmap waits for ever (lock of driverLock), which program holds",
    sites: ["program downRead mmapLock", "unmap lock driverLock"],
    preemptions: 1,
    token: "h1-ab2",
  },
  "lock-order": {
    message: "mmapLock is taken while driverLock is held: the lock order does not allow it",
    sites: ["program lock driverLock"],
    preemptions: 0,
    token: "h1-a",
  },
  "lock-recursion": {
    message: "driverLock is taken by a task that holds it",
    sites: ["program lock driverLock"],
    preemptions: 0,
    token: "h1-a",
    also: ["deadlock"],
  },
  "sleep-in-atomic": {
    message: "a task that holds the spinlock rangesLock may sleep on driverLock",
    sites: ["mark lock rangesLock"],
    preemptions: 0,
    token: "h1-a",
    also: ["lock-order"],
  },
  "lock-misuse": {
    message: 'task "second" ended while it held driverLock',
    sites: ["second lock driverLock"],
    preemptions: 0,
  },
  "data-race": {
    message:
      "nothing orders two accesses to device table: look reads it holding no lock; discard writes it holding mmapLock, notifierSrcu, mirrorsSem, driverLock",
    sites: ["look plain read device table", "discard plain write device table"],
    preemptions: 0,
    token: "h1-b9",
  },
  "lost-wakeup": {
    message: "wait waits for ever (park of wait queue): end woke the queue before, at step 1",
    sites: ["wait park wait queue"],
    preemptions: 1,
    token: "h1-a2b2a2",
  },
  "owner-died": {
    message:
      'Cannot go on: thread "pin" was terminated while it held pinLock, and what that guards may be half changed; create a new machine, and let threads finish before you terminate them',
    sites: ["pin update pins"],
    preemptions: 0,
    token: "h1-aXa",
  },
  "stale-translation": {
    message: "the device reaches frame N for page 64, which has no frame any more",
    sites: ["discard update pte", "device read translation"],
    preemptions: 1,
  },
  assertion: {
    message: "The device reaches frame N for page 64, which has no frame any more",
    sites: [],
    preemptions: 1,
  },
  invariant: {
    message:
      "the tables agree: The device reaches frame N for page 64, which has no frame any more",
    sites: ["device unlock driverLock"],
    preemptions: 1,
  },
  "not-linearizable": {
    message:
      "no order of the calls explains the answers: at most get() = true, get() = true, put() = false can be put in order, and then put() = true has no place",
    sites: ["two opReturn put"],
    preemptions: 2,
    token: "h1-a2b5a5b2",
  },
  livelock: {
    message:
      "device and reclaim go round for ever: 8 steps lead back to where they began, from step 2 on: device lock driverLock, device unlock driverLock, device write mapped, reclaim waitWhile mapped, reclaim lock driverLock, reclaim unlock driverLock, reclaim write mapped, device waitWhile mapped",
    sites: ["device lock driverLock", "reclaim lock driverLock"],
    preemptions: 0,
  },
  endless: {
    message:
      "fault goes round for ever while start could go on: say what is waited for, with waitWhile of a Cell or with a wait queue; 1 step leads back to where it began, from step 2 on: fault read notifiers",
    sites: ["fault read notifiers"],
    preemptions: 0,
  },
};

function withoutNumbers(message: string): string {
  return message.replace(/word \d+/, "word N").replace(/frame \d+/, "frame N");
}

function checkBroken(scenario: AnyScenario, kind: FindingKind): void {
  const golden = goldens[kind] ?? assert.fail("there is no golden finding for it");
  const { findings } = explore(scenario, scenario.exploration);
  const kinds = new Set(findings.map((finding) => finding.kind));
  assert.deepEqual([...kinds].toSorted(), [kind, ...(golden.also ?? [])].toSorted());
  const found = findings.find((finding) => finding.kind === kind) ?? assert.fail("it is not found");
  const small = minimise(scenario, found, scenario.exploration);
  assert.ok(small.preemptions <= MOST_PREEMPTIONS);
  const sites = small.sites.map(({ task, operation, label }) => `${task} ${operation} ${label}`);
  const { message, preemptions, sites: expectedSites } = golden;
  assert.deepEqual(
    { message: withoutNumbers(small.message), sites, preemptions: small.preemptions },
    { message, sites: expectedSites, preemptions },
  );
  if (golden.token !== undefined) assert.equal(small.token, golden.token);
  const again = replay(scenario, small.token, scenario.exploration);
  assert.ok(again.some((finding) => finding.kind === kind && finding.message === small.message));
}

function checkSound(scenario: AnyScenario): void {
  const { findings, complete, blocked, bound, engine } = explore(scenario, scenario.exploration);
  assert.deepEqual(findings, []);
  assert.ok(complete && bound >= MOST_PREEMPTIONS);
  if (engine === "optimal") assert.equal(blocked, 0);
}

for (const scenario of watch) {
  test(scenario.name, () => {
    if (scenario.expects === undefined) checkSound(scenario);
    else checkBroken(scenario, scenario.expects);
  });
}

test("each kind of finding has its seeded bug and its sound twin", () => {
  const broken = watch.flatMap(({ expects }) => expects ?? []);
  assert.deepEqual(new Set(Object.keys(goldens)), new Set(broken));
  for (const kind of broken) {
    assert.ok(
      watch.some(({ name }) => name === `watch/${kind}/sound`),
      kind,
    );
  }
});
