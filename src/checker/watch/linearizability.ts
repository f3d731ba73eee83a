/**
 * @module Linearizability: each operation on an object must appear to take effect at one moment
 * between its call and its return. The scenario records the operations and has a sequential model.
 * The history of each execution is searched for an order that the model allows (J. Wing, C. Gong,
 * JPDC 1993, with the memoization of G. Lowe, 2017). Operations on different keys are searched
 * separately (P-compositionality: A. Horn, D. Kroening, FORTE 2015).
 *
 * It matters which operations returned before which were called. So calls and returns are steps. A
 * return depends on every call of its key. Calls commute with calls, and returns with returns.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";
import { describe } from "../../sync/tasks/task.ts";
import type { Task } from "../../sync/tasks/task.ts";

/** An operation that was called, with its result. */
export interface Operation {
  /** The operation's name, as `call` got it. */
  readonly name: string;
  /** Its argument. */
  readonly input: unknown;
  /** Undefined while it has not returned. */
  readonly output: unknown;
}

/**
 * The sequential specification of the object. States are immutable: each step makes a new one.
 */
export interface SequentialModel<State> {
  /** The state before the first operation. */
  readonly initial: State;
  /** The state after the operation; undefined if it cannot have that result in `state`. */
  step(state: State, operation: Operation): State | undefined;
}

interface Recorded {
  readonly name: string;
  readonly input: unknown;
  output: unknown;
  readonly agent: number;
  readonly key: number;
  readonly calledAt: number;
  returnedAt: number;
}

/** The operations on one object. */
export class OperationHistory {
  readonly #memory: SharedMemory;
  readonly #at: number;
  readonly #model: SequentialModel<unknown>;
  readonly #keys: number;

  /** For the set-up of a scenario. The `keys` words at `at` must have no other use. */
  constructor(memory: SharedMemory, at: number, model: SequentialModel<unknown>, keys: number = 1) {
    this.#memory = memory;
    this.#at = at;
    this.#model = model;
    this.#keys = keys;
  }

  /** Runs `body`, an operation on the object, and records its call, its result and its return. */
  *call<T>(name: string, input: unknown, body: () => Task<T>, key: number = 0): Task<T> {
    const word = this.#at + key;
    yield describe("opCall", this.#memory, word, 1, name);
    const log = logOf(this);
    const calledAt = log.clock++;
    const { agentId: agent } = this.#memory;
    const recorded: Recorded = {
      name,
      input,
      output: undefined,
      agent,
      key,
      calledAt,
      returnedAt: Infinity,
    };
    log.operations.push(recorded);
    const output = yield* body();
    yield describe("opReturn", this.#memory, word, 1, name);
    recorded.output = output;
    recorded.returnedAt = log.clock++;
    return output;
  }

  /** Why no order explains the results of this execution; undefined if one does. */
  judge(): NotLinearizable | undefined {
    const { operations } = logOf(this);
    for (let key = 0; key < this.#keys; key++) {
      const ofKey = operations.filter((operation) => operation.key === key);
      const bad = search(ofKey, this.#model);
      if (bad !== undefined) return bad;
    }
    return undefined;
  }
}

export interface NotLinearizable {
  /** Names the longest order that the model allows, and the operations that do not fit into it. */
  readonly message: string;
  /** The agents of those operations. */
  readonly agents: readonly number[];
}

interface Log {
  readonly operations: Recorded[];
  clock: number;
}

let logs = new Map<OperationHistory, Log>();

/** A new execution begins. */
export function forgetOperations(): void {
  if (logs.size > 0) logs = new Map();
}

/** The histories that have operations of this execution. */
export function recordedHistories(): OperationHistory[] {
  return [...logs.keys()];
}

function logOf(history: OperationHistory): Log {
  let log = logs.get(history);
  if (log === undefined) logs.set(history, (log = { operations: [], clock: 0 }));
  return log;
}

interface Search {
  readonly operations: readonly Recorded[];
  readonly model: SequentialModel<unknown>;
  /** The (done, state) pairs from which no order leads to the end. */
  readonly hopeless: Set<string>;
  readonly order: Recorded[];
  longest: readonly Recorded[];
}

function search(
  operations: readonly Recorded[],
  model: SequentialModel<unknown>,
): NotLinearizable | undefined {
  const state: Search = { operations, model, hopeless: new Set(), order: [], longest: [] };
  if (extend(state, 0n, model.initial)) return undefined;
  const left = operations.filter((operation) => !state.longest.includes(operation));
  const next = left.filter(
    (operation) => mayBeNext(operation, left) && operation.returnedAt !== Infinity,
  );
  const done = state.longest.map(inWords).join(", ");
  const says = done === "" ? "none can be the first" : `at most ${done} can be put in order`;
  const message = `no order of the calls explains the answers: ${says}, and then ${next.map(inWords).join(" or ")} has no place`;
  return { message, agents: [...new Set(next.map(({ agent }) => agent))] };
}

/** Whether the operations not in `done` have an order that the model allows from `state` on. */
function extend(searching: Search, done: bigint, state: unknown): boolean {
  const { operations, model, hopeless, order } = searching;
  const left = operations.filter((_, i) => (done & (1n << BigInt(i))) === 0n);
  if (left.every(({ returnedAt }) => returnedAt === Infinity)) return true;
  const key = `${done}|${JSON.stringify(state)}`;
  if (hopeless.has(key)) return false;
  for (const operation of left) {
    if (!mayBeNext(operation, left)) continue;
    const after = model.step(state, operation);
    if (after === undefined) continue;
    order.push(operation);
    if (order.length > searching.longest.length) searching.longest = [...order];
    const bit = 1n << BigInt(operations.indexOf(operation));
    if (extend(searching, done | bit, after)) return true;
    order.pop();
  }
  hopeless.add(key);
  return false;
}

/** Whether none of the others returned before this one was called. */
function mayBeNext({ calledAt }: Recorded, left: readonly Recorded[]): boolean {
  return left.every(({ returnedAt }) => returnedAt > calledAt);
}

function inWords({ name, input, output, returnedAt }: Recorded): string {
  const given = input === undefined ? "" : JSON.stringify(input);
  return returnedAt === Infinity
    ? `${name}(${given})`
    : `${name}(${given}) = ${JSON.stringify(output) ?? "nothing"}`;
}
