/** @module The locks and lifetimes of src/, explored against each other. */

import type { AnyScenario } from "../../src/checker/scenario.ts";

export const coverage: readonly AnyScenario[] = [];
