/**
 * @module The engines by name, and what can be told to each. Those that cover everything: optimal,
 * source, sleep, naive, and bounded and delay up to their bounds. Those that sample until they are
 * stopped: random, pct, pos. How each works stands in its file.
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

/** Which engine, and what it needs to know. */
export interface EngineOptions {
  /** Default "optimal". */
  readonly engine?: EngineName;
  /** Of "bounded": at most so many. Default 2. */
  readonly preemptions?: number;
  /** Of "delay": at most so many. Default 2. */
  readonly delays?: number;
  /** Of the sampling engines. Default 1. */
  readonly seed?: number;
  /** Of "pct": how many orderings a bug may need. Default 3. */
  readonly pctDepth?: number;
  /** Of "replay". */
  readonly schedule?: readonly Transition[];
  /**
   * Of "replay": several instead, each begun when the one before has ended. Called anew when the
   * search begins anew.
   */
  readonly schedules?: () => Iterable<readonly Transition[]>;
  /** Of "replay": leave out steps that are not possible. */
  readonly lenient?: boolean;
  /** Of "replay": go on after its end, each task for as long as it can. */
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
