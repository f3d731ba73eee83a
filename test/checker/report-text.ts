/**
 * @module From a scenario to what a person reads: explored, minimised, recorded, compared, drawn.
 */

import assert from "node:assert/strict";
import { explore } from "../../src/checker/explore.ts";
import type { ExploreOptions } from "../../src/checker/explore.ts";
import type { Finding } from "../../src/checker/findings/finding.ts";
import { minimise } from "../../src/checker/replay/minimise.ts";
import { nearestPassing } from "../../src/checker/replay/nearest.ts";
import { recordRun } from "../../src/checker/replay/record-run.ts";
import type { Recording } from "../../src/checker/replay/recording.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";
import { renderTimeline } from "../../src/checker/report/timeline.ts";

export interface Told {
  readonly finding: Finding;
  readonly recording: Recording;
  readonly passing: Recording | undefined;
  readonly text: string;
}

/** Of what the scenario expects. */
export function tell(scenario: AnyScenario, options: ExploreOptions = {}): Told {
  const found = explore(scenario, { ...scenario.exploration, ...options });
  const finding = found.findings.find(({ kind }) => kind === scenario.expects);
  assert.ok(finding !== undefined, `${scenario.name}: ${JSON.stringify(found.findings)}`);
  const small = minimise(scenario, finding, scenario.exploration);
  const recording = recordRun(scenario, small.token, scenario.exploration);
  const passing = nearestPassing(scenario, recording, scenario.exploration);
  const text = renderTimeline(recording, passing === undefined ? {} : { passing });
  return { finding: small, recording, passing, text };
}
