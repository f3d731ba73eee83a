/** @module A thread that allocates and frees frames, one at a time, until it is terminated. */

import { workerData } from "node:worker_threads";
import { Machine, type MachineHandle } from "../../src/memory/machine.ts";
import { atomicAdd } from "../../src/sync/atomics.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

const { handle, progress } = workerData as { handle: MachineHandle; progress: number };
const machine = Machine.attach(handle, { name: "short-lived" });

/** Bursts, so that the free list is filled and emptied through the lock all the time. */
function* burst(): Task<void> {
  const frames: number[] = [];
  for (let i = 0; i < 50; i++) frames.push(yield* machine.ram.allocFrame(false));
  for (const pfn of frames) if (pfn !== 0) yield* machine.ram.refs.pagePut(pfn);
}

for (;;) {
  runBlocking(machine.memory, burst());
  atomicAdd(machine.memory.words, progress, 1);
}
