/**
 * @module hmm-ts
 * One virtual address space, shared by the CPU threads of a JavaScript program and by compute
 * devices: Linux HMM for the web platform. Everything that a user needs is exported here, and
 * nothing else.
 */

import "./host/consumer-types.ts";
// Any thread may change mappings that a WebGPU device mirrors, also one that has never heard of it.
import "./devices/webgpu-record/mirror-ops.ts";

export { DeviceFault, KernelFailure, type DeviceAccess } from "./devices/device-fault.ts";
export type {
  CommandResult,
  Device,
  DeviceKernel,
  DeviceStats,
  DispatchOptions,
  DispatchResult,
  SnapshotPage,
} from "./devices/driver.ts";
export type { Kernel } from "./devices/software/kernel.ts";
export type {
  DeviceAdvice,
  SoftwareDeviceOptions,
  SoftwareKernelOptions,
} from "./devices/software/options.ts";
export { SoftwareDevice } from "./devices/software/software-device.ts";
export type { ThreadPort } from "./host/section-channel.ts";
export type {
  IntegerAccess,
  PointerAccess,
  RowOf,
  StoreSections,
  TypedAccess,
  ValueAccess,
} from "./mmu/access.ts";
export type {
  FieldType,
  RecordField,
  RecordFields,
  RecordLayout,
  ScalarField,
  VectorField,
} from "./mmu/records/fields.ts";
export {
  record,
  type FieldValue,
  type RecordType,
  type RecordValues,
} from "./mmu/records/record.ts";
export type { FieldOfSchema, StructSchema } from "./mmu/records/schema.ts";
export type { CacheAccount } from "./memory/heap/heap.ts";
export type { MapsEntry, PagemapEntry } from "./mm/calls/pagemap.ts";
export type { DeviceUse, MemoryUse, Smaps, SmapsEntry } from "./mm/calls/smaps.ts";
export type { HostWorker } from "./host/spawn-worker.ts";
export type { OpenFile } from "./host/node-file.ts";
export { AddressSpace } from "./space/address-space.ts";
export type { AddressSpaceHandle } from "./space/handle.ts";
export type { AddressSpaceStats, SpaceCounts } from "./space/inspect.ts";
export type {
  AddressSpaceLimits,
  AddressSpaceOptions,
  HugePages,
  Advice,
  MmapOptions,
  MremapOptions,
  Protection,
} from "./space/options.ts";
export type { SharedWasmMemory } from "./space/user-buffers.ts";
export { View, type TypedArrayConstructor, type ViewMode } from "./space/view.ts";
export type { HmmErrorCode } from "./sync/errno.ts";
export { HmmError, SegmentationFault } from "./sync/errors.ts";
export type { MappingSource } from "./space/source-pagers.ts";
export type { SourceOption } from "./space/sources.ts";
