/**
 * @module What is explored: a few tasks over a fresh shared memory, and what must hold when they
 * are done.
 *
 * A scenario is deterministic but for the order of its tasks' steps and the ends of their waits: no
 * clock, no chance, no state that outlives one execution, except the words of the memory, which are
 * put back before each. An execution that does not repeat what its beginning did before is reported
 * as {@link UncontrolledNondeterminism}.
 */

import type { SharedMemory } from "../sync/shared-memory.ts";
import type { Task, WordRange } from "../sync/tasks/task.ts";

/**
 * What kind of thing went wrong. docs/CHECKER.md says when each is reported, and what to do about
 * it.
 */
export type FindingKind =
  | "assertion"
  | "deadlock"
  | "lost-wakeup"
  | "use-after-free"
  | "double-free"
  | "refcount"
  | "lock-order"
  | "lock-recursion"
  | "sleep-in-atomic"
  | "lock-misuse"
  | "data-race"
  | "owner-died"
  | "leak"
  | "refcount-leak"
  | "invariant"
  | "not-linearizable"
  | "livelock"
  | "stale-translation"
  | "error"
  | "endless";

/**
 * How executions are chosen. "optimal" performs one of each class, "source" and "sleep" too, with
 * waste; "naive" all interleavings; "bounded" and "delay" all classes up to a bound; "random",
 * "pct" and "pos" draw from a seed; "replay" follows a schedule.
 */
export type EngineName =
  | "optimal"
  | "source"
  | "sleep"
  | "naive"
  | "bounded"
  | "delay"
  | "random"
  | "pct"
  | "pos"
  | "replay";

/** `S` is what `setup` returns: the shared objects. */
export interface Scenario<S> {
  /** With `/` between groups: `patches/01/before`. */
  readonly name: string;
  /** One line: what happens at the same time, and what must not come of it. */
  readonly summary?: string;
  /** Of a broken scenario: what must be found in it. Without it, nothing may be found. */
  readonly expects?: FindingKind;
  /** How far to explore it, and what may happen, where nobody says otherwise. */
  readonly exploration?: ScenarioExploration;
  /**
   * Called once. Builds the shared objects on `memory`; their words are what every execution begins
   * with.
   */
  setup(memory: SharedMemory): S;
  /** By name, in order. Each is started anew in every execution. At most 31. */
  readonly tasks: Readonly<Record<string, (shared: S) => Task<unknown>>>;
  /**
   * After an execution in which every task returned or died, and the machine has not stopped.
   * Throws what is wrong with the outcome.
   */
  check?(shared: S, end: ExecutionEnd): void;
  /**
   * Labels of objects (structs) that may be left at the end although they were not there at the
   * beginning, or "anything". Default: "anything" where `memory` is given, else none. What is left
   * beyond it is a leak.
   */
  readonly mayRemain?: "anything" | readonly string[];
  /** What must hold after every step. */
  readonly invariants?: readonly Invariant<S>[];
  /** Where threads may die: the tasks whose threads may. Default: all. */
  readonly mortals?: readonly string[];
  /**
   * Groups of tasks that nothing tells apart, neither `check` nor an invariant nor their own code:
   * each group one function under several names. Their orders are not all explored. Default: tasks
   * that are the same function, in a scenario without `check`, `invariants`, `reopen` and
   * `mortals`. False: no task is like another.
   */
  readonly equalTasks?: readonly (readonly string[])[] | false;
  /**
   * No death may stop the machine. Default false: one that comes while a lock is held does, as it
   * must.
   */
  readonly mustSurvive?: boolean;
  /** The memory to use; else a fresh one with `words` free words. */
  memory?(): SharedMemory;
  /** Free words behind the control block of the memory that the explorer makes. Default 1024. */
  readonly words?: number;
  /**
   * Before each execution: fresh handles, for objects that keep state in JavaScript. Its result
   * replaces `setup`'s.
   */
  reopen?(memory: SharedMemory): S;
  /**
   * In a replay, after each step: what a report shows of the state besides the words. It must
   * change nothing.
   */
  describe?(shared: S): readonly StateTable[];
}

