/**
 * @module devices/webgpu/webgpu-worker
 * The module of the Worker that a WebGPU device starts by itself, where the program gives it none.
 */

import { serveWebGpuDevice } from "./serve.ts";

serveWebGpuDevice();
