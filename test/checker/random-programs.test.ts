/**
 * @module Engines against each other on programs drawn from a seed: over locks, semaphores,
 * try-locks, conditions, wait queues, completions, reference counts and SRCU, with timeouts,
 * spurious wakes and deaths. CHECKER_SEED chooses the first seed, CHECKER_PROGRAMS how many.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import type { ExploreOptions } from "../../src/checker/explore.ts";
import { randomProgram } from "./random-programs.ts";

const firstSeed = Number(process.env["CHECKER_SEED"] ?? Date.now() % 1_000_000);
const programs = Number(process.env["CHECKER_PROGRAMS"] ?? 80);
const ORACLE_EXECUTIONS = 3000;
const NAIVE_EXECUTIONS = 3000;

/**
 * Every fifth seed has one spurious wake, every seventh one timeout only, in every third a wake of
 * one chooses, in every fourth a thread may die, or two.
 */
function optionsOf(seed: number): ExploreOptions {
  return {
    lockdep: false,
    collectClasses: true,
    maxSteps: 300,
    spuriousWakes: seed % 5 === 0 ? 1 : 0,
    timeouts: seed % 7 === 0 ? 1 : Infinity,
    wakeAny: seed % 3 === 0,
    deaths: seed % 4 === 0 ? 1 + (seed % 8) / 4 : 0,
  };
}

test(`all engines find the same classes in ${programs} random programs`, (context) => {
  context.diagnostic(`CHECKER_SEED=${firstSeed}`);
  let compared = 0;
  for (let seed = firstSeed; seed < firstSeed + programs; seed++) {
    const program = randomProgram(seed);
    const options = optionsOf(seed);
    const says = `CHECKER_SEED=${seed} CHECKER_PROGRAMS=1`;
    const oracle = explore(program, { ...options, engine: "sleep", executions: ORACLE_EXECUTIONS });
    if (!oracle.complete) continue;
    compared++;
    assert.equal(
      oracle.executions,
      oracle.classes,
      `${says}: sleep sets alone find no class twice`,
    );
    const optimal = explore(program, { ...options, executions: ORACLE_EXECUTIONS });
    assert.deepEqual(optimal.keys, oracle.keys, `${says}: optimal`);
    assert.equal(optimal.executions, oracle.executions, `${says}: optimal, executions`);
    assert.equal(optimal.blocked, 0, `${says}: optimal, blocked`);
    if (options.deaths === 0) {
      const source = explore(program, { ...options, engine: "source" });
      assert.deepEqual(source.keys, oracle.keys, `${says}: source`);
    }
    const bounded = explore(program, { ...options, engine: "bounded", preemptions: Infinity });
    assert.deepEqual(bounded.keys, oracle.keys, `${says}: bounded without a bound`);
    const delayed = explore(program, { ...options, engine: "delay", delays: Infinity });
    assert.deepEqual(delayed.keys, oracle.keys, `${says}: delay without a bound`);
    const naive = explore(program, { ...options, engine: "naive", executions: NAIVE_EXECUTIONS });
    for (const key of naive.keys ?? []) assert.ok(oracle.keys?.has(key), `${says}: naive`);
    if (naive.complete) assert.equal(naive.classes, oracle.classes, `${says}: naive`);
  }
  assert.ok(compared > programs / 2, `${compared} programs were small enough`);
});
