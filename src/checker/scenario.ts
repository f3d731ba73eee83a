/**
 * @module What is explored: a few tasks over a fresh shared memory, and what must hold when they
 * are done.
 *
 * A scenario must be deterministic, except for the order of its tasks' steps and how their waits
 * end: no clock, no random numbers, no state that outlives an execution. The words of the memory
 * are restored before each execution. If an execution repeats the beginning of an earlier one and
 * behaves differently, that is reported as {@link UncontrolledNondeterminism}.
 */

import type { SharedMemory } from "../sync/shared-memory.ts";
import type { Task, WordRange } from "../sync/tasks/task.ts";

/**
 * The kinds of findings. docs/CHECKER.md says when each is reported, and what to do about it.
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

/** The names of the engines, in the order of the table of {@link EngineName}. */
export const ENGINE_NAMES = [
  "optimal",
  "source",
  "sleep",
  "naive",
  "bounded",
  "delay",
  "random",
  "pct",
  "pos",
  "replay",
] as const;

/**
 * How executions are chosen.
 *
 * | engine | executions |
 * | --- | --- |
 * | optimal | one of each class |
 * | source, sleep | one of each class, and others that are given up before their end |
 * | naive | all interleavings |
 * | bounded, delay | all classes up to a bound |
 * | random, pct, pos | samples, drawn from a seed |
 * | replay | the given schedule |
 */
export type EngineName = (typeof ENGINE_NAMES)[number];

/** `S` is what `setup` returns: the shared objects. */
export interface Scenario<S> {
  /** With `/` between groups, for example `patches/01/before`. */
  readonly name: string;
  /** One line: what runs concurrently, and what must not happen. */
  readonly summary?: string;
  /** For a broken scenario: the kind of finding that it must have. Left out: none may be found. */
  readonly expects?: FindingKind;
  /** Defaults for how far to explore it, and for what may happen. */
  readonly exploration?: ScenarioExploration;
  /**
   * Called once. Builds the shared objects on `memory`. Every execution begins with the words as
   * they are after it.
   */
  setup(memory: SharedMemory): S;
  /** The tasks by name, in order, at most 31. Each is created anew in every execution. */
  readonly tasks: Readonly<Record<string, (shared: S) => Task<unknown>>>;
  /**
   * Called after an execution in which every task returned or died, unless the machine has stopped.
   * Throws if the outcome is wrong.
   */
  check?(shared: S, end: ExecutionEnd): void;
  /**
   * Labels of objects (structs) that may be left at the end although they did not exist at the
   * beginning, or "anything". Default: "anything" if `memory` is given, otherwise none. All other
   * objects that are left are leaks.
   */
  readonly mayRemain?: "anything" | readonly string[];
  /** What must hold after every step. */
  readonly invariants?: readonly Invariant<S>[];
  /** With deaths: the tasks whose threads may die. Default: all. */
  readonly killable?: readonly string[];
  /**
   * Groups of symmetric tasks. The tasks of a group are one function under several names, and
   * neither `check` nor an invariant nor their own code distinguishes them. Executions that differ
   * only in which of them does what are explored once. Default: tasks that are the same function,
   * in a scenario without `check`, `invariants`, `reopen` and `killable`. False: no tasks are
   * symmetric.
   */
  readonly symmetricTasks?: readonly (readonly string[])[] | false;
  /**
   * No death may stop the machine. Default false: a death while a lock is held stops it, as it
   * must.
   */
  readonly mustSurvive?: boolean;
  /** The memory to use. Default: a fresh one with `words` free words. */
  memory?(): SharedMemory;
  /** Free words behind the control block of the memory that the explorer makes. Default 1024. */
  readonly words?: number;
  /**
   * Called before each execution: makes fresh handles, for objects that keep state in JavaScript.
   * Its result replaces that of `setup`.
   */
  reopen?(memory: SharedMemory): S;
  /**
   * Called in a replay after each step: what a report shows of the state besides the words. It must
   * change nothing.
   */
  describe?(shared: S): readonly StateTable[];
}

/** A part of a scenario's state, for reports: a page table, a device's table, a list. */
export interface StateTable {
  /** What the table shows. */
  readonly title: string;
  /** Headings of the columns, if there are any. */
  readonly columns?: readonly string[];
  /** The rows, each with one text for each column. */
  readonly rows: readonly (readonly string[])[];
}

