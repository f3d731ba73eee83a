/** @module Counts the rounds of all readings of one figure, for its progress bar. */

import type { MeasureOptions } from "./figure.ts";

/** Rounds of one reading: enough for a median that one bad round does not move. */
export function roundsOf({ isQuick }: MeasureOptions): number {
  return isQuick ? 2 : 9;
}

/** To be called once for each of `total` rounds. */
export function roundCounter(total: number, options: MeasureOptions): () => void {
  let done = 0;
  options.onRound(0, total);
  return () => options.onRound(++done, total);
}
