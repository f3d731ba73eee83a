/** @module The twelve patches of June 2019: for each the code as it was before, and the shipped code. */

import type { AnyScenario } from "../../src/checker/scenario.ts";

export const patches: readonly AnyScenario[] = [];
