/**
 * @module The shipped code with something left out, for the twins of scenarios: one of its flushes,
 * or the difference between the two ways of holding a lock.
 */

import { RwSem } from "../../../../src/sync/primitives/rwsem.ts";
import { Shootdown } from "../../../../src/sync/primitives/shootdown.ts";
import { DONE, WOKEN } from "../../../../src/sync/tasks/task.ts";
import type { Task, Wait } from "../../../../src/sync/tasks/task.ts";

/** Runs `task` with methods of `object` replaced. Other tasks have those that it has. */
function* withMethods<O extends object, T>(object: O, methods: Partial<O>, task: Task<T>): Task<T> {
  const shipped = Object.fromEntries(
    Object.keys(methods).map((name) => [name, Reflect.get(object, name)]),
  );
  let wake = WOKEN;
  for (;;) {
    Object.assign(object, methods);
    let result: IteratorResult<Wait, T>;
    try {
      result = task.next(wake);
    } finally {
      Object.assign(object, shipped);
    }
    if (result.done === true) return result.value;
    wake = yield result.value;
  }
}

/**
 * Runs `task`, in which the flush number `left` (the first is 1) does nothing. Other tasks' flushes
 * are as they are.
 */
export function withoutFlush<T>(left: number, task: Task<T>): Task<T> {
  // Called below with its object.
  // oxlint-disable-next-line typescript/unbound-method -- see above
  const { flush } = Shootdown.prototype;
  let count = 0;
  function flushUnless(this: Shootdown, startPage: number, endPage: number): Task<void> {
    return ++count === left ? DONE : flush.call(this, startPage, endPage);
  }
  return withMethods(Shootdown.prototype, { flush: flushUnless }, task);
}

/** Runs `task`, which takes for reading what it would take for writing. */
export function readingOnly<T>(task: Task<T>): Task<T> {
  function downWrite(this: RwSem): Task<void> {
    return this.downRead();
  }
  function upWrite(this: RwSem): Task<void> {
    return this.upRead();
  }
  return withMethods(RwSem.prototype, { downWrite, upWrite }, task);
}
