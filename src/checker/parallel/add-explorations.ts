/** @module Combines the results of the parts of an exploration. */

import { estimateFrom } from "../engines/estimate.ts";
import { findingIdentity } from "../findings/finding.ts";
import type { Finding } from "../findings/finding.ts";
import type { End, Exploration, Progress } from "../session/exploration.ts";

/** The whole exploration. */
interface Whole {
  readonly scenario: string;
  /** No part is missing. */
  readonly isWhole: boolean;
  readonly seconds: number;
}

/** The result of the whole. There is at least one part. Parts of a split have no common class. */
export function addExplorations(
  parts: readonly Exploration[],
  { scenario, isWhole, seconds }: Whole,
): Exploration {
  const [first] = parts;
  if (first === undefined) throw new RangeError("an exploration has at least one part");
  const findings = mergeFindings(parts.map((part) => part.findings));
  if (parts.length === 1 && isWhole) return { ...first, findings };
  const sum = (of: (part: Exploration) => number): number =>
    parts.reduce((total, part) => total + of(part), 0);
  const keys =
    first.keys === undefined
      ? undefined
      : new Set(parts.flatMap((part) => Array.from(part.keys ?? [])));
  const executions = sum((part) => part.executions);
  const blocked = sum((part) => part.blocked);
  const ends: readonly (End | undefined)[] = [
    "endless",
    "racy",
    "enough",
    "seconds",
    "executions",
    "cancelled",
  ];
  const end =
    ends.find((one) => parts.some((part) => part.end === one)) ??
    (isWhole ? "covered" : "cancelled");
  return {
    ...first,
    scenario,
    findings,
    keys,
    executions,
    blocked,
    seconds,
    end,
    classes: keys?.size ?? sum((part) => part.classes),
    stuck: sum((part) => part.stuck),
    stuckClasses: sum((part) => part.stuckClasses),
    steps: sum((part) => part.steps),
    executionsPerSecond: (executions + blocked) / seconds,
    complete: isWhole && parts.every((part) => part.complete),
    wakesMatter: parts.some((part) => part.wakesMatter),
    checkpoint: undefined,
  };
}

/**
 * The progress of the whole, from finished and running parts. There are `parts` in total, of about
 * the same size.
 */
export function addProgress(
  done: readonly Exploration[],
  running: readonly Progress[],
  parts: number,
  seconds: number,
): Progress {
  const sum = (of: (part: Exploration | Progress) => number): number =>
    [...done, ...running].reduce((total, part) => total + of(part), 0);
  const executions = sum((part) => part.executions);
  const blocked = sum((part) => part.blocked);
  const before = done.length === 0 && running.length === 1 && parts === 1 ? running[0] : undefined;
  const fraction =
    running.reduce((total, { estimate }) => total + (estimate?.fraction ?? 0), done.length) / parts;
  const isSampling = running.length > 0 && running.every(({ estimate }) => estimate === undefined);
  return {
    executions,
    blocked,
    seconds,
    classes: sum((part) => part.classes),
    findings:
      mergeFindings(done.map((part) => part.findings)).length +
      running.reduce((n, part) => n + part.findings, 0),
    executionsPerSecond: before?.executionsPerSecond ?? (executions + blocked) / seconds,
    estimate: isSampling ? undefined : estimateFrom(executions + blocked, fraction),
  };
}

/**
 * For each bug the sighting with the shortest schedule, and among these the one with the first
 * token. In the order of their identities.
 */
function mergeFindings(lists: readonly (readonly Finding[])[]): Finding[] {
  const found = new Map<string, Finding>();
  for (const finding of lists.flat()) {
    const identity = findingIdentity(finding);
    const known = found.get(identity);
    if (known === undefined || isBefore(finding, known)) found.set(identity, finding);
  }
  return Array.from(found)
    .toSorted(([a], [b]) => (a < b ? -1 : Number(a > b)))
    .map(([, finding]) => finding);
}

function isBefore(a: Finding, b: Finding): boolean {
  const difference = a.schedule.length - b.schedule.length;
  return difference < 0 || (difference === 0 && a.token < b.token);
}
