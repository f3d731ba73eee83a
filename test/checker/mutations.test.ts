/**
 * @module The checker broken on purpose: each of the rules that other tools got wrong must be
 * missed by some count.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import type { ExploreOptions } from "../../src/checker/explore.ts";
import type { Scenario, Weakness } from "../../src/checker/scenario.ts";
import { usedAfterFree } from "./programs/objects.ts";
import { abba, mutexKept, ssbexp } from "./programs/locks.ts";
import { fib, lastzero } from "./programs/variables.ts";
import { handMade } from "./programs/waits.ts";

/**
 * Executions, classes, stuck and blocked ones of the optimal engine: "4/4+1b0"; or that it noticed
 * by itself.
 */
function counted(scenario: Scenario<unknown>, options: ExploreOptions): string {
  try {
    const seen = explore(scenario, {
      lockdep: false,
      collectClasses: true,
      executions: 20_000,
      ...options,
    });
    return `${seen.executions}/${seen.classes}+${seen.stuck}b${seen.blocked}`;
  } catch (error) {
    return error instanceof Error ? error.name : "thrown";
  }
}

const mutations: readonly { weakness: Weakness; programs: readonly Scenario<unknown>[] }[] = [
  { weakness: "drop-blocked", programs: [abba(), mutexKept(3, false)] },
  { weakness: "drop-free", programs: [usedAfterFree(false)] },
  {
    weakness: "fuse-parking",
    programs: [handMade(1, true, Infinity), handMade(2, true, Infinity)],
  },
  { weakness: "shorten-wakeups", programs: [lastzero(5), fib(2), ssbexp(5)] },
];

for (const { weakness, programs } of mutations) {
  for (const program of programs) {
    test(`${weakness} makes the count of ${program.name} wrong`, () => {
      const oracle = explore(program, { engine: "sleep", lockdep: false, collectClasses: true });
      const right = `${oracle.executions}/${oracle.classes}+${oracle.stuck}b0`;
      assert.equal(counted(program, {}), right);
      assert.notEqual(counted(program, { weaknesses: [weakness] }), right);
    });
  }
}

test("with the test and the parking in one step, the lost wake-up is not seen", () => {
  const kinds = (options: ExploreOptions): string[] =>
    explore(handMade(2, true, Infinity), options).findings.map(({ kind }) => kind);
  assert.ok(kinds({}).includes("lost-wakeup"));
  assert.ok(!kinds({ weaknesses: ["fuse-parking"] }).includes("lost-wakeup"));
});
