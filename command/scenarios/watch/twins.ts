/** @module A seeded bug and its sound twin: the same scenario twice, in the form of a harness's. */

import { harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { FindingKind } from "../../../src/checker/findings/finding.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";

/**
 * `watch/<kind>/broken`, in which that kind must be found, and `watch/<kind>/sound`, in which
 * nothing may be.
 */
export function twins<S>(
  kind: FindingKind,
  make: (isBroken: boolean) => Omit<HarnessScenario<S>, "name" | "expects">,
): AnyScenario[] {
  return [
    harnessScenario<S>({ ...make(true), name: `watch/${kind}/broken`, expects: kind }),
    harnessScenario<S>({ ...make(false), name: `watch/${kind}/sound` }),
  ];
}
