/**
 * @module The twelve patches of June 2019 as scenarios: of each the broken ones, then the sound
 * ones. What is told about them is in exhibits.ts.
 */

import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { scenariosOf } from "../exhibit.ts";
import { patchExhibits } from "./exhibits.ts";

export const patches: readonly AnyScenario[] = scenariosOf(patchExhibits);
