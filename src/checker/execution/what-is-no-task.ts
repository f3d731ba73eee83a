/**
 * @module What a scenario gives in place of a task and what is none. The messages use the words of
 * whoever wrote it. They come before a generator's own messages (`next is not a function`) can.
 */

import type { Wait, WaitKind } from "../../sync/tasks/task.ts";
import { kindCode } from "../steps/kinds.ts";

/** What the function of a task returned must be a task. Throws TypeError. */
export function requireTask(made: unknown, scenario: string, name: string): void {
  if (
    typeof made === "object" &&
    made !== null &&
    "next" in made &&
    !(Symbol.asyncIterator in made)
  ) {
    if (typeof made.next === "function") return;
  }
  throw new TypeError(
    `Cannot explore "${scenario}": its task "${name}" returned ${nameOf(made)}, and must return a task: write it as function* and call each operation with yield*`,
  );
}

/**
 * The code of an operation that a task has yielded. Throws TypeError for what is none, which ends
 * that task.
 */
export function codeOfYielded(yielded: Wait | undefined): number {
  const code: number | undefined = kindCode(
    (yielded as Partial<Wait> | undefined)?.kind as WaitKind,
  );
  if (code !== undefined) return code;
  throw new TypeError(
    `the task yields ${nameOf(yielded)}, which is no operation: operations are called with yield*, not with yield`,
  );
}

function nameOf(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (typeof value === "function") return "a function";
  if (typeof value !== "object") return `a ${typeof value}`;
  if (value instanceof Promise) return "a promise";
  if (Symbol.asyncIterator in value) return "an async generator";
  if ("next" in value) return "a task";
  return "an object";
}
