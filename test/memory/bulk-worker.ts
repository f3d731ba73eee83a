/** @module A thread without WebAssembly copies a frame and clears another (bulk-memory.test.ts). */

import { workerData } from "node:worker_threads";
import { Machine, type MachineHandle } from "../../src/memory/machine.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";

interface BulkJob {
  readonly handle: MachineHandle;
  readonly from: number;
  readonly to: number;
  readonly cleared: number;
}

const { handle, from, to, cleared } = workerData as BulkJob;
Reflect.deleteProperty(globalThis, "WebAssembly");
const { memory, ram } = Machine.attach(handle, { name: "plain" });
if (ram.sections.of(from).bulk !== undefined) throw new Error("it has WebAssembly");
runBlocking(memory, ram.copyFrame(from, to));
runBlocking(memory, ram.clearRun(cleared, 1));
process.exit();
