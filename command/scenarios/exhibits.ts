/**
 * @module Every exhibit of every group, in the order of the groups: what docs/EXHIBITS.md tells.
 * Its chapters are in scripts/docs.
 */

import type { Exhibit } from "./exhibit.ts";
import { holeExhibits } from "./holes/exhibits.ts";
import { movingExhibits } from "./moving/exhibits.ts";
import { patchExhibits } from "./patches/exhibits.ts";

export const exhibits: readonly Exhibit[] = [...patchExhibits, ...holeExhibits, ...movingExhibits];
