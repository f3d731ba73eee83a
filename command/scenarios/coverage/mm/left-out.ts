/**
 * @module The shipped code without one of its flushes, for the twins of scenarios.
 */

import { Shootdown } from "../../../../src/sync/primitives/shootdown.ts";
import { DONE, WOKEN } from "../../../../src/sync/tasks/task.ts";
import type { Task, Wait } from "../../../../src/sync/tasks/task.ts";

/**
 * Runs `task`, in which the flush number `left` (the first is 1) does nothing. Other tasks' flushes
 * are as they are.
 */
export function* withoutFlush<T>(left: number, task: Task<T>): Task<T> {
  // Called below with its object.
  // oxlint-disable-next-line typescript/unbound-method -- see above
  const { flush } = Shootdown.prototype;
  let count = 0;
  function flushUnless(this: Shootdown, startPage: number, endPage: number): Task<void> {
    return ++count === left ? DONE : flush.call(this, startPage, endPage);
  }
  let wake = WOKEN;
  for (;;) {
    Shootdown.prototype.flush = flushUnless;
    let result: IteratorResult<Wait, T>;
    try {
      result = task.next(wake);
    } finally {
      Shootdown.prototype.flush = flush;
    }
    if (result.done === true) return result.value;
    wake = yield result.value;
  }
}
