/**
 * @module Wakeup trees: what an optimal search still has to try at a depth, as sequences of steps that are sure to lead to
 * executions of classes not yet seen (Abdulla, Aronis, Jonsson, Sagonas, "Source Sets", JACM 2017, section 6).
 */

import type { Transition } from "./trace.ts";

/** One step of a sequence. A node without children is the end of one: from there on any order will do. */
export interface WakeupNode {
  readonly transition: Transition;
  readonly footprint: number;
  readonly children: WakeupNode[];
}

export function wakeupNode(transition: Transition, footprint: number): WakeupNode {
  return { transition, footprint, children: [] };
}
