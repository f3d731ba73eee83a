/**
 * @module hmm-ts/webgpu
 * A GPU on the same pointers: a device over WebGPU with exact demand paging, in browsers and, with
 * npm's `webgpu`, in Node. docs/WEBGPU.md is the guide. A thread that changes mappings of an
 * address space with such a device must have imported this module before it attached.
 */

import "./host/consumer-types.ts";

export {
  KernelCompileError,
  WebGpuFault,
  type KernelError,
  type WebGpuFaultFields,
} from "./devices/webgpu/errors.ts";
export type {
  WebGpuBinding,
  WebGpuBuffer,
  WebGpuBufferOptions,
  WebGpuObject,
  WebGpuSampler,
  WebGpuTexture,
  WebGpuTextureOptions,
} from "./devices/webgpu/bindings.ts";
export type { AdapterReport } from "./devices/webgpu/messages.ts";
export { serveWebGpuDevice } from "./devices/webgpu/serve.ts";
export type { WebGpuStats } from "./devices/webgpu/stats.ts";
export type {
  OwnGpuDevice,
  WebGpuDeviceOptions,
  WebGpuDispatchOptions,
  WebGpuKernelOptions,
  WebGpuRange,
} from "./devices/webgpu/options.ts";
export {
  WebGpuDevice,
  type WebGpuDispatchResult,
  type WebGpuKernel,
} from "./devices/webgpu/webgpu-device.ts";
