/**
 * @module hmm-ts/driver
 * Everything that a driver's author uses: what the core offers to drivers (driver-interface.ts),
 * and the service, the parts of our own devices that any device may use. docs/DRIVERS.md is the
 * guide, R1 to R4 of docs/ARCHITECTURE.md the rules.
 */

import "./host/consumer-types.ts";

export * from "./driver-interface.ts";

/* The contract, and the errors of a device's accesses. */
export {
  DeviceFault,
  KernelFailure,
  type DeviceAccess,
  type DeviceFaultFields,
  type KernelFailureFields,
} from "./devices/device-fault.ts";
export type { CommandResult, DeviceStats, SnapshotPage } from "./devices/driver.ts";

/* A device as the service keeps it in shared memory: a part of the driver's own struct. */
export { DeviceRecord, THREADS_MAX } from "./devices/service/device-record.ts";
export {
  allocDeviceParts,
  freeDeviceParts,
  registerDevice,
  type DeviceOptions,
} from "./devices/service/device-parts.ts";
export { findDevice, type DevicePlace } from "./devices/service/device-list.ts";
export { deviceMirrorOps, deviceOf, type ViewDevice } from "./devices/service/mirror-ops.ts";
export { noteLoss, viewServedDevice, type ServedDevice } from "./devices/service/device.ts";

/* The hardware, which the driver implements. */
export type {
  CopyBatch,
  CopyEngine,
  Entries,
  TranslationUnit,
} from "./devices/service/device-hardware.ts";

/* Its page table and its frames. */
export {
  DeviceTable,
  ENTRY_EXCLUSIVE,
  ENTRY_LOCAL,
  ENTRY_OWN,
  ENTRY_PRESENT,
  ENTRY_WRITE,
  ENTRY_YOUNG,
  entryAllows,
  entryFrameNumber,
  makeDeviceEntry,
} from "./devices/service/device-table.ts";
export { FRAMES_MAX, Frames } from "./devices/service/frames.ts";

/* Faults, in batches, with prefetch and eviction. */
export { FaultRing, RING_FAULTS } from "./devices/service/fault-ring.ts";
export { FaultBatch } from "./devices/service/fault-batch.ts";
export { FaultService, type SpanServiceClass } from "./devices/service/fault-service.ts";
export {
  DEVICE_ENCODING,
  SpanService,
  registerErrno,
  type SpanRequest,
  type SpanResult,
} from "./devices/service/span-service.ts";
export {
  becomeServiceOwner,
  resignForDead,
  resignServiceOwner,
} from "./devices/service/service-owner.ts";
export {
  WANT_AROUND,
  WANT_NOTHING,
  WANT_PREFETCH,
  WANT_READ,
  WANT_REMOTE,
  WANT_WRITE,
  type Brought,
  type PageFailure,
  type Want,
} from "./devices/service/wants.ts";

/* Pages that are the device's own. */
export {
  OWN_BYTES_MAX,
  allocOwnMemory,
  emptyOwnMemory,
  endOwnMemory,
  makeRoom,
  ownerOf,
  takeOwnFrame,
} from "./devices/service/own-memory.ts";

/* Decisions alone: which pages to prefetch, which to evict, which thrash. */
export {
  BLOCK_PAGES,
  DENSITY_PERCENT,
  GROWN_PAGES,
  growBlock,
  nextScore,
  prefetchPays,
  prefetchRoom,
  streamEnd,
  type MemoryPressure,
} from "./devices/policy/prefetch.ts";
export { evictCold, evictUnused, type ClockFrames } from "./devices/policy/eviction.ts";
export {
  REMOTE_LAPSE_MS,
  THRASH_EVENTS,
  THRASH_WINDOW_MS,
  THRASH_WORDS,
  ThrashTable,
} from "./devices/policy/thrash.ts";

/* Statistics. */
export {
  count,
  countAtomically,
  readStats,
  statsBetween,
  type AtomicCounter,
  type GuardedCounter,
} from "./devices/service/device-stats.ts";
