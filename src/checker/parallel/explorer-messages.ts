/**
 * @module The messages between the threads of a parallel exploration: from parallel.ts to
 * explorer-worker.ts, and back.
 */

import type { Exploration, ExploreOptions, Progress } from "../session/exploration.ts";
import type { Dependence } from "../steps/dependence.ts";

/** The options of an exploration that can be sent to another thread. */
export type ParallelOptions = Omit<
  ExploreOptions,
  "isCancelled" | "stopAt" | "onProgress" | "progressEvery" | "observer" | "withSites"
>;

/** The start data of a thread. */
export interface ExplorerStart {
  /** Address of the module that exports the scenario. */
  readonly module: string;
  readonly scenario: string;
  readonly options: ParallelOptions;
  readonly dependence: Dependence;
  /** The thread may look for a split. */
  readonly maySplit: boolean;
}

export type ToExplorer =
  /**
   * Explore this part; undefined: everything. These options replace those of the start.
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
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "result"; readonly result: Exploration }
  /** An execution has shown that the split is not possible. */
  | { readonly kind: "split-invalid" }
  | { readonly kind: "depends-on-more"; readonly more: Dependence }
  | {
      readonly kind: "failed";
      readonly name: string;
      readonly message: string;
      readonly stack: string;
    };
