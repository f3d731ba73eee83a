/** @module Every exhibit: what docs/EXHIBITS.md tells. */

import type { Exhibit } from "./exhibit.ts";
import { holeExhibits } from "./holes/exhibits.ts";

export const exhibits: readonly Exhibit[] = [...holeExhibits];
