/**
 * @module The threads of an execution, one for each task. A task is a generator with an agent of
 * its own. It is resumed as that agent, and suspended again at its next operation.
 *
 * A task that throws is over. What it threw is reported; the other tasks go on.
 */

import { enterTask, leaveTask } from "../../sync/tasks/current-task.ts";
import type { TaskContext } from "../../sync/tasks/current-task.ts";
import { TAG, heldClassName } from "../../sync/lockdep/held-locks.ts";
import { heldAtEnd } from "../../sync/lockdep/lockdep.ts";
import { hasPanicked, panicError } from "../../sync/death/panic.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { exploreSteps } from "../../sync/runners/stepping/offered.ts";
import { TIMED_OUT, WOKEN } from "../../sync/tasks/task.ts";
import type { Task, Wait } from "../../sync/tasks/task.ts";
import { RECHECK, TIMEOUT } from "../steps/trace.ts";
import type { Choice } from "../steps/trace.ts";
import { becomeAgent, freshContext } from "./agents.ts";
import type { StartingState } from "./starting-state.ts";
import { codeOfYielded } from "./require-task.ts";

export interface ThreadsOptions {
  readonly names: readonly string[];
  /** A task that ends with locks held counts as one that throws. */
  readonly lockdep: boolean;
  readonly onThrow: (task: number, error: unknown) => void;
}

export class Threads {
  /** The code of the operation that {@link resume} returned. */
  yieldedCode = 0;
  readonly #memory: SharedMemory;
  readonly #start: StartingState;
  readonly #options: ThreadsOptions;
  readonly #generators: Task<unknown>[] = [];
  readonly #contexts: TaskContext[] = [];
  /** For each task: the free slot of its held table, and its INSIDE mark. */
  readonly #heldNext: Int32Array;
  readonly #insideMark: Int32Array;

  constructor(start: StartingState, options: ThreadsOptions) {
    this.#memory = start.memory;
    this.#start = start;
    this.#options = options;
    this.#heldNext = Int32Array.from(start.heldNext);
    this.#insideMark = Int32Array.from(start.insideMark);
  }

  /** A new execution begins. */
  reset(): void {
    this.#heldNext.set(this.#start.heldNext);
    this.#insideMark.set(this.#start.insideMark);
    this.#memory.markKeepers.length = 0;
  }

  /** The task begins as `made`. Resume it to get its first operation. */
  begin(task: number, made: Task<unknown>): void {
    this.#generators[task] = made;
    this.#contexts[task] = freshContext(this.#memory, task, this.#options.names[task] ?? "");
  }

  /**
   * The task goes on. Returns its next pending operation, with its code in {@link yieldedCode};
   * undefined if the task is over.
   */
  resume(task: number, choice: Choice): Wait | undefined {
    const memory = this.#memory;
    const context = this.#contexts[task]!;
    becomeAgent(memory, task);
    memory.heldNext = this.#heldNext[task]!;
    memory.insideMark = this.#insideMark[task]!;
    const previous = enterTask(context);
    exploreSteps(memory);
    let wait: Wait | undefined;
    try {
      const result = this.#goOn(this.#generators[task]!, choice);
      if (result.done !== true) {
        this.yieldedCode = codeOfYielded(result.value);
        wait = result.value;
      } else if (context.held.length > 0 && this.#options.lockdep) throw heldAtEnd(context);
    } catch (error) {
      this.#options.onThrow(task, error);
    } finally {
      exploreSteps(undefined);
      leaveTask(previous);
    }
    this.#heldNext[task] = memory.heldNext;
    this.#insideMark[task] = memory.insideMark;
    return wait;
  }

  /** The running task goes on with its next operation, without having been suspended. */
  goesOn(): void {
    this.#memory.resourceNext = 0; // as becomeAgent leaves it
  }

  #goOn(generator: Task<unknown>, choice: Choice): IteratorResult<Wait, unknown> {
    if (choice === RECHECK && hasPanicked(this.#memory)) {
      return generator.throw(panicError(this.#memory));
    }
    return generator.next(choice === TIMEOUT ? TIMED_OUT : WOKEN);
  }

  /**
   * The class of a lock that is in the held table of the task's thread (sync/lockdep/held-locks.ts)
   * at the end and was not at the beginning; undefined if there is none. Such a thread would never
   * reap again and could not unregister, and its death would stop the machine.
   */
  leftListed(task: number): string | undefined {
    if (!this.#options.lockdep) return undefined;
    const { words } = this.#memory;
    const next = this.#heldNext[task]!;
    // H2 of held-locks.ts: all that are listed lie below `next`, and that slot is free.
    if (next === this.#start.heldNext[task] && words[next] === 0) return undefined;
    const slot = words[next] === 0 ? next - 1 : next;
    return heldClassName(words[slot + TAG]!);
  }

  /**
   * The tasks that hold the lock at a word, in any mode. They may be dead or over.
   */
  holdersOf(at: number): number[] {
    const holds = ({ held }: TaskContext): boolean => held.some(({ lock }) => lock.at === at);
    return Array.from(this.#contexts.keys()).filter((task) => holds(this.#contexts[task]!));
  }
}