/** A part of a scenario's state, for people: a page table, a device's table, a list. */
export interface StateTable {
  readonly title: string;
  /** Heads of the columns, if they need any. */
  readonly columns?: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Something that must hold after every step. */
export interface Invariant<S> {
  readonly name: string;
  /**
   * The words that it reads; steps that write one of them then depend on each other. Of data that
   * is changed plainly under a lock, the lock's word.
   */
  words(shared: S): readonly WordRange[];
  /** Throws if it does not hold. Changes nothing. */
  holds(shared: S): void;
}

/** How an execution ended, for the verdict on its outcome. */
export interface ExecutionEnd {
  /** The tasks whose threads died, in that order. */
  readonly deaths: readonly string[];
}

/** What a scenario says about its own exploration. */
export interface ScenarioExploration extends Partial<Budget> {
  /** Default "optimal": to the end. */
  readonly engine?: EngineName;
  /** With "bounded". */
  readonly preemptions?: number;
  /** With an engine that samples: how many executions. */
  readonly executions?: number;
}

/** A scenario of whatever shared objects: what a list of scenarios holds. */
export type AnyScenario = Scenario<unknown>;

/**
 * Takes the type of the shared objects away. They never leave the scenario: what its setup makes,
 * its own tasks get.
 */
export function defineScenario<S>(scenario: Scenario<S>): AnyScenario {
  return scenario as AnyScenario;
}

/** How many in one execution, or one for each wait. */
export type SpuriousWakes = number | "each";

/** Budgets and rules of what may happen in one execution. */
export interface Budget {
  /** How many waits with a timeout may time out in one execution. Default Infinity. */
  readonly timeouts: number;
  /**
   * How many parked tasks may wake for no reason in one execution; "each": each wait once. If
   * nobody says, there are two searches: one without, and, if some task sleeps in a wait that is
   * not one on a queue, one with "each", for the runners look up from every sleep after a while
   * (spurious.ts).
   */
  readonly spuriousWakes: SpuriousWakes;
  /**
   * How many threads may die in one execution, each between any two steps of its task. Default 0.
   */
  readonly deaths: number;
  /**
   * A wake of one may wake any of those that sleep (as POSIX allows), not the one that queued
   * first. Default false.
   */
  readonly wakeAny: boolean;
  /**
   * An execution longer than this is a finding: a loop that no other way was seen to have no end.
   * Default 2000.
   */
  readonly maxSteps: number;
  /** Whether lockdep judges the order of locks (its reports become findings). Default true. */
  readonly lockdep: boolean;
  /**
   * The primitives of sync/ are explored access by access, their loops and their sleeping included,
   * instead of as one step each: for scenarios about the primitives themselves. Waits have no
   * time-outs then. Default false.
   */
  readonly spelledOut: boolean;
}

/**
 * What may happen where nobody says otherwise: any number of timeouts, no spurious wakes (but see
 * there), wakes in order.
 */
export const defaultBudget: Budget = {
  timeouts: Infinity,
  spuriousWakes: 0,
  deaths: 0,
  wakeAny: false,
  maxSteps: 2000,
  lockdep: true,
  spelledOut: false,
};

/**
 * Ways to break the checker, for the tests that must notice: without reports about blocked tasks,
 * without conflicts of frees, with the test of a condition and the parking after it in one step,
 * with wakeup sequences of one step, with a park put down to the latest change of its word, with
 * the comparison of a park in the step before it, with every word taken for lenient whatever
 * happens to it.
 */
export type Weakness =
  | "drop-blocked"
  | "drop-free"
  | "fuse-parking"
  | "shorten-wakeups"
  | "latest-change"
  | "fuse-sleeping"
  | "never-strict";

/**
 * The checker has planned a step that is not possible, of a scenario that repeats itself. It is a
 * fault of the checker, unless the scenario's tasks share words that no step names.
 */
export class EngineFault extends Error {
  /** What leads to the step: for replay. */
  readonly token: string;

  constructor(scenario: string, step: number, planned: string, token: string) {
    super(
      `Cannot go on exploring "${scenario}": step ${step + 1} was planned to be ${planned}, and that is not possible there, although the tasks repeat themselves. Unless they read or write shared words that no step names (a plain word that is no PlainCell, a condition that reads more than its "reads" says), this is a fault of the checker: please report it, with the scenario and the token ${token}`,
    );
    this.name = "EngineFault";
    this.token = token;
  }
}

/** An execution did not repeat its beginning. */
export class UncontrolledNondeterminism extends Error {
  constructor(scenario: string, step: number, expected: string, found: string) {
    super(
      `Cannot explore "${scenario}": step ${step} was ${expected} and is now ${found}; keep clocks, chance and state that outlives an execution out of its tasks, and make objects that keep state in JavaScript anew in reopen`,
    );
    this.name = "UncontrolledNondeterminism";
  }
}
