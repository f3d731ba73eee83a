/** @module Every scenario that ships, in the order of the table that `hmm check` prints. */

import type { AnyScenario } from "../../src/checker/scenario.ts";
import { coverage } from "./coverage/list.ts";
import { holes } from "./holes/list.ts";
import { moving } from "./moving/list.ts";
import { patches } from "./patches/list.ts";
import { watch } from "./watch/list.ts";

export const scenarios: readonly AnyScenario[] = [
  ...patches,
  ...holes,
  ...moving,
  ...watch,
  ...coverage,
];
