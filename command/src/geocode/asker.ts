/** @module What answers the questions, whichever device it is. */

import type { DeviceStats } from "../../../src/index.ts";

/** A device that is ready to answer. */
export interface Asker extends AsyncDisposable {
  /** What it is, for people. */
  readonly description: string;
  /** Answers all questions, and counts them in the control page. */
  answer(): Promise<unknown>;
  stats(): DeviceStats;
}
