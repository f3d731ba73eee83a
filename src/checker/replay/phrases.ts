/**
 * @module Text for steps and waits, for timelines and reports. The text of each kind is in its row
 * of the table (sync/tasks/step-kinds.ts). This module fills in labels, values and names.
 */

import { POISON_FREE } from "../../memory/layout/poison.ts";
import { STEP_KINDS } from "../../sync/tasks/step-kinds.ts";
import type { StepKind } from "../../sync/tasks/step-kinds.ts";
import type { Wait } from "../../sync/tasks/task.ts";

/** What is filled into the text of a step. */
export interface PhraseValues {
  /** What is operated on. */
  readonly label: string;
  readonly before: string;
  readonly after: string;
}

const PLAIN_STEP = "{kind} {label}";
const PLAIN_WAIT = "waits for {label}{held}";

/** Text for a performed step: `refPut mm.users 2 → 1`. `beforeValue`: its first word before it. */
export function phraseOf(wait: Wait, beforeValue: number, spoken: PhraseValues): string {
  const { kind } = wait;
  const isOneWord = wait.words === 1;
  if (beforeValue === POISON_FREE && isOneWord) return `${kind} ${spoken.label}: poison`;
  const row: StepKind = STEP_KINDS[kind];
  const hasFailed = row.succeeds !== undefined && !row.succeeds(beforeValue, wait.expected);
  const isChange = isOneWord && spoken.before !== spoken.after;
  const text =
    (hasFailed ? row.textFailing : undefined) ??
    (isOneWord ? row.textOfWord : undefined) ??
    (isChange ? row.textOfChange : undefined) ??
    row.says ??
    PLAIN_STEP;
  return filled(text, { kind, ...spoken });
}

/** Text for a blocked operation: `waits for mmapLock, held by exit`. */
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

/** A recording is data, so its kinds are not checked. */
function rowOf(kind: string): StepKind | undefined {
  return (STEP_KINDS as Readonly<Partial<Record<string, StepKind>>>)[kind];
}

function filled(text: string, values: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name] ?? "");
}
