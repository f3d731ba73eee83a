/**
 * @module Loops without an end: a livelock is told by every engine as the loop that it is, a spin
 * names its remedy, and a loop that ends is neither. How soon is counted in executions, not in
 * seconds.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { Places } from "../../src/checker/primitives/program.ts";
import type { Cell } from "../../src/checker/primitives/program.ts";
import { replay } from "../../src/checker/replay/minimise.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import type { Mutex } from "../../src/sync/primitives/mutex.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

const engines = [
  "optimal",
  "source",
  "sleep",
  "naive",
  "bounded",
  "delay",
  "random",
  "pct",
  "pos",
] as const;
/** By then every engine must have told. */
const EXECUTIONS = 200;

interface Two {
  readonly want: readonly Cell[];
}

/**
 * After you: each says that it wants to go in, sees that the other one does, too, and steps back.
 */
function polite(hasRanks: boolean): Scenario<Two> {
  const enter = (me: number): ((two: Two) => Task<void>) =>
    function* ({ want }) {
      const [mine, others] = [want[me] ?? assert.fail(), want[1 - me] ?? assert.fail()];
      for (;;) {
        yield* mine.store(1);
        if ((yield* others.load()) === 0) break;
        if (hasRanks && me === 0) {
          yield* others.waitWhile(1);
          break;
        }
        yield* mine.store(0);
        if (hasRanks) yield* others.waitWhile(1);
      }
      yield* mine.store(0);
    };
  return {
    name: "polite",
    setup: (memory) => ({ want: new Places(memory).cells("want", 2) }),
    tasks: { a: enter(0), b: enter(1) },
  };
}

test("two polite tasks are a livelock for every engine, and it replays", () => {
  for (const engine of engines) {
    const { findings, end, complete } = explore(polite(false), { engine, executions: EXECUTIONS });
    assert.deepEqual([end, complete], ["endless", false], engine);
    const finding =
      findings.find(({ kind }) => kind === "livelock") ?? assert.fail(`${engine}: no livelock`);
    assert.deepEqual([...finding.threads].toSorted(), ["a", "b"]);
    assert.match(
      finding.message,
      /^a and b go round for ever: 6 steps lead back to where they began, from step \d+ on: /,
    );
    // Into the loop and twice round it, not a thousand times.
    assert.ok(finding.steps < 64, `${engine}: ${finding.steps} steps`);
    const again = replay(polite(false), finding.token).map(({ kind }) => kind);
    assert.deepEqual(again, ["livelock"], engine);
  }
});

test("with a rank there is none", () => {
  const { findings, complete } = explore(polite(true));
  assert.ok(complete);
  assert.deepEqual(findings, []);
});

/** Waits for the other task by a loop of at most `tries` loads, or as it should. */
function spinner(waits: boolean, tries: number = Infinity): Scenario<Cell> {
  return {
    name: "spinner",
    setup: (memory) => new Places(memory).cell("flag"),
    tasks: {
      *spins(flag) {
        if (waits) yield* flag.waitWhile(0);
        for (let i = 0; i < tries; i++) if ((yield* flag.load()) !== 0) return;
      },
      sets: (flag) => flag.store(1),
    },
  };
}

test("a spin is told after a few steps, and told what to do instead", () => {
  for (const engine of engines) {
    const { findings } = explore(spinner(false), { engine, executions: EXECUTIONS });
    const finding = findings.find(({ kind }) => kind === "endless");
    if (finding === undefined) {
      // Who only draws lots lets the other one go on sooner or later.
      assert.ok(["random", "pct", "pos"].includes(engine), engine);
      continue;
    }
    assert.match(
      finding.message,
      /^spins goes round for ever while sets could go on: say .*, with waitWhile of a Cell/,
    );
    assert.match(
      finding.message,
      /1 step leads back to where it began, from step \d+ on: spins read flag$/,
    );
    assert.ok(finding.steps <= 16, `${engine}: ${finding.steps} steps`);
  }
  assert.deepEqual(explore(spinner(true)).findings, []);
});

test("a loop that counts its rounds is no spin", () => {
  const { findings, complete, classes } = explore(spinner(false, 100));
  assert.ok(complete);
  assert.deepEqual(findings, []);
  assert.equal(classes, 101);
});

/**
 * Takes two locks in either order without ever waiting: gives the first one back if it does not get
 * the second.
 */
function backingOff(): Scenario<readonly Mutex[]> {
  const take = (first: number): ((locks: readonly Mutex[]) => Task<void>) =>
    function* (locks) {
      const [mine, others] = [locks[first] ?? assert.fail(), locks[1 - first] ?? assert.fail()];
      for (;;) {
        yield* mine.lock();
        if (yield* others.tryLock()) break;
        yield* mine.unlock();
      }
      yield* others.unlock();
      yield* mine.unlock();
    };
  return {
    name: "backing off",
    setup: (memory) => new Places(memory).mutexes("m", 2),
    tasks: { left: take(0), right: take(1) },
  };
}

test("two that back off from each other's lock are a livelock", () => {
  const { findings } = explore(backingOff());
  const finding =
    findings.find(({ kind }) => kind === "livelock") ?? assert.fail(JSON.stringify(findings));
  assert.deepEqual([...finding.threads].toSorted(), ["left", "right"]);
  assert.deepEqual(
    replay(backingOff(), finding.token).map(({ kind }) => kind),
    ["livelock"],
  );
});

test("what does not come back to where it was is told by its length", () => {
  const scenario: Scenario<readonly Cell[]> = {
    name: "ever farther",
    setup: (memory) => new Places(memory).cells("x", 2),
    tasks: {
      *a([x]) {
        for (let i = 1; ; i = Math.imul(i, 3)) yield* (x ?? assert.fail()).store(i);
      },
    },
  };
  const [finding, ...others] = explore(scenario, { maxSteps: 200 }).findings;
  assert.deepEqual(
    [finding?.kind, finding?.message, others],
    ["endless", "the execution has not ended after 200 steps", []],
  );
});
