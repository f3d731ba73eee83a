/**
 * @module hmm-ts/driver
 * What a driver needs that is not ours: its state and locks in shared memory, its tasks, mirrors,
 * ranges, faults and DMA on a real AddressSpace. Everything that a driver's author uses is exported
 * here, and nothing else. docs/DRIVERS.md is the guide, R1 to R4 of docs/ARCHITECTURE.md the rules.
 */

/* From an address space to its mm. */
export { DriverThread } from "./space/driver-thread.ts";
export type { Machine } from "./memory/machine.ts";
export type { Mm } from "./mm/mm-struct.ts";
export { mmgetNotZero, mmput } from "./mm/lifetime/mm.ts";
export { PAGE_BYTES, PAGE_SHIFT } from "./mm/pte.ts";

/* A driver's call-backs, and which threads must have loaded them. */
export {
  MIRROR_OPS_IN_USE_MAX,
  missingMirrorOps,
  registerMirrorOps,
  type HmmMirrorOps,
} from "./hmm/mirror/mirror-ops.ts";
export {
  EVENT_CLEAR,
  EVENT_EXCLUSIVE,
  EVENT_MIGRATE,
  EVENT_PROTECTION_PAGE,
  EVENT_PROTECTION_VMA,
  EVENT_RELEASE,
  EVENT_UNMAP,
  eventName,
  type InvalidateRange,
} from "./notifier/events.ts";

/* Mirrors. */
export { HmmMirror, HmmMirrorRecord } from "./hmm/mirror-record.ts";
export { hmmMirrorForget, hmmMirrorRegister, hmmMirrorUnregister } from "./hmm/mirror/mirror.ts";
export { hmmStatistics, type HmmStatistics } from "./hmm/mirror/statistics.ts";

/* Ranges: register, fault or look, recheck under the driver lock. */
export {
  DEFAULT_ENCODING,
  entryIsValid,
  entryIsWritable,
  entryPfn,
  type HmmEncoding,
  type HmmFlags,
  type HmmValues,
} from "./hmm/entry.ts";
export {
  HOLES_FAIL,
  HOLES_MARK,
  HmmRange,
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
  mmOfRange,
  withHmmRange,
  type HmmRangeOptions,
  type HolesRule,
} from "./hmm/range/range.ts";
export { hmmRangeValid, hmmRangeWaitUntilValid } from "./hmm/range/valid.ts";
export { hmmRangeFault, hmmRangeFaultUnlockedTimeout } from "./hmm/walk/fault.ts";
export { hmmRangeSnapshot } from "./hmm/walk/snapshot.ts";

/* DMA: device addresses, and the bytes of a frame. */
export {
  NOT_MAPPED,
  hmmRangeDmaMap,
  hmmRangeDmaUnmap,
  readFrame,
  writeFrame,
  type DmaDevice,
} from "./hmm/walk/dma.ts";

/* State in shared memory. */
export {
  array,
  embed,
  embedStruct,
  i32,
  pointer,
  struct,
  u32,
  type Struct,
  type StructView,
  type WordArray,
} from "./memory/layout/struct.ts";
export { List } from "./memory/layout/list.ts";

/* Locks and other primitives, each a field of a struct. */
export { Completion } from "./sync/primitives/completion.ts";
export { Mutex } from "./sync/primitives/mutex.ts";
export { RefCount } from "./sync/primitives/refcount.ts";
export { RwSem } from "./sync/primitives/rwsem.ts";
export { Spinlock } from "./sync/primitives/spinlock.ts";
export { WaitQueue } from "./sync/primitives/wait-queue.ts";

/* What a thread owns, and who gives it back when the thread dies. */
export {
  addResource,
  registerReleaser,
  removeResource,
  resourceKind,
  type Releaser,
} from "./sync/death/resources.ts";

/* Tasks, and the errors that they answer. */
export { monotonicMs, sharedMs } from "./sync/tasks/clock.ts";
export { DONE, doneNumber, type Task } from "./sync/tasks/task.ts";
export {
  EAGAIN,
  EBUSY,
  EFAULT,
  EINVAL,
  EMFILE,
  ENODEV,
  ENOMEM,
  ENXIO,
  EPERM,
  errnoName,
  type Errno,
} from "./sync/errno.ts";
export { HmmError } from "./sync/errors.ts";
