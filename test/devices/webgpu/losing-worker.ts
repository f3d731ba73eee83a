/**
 * @module The Worker of a WebGPU device, on a GPU that goes wrong when it is told to: it is lost at
 * a step that is counted, has no memory, or never comes. A step is a call that reaches the GPU:
 * a write, a submit, a map, a pipeline, the end of an error scope.
 */

import { workerData } from "node:worker_threads";
import { serveWebGpuDevice } from "../../../src/webgpu.ts";
import {
  HAS_NO_MEMORY,
  COMES_NEVER,
  IS_AFTER,
  type LosingStart,
  STEPS_LEFT,
} from "./losing-control.ts";

const { control } = workerData as LosingStart;
const { create, globals } = await import("webgpu");
Object.assign(globalThis, globals);
const gpu = create([]);
Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true });
const noAdapter = new Promise<never>(() => {});
let device: GPUDevice | undefined;

function isLast(): boolean {
  return Atomics.sub(control, STEPS_LEFT, 1) === 1;
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

function replaceMethod(prototype: object, name: string, make: (method: Method) => Method): void {
  Reflect.set(prototype, name, make(Reflect.get(prototype, name) as Method));
}

/** Makes a method of a WebGPU object a step. */
function countSteps(prototype: object, name: string): void {
  replaceMethod(
    prototype,
    name,
    (method) =>
      function (...args): unknown {
        const isLost = isLast();
        const isAfter = Atomics.load(control, IS_AFTER) === 1;
        if (isLost && !isAfter) device?.destroy();
        const answer = method.apply(this, args);
        if (isLost && isAfter) device?.destroy();
        return answer;
      },
  );
}

countSteps(GPUQueue.prototype, "writeBuffer");
countSteps(GPUQueue.prototype, "submit");
countSteps(GPUBuffer.prototype, "mapAsync");
countSteps(GPUDevice.prototype, "createComputePipelineAsync");
countSteps(GPUDevice.prototype, "popErrorScope");

replaceMethod(
  GPUAdapter.prototype,
  "requestDevice",
  (method) =>
    async function (...args): Promise<GPUDevice> {
      device = (await method.apply(this, args)) as GPUDevice; // what an adapter gives
      return device;
    },
);
replaceMethod(
  GPUDevice.prototype,
  "popErrorScope",
  (method) =>
    async function (...args): Promise<unknown> {
      const error = await method.apply(this, args);
      return Atomics.load(control, HAS_NO_MEMORY) === 1 ? new GPUOutOfMemoryError("none") : error;
    },
);
replaceMethod(
  GPU.prototype,
  "requestAdapter",
  (method) =>
    async function (...args): Promise<unknown> {
      if (Atomics.load(control, COMES_NEVER) === 1) return await noAdapter;
      return await method.apply(this, args);
    },
);

serveWebGpuDevice();
