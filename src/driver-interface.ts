/**
 * @module driver-interface
 * The half of hmm-ts/driver that is the core's: everything of it that a driver may use. The other
 * half, driver.ts, stands above devices/ and adds the parts of the service. Our own devices are
 * drivers like any other: devices/ imports this file and nothing else of the core, and a tidy rule
 * holds that.
 */

/* From an address space to its machine and its mm; threads that have no address space. */
export { DriverThread } from "./space/driver-thread.ts";
export { anAddressSpace } from "./space/space-inside.ts";
export type { DriverHandle } from "./space/handle.ts";
export type { AddressSpace } from "./space/address-space.ts";
export { Machine } from "./memory/machine.ts";
export type { Mm } from "./mm/mm-struct.ts";
export { mmgetNotZero, mmput } from "./mm/lifetime/mm.ts";
export { PAGE_BYTES, PAGE_SHIFT, ZERO_PFN } from "./mm/pte.ts";

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
export {
  hmmMirrorAbandon,
  hmmMirrorForget,
  hmmMirrorRegister,
  hmmMirrorUnregister,
} from "./hmm/mirror/mirror.ts";
export { hmmStatistics, type HmmStatistics } from "./hmm/mirror/statistics.ts";

/* Bare notifiers: told before and after each change, without a mirror. */
export {
  DriverNotifier,
  driverNotifierRegister,
  driverNotifierUnregister,
  registerDriverNotifierOps,
  type DriverNotifierOps,
} from "./hmm/mirror/driver-notifier.ts";

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
export {
  ADVICE_NORMAL,
  ADVICE_RANDOM,
  ADVICE_SEQUENTIAL,
  hmmRangeAdvice,
} from "./hmm/walk/advice.ts";
export { trackRange } from "./mm/fault/track.ts";
export { touchAhead } from "./mm/fault/fault.ts";

/* DMA: device addresses, and the bytes of a frame. */
export {
  NOT_MAPPED,
  hmmRangeDmaMap,
  hmmRangeDmaUnmap,
  readFrame,
  readFrames,
  writeFrame,
  writeFrames,
  type DmaDevice,
} from "./hmm/walk/dma.ts";
export { dataStep, type DataAccess } from "./memory/frames/page-data.ts";

/* Memory of a device whose frames are pages themselves, and pages that move there and back. */
export {
  DEVICE_COHERENT,
  DEVICE_MEMORY_PAGES_MAX,
  DEVICE_PRIVATE,
  DeviceMemory,
  takeDeviceFrame,
  takeDeviceFrames,
  devicePageHint,
  isDeviceFrameUsed,
  isDeviceMemoryFull,
  takeDeviceRun,
  usedDeviceFrames,
  type DeviceFrameOps,
  type DeviceMemoryType,
} from "./memory/frames/device-frames.ts";
export { makeDeviceMemory, type DeviceMemoryOptions } from "./memory/device-memory.ts";
export { registerDeviceMemoryOps, type DeviceMemoryOps } from "./mm/fault/device-private.ts";
export type { VmFault } from "./mm/fault/vm-fault.ts";
export {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_SHIFT,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
} from "./mm/migration.ts";
export type { MovingPages } from "./mm/migration-record.ts";
export {
  SELECT_DEVICE,
  SELECT_DEVICE_COHERENT,
  SELECT_DEVICE_PRIVATE,
  SELECT_SYSTEM,
  isMarked,
  migrateFaultToRam,
  migrateRange,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
  pageCopiers,
  sourcePfn,
  toRam,
  type MigrateArguments,
  type Migration,
  type MoveResult,
  type PageMover,
} from "./mm/migrate/migrate-vma.ts";
export { migrateStreamToRam, pastStream } from "./mm/migrate/stream-to-ram.ts";
export { pinUserPages, unpinUserPages, type PinOptions, type PinnedPages } from "./mm/view/pin.ts";
export { PIN_PAGES_MAX } from "./mm/view/view-hold.ts";
export {
  type DeviceFrame,
  emptyDeviceMemory,
  endDeviceMemory,
  evictDeviceFrame,
  evictDeviceFrames,
} from "./mm/migrate/device-evict.ts";
export {
  hmmRangeCountOwn,
  hmmRangeFirstOwn,
  hmmRangeMigrate,
  hmmRangeMovableEnd,
  type HmmMigrateOptions,
} from "./hmm/walk/migrate.ts";
export { mapInserted } from "./mm/calls/mmap.ts";
export { hmmRangeExclusive } from "./hmm/walk/exclusive.ts";

/* A page table of a device's own, in shared memory. */
export {
  ENTRY_PFN_SHIFT,
  ENTRY_READABLE,
  PGD_WORDS,
  TASK_SIZE_PAGES,
  forEachLeaf,
  freeTables,
  leafAlloc,
  leafOf,
  pteIndex,
  wordAt,
  type LeafVisitor,
} from "./mmu/radix-table.ts";
export { freeEmptyLeaves, type FlushedTable } from "./mmu/unlinked-leaves.ts";

