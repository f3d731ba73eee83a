/**
 * @module The scenarios of one layer's locks and lifetimes: the shipped code stands, and each
 * broken twin is found out. A file for each layer, so that the layers are explored beside each
 * other.
 *
 * This is a short form, for `npm test`: of a sound scenario not more than a thousand executions.
 * `hmm check` explores each as far as it says.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Layer } from "../../../command/scenarios/coverage/covered.ts";
import { covered } from "../../../command/scenarios/coverage/covered-list.ts";
import { explore } from "../../../src/checker/explore.ts";
import type { Exploration } from "../../../src/checker/explore.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";

/** Most scenarios are complete before. Of the others this is some seconds. */
const EXECUTIONS_MAX = 1_000;

function exploreTwin(scenario: AnyScenario): Exploration {
  const { expects } = scenario;
  const stop =
    expects === undefined
      ? {}
      : { stopAt: (finding: { kind: string }): boolean => finding.kind === expects };
  return explore(scenario, { ...scenario.exploration, ...stop });
}

export function testLayer(layer: Layer): void {
  for (const { scenario, twins } of covered.filter((one) => one.layer === layer)) {
    test(`${scenario.name}: ${scenario.summary ?? ""}`, () => {
      const most = Math.min(EXECUTIONS_MAX, scenario.exploration?.executions ?? Infinity);
      const options = { ...scenario.exploration, executions: most };
      const { findings, complete, end } = explore(scenario, options);
      assert.deepEqual(findings, []);
      assert.ok(complete || end === "executions", `ended by ${end}`);
    });

    for (const twin of twins) {
      test(`${twin.name}: ${twin.summary ?? ""}`, () => {
        const { findings } = exploreTwin(twin);
        assert.ok(
          findings.some(({ kind }) => kind === twin.expects),
          `${twin.expects ?? ""} was not found; found ${JSON.stringify(findings.map(({ kind, message }) => [kind, message]))}`,
        );
      });
    }
  }
}
