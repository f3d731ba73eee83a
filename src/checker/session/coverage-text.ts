/** @module Text for what an exploration covered, and for its progress. */

import type { Exploration, Progress } from "./exploration.ts";

const samplingEngines: ReadonlySet<string> = new Set(["random", "pct", "pos"]);

/** An estimate is shown after this fraction of the search. */
const ESTIMATE_FRACTION_MIN = 0.005;

/**
 * "complete", "complete to 2 preemptions", "sampled: 1,000 executions", "stopped after 1,234
 * executions".
 */
export function coverageText(seen: Exploration): string {
  const count = numberOf(seen.executions + seen.blocked, "execution");
  if (samplingEngines.has(seen.engine)) return `sampled: ${count}`;
  if (seen.engine === "replay") return "one schedule";
  if (!seen.complete) return `stopped after ${count}`;
  if (seen.bound === Infinity) return "complete";
  return `complete to ${numberOf(seen.bound, seen.engine === "delay" ? "delay" : "preemption")}`;
}

/** One line: "12,345 classes, 61,000 executions/s, 0 blocked, about 40 % done, 3 s left". */
export function progressText(progress: Progress): string {
  const parts = [
    numberOf(progress.classes, "class"),
    `${Math.round(progress.executionsPerSecond).toLocaleString("en")} executions/s`,
    `${progress.blocked.toLocaleString("en")} blocked`,
  ];
  if (progress.findings > 0) parts.push(numberOf(progress.findings, "finding"));
  // In the first branches of a large tree an estimate is too inaccurate to be of use.
  if (progress.estimate !== undefined && progress.estimate.fraction >= ESTIMATE_FRACTION_MIN) {
    parts.push(`about ${Math.floor(progress.estimate.fraction * 100)} % done`);
    const left = Math.max(0, progress.estimate.executions - progress.executions - progress.blocked);
    if (progress.executionsPerSecond > 0)
      parts.push(`${durationText(left / progress.executionsPerSecond)} left`);
  }
  return parts.join(", ");
}

function numberOf(count: number, noun: string): string {
  const plural = noun.endsWith("s") ? `${noun}es` : `${noun}s`;
  return `${count.toLocaleString("en")} ${count === 1 ? noun : plural}`;
}

const MINUTE = 60;
const HOUR = 3600;

function durationText(seconds: number): string {
  if (seconds < 2 * MINUTE) return `${Math.ceil(seconds)} s`;
  if (seconds < 2 * HOUR) return `${Math.ceil(seconds / MINUTE)} min`;
  return `${Math.ceil(seconds / HOUR).toLocaleString("en")} h`;
}
