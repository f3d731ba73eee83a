/**
 * @module The little language in which the oracle and the checker are asked the same question. A
 * program is data: what each task does, and what may happen beside it. machine.ts says what it
 * means; render.ts makes tasks of it.
 *
 * There is one of most things: words 0 to 2, plain words 0 and 1, mutexes 0 and 1, a semaphore, a
 * wait queue, a condition variable, a completion, a reference count, an SRCU domain.
 */

/** Does something; what it learns goes into a register of its own. */
export type Op =
  /** Reads a word. `inside`: if it is not 0. */
  | { readonly op: "load"; readonly word: number; readonly inside: readonly Op[] }
  | { readonly op: "store"; readonly word: number; readonly value: number }
  | { readonly op: "add"; readonly word: number }
  /** `inside`: if the exchange succeeds. */
  | Exchange
  /** An access that is no step. */
  | { readonly op: "plain"; readonly word: number; readonly writes: boolean }
  /** `keeps`: never unlocks. */
  | {
      readonly op: "lock";
      readonly mutex: number;
      readonly keeps: boolean;
      readonly inside: readonly Op[];
    }
  | { readonly op: "tryLock"; readonly mutex: number; readonly inside: readonly Op[] }
  | { readonly op: "semaphore"; readonly mode: Mode; readonly inside: readonly Op[] }
  /** On the queue, until the word has this value. */
  | {
      readonly op: "waitEvent";
      readonly word: number;
      readonly value: number;
      readonly timed: boolean;
    }
  | { readonly op: "wake"; readonly all: boolean }
  /** Parks on a word as a futex, if it holds `expected`. */
  | {
      readonly op: "park";
      readonly word: number;
      readonly expected: number;
      readonly timed: boolean;
    }
  /** Wakes who parks on the word, and changes nothing. */
  | { readonly op: "rouse"; readonly word: number; readonly all: boolean }
  /** Under the condition's mutex: waits once if the word is 0. */
  | { readonly op: "await"; readonly word: number; readonly timed: boolean }
  /** Under the condition's mutex: sets the word, signals or broadcasts. */
  | { readonly op: "signal"; readonly word: number; readonly all: boolean }
  | { readonly op: "complete"; readonly all: boolean }
  | { readonly op: "completion"; readonly timed: boolean }
  | { readonly op: "get" }
  | { readonly op: "getNotZero"; readonly inside: readonly Op[] }
  /** `inside`: if it was the last reference. */
  | { readonly op: "put"; readonly inside: readonly Op[] }
  | { readonly op: "section"; readonly inside: readonly Op[] }
  | { readonly op: "synchronize" };

interface Exchange {
  readonly op: "exchange";
  readonly word: number;
  readonly expected: number;
  readonly value: number;
  readonly inside: readonly Op[];
}

/** How a semaphore is taken; "downgrade": for writing, and given back as a reader. */
export type Mode = "read" | "write" | "tryRead" | "tryWrite" | "downgrade";

export interface Program {
  readonly tasks: readonly (readonly Op[])[];
  /** Conditions say which word they read. */
  readonly names: boolean;
  /**
   * How many waits may time out, how many sleepers wake for no reason, how many threads die. null:
   * no limit.
   */
  readonly timeouts: number | null;
  /** "each": each wait once. */
  readonly spurious: number | "each";
  readonly deaths: number;
  /** A wake of one may wake any sleeper. */
  readonly wakeAny: boolean;
  /** What the reference count begins with. */
  readonly references: number;
}

export const WORDS = 3;
export const PLAIN_WORDS = 2;
export const MUTEXES = 2;

/** What an operation does inside, or if it succeeds. */
export function inner(op: Op): readonly Op[] {
  return "inside" in op ? op.inside : [];
}

/** The operation with other things inside. */
export function withInner(op: Op, inside: readonly Op[]): Op {
  return "inside" in op ? { ...op, inside } : op;
}

/**
 * All operations of a list, each before what is inside it: an operation's place in this order is
 * its number in the task.
 */
export function flatten(ops: readonly Op[]): Op[] {
  return ops.flatMap((op) => [op, ...flatten(inner(op))]);
}

/** An operation with its number, and those inside it with theirs. */
export interface Numbered<O extends Op = Op> {
  readonly op: O;
  readonly number: number;
  readonly inside: readonly Numbered[];
}

/** The operations of each task, numbered. */
export function numbered(program: Program): (readonly Numbered[])[] {
  const firsts = firstNumbers(program);
  return program.tasks.map((ops, task) => {
    let next = firsts[task] ?? 0;
    const visit = (op: Op): Numbered => ({ op, number: next++, inside: inner(op).map(visit) });
    return ops.map(visit);
  });
}

/** The first number of each task: numbers go on from task to task. */
export function firstNumbers({ tasks }: Program): number[] {
  const firsts: number[] = [];
  let next = 0;
  for (const ops of tasks) {
    firsts.push(next);
    next += flatten(ops).length;
  }
  return [...firsts, next];
}
