/** @module What the checker reports, as data. Text, JSON and pages are views of it. */

import type { Transition } from "./trace.ts";

export type FindingKind =
  | "assertion"
  | "deadlock"
  | "lost-wakeup"
  | "use-after-free"
  | "double-free"
  | "refcount"
  | "lock-order"
  | "lock-recursion"
  | "sleep-in-atomic"
  | "lock-misuse"
  | "data-race"
  | "error"
  | "endless";

/** One operation that a finding is about. */
export interface Site {
  readonly task: string;
  /** Which step of the execution, from 0; its length for an operation that is still waited for. */
  readonly step: number;
  readonly operation: string;
  /** What the code calls it: a lock class, a struct, a cell. */
  readonly label: string;
  /** Word index. */
  readonly at: number;
}

export interface Finding {
  readonly kind: FindingKind;
  readonly message: string;
  readonly sites: readonly Site[];
  /** Names of the tasks concerned. */
  readonly threads: readonly string[];
  /** From the beginning up to where it showed. */
  readonly schedule: readonly Transition[];
  /** The schedule, printable: replay.ts shows the same finding again. */
  readonly token: string;
}

/** Equal for two sightings of one bug: its kind, and the operations it is about. */
export function findingIdentity(finding: Pick<Finding, "kind" | "message" | "sites">): string {
  const sites = finding.sites.map(({ task, operation, label }) => `${task} ${operation} ${label}`).toSorted();
  return [finding.kind, ...(sites.length > 0 ? sites : [finding.message.split("\n")[0]])].join("|");
}
