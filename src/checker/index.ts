/**
 * @module hmm-ts/checker The public interface of the checker: it explores every interleaving of a
 * few tasks, and has the primitives that such tasks are written with. docs/CHECKER.md is its guide.
 * Everything that a user needs is exported here, and nothing else.
 */

export type { EngineOptions } from "./engines/engines.ts";
export { explore, type Exploration, type ExploreOptions, type Progress } from "./explore.ts";
export { findingIdentity, type Finding, type FindingKind, type Site } from "./findings/finding.ts";
export {
  ExplorerCrash,
  exploreInParallel,
  type ParallelOptions,
  type ParallelRequest,
} from "./parallel/parallel.ts";
export { HeapObject, Objects } from "./primitives/objects.ts";
export { Cell, Condition, Gate, Places, PlainCell } from "./primitives/program.ts";
export { minimise, replay } from "./replay/minimise.ts";
export { nearestPassing } from "./replay/nearest.ts";
export { recordRun, type RecordOptions } from "./replay/record-run.ts";
export type { Recording } from "./replay/recording.ts";
export {
  HmmHarness,
  HARNESS_PAGE,
  harnessScenario,
  type HarnessOptions,
  type HarnessScenario,
} from "./harness/hmm-harness.ts";
export {
  EngineFault,
  UncontrolledNondeterminism,
  defaultBudget,
  defineScenario,
  type AnyScenario,
  type EngineName,
  type ExecutionEnd,
  type Invariant,
  type Budget,
  type Scenario,
  type ScenarioExploration,
  type StateTable,
} from "./scenario.ts";
export { CheckpointError, parseCheckpoint, type Checkpoint } from "./session/checkpoint.ts";
export { coverageText, progressText } from "./session/coverage-text.ts";
export { choiceOf, taskOf, type Choice, type Transition } from "./steps/trace.ts";
export { plainPaint, type Paint } from "./report/paint.ts";
export { renderReport, type ReportedRun } from "./report/report.ts";
export { renderTimeline, type TimelineOptions } from "./report/timeline.ts";
export { OperationHistory, type Operation, type SequentialModel } from "./watch/linearizability.ts";
export { StaleTranslation, useTranslation, type TranslationUse } from "./watch/translations.ts";

export type { Shortage } from "../memory/heap/shortage.ts";
export { registerAgent, unregisterAgent, type AgentOptions } from "../sync/runners/agents.ts";
export { Completion } from "../sync/primitives/completion.ts";
export { lockClass, type LockClass } from "../sync/lock-class.ts";
export { Mutex } from "../sync/primitives/mutex.ts";
export { RefCount } from "../sync/primitives/refcount.ts";
export { runAsync } from "../sync/runners/run-async.ts";
export { runBlocking } from "../sync/runners/run-blocking.ts";
export { RwSem } from "../sync/primitives/rwsem.ts";
export { SeqCount } from "../sync/primitives/seqcount.ts";
export { SharedMemory, type SharedMemoryOptions } from "../sync/shared-memory.ts";
export { Spinlock } from "../sync/primitives/spinlock.ts";
export { Srcu } from "../sync/primitives/srcu.ts";
export {
  TIMED_OUT,
  WOKEN,
  access,
  describe,
  type AccessKind,
  type Task,
  type Wait,
  type WaitKind,
  type Wake,
  type WordRange,
} from "../sync/tasks/task.ts";
export { WaitQueue } from "../sync/primitives/wait-queue.ts";

export { HarnessCpu } from "./harness/harness-cpu.ts";
export {
  DEFAULT_ENCODING,
  entryIsValid,
  entryIsWritable,
  entryPfn,
  type HmmEncoding,
} from "../hmm/entry.ts";
export { hmmRangeFault } from "../hmm/walk/fault.ts";
export { registerMirrorOps, type HmmMirrorOps } from "../hmm/mirror/mirror-ops.ts";
export { HmmMirror, HmmMirrorRecord } from "../hmm/mirror-record.ts";
export { hmmMirrorRegister, hmmMirrorUnregister } from "../hmm/mirror/mirror.ts";
export {
  HmmRange,
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
  mmOfRange,
  withHmmRange,
  type HmmRangeOptions,
} from "../hmm/range/range.ts";
export { hmmRangeSnapshot } from "../hmm/walk/snapshot.ts";
export { hmmRangeValid, hmmRangeWaitUntilValid } from "../hmm/range/valid.ts";
export type { Machine } from "../memory/machine.ts";
export {
  array,
  embed,
  embedStruct,
  pointer,
  struct,
  u32,
  type Struct,
  type StructView,
  type WordArray,
} from "../memory/layout/struct.ts";
export { MADV_DONTNEED, doMadvise } from "../mm/calls/madvise.ts";
export type { Mm } from "../mm/mm-struct.ts";
export { mmget, mmgetNotZero, mmput } from "../mm/lifetime/mm.ts";
export { doMmap, type MmapRequest } from "../mm/calls/mmap.ts";
export { doMunmap } from "../mm/calls/munmap.ts";
export { doMprotect } from "../mm/calls/mprotect.ts";
export { PAGE_BYTES } from "../mm/pte.ts";
export { VM_READ, VM_WRITE } from "../mm/vma/vma.ts";
export type { InvalidateRange } from "../notifier/events.ts";
export { EAGAIN, EBUSY, EFAULT, EINVAL, ENOMEM, errnoName, type Errno } from "../sync/errno.ts";
export { HmmError } from "../sync/errors.ts";
