/** @module A thread of the hmm tests: attaches to the machine, plays its role, and reports. */

import { parentPort, threadId, workerData } from "node:worker_threads";
import { Machine } from "../../src/memory/machine.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import { roles } from "./roles.ts";
import type { HmmThreadRequest } from "./threads.ts";

const request = workerData as HmmThreadRequest;
const machine = Machine.attach(request.handle, { name: request.role, hostThreadId: threadId });
const mm = Mm.at(machine.memory, request.mm);
const run = roles[request.role];
try {
  const result = runBlocking(
    machine.memory,
    run({ machine, mm, request, say: (said: unknown) => parentPort?.postMessage({ said }) }),
  );
  parentPort?.postMessage({ result });
  machine.detach();
} catch (error) {
  parentPort?.postMessage({
    error: error instanceof Error ? `${error.name}: ${error.message}` : String(error),
  });
}
