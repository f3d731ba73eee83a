/**
 * @module A second thread on a machine that the test's own thread plays, and that dies in the
 * middle of what it does: at the n-th look at its own record, of which there is one in each store
 * that can be undone, in each lock and in each resource that is noted.
 */

import { Machine } from "../src/memory/machine.ts";
import { AGENT_STATE } from "../src/sync/control-block.ts";
import { declareDead } from "../src/sync/death/death.ts";
import { runBlocking } from "../src/sync/runners/run-blocking.ts";
import type { Task } from "../src/sync/tasks/task.ts";

/** Thrown where the thread dies. */
class Cut extends Error {}

export class CutThread {
  readonly machine: Machine;
  readonly #agentId: number;
  readonly #record: number;
  #looksLeft = Infinity;

  /** On the machine of `survivor`, which finds it dead. */
  constructor(survivor: Machine) {
    this.machine = Machine.attach(survivor.handle, { name: "victim" });
    const { memory } = this.machine;
    this.#agentId = memory.agentId;
    this.#record = memory.record;
    Object.defineProperty(memory, "record", { get: () => this.#look(), set: () => {} });
  }

  /** Runs a task. True: it died at the `looks`-th look, and the survivor has found it dead. */
  runAndDie(survivor: Machine, task: (machine: Machine) => Task<unknown>, looks: number): boolean {
    this.#looksLeft = looks;
    try {
      runBlocking(this.machine.memory, task(this.machine));
      return false;
    } catch (error) {
      if (!(error instanceof Cut)) throw error;
      const { memory } = survivor;
      declareDead(memory, this.#agentId, memory.words[this.#record + AGENT_STATE]!);
      return true;
    } finally {
      this.#looksLeft = Infinity;
    }
  }

  #look(): number {
    if (this.#looksLeft-- <= 0) throw new Cut("dies here");
    return this.#record;
  }
}
