/** @module What is asked of a lane of `npm run kills`, and what it answers. */

import type { LoadName } from "./loads.ts";

/** One thread that plays `load` is to die. */
export interface KillOrder {
  readonly load: LoadName;
  /** Distinguishes the kills of a load. */
  readonly index: number;
  /** How long it plays, in fractions of milliseconds. */
  readonly delayMs: number;
}

/**
 * What became of the machine. Stopped: everybody was told so. Leaked: it goes on, and not
 * everything was given back. Wrong: something was computed that never was, or an unexpected error
 * was thrown.
 */
export type Outcome = "well" | "leaked" | "stopped" | "wrong" | "hung";

export interface Kill extends KillOrder {
  readonly outcome: Outcome;
  /** From the death until all that the dead thread had was given back. */
  readonly noticedMs: number;
  /** Frames, and objects by kind, that nobody gives back. */
  readonly frames: number;
  readonly objects: Readonly<Record<string, number>>;
  /** The lock that stopped the machine, or what went wrong. */
  readonly detail?: string;
}
