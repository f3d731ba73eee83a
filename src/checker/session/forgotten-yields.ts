/**
 * @module Operations that were called and never begun: a task is a generator, so `mutex.lock()`
 * without `yield*` does nothing, and what is then found elsewhere (an unlock of what is not held)
 * does not say why. While an execution is done again, the methods of the primitives and of what the
 * scenario's tasks share note each task that they make, and whoever begins it.
 *
 * Y1. A function of the scenario's own that is called without `yield*` is not seen: nothing of a
 *     generator's making can be.
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
import { formatPlace, markPlace, placesOf, tellingPlace } from "../steps/source-places.ts";

/** An operation that was called and not begun. */
export interface Forgotten {
  readonly task: number;
  /** `Mutex.lock` */
  readonly call: string;
  /** File and line, if they are known. */
  readonly place: string | undefined;
}

/** As it is noted. The mark says where it was called. */
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
/** How far what the tasks share is looked through for objects with methods. */
const DEPTH = 3;
const generators = (
  Object.getPrototypeOf(function* (): Generator {}) as { prototype: Task<unknown> }
).prototype;

/**
 * Runs `again`, which does an execution once more, and says what was called in it without being
 * begun. Where the calls are takes a stack of each, which is slow: so that is asked only if there
 * is something to tell, by one more execution.
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
          // The outermost call comes back last, and is the one that the task's code names.
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
 * Whoever runs the task asks for its iterator, or for its first step. Undefined for one that was
 * noted before, and begun.
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
  const place = tellingPlace(
    placesOf(mark?.stack ?? "").filter(({ file }) => !file.endsWith("forgotten-yields.ts")),
  );
  return place === undefined ? undefined : formatPlace(place);
}

/** Of the primitives, and of the classes whose objects the tasks share. */
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

/** The prototypes of a class and of those that it extends, the language's own excepted. */
function chainOf(prototype: object | null): object[] {
  const chain: object[] = [];
  for (let at = prototype; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    if (Function.prototype.toString.call(at.constructor).includes("[native code]")) break;
    chain.push(at);
  }
  return chain;
}
