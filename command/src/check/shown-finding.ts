/**
 * @module A finding as it is shown: one schedule, replayed and recorded, with the nearest schedule
 * that passes. `hmm check` and `hmm replay` print it by the same function.
 */

import type { ExploreOptions } from "../../../src/checker/explore.ts";
import { nearestPassing } from "../../../src/checker/replay/nearest.ts";
import { recordRun } from "../../../src/checker/replay/record-run.ts";
import type { Recording } from "../../../src/checker/replay/recording.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { renderTimeline } from "../../../src/checker/report/timeline.ts";
import type { Terminal } from "../terminal.ts";

const PLAIN_WIDTH = 100;
const WIDTH_LIMIT = 160;

/** It can be sent between threads. */
export interface ShownFinding {
  readonly recording: Recording;
  readonly passing?: Recording;
}

/**
 * Replays `schedule` (the token without the scenario's name) and looks for the nearest one that
 * passes.
 */
export function showFinding(
  scenario: AnyScenario,
  schedule: string,
  budget: ExploreOptions,
): ShownFinding {
  const recording = recordRun(scenario, schedule, budget);
  if (recording.finding === undefined) return { recording };
  const passing = nearestPassing(scenario, recording, budget);
  return passing === undefined ? { recording } : { recording, passing };
}

/** As text, with a line break at the end. */
export function findingText(
  { recording, passing }: ShownFinding,
  { out, outColors }: Terminal,
): string {
  const width = Math.min(out.columns ?? PLAIN_WIDTH, WIDTH_LIMIT);
  return renderTimeline(recording, {
    width,
    paint: outColors,
    ...(passing === undefined ? {} : { passing }),
  });
}
