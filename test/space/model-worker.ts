/**
 * @module The Worker that runs random sequences against their model. It receives them one after the
 * other, each with its window of pages.
 */

import { parentPort, workerData } from "node:worker_threads";
import { AddressSpace, type AddressSpaceHandle } from "../../src/index.ts";
import { PAGE } from "./fixture.ts";
import { ModelRun, type Operation, WINDOW_PAGES } from "./model-run.ts";
import { ModelSpace } from "./model.ts";

/** The owner's message: one sequence, or "end". */
export interface ModelRequest {
  readonly operations: readonly Operation[];
  readonly firstPage: number;
}

const { handle } = workerData as { readonly handle: AddressSpaceHandle };
const space = AddressSpace.attachSync(handle);

parentPort?.on("message", (request: ModelRequest | "end") => {
  if (request === "end") {
    space.disposeSync();
    parentPort?.close();
    return;
  }
  const { operations, firstPage } = request;
  space.munmapSync(firstPage * PAGE, WINDOW_PAGES * PAGE);
  const model = new ModelSpace();
  const run = new ModelRun(space, model, firstPage, false);
  try {
    for (const operation of operations) run.step(operation);
    run.check();
    const loads = Array.from({ length: WINDOW_PAGES }, (_, i) => model.load(firstPage + i));
    parentPort?.postMessage({ reply: loads });
  } catch (error) {
    parentPort?.postMessage({
      reply: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  } finally {
    run.close();
  }
});
parentPort?.postMessage({ said: "ready" });