/** Something that must hold after every step. */
export interface Invariant<S> {
  /** What must hold, in a few words. */
  readonly name: string;
  /**
   * The words that it reads. Steps that write one of them depend on each other. For data that plain
   * stores change under a lock, name the lock's word.
   */
  words(shared: S): readonly WordRange[];
  /** Throws if it does not hold. Changes nothing. */
  holds(shared: S): void;
}

/** How an execution ended, for `check`. */
export interface ExecutionEnd {
  /** The tasks whose threads died, in that order. */
  readonly deaths: readonly string[];
}

/** A scenario's defaults for its exploration. */
export interface ScenarioExploration extends Partial<Budget> {
  /** Default "optimal": to the end. */
  readonly engine?: EngineName;
  /** With "bounded". */
  readonly preemptions?: number;
  /** With a sampling engine: how many executions. */
  readonly executions?: number;
}

/** A scenario with shared objects of any type: for lists of scenarios. */
export type AnyScenario = Scenario<unknown>;

/**
 * Erases the type of the shared objects. This is sound: only the scenario's own tasks get what its
 * setup makes.
 */
export function defineScenario<S>(scenario: Scenario<S>): AnyScenario {
  return scenario as AnyScenario;
}

/** How many in one execution; "each": one for each wait. */
export type SpuriousWakes = number | "each";

/** What may happen in one execution. */
export interface Budget {
  /** How many waits with a timeout may time out in one execution. Default Infinity. */
  readonly timeouts: number;
  /**
   * How many spurious wakes of parked tasks may happen in one execution; "each": one for each wait.
   * Left out: the first search has none. If a task sleeps in a wait that is not on a wait queue, a
   * second search has "each", because the runners recheck every wait after a slice (spurious.ts).
   */
  readonly spuriousWakes: SpuriousWakes;
  /**
   * How many threads may die in one execution, each between any two steps of its task. Default 0.
   */
  readonly deaths: number;
  /**
   * A wake of one may wake any sleeping task, as POSIX allows. Default false: it wakes the one that
   * queued first.
   */
  readonly wakeAny: boolean;
  /**
   * An execution with more steps is a finding: a loop without an end that was not recognised in
   * another way. Default 2000.
   */
  readonly maxSteps: number;
  /** Whether lockdep is on; its reports are findings. Default true. */
  readonly lockdep: boolean;
  /**
   * The primitives of sync/ are explored access by access, with their loops and sleeps. Default
   * false: each of their operations is one step. For scenarios about the primitives themselves.
   * Waits then have no timeouts.
   */
  readonly spelledOut: boolean;
}

/**
 * The defaults: any number of timeouts, no spurious wakes (but see {@link Budget.spuriousWakes}),
 * wakes in the order of queueing.
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
 * Faults that tests of the checker inject, and must notice.
 *
 * | weakness | what is wrong |
 * | --- | --- |
 * | drop-blocked | races with tasks that are blocked at the end are ignored |
 * | drop-free | frees conflict with nothing |
 * | fuse-parking | the test of a condition and the park after it are one step |
 * | shorten-wakeups | wakeup sequences have one step |
 * | latest-change | a park is attributed to the latest change of its word, not to the first |
 * | fuse-sleeping | the compare of a park is part of the step before it |
 * | never-ordering | every word is taken for a commuting one |
 */
export type Weakness =
  | "drop-blocked"
  | "drop-free"
  | "fuse-parking"
  | "shorten-wakeups"
  | "latest-change"
  | "fuse-sleeping"
  | "never-ordering";

/**
 * The checker has planned a step that is not possible, although the scenario is deterministic. It
 * is a bug of the checker, unless the scenario's tasks share words that no step names.
 */
export class EngineFault extends Error {
  /** A replay of it leads to the step. */
  readonly token: string;

  constructor(scenario: string, step: number, planned: string, token: string) {
    super(
      `Cannot go on exploring "${scenario}": step ${step + 1} was planned to be ${planned}, and that is not possible there, although the tasks repeat themselves. Unless they read or write shared words that no step names (a plain word that is no PlainCell, a condition that reads more than its "reads" says), this is a fault of the checker: please report it, with the scenario and the token ${token}`,
    );
    this.name = "EngineFault";
    this.token = token;
  }
}

/** An execution did not repeat what its beginning did before. */
export class UncontrolledNondeterminism extends Error {
  constructor(scenario: string, step: number, expected: string, found: string) {
    super(
      `Cannot explore "${scenario}": step ${step} was ${expected} and is now ${found}; keep clocks, chance and state that outlives an execution out of its tasks, and make objects that keep state in JavaScript anew in reopen`,
    );
    this.name = "UncontrolledNondeterminism";
  }
}
