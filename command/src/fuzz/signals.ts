/**
 * @module Signals: what an execution has shown that none before had shown. A signal is a call with
 * a result, a call that returned during another call, or two calls that touched a word of some
 * kind. A program with a new signal is worth a mutation.
 */

import type { Execution } from "../../../src/checker/execution/execution.ts";
import type { Observer } from "../../../src/checker/explore.ts";
import { taskOf } from "../../../src/checker/steps/trace.ts";
import type { Wait } from "../../../src/sync/tasks/task.ts";
import { CALLS } from "./fuzz-program.ts";
import type { CallName } from "./fuzz-program.ts";
import type { CallWatcher } from "./fuzz-stage.ts";

const numbers: ReadonlyMap<CallName, number> = new Map(CALLS.map((op, number) => [op, number]));

function numberOf(op: CallName): number {
  return numbers.get(op) ?? 0;
}

/** The two calls of a signal that says that they touched one word; undefined for other signals. */
export function pairOfSignal(signal: string): readonly [string, string] | undefined {
  const [, first, second] = /^([a-z-]+)>([a-z-]+)@/.exec(signal) ?? [];
  return first === undefined || second === undefined ? undefined : [first, second];
}

/** A touch in one number: of which execution, by which task, in which call. */
const CALL_BITS = 6;
const CALL_MASK: number = (1 << CALL_BITS) - 1;
const TASK_BITS = 3;
const EXECUTIONS_MAX: number = 2 ** (31 - CALL_BITS - TASK_BITS);

function touchOf(execution: number, task: number, call: number): number {
  return (((execution << TASK_BITS) | task) << CALL_BITS) | call;
}

function executionOf(touch: number): number {
  return touch >>> (CALL_BITS + TASK_BITS);
}

function taskOfTouch(touch: number): number {
  return (touch >>> CALL_BITS) & ((1 << TASK_BITS) - 1);
}

/** More than there are errors. */
const ERRNOS = 256;

export class Signals implements CallWatcher, Observer {
  readonly #seen = new Set<string>();
  readonly #current: (CallName | undefined)[] = [];
  /** By word of the heap: who named it last in this execution, as {@link touchOf}. */
  #touches: Int32Array = new Int32Array(0);
  /** The same for words outside the heap, which have negative numbers. */
  readonly #touchesOutside = new Map<number, number>();
  /** Each execution has another number: what others have left in {@link #touches} is old. */
  #execution = 0;
  /** Results that are known, with the call that ran meanwhile: see {@link callEnded}. */
  readonly #results = new Set<number>();
  #fresh: string[] = [];
  /** By two calls: what is known of them, by label and kind of the step. */
  readonly #meetings: (Map<string, Set<string>> | undefined)[] = [];

  get count(): number {
    return this.#seen.size;
  }

  get all(): readonly string[] {
    return Array.from(this.#seen);
  }

  /** What was seen elsewhere is not new here. */
  learn(signals: readonly string[]): void {
    for (const signal of signals) this.#seen.add(signal);
  }

  /** What is new since this was asked last. */
  takeFresh(): string[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }

  began(): void {
    this.#touchesOutside.clear();
    this.#execution++;
    if (this.#execution < EXECUTIONS_MAX) return;
    this.#execution = 1;
    this.#touches.fill(0);
  }

  callBegan(task: number, op: CallName): void {
    this.#current[task] = op;
  }

  callEnded(task: number, op: CallName, result: number): void {
    const errno = Math.min(result, 0);
    const current = this.#current;
    current[task] = undefined;
    this.#showResult(op, errno, undefined);
    for (const rival of current) if (rival !== undefined) this.#showResult(op, errno, rival);
  }

  /** Nearly always it is known, and no text is made. */
  #showResult(op: CallName, errno: number, rival: CallName | undefined): void {
    const rivalNumber = rival === undefined ? CALLS.length : numberOf(rival);
    const key = (numberOf(op) * (CALLS.length + 1) + rivalNumber) * ERRNOS - errno;
    if (this.#results.has(key)) return;
    this.#results.add(key);
    this.#show(`${op}=${errno}${rival === undefined ? "" : `|${rival}`}`);
  }

  stepped(run: Execution): void {
    const step = run.depth - 1;
    const task = taskOf(run.trace.transition[step] ?? 0);
    const wait = run.trace.waits[step];
    const op = this.#current[task];
    if (wait === undefined || op === undefined) return;
    const { index } = wait;
    const last = this.#lastTouch(index);
    const touch = touchOf(this.#execution, task, numberOf(op));
    if (last === touch) return;
    if (last !== 0 && taskOfTouch(last) !== task)
      this.#showMeeting(CALLS[last & CALL_MASK]!, op, wait);
    if (index < 0) this.#touchesOutside.set(index, touch);
    else this.#touches[index] = touch;
  }

  /** 0: nobody has named the word in this execution. */
  #lastTouch(index: number): number {
    if (index < 0) return this.#touchesOutside.get(index) ?? 0;
    if (index >= this.#touches.length) {
      const wider = new Int32Array(Math.max(index + 1, this.#touches.length * 2, 2 ** 16));
      wider.set(this.#touches);
      this.#touches = wider;
    }
    const touch = this.#touches[index]!;
    return executionOf(touch) === this.#execution ? touch : 0;
  }

  /** Two calls touched a word. Nearly always that is known, and no text is made. */
  #showMeeting(first: CallName, second: CallName, { kind, label }: Wait): void {
    const known = (this.#meetings[numberOf(first) * CALLS.length + numberOf(second)] ??= new Map<
      string,
      Set<string>
    >());
    let kinds = known.get(label);
    if (kinds === undefined) known.set(label, (kinds = new Set()));
    if (kinds.has(kind)) return;
    kinds.add(kind);
    this.#show(`${first}>${second}@${kind} ${label}`);
  }

  #show(signal: string): void {
    if (this.#seen.has(signal)) return;
    this.#seen.add(signal);
    this.#fresh.push(signal);
  }
}
