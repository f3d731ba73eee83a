/**
 * @module Sees every access of a scenario's tasks to the kernel heap, plain or atomic, and tells
 * the checker of it as a plain one. What the running step names is that step; anything else that
 * nothing orders is reported as a data race. So a place in the shipped code at which another thread
 * can come in, and that is no scheduling point, shows.
 *
 * It replaces functions of `Atomics` and puts a Proxy in the place of `memory.words`: slow, and for
 * a test process of its own.
 */

import { explore } from "../../src/checker/explore.ts";
import type { ExploreOptions, Exploration } from "../../src/checker/explore.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";
import { notePlainAccess } from "../../src/checker/watch/plain-accesses.ts";
import { CONTROL_WORDS } from "../../src/sync/control-block.ts";
import { askToGoOn } from "../../src/sync/tasks/task.ts";
import type { Task, Wake } from "../../src/sync/tasks/task.ts";

/** Functions of `Atomics` that access an element, and whether they write it. */
const accesses: Readonly<Record<string, boolean>> = {
  load: false,
  store: true,
  add: true,
  sub: true,
  and: true,
  or: true,
  xor: true,
  exchange: true,
  compareExchange: true,
};

type ElementAccess = (array: Int32Array, index: number, ...rest: number[]) => number;

const arrayOf = new WeakMap<object, Int32Array>();
let isTaskRunning = false;

function note(index: number, isWrite: boolean): void {
  // The control block is each thread's own, or the business of sync/.
  if (isTaskRunning && index >= CONTROL_WORDS) notePlainAccess(index, isWrite, `word ${index}`);
}

for (const [name, isWrite] of Object.entries(accesses)) {
  const real = Reflect.get(Atomics, name) as ElementAccess;
  const replacement: ElementAccess = (array, index, ...rest) => {
    const target = arrayOf.get(array);
    if (target !== undefined) note(index, isWrite);
    return real(target ?? array, index, ...rest);
  };
  Reflect.set(Atomics, name, replacement);
}

// A wake is no access, but the native one takes no Proxy.
const notify = Reflect.get(Atomics, "notify") as ElementAccess;
Reflect.set(Atomics, "notify", (array: Int32Array, index: number, ...rest: number[]) => {
  return notify(arrayOf.get(array) ?? array, index, ...rest);
});

function watched(words: Int32Array): Int32Array {
  const proxy = new Proxy(words, {
    get(target, key) {
      const index = typeof key === "string" ? Number(key) : Number.NaN;
      if (Number.isInteger(index)) {
        note(index, false);
        return target[index];
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function"
        ? (value as (...rest: unknown[]) => unknown).bind(target)
        : value;
    },
    set(target, key, value: number) {
      note(Number(key), true);
      target[Number(key)] = value;
      return true;
    },
  });
  arrayOf.set(proxy, words);
  return proxy;
}

function* asTask(task: Task<unknown>): Task<unknown> {
  let wake: Wake = 0;
  for (;;) {
    // No step of the checker's own runs inside the task: its accesses would count as the task's.
    askToGoOn(undefined);
    isTaskRunning = true;
    let result: ReturnType<typeof task.next>;
    try {
      result = task.next(wake);
    } finally {
      isTaskRunning = false;
    }
    if (result.done === true) return result.value;
    wake = yield result.value;
  }
}

/** As `explore`, of a scenario with a memory of its own. */
export function exploreEveryAccess(scenario: AnyScenario, options: ExploreOptions): Exploration {
  const memory = scenario.memory?.();
  if (memory === undefined) throw new Error(`${scenario.name} has no memory of its own`);
  const { words } = memory;
  const tasks = Object.entries(scenario.tasks).map(([name, task]) => {
    return [name, (shared: unknown) => asTask(task(shared))] as const;
  });
  memory.words = watched(words);
  try {
    const seen = { ...scenario, tasks: Object.fromEntries(tasks) };
    const found = explore(seen, options);
    // Places in the code take long to find out, so they are looked for only when somebody will read
    // them.
    return found.findings.length === 0 ? found : explore(seen, { ...options, withSites: true });
  } finally {
    memory.words = words;
  }
}
