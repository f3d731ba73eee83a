/**
 * @module The locks and lifetimes of src/, explored against each other: each scenario of the
 * shipped code, and its broken twins.
 */

import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { covered } from "./covered-list.ts";

export const coverage: readonly AnyScenario[] = covered.flatMap(({ scenario, twins }) => [
  scenario,
  ...twins,
]);
