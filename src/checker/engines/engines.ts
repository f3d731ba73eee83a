/**
 * @module The engines by name, and the options of each. Some cover everything: optimal, source,
 * sleep, naive; and bounded and delay up to their bounds. Others sample until they are stopped:
 * random, pct, pos. The file of each engine says how it works.
 */

import type { SearchedRun } from "../execution/searched-run.ts";
import type { EngineName } from "../scenario.ts";
import type { Transition } from "../steps/trace.ts";
import { Bounded, delayPrice, preemptionPrice } from "./bounded.ts";
import { DepthFirst } from "./depth-first.ts";
import { Follow } from "./follow.ts";
import { OptimalDpor } from "./optimal-dpor.ts";
import { RandomNumbers } from "./random-numbers.ts";
import { Pct, Pos, RandomWalk } from "./sampling.ts";
import type { Scheduler } from "./scheduler.ts";
import { SourceDpor } from "./source-dpor.ts";

/** The engine and its options. */
export interface EngineOptions {
  /** Default "optimal". */
  readonly engine?: EngineName;
  /** For "bounded": the bound. Default 2. */
  readonly preemptions?: number;
  /** For "delay": the bound. Default 2. */
  readonly delays?: number;
  /** For the sampling engines. Default 1. */
  readonly seed?: number;
  /** For "pct": the depth of bugs, that is, how many orderings they need. Default 3. */
  readonly pctDepth?: number;
  /** For "replay". */
  /** For "replay": the schedule to follow, from its first step. */
  readonly schedule?: readonly Transition[];
  /**
   * For "replay": several schedules instead of one. Each begins when the one before has ended.
   * Called again if the search begins again.
   */
  readonly schedules?: () => Iterable<readonly Transition[]>;
  /** For "replay": skip steps that are not possible. */
  readonly lenient?: boolean;
  /** For "replay": go on after the end of the schedule, each task for as long as it can. */
  readonly finish?: boolean;
}

const DEFAULT_PREEMPTIONS = 2;
const DEFAULT_DELAYS = 2;
const DEFAULT_PCT_DEPTH = 3;

/** The engine that the options ask for. */
export function makeScheduler(run: SearchedRun, options: EngineOptions): Scheduler {
  const random = new RandomNumbers(options.seed ?? 1);
  switch (options.engine ?? "optimal") {
    case "optimal":
      return new OptimalDpor(run);
    case "source":
      if (run.budget.deaths > 0) {
        throw new RangeError(
          'Cannot explore deaths with the engine "source": it knows no deaths; use "optimal"',
        );
      }
      return new SourceDpor(run);
    case "sleep":
      return new DepthFirst(run, { sleepSets: true });
    case "naive":
      return new DepthFirst(run, { sleepSets: false });
    case "bounded":
      return new Bounded(run, options.preemptions ?? DEFAULT_PREEMPTIONS, preemptionPrice);
    case "delay":
      return new Bounded(run, options.delays ?? DEFAULT_DELAYS, delayPrice);
    case "random":
      return new RandomWalk(random);
    case "pct":
      return new Pct(run, random, options.pctDepth ?? DEFAULT_PCT_DEPTH);
    case "pos":
      return new Pos(run, random);
    default:
      return new Follow(options.schedules?.() ?? [options.schedule ?? []], {
        lenient: options.lenient ?? false,
        finish: options.finish ?? false,
      });
  }
}
