/**
 * @module What the tests of this layer share: small machines, running a task, random numbers with a
 * seed that is printed.
 */

import type { TestContext } from "node:test";
import { Machine } from "../../src/memory/machine.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

export const MIB: number = 2 ** 20;
export const PAGE: number = 4096;

export interface SmallOptions {
  readonly ramPages?: number;
  readonly heapBytes?: number;
  readonly debug?: boolean;
}

export function makeMachine({
  ramPages = 64,
  heapBytes = 4 * MIB,
  debug = true,
}: SmallOptions = {}): Machine {
  return Machine.create({ ramBytes: ramPages * PAGE, heapBytes, debug });
}

export function run<T>(machine: Machine, task: Task<T>): T {
  return runBlocking(machine.memory, task);
}

/** A fresh seed, or the one in HMM_TEST_SEED; printed with the test. */
export function seedFor(test: TestContext): number {
  const given = process.env["HMM_TEST_SEED"];
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given);
  test.diagnostic(`seed ${seed} (again with HMM_TEST_SEED=${seed})`);
  return seed;
}
