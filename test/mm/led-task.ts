/**
 * @module A task that a test steps from one stop to the next, like a thread that is paused at
 * chosen places.
 */

import type { Machine } from "../../src/memory/machine.ts";
import { enterTask, leaveTask, makeContext } from "../../src/sync/tasks/current-task.ts";
import { type Task, WOKEN } from "../../src/sync/tasks/task.ts";

/** The task of a thread that the test steps. */
export class LedTask {
  readonly #task: Task<unknown>;
  readonly #context: ReturnType<typeof makeContext>;
  isDone = false;

  constructor(machine: Machine, task: Task<unknown>) {
    this.#task = task;
    this.#context = makeContext(machine.memory, "led", false);
  }

  /** On to its next stop, or its end. */
  step(): void {
    const previous = enterTask(this.#context);
    try {
      this.isDone = this.#task.next(WOKEN).done === true;
    } finally {
      leaveTask(previous);
    }
  }

  finish(): void {
    while (!this.isDone) this.step();
  }
}
