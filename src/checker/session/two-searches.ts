/**
 * @module Combines a search without spurious wakes and the search with them that follows: S4 of
 * spurious.ts.
 */

import { findingIdentity } from "../findings/finding.ts";
import type { Exploration, ExploreOptions } from "./exploration.ts";

/** The options of the second search; undefined if there is none. */
export function secondSearch<O extends ExploreOptions>(
  options: O,
  first: Exploration,
): O | undefined {
  if (!first.wakesMatter || options.resumeFrom !== undefined) return undefined;
  return { ...options, spuriousWakes: "each" };
}

/**
 * The results of both. A class that both searches have seen counts twice, unless the classes are
 * counted by their keys.
 */
export function addSearches(first: Exploration, second: Exploration): Exploration {
  const known = new Set(first.findings.map(findingIdentity));
  const keys =
    first.keys === undefined ? undefined : new Set([...first.keys, ...(second.keys ?? [])]);
  const seconds = first.seconds + second.seconds;
  const executions = first.executions + second.executions;
  const blocked = first.blocked + second.blocked;
  return {
    ...second,
    keys,
    executions,
    blocked,
    seconds,
    executionsPerSecond: seconds > 0 ? (executions + blocked) / seconds : 0,
    findings: [
      ...first.findings,
      ...second.findings.filter((finding) => !known.has(findingIdentity(finding))),
    ],
    classes: keys?.size ?? first.classes + second.classes,
    stuck: first.stuck + second.stuck,
    stuckClasses: first.stuckClasses + second.stuckClasses,
    steps: first.steps + second.steps,
    complete: first.complete && second.complete,
    bound: Math.min(first.bound, second.bound),
  };
}
