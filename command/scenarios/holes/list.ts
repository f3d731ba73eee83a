/**
 * @module The holes that the series left, and the two on-demand paging bugs: for each the broken
 * way, and the shipped one.
 */

import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { scenariosOf } from "../exhibit.ts";
import { holeExhibits } from "./exhibits.ts";

export const holes: readonly AnyScenario[] = scenariosOf(holeExhibits);
