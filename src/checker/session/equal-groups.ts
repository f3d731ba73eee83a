/**
 * @module Which tasks are equal, as far as a scenario tells.
 *
 * Q1. A scenario says it in `equalTasks`. If it does not, tasks that are the same function are
 *     equal, unless something may look at which of them did what: a check, an invariant, JavaScript
 *     that is made anew. Code that asks which agent it runs as could still tell them apart.
 *     find-equal-tasks.ts has tasks change places to see whether it does.
 */

import type { Scenario } from "../scenario.ts";

/**
 * The groups of tasks that are equal as far as the scenario tells. Throws RangeError if what it
 * says cannot be.
 */
export function groupsOf(scenario: Scenario<unknown>): number[][] {
  const { name, tasks, equalTasks, invariants = [], mortals } = scenario;
  const names = Object.keys(tasks);
  if (equalTasks === false) return [];
  if (equalTasks !== undefined) {
    return equalTasks.map((group) => {
      const bodies = new Set(group.map((task) => tasks[task]));
      if (bodies.size === 1 && !bodies.has(undefined))
        return group.map((task) => names.indexOf(task)).toSorted((a, b) => a - b);
      throw new RangeError(
        `Cannot explore "${name}": equalTasks has ${group.join(", ")}, which are not tasks of one function; name tasks that are`,
      );
    });
  }
  if (scenario.check !== undefined || scenario.reopen !== undefined) return [];
  if (invariants.length > 0 || mortals !== undefined) return [];
  const byBody = new Map<unknown, number[]>();
  for (const [task, body] of Object.values(tasks).entries()) {
    byBody.set(body, [...(byBody.get(body) ?? []), task]);
  }
  return [...byBody.values()].filter((group) => group.length > 1);
}
