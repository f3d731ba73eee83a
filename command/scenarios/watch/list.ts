/** @module One seeded bug in real code for each kind of finding, and its sound twin. */

import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { dying } from "./dying.ts";
import { lifetimes } from "./lifetimes.ts";
import { locking } from "./locking.ts";
import { translations } from "./translations.ts";

export const watch: readonly AnyScenario[] = [...lifetimes, ...locking, ...translations, ...dying];
