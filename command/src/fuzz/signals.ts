/**
 * @module Signals: what an execution has shown that none before had shown. A signal is a call with
 * a result, a call that returned during another call, or two calls that touched a word of some
 * kind. A program with a new signal is worth a mutation.
 */

import type { Execution } from "../../../src/checker/execution/execution.ts";
import type { Observer } from "../../../src/checker/explore.ts";
import { taskOf } from "../../../src/checker/steps/trace.ts";
import type { CallName } from "./fuzz-program.ts";
import type { CallWatcher } from "./fuzz-stage.ts";

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
    if (last !== undefined && last.task !== task)
      this.#show(`${last.op}>${op}@${wait.kind} ${wait.label}`);
    this.#touches.set(wait.index, { task, op });
  }

  #show(signal: string): void {
    if (this.#seen.has(signal)) return;
    this.#seen.add(signal);
    this.#fresh.push(signal);
  }
}
