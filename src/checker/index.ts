/**
 * @module hmm-ts/checker
 * The public interface of the checker: it explores every interleaving of a few tasks. What such
 * tasks are written with, locks, structs, mirrors, is hmm-ts/driver, of which nothing is exported
 * here: who explores starts Node with `--conditions=hmm-explore`, and both entries are of one graph
 * of modules. docs/CHECKER.md is the guide.
 */

import "../host/consumer-types.ts";

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

/* What CPU threads do on a harness: its address space is made of calls of the core. */
export { HarnessCpu } from "./harness/harness-cpu.ts";
export type { Shortage } from "../memory/heap/shortage.ts";
export { MADV_DONTNEED, doMadvise } from "../mm/calls/madvise.ts";
export { doMmap, type MmapRequest } from "../mm/calls/mmap.ts";
export { doMprotect } from "../mm/calls/mprotect.ts";
export { doMunmap } from "../mm/calls/munmap.ts";
export { mmget } from "../mm/lifetime/mm.ts";
export { VM_READ, VM_WRITE } from "../mm/vma/vma.ts";
