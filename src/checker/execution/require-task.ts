/**
 * @module Checks that what a scenario calls a task is one, that its other functions are none, and
 * that what a task yields is an operation. The messages say what to write instead. Without the
 * checks the author would get an error such as `next is not a function`.
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
 * Throws TypeError if `made`, which a scenario's `setup` or `check` returned, is a promise or a
 * task: nobody would wait for it, and a check that is not waited for finds nothing.
 */
export function requireDone<T>(made: T, scenario: string, part: "setup" | "check"): T {
  const isPromise = made instanceof Promise;
  if (!isPromise && Object.prototype.toString.call(made) !== "[object Generator]") return made;
  if (isPromise) made.catch(() => {}); // nor would anybody hear of it
  throw new TypeError(
    `Cannot explore "${scenario}": its ${part} returned ${nameOf(made)}, and must be done when it returns: write it as a plain function`,
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
