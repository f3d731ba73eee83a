/**
 * @module Each task of an execution runs in a thread of its own: as an agent of the machine, with a
 * task context of that agent.
 */

import { agentRecord } from "../../sync/control-block.ts";
import type { TaskContext } from "../../sync/tasks/current-task.ts";
import { EXPLORED } from "../../sync/shared-memory.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";

const OWNER_AGENT_SHIFT = 20;
const FIRST_SERIAL = 2;

/** From now until the next call the agent of `task` uses the memory. */
export function becomeAgent(memory: SharedMemory, task: number): void {
  memory.agentId = task + 1;
  memory.ownerBase = (task + 1) << OWNER_AGENT_SHIFT;
  memory.record = agentRecord(task + 1);
  memory.resourceNext = 0;
}

/** The context of a task that begins: it holds nothing. */
export function freshContext(memory: SharedMemory, task: number, name: string): TaskContext {
  const serial = FIRST_SERIAL + task;
  return {
    serial,
    name,
    memory,
    mode: EXPLORED, // clocks stand still, also while the primitives are spelled out
    isBlocking: false,
    held: [],
    shared: [],
    beneath: undefined,
  };
}
