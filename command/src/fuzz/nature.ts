/**
 * @module The nature of a finding: its kind and message without numbers and names of tasks. Two
 * findings of one nature are told once.
 */

import type { Finding } from "../../../src/checker/findings/finding.ts";

/** Equal for findings that are told once. */
export function natureOf({ kind, message }: Pick<Finding, "kind" | "message">): string {
  const words = message.replaceAll(/0x[0-9a-f]+|\d+/g, "N").replaceAll(/\b[a-d]\b/g, "T");
  return kind === "assertion" || kind === "error" ? `${kind} ${words}` : kind;
}

/** Without those whose nature an earlier one has. */
export function onceEach<T>(
  found: readonly T[],
  findingOf: (one: T) => Pick<Finding, "kind" | "message">,
): T[] {
  const told = new Set<string>();
  return found.filter((one) => {
    const nature = natureOf(findingOf(one));
    const isNew = !told.has(nature);
    told.add(nature);
    return isNew;
  });
}
