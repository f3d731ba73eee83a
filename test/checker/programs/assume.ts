/**
 * @module A spin as the published counts see it: a load that assumes to find what the loop waits
 * for. An execution in which it finds something else is given up, so only those count in which
 * every assumption held. The load itself can always be performed, so switching away from it is a
 * preemption.
 */

import type { Cell } from "../../../src/checker/primitives/program.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";

/**
 * Loads `cell`; goes on, with what it found, only if `holds` of it. `never` is a cell that stays
 * zero.
 */
export function* assume(cell: Cell, holds: (value: number) => boolean, never: Cell): Task<number> {
  const value = yield* cell.load();
  if (!holds(value)) yield* never.waitWhile(0);
  return value;
}
