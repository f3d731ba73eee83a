/**
 * The engines see the same classes of the scenarios of src/'s own locks and lifetimes: code that
 * reads or writes what its step does not name makes them see different ones.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { covered } from "../../../command/scenarios/coverage/covered-list.ts";
import { explore } from "../../../src/checker/explore.ts";

/**
 * Classes that the oracle is still quick with: the scenarios without a machine do 10,000 executions
 * a second.
 */
const SMALL = { sync: 3000, others: 20 } as const;

for (const [group, limit] of Object.entries(SMALL)) {
  test(`${group}: every engine sees the same classes where they are few`, () => {
    let compared = 0;
    for (const { layer, scenario } of covered) {
      if ((layer === "sync") !== (group === "sync")) continue;
      if ((scenario.exploration?.engine ?? "optimal") !== "optimal") continue;
      const optimal = explore(scenario, {
        ...scenario.exploration,
        collectClasses: true,
        executions: limit,
      });
      if (!optimal.complete) continue;
      const oracle = explore(scenario, {
        ...scenario.exploration,
        collectClasses: true,
        engine: "sleep",
      });
      assert.deepEqual(optimal.keys, oracle.keys, scenario.name);
      compared++;
    }
    assert.ok(compared > 0);
  });
}
