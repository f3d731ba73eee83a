/**
 * @module The entry of the threads that the tests of this layer start: registers, plays one role,
 * reports, leaves.
 */

import { parentPort, threadId, workerData } from "node:worker_threads";
import { registerAgent, unregisterAgent } from "../../src/sync/runners/agents.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
import { viewFixture } from "./fixture.ts";
import { roles } from "./roles.ts";
import type { ThreadRequest } from "./threads.ts";

const request = workerData as ThreadRequest;
const memory = SharedMemory.attach(request.buffer);
registerAgent(memory, { name: request.name, hostThreadId: threadId });
const say = (message: unknown): void => parentPort?.postMessage(message);
say({ ready: true });
try {
  const result = runBlocking(
    memory,
    roles[request.role](viewFixture(memory), request.amount, say),
    request.name,
  );
  unregisterAgent(memory);
  say({ result });
} catch (error) {
  say({ error: { message: String(error), code: (error as { code?: string }).code } });
}
