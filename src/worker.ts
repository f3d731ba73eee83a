/**
 * @module hmm-ts/worker
 * What the module of a Worker needs that a program hands to a software device (its option
 * `worker`): the call that makes it a thread of the device, and the types of its kernels.
 */

import "./host/consumer-types.ts";

export type { Kernel } from "./devices/software/kernel.ts";
export type { ServedKernels } from "./devices/software/kernel-module.ts";
export { serveDevice, type ServeDeviceOptions } from "./devices/software/serve-device.ts";
export type {
  IntegerAccess,
  PointerAccess,
  RowOf,
  StoreSections,
  TypedAccess,
  ValueAccess,
} from "./mmu/access.ts";
