/**
 * @module The tasks of an execution: those of the scenario, and, if threads may die, two more: the
 * reaper and deathsOver (deaths.ts).
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Scenario } from "../scenario.ts";
import { TASK_LIMIT } from "../steps/trace.ts";
import { DEATHS_OVER, REAPER, deathsOver, reaper } from "./deaths.ts";

const NOBODY = -1;

export interface TaskSet {
  readonly names: readonly string[];
  /** For each task: the function that creates it from the shared objects. */
  readonly makers: readonly ((shared: unknown, memory: SharedMemory) => Task<unknown>)[];
  /** For each task: whether its thread may die. */
  readonly isKillable: readonly boolean[];
  /** The index of the reaper among the tasks, -1 if no thread may die. */
  readonly reaper: number;
  /** The index of deathsOver among the tasks, -1 if no thread may die. */
  readonly deathsOver: number;
}

/** Throws RangeError if the scenario has no tasks or too many. */
export function taskSetOf({ name, tasks, killable }: Scenario<unknown>, mayDie: boolean): TaskSet {
  const own = Object.keys(tasks);
  const names = [...own, ...(mayDie ? [REAPER, DEATHS_OVER] : [])];
  if (names.length === 0 || names.length > TASK_LIMIT) {
    throw new RangeError(
      `Cannot explore "${name}": it has ${names.length} tasks, must have 1 to ${TASK_LIMIT}`,
    );
  }
  return {
    names,
    makers: [
      ...Object.values(tasks),
      ...(mayDie
        ? [
            (_: unknown, memory: SharedMemory): Task<void> => reaper(memory),
            (_: unknown, memory: SharedMemory): Task<void> => deathsOver(memory),
          ]
        : []),
    ],
    isKillable: names.map((task, i) => i < own.length && (killable?.includes(task) ?? true)),
    reaper: mayDie ? own.length : NOBODY,
    deathsOver: mayDie ? own.length + 1 : NOBODY,
  };
}
