/** @module The holes that the series left, and the two on-demand paging bugs: for each the broken way, and the shipped one. */

import type { AnyScenario } from "../../src/checker/scenario.ts";

export const holes: readonly AnyScenario[] = [];
