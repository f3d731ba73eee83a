/**
 * @module Call-backs of code that is registered by name (sync/name-registry.ts). They are looked at
 * when they are registered: what is wrong with one is found at its first call otherwise, in
 * whichever thread changes a mapping, and stops the machine.
 */

import { AssertionFailure, bug } from "../errors.ts";
import { formatValue } from "../argument-rules.ts";
import type { Task } from "./task.ts";

/** The names that an object of call-backs may have. */
export interface CallBackNames {
  /** Functions that there must be. */
  readonly required: readonly string[];
  /** Functions that there may be. */
  readonly optional: readonly string[];
  /** What else it may say. */
  readonly further?: readonly string[];
}

const ASYNC = /^\[object Async(?:Generator)?Function\]$/;

/** Throws AssertionFailure for `operations` called `name` that could not be called. */
export function checkCallBacks(
  kind: string,
  name: string,
  operations: unknown,
  { required, optional, further = [] }: CallBackNames,
): void {
  const refuse = (why: string): never => bug(`Cannot register ${kind} "${name}": ${why}`);
  if (typeof operations !== "object" || operations === null)
    return refuse(`they are ${formatValue(operations)}; give an object of call-backs`);
  const known = [...required, ...optional, ...further];
  const odd = Object.keys(operations).find((key) => !known.includes(key));
  if (odd !== undefined) refuse(`there is no call-back "${odd}"; there are ${known.join(", ")}`);
  const given = operations as Readonly<Record<string, unknown>>;
  for (const key of [...required, ...optional]) {
    const value = given[key];
    if (value === undefined && !required.includes(key)) continue;
    if (typeof value !== "function")
      refuse(`${key} is ${formatValue(value)}; give a generator function`);
    else if (ASYNC.test(Object.prototype.toString.call(value)))
      refuse(`${key} is an async function, which nobody awaits; give a generator function`);
  }
}

/** What a call-back has returned. Throws AssertionFailure if it is no task. */
export function returnedTask<T>(task: Task<T>): Task<T> {
  const returned: unknown = task;
  if (typeof returned === "object" && returned !== null && Symbol.iterator in returned) return task;
  throw new AssertionFailure(
    `it returned ${formatValue(returned)}, which is no task; make it a generator function, or return what one returns`,
  );
}
