/** @module The engines by name. */

import { DepthFirst } from "./depth-first.ts";
import type { Execution } from "./execution.ts";
import { OptimalDpor } from "./optimal-dpor.ts";
import type { Scheduler } from "./scheduler.ts";
import { SourceDpor } from "./source-dpor.ts";

export type EngineName = "optimal" | "source" | "sleep" | "naive";

export interface EngineOptions {
  /** Default "optimal". */
  readonly engine?: EngineName;
}

/** The engine that the options ask for. */
export function makeScheduler(run: Execution, options: EngineOptions): Scheduler {
  switch (options.engine ?? "optimal") {
    case "optimal":
      return new OptimalDpor(run);
    case "source":
      return new SourceDpor(run);
    case "sleep":
      return new DepthFirst({ sleepSets: true });
    case "naive":
      return new DepthFirst({ sleepSets: false });
  }
}
