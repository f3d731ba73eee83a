/** @module The holes that the series of June 2019 left, and the two bugs of on-demand paging that it learned from. */

import type { Exhibit } from "../exhibit.ts";

export const holeExhibits: readonly Exhibit[] = [];
