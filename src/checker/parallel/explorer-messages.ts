/**
 * @module What the threads of a parallel exploration say to each other: parallel.ts to
 * explorer-worker.ts and back.
 */

import type { Exploration, ExploreOptions, Progress } from "../session/exploration.ts";
import type { Dependence } from "../steps/dependence.ts";

/** Of the options of an exploration: what can be sent to another thread. */
export type ParallelOptions = Omit<
  ExploreOptions,
  "isCancelled" | "stopAt" | "onProgress" | "progressEvery" | "observer" | "withSites"
>;

/** The start data of a thread. */
export interface ExplorerStart {
  /** Of the module whose exports list the scenario. */
  readonly module: string;
  readonly scenario: string;
  readonly options: ParallelOptions;
  readonly dependence: Dependence;
  /** Look for a split. */
  readonly maySplit: boolean;
}

export type ToExplorer =
  /**
   * Explore this part; undefined: everything. With these options instead of those that it was
   * started with.
   */
  | {
      readonly kind: "explore";
      readonly part: number | undefined;
      readonly options: ParallelOptions;
    }
  | { readonly kind: "stop" };

export type FromExplorer =
  /** How many parts there are; 0: it cannot be split. */
  | { readonly kind: "ready"; readonly fingerprint: string; readonly parts: number }
  | { readonly kind: "progress"; readonly so: Progress }
  | { readonly kind: "result"; readonly result: Exploration }
  /** An execution was not as the split needs it. */
  | { readonly kind: "needs-whole" }
  | { readonly kind: "depends-on-more"; readonly more: Dependence }
  | {
      readonly kind: "failed";
      readonly name: string;
      readonly message: string;
      readonly stack: string;
    };
