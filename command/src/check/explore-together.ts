/**
 * @module Explores one scenario with several threads, if there is only one and its search can be
 * split. A single Worker explores a scenario that cannot be split, or whose progress is saved in a
 * checkpoint. Sampling also uses one Worker, because its result must not depend on the number of
 * cores.
 */

import { ExplorerCrash, exploreInParallel } from "../../../src/checker/parallel/parallel.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import type { Progress } from "../../../src/checker/session/exploration.ts";
import { exploreOptions } from "./engine-choice.ts";
import { failedOutcome, judge } from "./explore-job.ts";
import type { ExploreJob, JobOutcome } from "./explore-job.ts";
import { scenarioAt } from "./scenario-modules.ts";

/** Whether several threads can share the job. */
export function canShare(job: ExploreJob, scenario: AnyScenario): boolean {
  if (job.resumeFrom !== undefined || scenario.memory !== undefined) return false;
  return (exploreOptions(scenario, job.choice).engine ?? "optimal") === "optimal";
}

/** By how many Workers, how long each may say nothing, and until when. */
export interface Together {
  readonly threads: number;
  readonly patienceSeconds: number;
  readonly signal: AbortSignal;
}

/**
 * Explores with `threads` Workers and judges. It never throws: if the scenario cannot be explored,
 * that is reported as a finding.
 */
export async function exploreTogether(
  job: ExploreJob,
  { threads, patienceSeconds, signal }: Together,
  onProgress: (so: Progress) => void,
): Promise<JobOutcome> {
  const startMs = performance.now();
  const { module, own } = job.address;
  try {
    const scenario = await scenarioAt(job.address);
    const options = exploreOptions(scenario, job.choice);
    const request = {
      module,
      scenario: own,
      jobs: threads,
      options,
      onProgress,
      signal,
      patienceSeconds,
    };
    const exploration = await exploreInParallel(request);
    if (exploration.end === "cancelled") return { kind: "stopped", checkpoint: undefined };
    return judge(scenario, exploration, job, options, startMs);
  } catch (error) {
    if (signal.aborted) return { kind: "stopped", checkpoint: undefined };
    const isLost = error instanceof ExplorerCrash && error.hasEnded;
    return failedOutcome(job, undefined, error, isLost);
  }
}
