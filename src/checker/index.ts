/**
 * @module hmm-ts/checker
 * The checker's public face: explore every interleaving of a few tasks, and the pieces that such tasks are made of. docs/CHECKER.md
 * is its guide. Everything that a user needs is exported here, and nothing else.
 */

export type { EngineName, EngineOptions } from "./engines.ts";
export { explore, type Exploration, type ExploreOptions, type Progress } from "./explore.ts";
export { findingIdentity, type Finding, type FindingKind, type Site } from "./finding.ts";
export { minimise, replay } from "./minimise.ts";
export { Objects } from "./objects.ts";
export { Cell, Condition, Gate, Places, PlainCell } from "./program.ts";
export {
  UncontrolledNondeterminism,
  defaultLiberties,
  defineScenario,
  type AnyScenario,
  type Liberties,
  type Scenario,
  type ScenarioExploration,
} from "./scenario.ts";
export { choiceOf, taskOf, type Choice, type Transition } from "./trace.ts";

export { Completion } from "../sync/completion.ts";
export { lockClass, type LockClass } from "../sync/lock-class.ts";
export { Mutex } from "../sync/mutex.ts";
export { RefCount } from "../sync/refcount.ts";
export { runAsync } from "../sync/run-async.ts";
export { runBlocking } from "../sync/run-blocking.ts";
export { RwSem } from "../sync/rwsem.ts";
export { SeqCount } from "../sync/seqcount.ts";
export { SharedMemory, type SharedMemoryOptions } from "../sync/shared-memory.ts";
export { Spinlock } from "../sync/spinlock.ts";
export { Srcu } from "../sync/srcu.ts";
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
} from "../sync/task.ts";
export { WaitQueue } from "../sync/wait-queue.ts";
