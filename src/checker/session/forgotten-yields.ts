/**
 * @module Operations that were called and never run. A task is a generator, so `mutex.lock()`
 * without `yield*` does nothing. The finding that follows (an unlock of a lock that is not held)
 * does not name the cause. So an execution is repeated, and in it the methods of the primitives and
 * of the shared objects record each task that they return, and whether it is run.
 *
 * Y1. A call of a plain function of the scenario without `yield*` is not found: the creation of a
 *     generator cannot be observed.
 */

import { Completion } from "../../sync/primitives/completion.ts";
import { Mutex } from "../../sync/primitives/mutex.ts";
import { RefCount } from "../../sync/primitives/refcount.ts";
import { RwSem } from "../../sync/primitives/rwsem.ts";
import { SeqCount } from "../../sync/primitives/seqcount.ts";
import { Spinlock } from "../../sync/primitives/spinlock.ts";
import { Srcu } from "../../sync/primitives/srcu.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { WaitQueue } from "../../sync/primitives/wait-queue.ts";
import type { Execution } from "../execution/execution.ts";
import { formatPlace, markPlace, placesOf, relevantPlace } from "../steps/source-places.ts";

/** An operation that was called and not run. */
export interface Forgotten {
  readonly task: number;
  /** `Mutex.lock` */
  readonly call: string;
  /** File and line, if they are known. */
  readonly place: string | undefined;
}

/** A recorded call. The mark has its place in the code. */
interface Noted {
  readonly task: number;
  readonly call: string;
  readonly mark: Error | undefined;
}

type Method = (this: unknown, ...given: unknown[]) => unknown;

const primitives: readonly object[] = [
  Completion,
  Mutex,
  RefCount,
  RwSem,
  SeqCount,
  Spinlock,
  Srcu,
  WaitQueue,
].map((primitive): object => primitive.prototype);
/** How deep the shared objects are searched for objects with methods. */
const DEPTH = 3;
const generators = (
  Object.getPrototypeOf(function* (): Generator {}) as { prototype: Task<unknown> }
).prototype;

/**
 * Runs `again`, which repeats an execution, and returns the operations that were called in it and
 * not run. The places of the calls need a stack for each call, which is slow. So they are recorded
 * only if there is such an operation, in a further repetition.
 */
export function forgottenIn(run: Execution, again: () => void): Forgotten[] {
  if (notedIn(run, again, () => undefined).length === 0) return [];
  const noted = notedIn(run, again, markPlace);
  return noted.map(({ task, call, mark }) => ({ task, call, place: placeOf(mark) }));
}

function notedIn(run: Execution, again: () => void, mark: () => Error | undefined): Noted[] {
  const made = new Map<unknown, Noted>();
  const undo: (() => void)[] = [];
  for (const prototype of prototypesOf(run.shared)) {
    for (const [name, { value, writable, configurable }] of Object.entries(
      Object.getOwnPropertyDescriptors(prototype),
    )) {
      if (
        typeof value !== "function" ||
        name === "constructor" ||
        writable !== true ||
        configurable !== true
      )
        continue;
      const method = value as Method;
      const noting: Method = function (...given) {
        const result = method.apply(this, given);
        if (isUnbegun(result)) {
          // The outermost call returns last. It is the one in the code of the task.
          const known = made.get(result) ?? note(run, result, made, mark);
          if (known !== undefined) made.set(result, { ...known, call: `${nameOf(this)}.${name}` });
        }
        return result;
      };
      Object.defineProperty(prototype, name, {
        value: noting,
        writable,
        configurable,
        enumerable: false,
      });
      undo.push(() =>
        Object.defineProperty(prototype, name, {
          value: method,
          writable,
          configurable,
          enumerable: false,
        }),
      );
    }
  }
  try {
    again();
  } finally {
    for (const put of undo.toReversed()) put();
  }
  return [...made.values()];
}

function isUnbegun(result: unknown): result is Task<unknown> {
  return (
    typeof result === "object" &&
    result !== null &&
    Object.prototype.isPrototypeOf.call(generators, result)
  );
}

function nameOf(object: unknown): string {
  return typeof object === "object" && object !== null ? object.constructor.name : "";
}

/**
 * Records a task. To run it means to get its iterator or its first step. Undefined if it was
 * recorded before and has been run.
 */
function note(
  run: Execution,
  task: Task<unknown>,
  made: Map<unknown, Noted>,
  mark: () => Error | undefined,
): Noted | undefined {
  if (Object.hasOwn(task, "next")) return undefined;
  const next = task.next.bind(task);
  const begun = (): void => void made.delete(task);
  Object.defineProperties(task, {
    next: {
      value: (...given: Parameters<typeof next>) => {
        begun();
        return next(...given);
      },
    },
    [Symbol.iterator]: {
      value: () => {
        begun();
        return task;
      },
    },
  });
  return { task: run.memory.agentId - 1, call: "", mark: mark() };
}

function placeOf(mark: Error | undefined): string | undefined {
  const place = relevantPlace(
    placesOf(mark?.stack ?? "").filter(({ file }) => !file.endsWith("forgotten-yields.ts")),
  );
  return place === undefined ? undefined : formatPlace(place);
}

/** The prototypes of the primitives, and of the classes of the shared objects. */
function prototypesOf(shared: unknown): Set<object> {
  const found = new Set<object>(primitives.flatMap(chainOf));
  const seen = new Set<unknown>();
  const look = (value: unknown, depth: number): void => {
    if (typeof value !== "object" || value === null || seen.has(value) || ArrayBuffer.isView(value))
      return;
    seen.add(value);
    for (const prototype of chainOf(Object.getPrototypeOf(value) as object | null))
      found.add(prototype);
    if (depth > 0) for (const part of Object.values(value)) look(part, depth - 1);
  };
  look(shared, DEPTH);
  return found;
}

/** The prototypes of a class and of its base classes, without those of the language itself. */
function chainOf(prototype: object | null): object[] {
  const chain: object[] = [];
  for (let at = prototype; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const maker: unknown = at.constructor; // that of a task is no function
    if (typeof maker !== "function" || isNative(maker)) break;
    chain.push(at);
  }
  return chain;
}

function isNative(maker: object): boolean {
  return Function.prototype.toString.call(maker).includes("[native code]");
}
