/**
 * @module devices/webgpu/serve
 * The Worker of a WebGPU device: opens it, and hands on its owner's orders.
 */

import { enterWorker } from "../../driver-interface.ts";
// A software device may be on the same address space, and this thread changes mappings.
import "../software/mirror-ops.ts";
import {
  type OwnerMessage,
  type WorkerMessage,
  type WorkerStart,
  packFailure,
} from "./messages.ts";

let isServing = false;

/**
 * Makes this Worker that of a WebGPU device: of the program whose option `worker` has started it.
 * Call it once, in the Worker's module. Throws if the thread is no Worker, or serves already.
 */
export function serveWebGpuDevice(): void {
  if (isServing) throw new Error("Cannot serve a device: this Worker does already; call it once");
  const scope = enterWorker();
  isServing = true;
  const post = (message: WorkerMessage): void => scope.post(message);
  const begin = async (): Promise<void> => {
    const [start, { Desk }] = await Promise.all([scope.start, import("./desk.ts")]);
    const desk = await Desk.open(start as WorkerStart, post);
    scope.onMessage((message) => desk.hear(message as OwnerMessage));
    post({ kind: "ready", adapter: desk.adapter });
  };
  begin().catch((error: unknown) => post({ kind: "failed", failure: packFailure(error) }));
}
