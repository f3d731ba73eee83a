/**
 * @module The form of an exhibit: a bug that was once in real code, told in a few paragraphs, with
 * a scenario in which the checker finds it, and one that runs the shipped code and is explored
 * without a finding. docs/EXHIBITS.md is written from these by `npm run docs`; the diagrams in it
 * are what the checker printed.
 */

import type { AnyScenario } from "../../src/checker/scenario.ts";

/**
 * Texts are Markdown without headings, paragraphs apart by an empty line, lines of at most 125
 * characters.
 */
export interface Exhibit {
  /** `patches/01`, `holes/aba`. */
  readonly id: string;
  /** What is about it, in a line. */
  readonly title: string;
  /** What the code was. */
  readonly was: string;
  /** What goes wrong with it. On the page, the diagrams stand below this. */
  readonly wrong: string;
  /** What holds now, and why. On the page, what was proved stands below this. */
  readonly now: string;
  /** What else there is to know. */
  readonly notes?: string;
  /**
   * Each with `expects`. Its `summary` is the caption of its diagram. One defect each: most
   * exhibits have one.
   */
  readonly before: readonly AnyScenario[];
  /** The shipped code in the same situation. */
  readonly after: readonly AnyScenario[];
}

/**
 * What `scenarios/<group>/list.ts` exports: of each exhibit the broken scenarios, then the sound
 * ones.
 */
export function scenariosOf(exhibits: readonly Exhibit[]): readonly AnyScenario[] {
  return exhibits.flatMap(({ before, after }) => [...before, ...after]);
}
