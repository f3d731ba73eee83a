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

interface Touch {
  readonly task: number;
  readonly op: CallName;
}

export class Signals implements CallWatcher, Observer {
  readonly #seen = new Set<string>();
  readonly #current: (CallName | undefined)[] = [];
  /** Who named a word last, in this execution. */
  readonly #touches = new Map<number, Touch>();
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
    this.#touches.clear();
  }

  callBegan(task: number, op: CallName): void {
    this.#current[task] = op;
  }

  callEnded(task: number, op: CallName, result: number): void {
    const answer = `${op}=${Math.min(result, 0)}`;
    this.#show(answer);
    for (const [other, rival] of this.#current.entries()) {
      if (other !== task && rival !== undefined) this.#show(`${answer}|${rival}`);
    }
    this.#current[task] = undefined;
  }

  stepped(run: Execution): void {
    const step = run.depth - 1;
    const task = taskOf(run.trace.transition[step] ?? 0);
    const wait = run.trace.waits[step];
    const op = this.#current[task];
    if (wait === undefined || op === undefined) return;
    const last = this.#touches.get(wait.index);
    if (last?.task === task && last.op === op) return;
    if (last !== undefined && last.task !== task) this.#showMeeting(last.op, op, wait);
    this.#touches.set(wait.index, { task, op });
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
