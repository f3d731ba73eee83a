/** Scenarios as a user would export them from a module: a counter with and without its lock. */

import { defineScenario } from "../../src/checker/scenario.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";
import { Mutex } from "../../src/sync/primitives/mutex.ts";
import type { SharedMemory } from "../../src/sync/shared-memory.ts";
import { access } from "../../src/sync/tasks/task.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { CONTROL_WORDS } from "../../src/sync/control-block.ts";

interface Counter {
  readonly memory: SharedMemory;
  readonly lock: Mutex;
  readonly at: number;
}

function* increment({ memory, lock, at }: Counter, isLocked: boolean): Task<void> {
  if (isLocked) yield* lock.lock();
  yield* access(memory, "read", at, 1, "counter");
  const value = memory.words[at] ?? 0;
  yield* access(memory, "write", at, 1, "counter");
  memory.words[at] = value + 1;
  if (isLocked) yield* lock.unlock();
}

function counter(
  name: string,
  isLocked: boolean,
  expects: Pick<AnyScenario, "expects"> = {},
): AnyScenario {
  return defineScenario<Counter>({
    name,
    summary: "two threads count",
    ...expects,
    setup(memory) {
      const lock = new Mutex(memory, CONTROL_WORDS);
      lock.init();
      return { memory, lock, at: CONTROL_WORDS + Mutex.WORDS };
    },
    tasks: {
      a: (shared) => increment(shared, isLocked),
      b: (shared) => increment(shared, isLocked),
    },
    check({ memory, at }) {
      if (memory.words[at] !== 2) throw new Error(`counted ${memory.words[at] ?? 0}, not 2`);
    },
  });
}

const scenarios: readonly AnyScenario[] = [
  counter("locked", true),
  counter("unlocked", false, { expects: "assertion" }),
  counter("surprising", false),
  counter("other-kind", false, { expects: "deadlock" }),
  counter("not-broken", true, { expects: "deadlock" }),
];
export default scenarios;
