/** @module Bugs of memory that moves: for each the broken way, and the shipped one. */

import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { scenariosOf } from "../exhibit.ts";
import { movingExhibits } from "./exhibits.ts";

export const moving: readonly AnyScenario[] = scenariosOf(movingExhibits);
