/**
 * @module How a stepping form is called: in place of a function or method that is known only at run
 * time, by explored tasks that are written by hand, and in place of a thread's runner.
 */

import {
  atomicAdd as nativeAdd,
  atomicAnd as nativeAnd,
  atomicExchange as nativeExchange,
  atomicOr as nativeOr,
  atomicSub as nativeSub,
  atomicXor as nativeXor,
} from "../../atomics.ts";
import type { AtomicArray } from "../../atomics.ts";
import { bug } from "../../errors.ts";
import type { SharedMemory } from "../../shared-memory.ts";
import { doneValue } from "../../tasks/task.ts";
import type { Task } from "../../tasks/task.ts";
import {
  atomicAdd,
  atomicAnd,
  atomicExchange,
  atomicOr,
  atomicSub,
  atomicXor,
} from "./accesses.ts";

type Access = (
  label: string,
  array: AtomicArray,
  index: number,
  ...rest: number[]
) => Task<number | void>;

/** Stepping forms of the accesses that are passed around as values. */
const formOf = new Map<unknown, Access>([
  [nativeAdd, atomicAdd],
  [nativeSub, atomicSub],
  [nativeAnd, atomicAnd],
  [nativeOr, atomicOr],
  [nativeXor, atomicXor],
  [nativeExchange, atomicExchange],
]);

/** `operation(...)`, for a function that was passed in: by its stepping form, if it has one. */
export function* apply(
  label: string,
  operation: (...given: readonly unknown[]) => unknown,
  ...given: readonly unknown[]
): Task<unknown> {
  const form = formOf.get(operation);
  if (form === undefined) {
    // Made by the derivation, or undefined.
    const stepping = Reflect.get(operation, "$steps") as Stepping | undefined;
    return stepping === undefined ? operation(...given) : yield* stepping(...given);
  }
  // as every access takes them
  const [array, index, ...rest] = given as readonly [AtomicArray, number, ...number[]];
  return yield* form(label, array, index, ...rest);
}

type Method = (...rest: readonly unknown[]) => unknown;
type Stepping = (...rest: readonly unknown[]) => Task<unknown>;

/** By name of a method: that of its stepping form. */
const formNames = new Map<string, string>();

function formNameOf(name: string): string {
  let form = formNames.get(name);
  if (form === undefined) formNames.set(name, (form = `${name}$steps`));
  return form;
}

/** `object[name](...)`: by its stepping form, if it has one. */
export function call(object: object, name: string, ...given: readonly unknown[]): Task<unknown> {
  // Made by the derivation, or undefined.
  const stepping = Reflect.get(object, formNameOf(name)) as Stepping | undefined;
  if (stepping !== undefined) return stepping.apply(object, given as unknown[]);
  const plain = Reflect.get(object, name) as Method; // as the plain form calls it
  return doneValue(plain.apply(object, given as unknown[]));
}

type MethodsOf<O, R> = {
  [K in keyof O]: O[K] extends (...given: never[]) => R ? K : never;
}[keyof O] &
  string;
type Given<M> = M extends (...given: infer A) => unknown ? A : never;
type Result<M> = M extends (...given: never[]) => infer R ? R : never;

/**
 * For explored tasks: calls a method by its stepping form. Throws if the modules are not the
 * derived ones.
 *
 *     const value = yield* callInSteps(cache.u32, "load", address);
 */
export function callInSteps<O extends object, K extends MethodsOf<O, unknown>>(
  object: O,
  name: K,
  ...given: Given<O[K]>
): Task<Result<O[K]>> {
  const stepping = Reflect.get(object, `${name}$steps`) as
    | ((...given: Given<O[K]>) => Task<Result<O[K]>>)
    | undefined;
  if (stepping === undefined) bug(notDerived(name));
  return stepping.apply(object, given);
}

/** As {@link callInSteps}, for a function. */
export function runInSteps<A extends readonly unknown[], R>(
  operation: (...given: A) => R,
  ...given: A
): Task<R> {
  // Made by the derivation.
  const stepping = Reflect.get(operation, "$steps") as ((...given: A) => Task<R>) | undefined;
  if (stepping === undefined) bug(notDerived(operation.name));
  return stepping(...given);
}

/** The stepping form of runBlocking: the task becomes part of the task that runs it. */
export function* runBlocking<T>(_label: string, _memory: SharedMemory, task: Task<T>): Task<T> {
  return yield* task;
}

/**
 * Runs a task to its end inside an explored task. It takes the place of a thread's runner there.
 */
export class SteppingRunner {
  runToEnd<T>(_task: Task<T>): T {
    bug(notDerived("a task"));
  }

  *runToEnd$steps<T>(task: Task<T>): Task<T> {
    return yield* task;
  }
}

function notDerived(name: string): string {
  return `Cannot explore ${name} step by step: this is the plain build; run what "npm run build" derives in "stepped"`;
}
