/**
 * @module Checks that what a scenario calls a task is one, and that what a task yields is an
 * operation. The messages say what to write instead. Without the checks the author would get an
 * error such as `next is not a function`.
 */

import type { Wait, WaitKind } from "../../sync/tasks/task.ts";
import { kindCode } from "../steps/kinds.ts";

/** Throws TypeError unless `made`, which the function of a task returned, is a task. */
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
 * The code of the operation that a task has yielded. Throws TypeError, which ends that task, if it
 * is no operation.
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
