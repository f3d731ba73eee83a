/** @module Findings: what the checker reports, as data. Text, JSON and pages are made from it. */

import type { FindingKind } from "../scenario.ts";
import type { Transition } from "../steps/trace.ts";

export type { FindingKind } from "../scenario.ts";

/** One operation that a finding is about. */
export interface Site {
  /** The name of the task that made it. */
  readonly task: string;
  /** The step of the execution, from 0; its length for an operation that still waits. */
  readonly step: number;
  /** What was done: the kind of step. */
  readonly operation: string;
  /** The name that the code gives: a lock class, a struct, a cell. */
  readonly label: string;
  /** File and line; in findings of a replay. */
  readonly place?: string;
  /** Index of the word. */
  readonly at: number;
}

/** A stack, innermost frame first. */
export interface FoundStack {
  readonly title: string;
  readonly frames: readonly string[];
}

/** Something that went wrong, and the schedule that leads to it. */
export interface Finding {
  /** What kind of mistake it is. */
  readonly kind: FindingKind;
  /** What went wrong, in one line. */
  readonly message: string;
  /** The operations that it is about. */
  readonly sites: readonly Site[];
  /** Names of the tasks concerned. */
  readonly threads: readonly string[];
  /** In findings of a replay: where the error was thrown, where two locks were taken. */
  readonly stacks?: readonly FoundStack[];
  /** From the beginning up to where the finding showed. */
  readonly schedule: readonly Transition[];
  /** The length of the schedule. */
  readonly steps: number;
  /** How often it switches away from a task that could have gone on. */
  readonly preemptions: number;
  /** The schedule as text (token.ts). A replay of it shows the finding again. */
  readonly token: string;
}

/** Equal for two sightings of one bug. It is made of the kind and the operations concerned. */
export function findingIdentity(finding: Pick<Finding, "kind" | "message" | "sites">): string {
  const sites = finding.sites
    .map(({ task, operation, label }) => `${task} ${operation} ${label}`)
    .toSorted();
  return [finding.kind, ...(sites.length > 0 ? sites : [finding.message.split("\n")[0]])].join("|");
}

/** Whether sighting `a` of a bug is easier to follow than sighting `b` of the same bug. */
export function isSmaller(
  a: Pick<Finding, "preemptions" | "steps">,
  b: Pick<Finding, "preemptions" | "steps">,
): boolean {
  return a.preemptions === b.preemptions ? a.steps < b.steps : a.preemptions < b.preemptions;
}
