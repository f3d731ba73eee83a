/**
 * @module Steps and waits in words, as the timelines and reports print them. The words of each kind
 * stand in its row of the table (sync/tasks/step-kinds.ts); this fills in labels, values and names.
 */

import { POISON_FREE } from "../../memory/layout/poison.ts";
import { STEP_KINDS } from "../../sync/tasks/step-kinds.ts";
import type { StepKind } from "../../sync/tasks/step-kinds.ts";
import type { Wait } from "../../sync/tasks/task.ts";

/** Values that operations find and leave, in words. */
export interface Spoken {
  /** What is operated on. */
  readonly label: string;
  readonly before: string;
  readonly after: string;
}

const PLAIN_STEP = "{kind} {label}";
const PLAIN_WAIT = "waits for {label}{held}";

/** A step that ran: `refPut mm.users 2 → 1`. `beforeValue` is what its first word held. */
export function phraseOf(wait: Wait, beforeValue: number, spoken: Spoken): string {
  const { kind } = wait;
  const isOneWord = wait.words === 1;
  if (beforeValue === POISON_FREE && isOneWord) return `${kind} ${spoken.label}: poison`;
  const row: StepKind = STEP_KINDS[kind];
  const hasFailed = row.succeeds !== undefined && !row.succeeds(beforeValue, wait.expected);
  const isChange = isOneWord && spoken.before !== spoken.after;
  const text =
    (hasFailed ? row.saysFailing : undefined) ??
    (isOneWord ? row.saysOfWord : undefined) ??
    (isChange ? row.saysOfChange : undefined) ??
    row.says ??
    PLAIN_STEP;
  return filled(text, { kind, ...spoken });
}

/** A wait that cannot go on: `waits for mmapLock, held by exit`. */
export function waitPhrase(
  kind: string,
  label: string,
  holders: readonly string[],
  isQueued: boolean,
): string {
  const names = holders.join(", ");
  const isAlone = holders.length === 0;
  const text = rowOf(kind)?.waits ?? PLAIN_WAIT;
  const held = isAlone ? "" : `, ${isQueued ? "behind" : "held by"} ${names}`;
  return filled(text, { label, held, readers: isAlone ? "" : `: ${names}` });
}

/** Recordings are data, so the kind may be any word. */
function rowOf(kind: string): StepKind | undefined {
  return (STEP_KINDS as Readonly<Partial<Record<string, StepKind>>>)[kind];
}

function filled(text: string, values: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name] ?? "");
}
