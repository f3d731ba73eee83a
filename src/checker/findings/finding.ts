/** @module What the checker reports, as data. Text, JSON and pages are views of it. */

import type { FindingKind } from "../scenario.ts";
import type { Transition } from "../steps/trace.ts";

export type { FindingKind } from "../scenario.ts";

/** One operation that a finding is about. */
export interface Site {
  readonly task: string;
  /** Which step of the execution, from 0; its length for an operation that is still waited for. */
  readonly step: number;
  readonly operation: string;
  /** What the code calls it: a lock class, a struct, a cell. */
  readonly label: string;
  /** File and line, in what a replay found. */
  readonly place?: string;
  /** Word index. */
  readonly at: number;
}

/** A place in the code and the way there, innermost frame first. */
export interface FoundStack {
  readonly title: string;
  readonly frames: readonly string[];
}

/** Something that must not be, and the schedule that leads there. */
export interface Finding {
  readonly kind: FindingKind;
  /** One line. */
  readonly message: string;
  readonly sites: readonly Site[];
  /** Names of the tasks concerned. */
  readonly threads: readonly string[];
  /** In what a replay found: where it was thrown, where two locks were taken. */
  readonly stacks?: readonly FoundStack[];
  /** From the beginning up to where it showed. */
  readonly schedule: readonly Transition[];
  /** How long that is. */
  readonly steps: number;
  /** Switches in it away from a task that could have gone on. */
  readonly preemptions: number;
  /** The schedule, printable: replay.ts shows the same finding again. */
  readonly token: string;
}

/** Equal for two sightings of one bug: its kind, and the operations it is about. */
export function findingIdentity(finding: Pick<Finding, "kind" | "message" | "sites">): string {
  const sites = finding.sites
    .map(({ task, operation, label }) => `${task} ${operation} ${label}`)
    .toSorted();
  return [finding.kind, ...(sites.length > 0 ? sites : [finding.message.split("\n")[0]])].join("|");
}

/** Whether a sighting of a bug is easier to follow than another one of the same bug. */
export function isSmaller(
  a: Pick<Finding, "preemptions" | "steps">,
  b: Pick<Finding, "preemptions" | "steps">,
): boolean {
  return a.preemptions === b.preemptions ? a.steps < b.steps : a.preemptions < b.preemptions;
}
