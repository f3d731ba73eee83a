/** @module Steps and waits in words, as the timelines and reports print them. */

import { POISON_FREE } from "../../memory/poison.ts";
import { succeeds } from "../../sync/explored.ts";
import type { Wait, WaitKind } from "../../sync/task.ts";

/** Values that operations find and leave, in words. */
export interface Spoken {
  /** What is operated on. */
  readonly label: string;
  readonly before: string;
  readonly after: string;
}

const changing: ReadonlySet<WaitKind> = new Set(["refGet", "refPut", "complete", "completeAll"]);

/** A step that ran: `refPut mm.users 2 → 1`. `beforeValue` is what its first word held. */
export function phraseOf(wait: Wait, beforeValue: number, { label, before, after }: Spoken): string {
  const { kind } = wait;
  if (beforeValue === POISON_FREE && wait.words === 1) return `${kind} ${label}: poison`;
  if (changing.has(kind)) return `${kind} ${label} ${before} → ${after}`;
  switch (kind) {
    case "park":
      return `wakes up on ${label}`;
    case "sleep":
      return succeeds(kind, beforeValue, wait.expected)
        ? `goes to sleep on ${label}`
        : `does not sleep on ${label}: it has changed`;
    case "testCondition":
      return `tests the condition of ${label}`;
    case "tryLock":
    case "tryDownRead":
    case "tryDownWrite":
      return `${kind} ${label}${succeeds(kind, beforeValue, wait.expected) ? "" : ": busy"}`;
    case "refGetNotZero":
      return beforeValue === 0 ? `${kind} ${label}: is 0` : `${kind} ${label} ${before} → ${after}`;
    case "compareExchange":
      return beforeValue === wait.expected
        ? `exchange ${label} ${before} → ${after}`
        : `exchange ${label}: is ${before}`;
    case "waitWhile":
      return `has seen ${label} = ${before}`;
    case "read":
    case "peek":
      return wait.words === 1 ? `read ${label} = ${before}` : `read ${label}`;
    case "write":
      return wait.words === 1 ? `write ${label} = ${after}` : `write ${label}`;
    case "update":
      return wait.words === 1 && before !== after ? `update ${label} ${before} → ${after}` : `update ${label}`;
    default:
      return `${kind} ${label}`;
  }
}

/** A wait that cannot go on: `waits for mmapLock, held by exit`. */
export function waitPhrase(kind: string, label: string, holders: readonly string[], isQueued: boolean): string {
  const held = holders.length === 0 ? "" : `, held by ${holders.join(", ")}`;
  switch (kind) {
    case "park":
      return `sleeps on ${label}`;
    case "completionWait":
      return `waits for ${label} to be completed`;
    case "waitWhile":
      return `waits for ${label} to change`;
    case "srcuWait":
      return `waits for readers of ${label}${holders.length === 0 ? "" : `: ${holders.join(", ")}`}`;
    case "srcuBarrier":
      return `waits for the calls of ${label}`;
    case "shootdownWait":
      return "waits for stores under way";
    case "downRead":
      return `waits for ${label}${isQueued ? `, behind ${holders.join(", ")}` : held}`;
    default:
      return `waits for ${label}${held}`;
  }
}
