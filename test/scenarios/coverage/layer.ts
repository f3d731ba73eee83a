/**
 * @module The scenarios of one layer's locks and lifetimes: the shipped code stands, and each
 * broken twin is found out. A file for each layer, so that the layers are explored beside each
 * other.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Layer } from "../../../command/scenarios/coverage/covered.ts";
import { covered } from "../../../command/scenarios/coverage/covered-list.ts";
import { explore } from "../../../src/checker/explore.ts";
import type { Exploration } from "../../../src/checker/explore.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";

function exploreAsSaid(scenario: AnyScenario): Exploration {
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
      const { findings, complete, executions } = exploreAsSaid(scenario);
      assert.deepEqual(findings, []);
      assert.ok(
        complete || executions === scenario.exploration?.executions,
        "not explored as far as it says",
      );
    });

    for (const twin of twins) {
      test(`${twin.name}: ${twin.summary ?? ""}`, () => {
        const { findings } = exploreAsSaid(twin);
        assert.ok(
          findings.some(({ kind }) => kind === twin.expects),
          `${twin.expects ?? ""} was not found; found ${JSON.stringify(findings.map(({ kind, message }) => [kind, message]))}`,
        );
      });
    }
  }
}
