/** @module Whether a finding of the sampler is one: a replay that is exact must show it, too. */

import { explore } from "../../../src/checker/explore.ts";
import type { Finding } from "../../../src/checker/findings/finding.ts";
import type { FuzzProgram } from "./fuzz-program.ts";
import { STEPS_MAX } from "./fuzz-stage.ts";
import type { OperationTable } from "./fuzz-stage.ts";
import { natureOf } from "./nature.ts";
import { programScenario } from "./program-scenario.ts";

/** The finding as a replay with all that steps touch (checker/session/sampler.ts) shows it. */
export function confirm(
  program: FuzzProgram,
  finding: Finding,
  table: OperationTable,
): Finding | undefined {
  const { findings } = explore(programScenario(program, "fuzz", table), {
    engine: "replay",
    schedule: finding.schedule,
    spuriousWakes: 0,
    maxSteps: STEPS_MAX,
    checkDeterminism: false,
  });
  const nature = natureOf(finding);
  return findings.find((again) => natureOf(again) === nature);
}
