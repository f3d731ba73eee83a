/** @module Bugs of memory that moves: migration, device pages, pins, huge pages. */

import type { Exhibit } from "../exhibit.ts";
import { countedReferences } from "./counted-references.ts";
import { lateFlush } from "./late-flush.ts";
import { noReference } from "./no-reference.ts";
import { noneForAMoment } from "./none-for-a-moment.ts";
import { pinnedFork } from "./pinned-fork.ts";
import { waitsUnreferenced } from "./waits-unreferenced.ts";

export const movingExhibits: readonly Exhibit[] = [
  lateFlush,
  noReference,
  countedReferences,
  pinnedFork,
  noneForAMoment,
  waitsUnreferenced,
];
