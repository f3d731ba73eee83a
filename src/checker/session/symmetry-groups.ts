/**
 * @module Which tasks are symmetric, according to the scenario.
 *
 * Q1. A scenario declares it in `symmetricTasks`. If it does not, tasks that are the same function
 *     are symmetric, unless other code may distinguish which of them did what: a check, an
 *     invariant, JavaScript state that is made anew. The function could still ask which agent it
 *     runs as. find-symmetric-tasks.ts exchanges tasks to test that.
 */

import type { Scenario } from "../scenario.ts";

/**
 * The groups of symmetric tasks. Throws RangeError if the scenario declares a group that is not of
 * one function.
 */
export function groupsOf(scenario: Scenario<unknown>): number[][] {
  const { name, tasks, symmetricTasks, invariants = [], killable } = scenario;
  const names = Object.keys(tasks);
  if (symmetricTasks === false) return [];
  if (symmetricTasks !== undefined) {
    return symmetricTasks.map((group) => {
      const bodies = new Set(group.map((task) => tasks[task]));
      if (bodies.size === 1 && !bodies.has(undefined))
        return group.map((task) => names.indexOf(task)).toSorted((a, b) => a - b);
      throw new RangeError(
        `Cannot explore "${name}": symmetricTasks has ${group.join(", ")}, which are not tasks of one function; name tasks that are`,
      );
    });
  }
  if (scenario.check !== undefined || scenario.reopen !== undefined) return [];
  if (invariants.length > 0 || killable !== undefined) return [];
  const byBody = new Map<unknown, number[]>();
  for (const [task, body] of Object.values(tasks).entries()) {
    byBody.set(body, [...(byBody.get(body) ?? []), task]);
  }
  return [...byBody.values()].filter((group) => group.length > 1);
}