/* For a device that is made of threads: a software TLB over its page table, and its shootdown. */
export type {
  IntegerAccess,
  PointerAccess,
  StoreSections,
  TypedAccess,
  ValueAccess,
} from "./mmu/access.ts";
/* Records: structures with the same bytes for the CPU and on devices. */
export type { FieldType, RecordLayout } from "./mmu/records/fields.ts";
export {
  isArray as isArrayField,
  isLayout as isRecordLayout,
  strideBytes,
} from "./mmu/records/fields.ts";
export type { StoringItem } from "./mmu/store-mark.ts";
export type { Translator } from "./mmu/translator.ts";
export { TypedMemory } from "./mmu/typed-memory.ts";
export { Shootdown, enterStore, leaveStore } from "./sync/primitives/shootdown.ts";

export { nearNames } from "./sync/near-names.ts";

/* Workers, in Node and in browsers. */
export {
  adoptWorker,
  isHostWorker,
  spawnWorker,
  type HostWorker,
  type SpawnOptions,
  type SpawnedWorker,
} from "./host/spawn-worker.ts";
export { watchConstruction, whyNotStarted, type Made } from "./host/worker-failure.ts";
export { enterWorker, type WorkerScope } from "./host/worker-scope.ts";

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
export { EXPLORED, SharedMemory, type SharedMemoryOptions } from "./sync/shared-memory.ts";
export {
  atomicAdd,
  atomicAnd,
  atomicCompareExchange,
  atomicExchange,
  atomicLoad,
  atomicOr,
  atomicStore,
  atomicSub,
  pauseThread,
  plainLoad,
  speculativeAtomicLoad,
} from "./sync/atomics.ts";

/* Locks and other primitives, each a field of a struct. */
export { lockClass, type LockClass } from "./sync/lock-class.ts";
export { assertNoLockHeld } from "./sync/lockdep/held-locks.ts";
export { Completion } from "./sync/primitives/completion.ts";
export { Mutex } from "./sync/primitives/mutex.ts";
export { RefCount } from "./sync/primitives/refcount.ts";
export { RwSem } from "./sync/primitives/rwsem.ts";
export { SeqCount } from "./sync/primitives/seqcount.ts";
export { Spinlock } from "./sync/primitives/spinlock.ts";
export { Srcu } from "./sync/primitives/srcu.ts";
export { WaitQueue } from "./sync/primitives/wait-queue.ts";
export { compareExchangeWord, readWord, writeWord } from "./sync/primitives/word-steps.ts";

/* The threads of a machine: what each owns, and who gives it back when it dies. */
export {
  addResource,
  changeResource,
  findResource,
  kindWord,
  registerHeir,
  registerReleaser,
  removeResource,
  reserveResource,
  resourceKind,
  type Heir,
  type Releaser,
  takeNoted,
} from "./sync/lockdep/resources.ts";
export { hasPanicked } from "./sync/death/panic.ts";
export { registerRepairer, type Repairer } from "./sync/death/repair.ts";
export {
  agentRecordsLeft,
  listAgents,
  registerAgent,
  unregisterAgent,
  type AgentInfo,
  type AgentOptions,
} from "./sync/runners/agents.ts";
export { AGENT_LIMIT } from "./sync/control-block.ts";

export { deathsSoFar, hasAgentDied, liveAgent } from "./sync/tasks/identity.ts";

/* Tasks and their runners, and the errors that they answer. */
export { monotonicMs, sharedMs } from "./sync/tasks/clock.ts";
export {
  DONE,
  DONE_TRUE,
  TIMED_OUT,
  WOKEN,
  access,
  describe,
  doneNumber,
  type AccessKind,
  type Task,
  type Wait,
  type WaitKind,
  type Wake,
  type WordRange,
} from "./sync/tasks/task.ts";
export { runAsync, runDaemon } from "./sync/runners/run-async.ts";
export { runBlocking } from "./sync/runners/run-blocking.ts";
export {
  EAGAIN,
  EBADF,
  EBUSY,
  ECANCELED,
  EFAULT,
  EIO,
  ENOSPC,
  EINVAL,
  EMFILE,
  ENODEV,
  ENOENT,
  ENOMEM,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  ESRCH,
  ETIMEDOUT,
  errnoName,
  errnoOf,
  type Errno,
  type HmmErrorCode,
} from "./sync/errno.ts";
export { AssertionFailure, HmmError, assert, bug, nameErrors } from "./sync/errors.ts";
export { beginStacksAtCalls, beginWithLines } from "./sync/call-place.ts";

/* What a program passes: checked by tables of rules. */
export {
  aBoolean,
  aFunction,
  aText,
  anObject,
  checkArgument,
  formatValue,
  oneOf,
  required,
  ruleOf,
  someBytes,
  takeOptions,
  wholeNumber,
  type ArgumentRule,
  type OptionRules,
  type Refuse,
} from "./sync/argument-rules.ts";
