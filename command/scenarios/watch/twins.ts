/** @module A seeded bug and its sound twin: the same scenario twice, in the form of a rig's. */

import { rigScenario } from "../../../src/checker/rig/hmm-rig.ts";
import type { RigScenario } from "../../../src/checker/rig/hmm-rig.ts";
import type { FindingKind } from "../../../src/checker/findings/finding.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";

/**
 * `watch/<kind>/broken`, in which that kind must be found, and `watch/<kind>/sound`, in which
 * nothing may be.
 */
export function twins<S>(
  kind: FindingKind,
  make: (isBroken: boolean) => Omit<RigScenario<S>, "name" | "expects">,
): AnyScenario[] {
  return [
    rigScenario<S>({ ...make(true), name: `watch/${kind}/broken`, expects: kind }),
    rigScenario<S>({ ...make(false), name: `watch/${kind}/sound` }),
  ];
}
