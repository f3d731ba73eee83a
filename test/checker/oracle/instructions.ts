/**
 * @module A program as instructions: one for each step that the checker's table of operations
 * knows, and one for each access that is no step. The list is the oracle's own reading of that
 * table.
 */

import { firstNumbers, flatten } from "./language.ts";
import type { Mode, Op, Program } from "./language.ts";

/** Where a step happens. */
export const MUTEX = 10;
/** The mutex of the condition variable, after the others. */
export const CONDITION_MUTEX = 2;
export const SEMAPHORE = 20;
export const QUEUE = 21;
export const CONDITION = 22;
export const COMPLETION = 23;
export const REFERENCES = 24;
export const SRCU = 25;
/** The deferred calls, of which there are none. */
const CALLS = 26;

export type Does =
  | "load"
  | "test0"
  | "store"
  | "add"
  | "exchange"
  | "plain"
  | "lock"
  | "relock"
  | "tryLock"
  | "unlock"
  | "downRead"
  | "tryDownRead"
  | "upRead"
  | "queueWrite"
  | "downWrite"
  | "tryDownWrite"
  | "upWrite"
  | "downgrade"
  | "enqueue"
  | "test"
  | "park"
  | "lastTest"
  | "dequeue"
  | "sleep"
  | "parked"
  | "release"
  | "wake"
  | "complete"
  | "completion"
  | "get"
  | "getNotZero"
  | "put"
  | "enter"
  | "leave"
  | "syncStart"
  | "syncWait"
  | "settle";

export interface Instruction {
  readonly does: Does;
  /** Number of the operation: of its register. */
  readonly number: number;
  /** The place. */
  readonly at: number;
  readonly a: number;
  readonly b: number;
  /** Where to go on if it does not succeed, or the wait goes round. */
  readonly to: number;
  readonly timed: boolean;
  readonly all: boolean;
}

interface Details {
  readonly a?: number;
  readonly b?: number;
  readonly timed?: boolean;
  readonly all?: boolean;
}

class Compiler {
  readonly code: Instruction[] = [];
  #next: number;

  constructor(first: number) {
    this.#next = first;
  }

  ops(list: readonly Op[]): void {
    for (const op of list) this.#op(op, this.#next++);
  }

  #add(does: Does, number: number, at: number, details: Details = {}): number {
    const { a = 0, b = 0, timed = false, all = false } = details;
    return this.code.push({ does, number, at, a, b, to: 0, timed, all }) - 1;
  }

  /** Where instruction `from` goes on: here, or at `to`. */
  #land(from: number, to: number = this.code.length): void {
    const found = this.code[from];
    if (found !== undefined) this.code[from] = { ...found, to };
  }

  #op(op: Op, number: number): void {
    switch (op.op) {
      case "load":
        return this.#branch(this.#add("load", number, op.word), op.inside);
      case "store":
        return void this.#add("store", number, op.word, { a: op.value });
      case "add":
        return void this.#add("add", number, op.word);
      case "exchange":
        return this.#branch(
          this.#add("exchange", number, op.word, { a: op.expected, b: op.value }),
          op.inside,
        );
      case "plain":
        return void this.#add("plain", number, op.word, { all: op.writes });
      case "lock":
        this.#add("lock", number, MUTEX + op.mutex);
        this.ops(op.inside);
        return op.keeps ? undefined : void this.#add("unlock", number, MUTEX + op.mutex);
      case "tryLock": {
        const tries = this.#add("tryLock", number, MUTEX + op.mutex);
        this.ops(op.inside);
        this.#add("unlock", number, MUTEX + op.mutex);
        return this.#land(tries);
      }
      case "semaphore":
        return this.#semaphore(op.mode, op.inside, number);
      default:
        return this.#waiting(op, number);
    }
  }

  #branch(from: number, inside: readonly Op[]): void {
    this.ops(inside);
    this.#land(from);
  }

  #semaphore(mode: Mode, inside: readonly Op[], number: number): void {
    const add = (does: Does): number => this.#add(does, number, SEMAPHORE);
    if (mode === "tryRead" || mode === "tryWrite") {
      const tries = add(mode === "tryRead" ? "tryDownRead" : "tryDownWrite");
      this.ops(inside);
      add(mode === "tryRead" ? "upRead" : "upWrite");
      this.#land(tries);
      return;
    }
    if (mode === "read") add("downRead");
    else {
      add("queueWrite");
      add("downWrite");
    }
    this.ops(inside);
    if (mode === "downgrade") add("downgrade");
    add(mode === "write" ? "upWrite" : "upRead");
  }

  #waiting(op: Op, number: number): void {
    switch (op.op) {
      case "waitEvent":
        return this.#waitEvent(number, { a: op.word, b: op.value, timed: op.timed });
      case "wake":
        return void this.#add("wake", number, QUEUE, { all: op.all, a: 1 });
      case "park": {
        const sleeps = this.#add("sleep", number, op.word, { a: op.expected, timed: op.timed });
        this.#add("parked", number, op.word, { timed: op.timed });
        return this.#land(sleeps);
      }
      case "rouse":
        return void this.#add("wake", number, op.word, { all: op.all });
      case "await":
        return this.#await(op.word, op.timed, number);
      case "signal":
        this.#add("lock", number, MUTEX + CONDITION_MUTEX);
        this.#add("store", number, op.word, { a: 1 });
        this.#add("wake", number, CONDITION, { all: op.all, a: 1 });
        return void this.#add("unlock", number, MUTEX + CONDITION_MUTEX);
      case "complete":
        return void this.#add("complete", number, COMPLETION, { all: op.all });
      case "completion":
        return void this.#add("completion", number, COMPLETION, { timed: op.timed });
      default:
        return this.#counting(op, number);
    }
  }

  #waitEvent(number: number, details: Details): void {
    const start = this.#add("enqueue", number, QUEUE);
    const test = this.#add("test", number, QUEUE, details);
    this.#land(this.#add("park", number, QUEUE, details), start);
    this.#add("lastTest", number, QUEUE, details);
    this.#land(test);
    this.#add("dequeue", number, QUEUE);
  }

  #await(word: number, timed: boolean, number: number): void {
    this.#add("lock", number, MUTEX + CONDITION_MUTEX);
    const test = this.#add("test0", number, word);
    this.#add("release", number, CONDITION);
    this.#add("parked", number, CONDITION, { timed });
    this.#add("relock", number, MUTEX + CONDITION_MUTEX);
    this.#land(test);
    this.#add("unlock", number, MUTEX + CONDITION_MUTEX);
  }

  #counting(op: Op, number: number): void {
    switch (op.op) {
      case "getNotZero":
      case "put":
        return this.#branch(this.#add(op.op, number, REFERENCES), op.inside);
      case "section": {
        this.#add("enter", number, SRCU);
        this.ops(op.inside);
        const leaves = this.#add("leave", number, SRCU);
        this.#add("settle", number, CALLS);
        return this.#land(leaves);
      }
      case "synchronize":
        this.#add("syncStart", number, SRCU);
        this.#add("syncWait", number, SRCU);
        return void this.#add("settle", number, CALLS);
      default:
        return void this.#add("get", number, REFERENCES);
    }
  }
}

/** The instructions of each task. */
export function compile(program: Program): (readonly Instruction[])[] {
  const firsts = firstNumbers(program);
  return program.tasks.map((ops, task) => {
    const compiler = new Compiler(firsts[task] ?? 0);
    compiler.ops(ops);
    return compiler.code;
  });
}

/** How many registers there are. */
export function registersOf({ tasks }: Program): number {
  return tasks.reduce((sum, ops) => sum + flatten(ops).length, 0);
}
