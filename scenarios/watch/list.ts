/** @module One seeded bug in real code for each kind of finding, and its sound twin. */

import type { AnyScenario } from "../../src/checker/scenario.ts";

export const watch: readonly AnyScenario[] = [];
