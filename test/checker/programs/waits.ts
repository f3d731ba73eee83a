/**
 * @module The programs of the counts that wait: condition variables, wait queues, timeouts,
 * spurious wakes.
 */

import type { Cell, Condition, Places } from "../../../src/checker/primitives/program.ts";
import type { Scenario } from "../../../src/checker/scenario.ts";
import type { SharedMemory } from "../../../src/sync/shared-memory.ts";
import { TIMED_OUT, describe } from "../../../src/sync/tasks/task.ts";
import type { Task, Wake } from "../../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../../src/sync/primitives/wait-queue.ts";
import { program } from "./program-of.ts";
import type { Body } from "./program-of.ts";

type Program = Scenario<unknown>;

function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

interface Conditional {
  readonly condition: Condition;
  readonly x: Cell;
}

function conditional(places: Places): Conditional {
  return { condition: places.condition("c"), x: places.cell("x") };
}

type Waiting = "once" | "loop" | "timed" | "blind";

function waiter(how: Waiting): Body<Conditional> {
  return function* ({ condition, x }) {
    yield* condition.mutex.lock();
    if (how === "loop") while ((yield* x.load()) === 0) yield* condition.wait();
    else if (how === "blind" || (yield* x.load()) === 0)
      yield* condition.wait(how === "timed" ? 10 : Infinity);
    yield* condition.mutex.unlock();
  };
}

function waker(wake: "signal" | "broadcast"): Body<Conditional> {
  return function* ({ condition, x }) {
    yield* condition.mutex.lock();
    yield* x.store(1);
    yield* condition[wake]();
    yield* condition.mutex.unlock();
  };
}

export function cond(n: number, wake: "signal" | "broadcast", how: Waiting): Program {
  return program(`cond(${n}, ${wake}, ${how})`, conditional, [
    waker(wake),
    ...times(n, () => waiter(how)),
  ]);
}

/** Waits without a test of the condition; the broadcast comes without the mutex. */
export function blindWait(): Program {
  const broadcaster: Body<Conditional> = ({ condition }) => condition.broadcast();
  return program("blind wait", conditional, [broadcaster, waiter("blind")]);
}

interface Queue {
  readonly queue: WaitQueue;
  readonly c: Cell;
  readonly memory: SharedMemory;
}

function queued(places: Places): Queue {
  const c = places.cell("c");
  return { queue: new WaitQueue(c.memory, places.take(WaitQueue.WORDS)), c, memory: c.memory };
}

const setAndWake: Body<Queue> = function* ({ queue, c }) {
  yield* c.store(1);
  yield* queue.wakeAll();
};

/** The shipped WaitQueue. */
export function waitEvent(n: number, timeoutMs: number): Program {
  const body: Body<Queue> = ({ queue, c }) => queue.waitEvent(() => c.peek() !== 0, timeoutMs);
  return program(`wait_event(${n}, ${timeoutMs})`, queued, [setAndWake, ...times(n, () => body)]);
}

/** Enqueue, read, park, dequeue by hand; `broken` reads before it enqueues, and only once. */
export function handMade(n: number, broken: boolean, timeoutMs: number): Program {
  const name = `${broken ? "broken" : "sound"} wait(${n}, ${timeoutMs})`;
  const sound: Body<Queue> = function* (shared): Task<void> {
    for (;;) {
      const sequence = yield* enqueue(shared);
      if (yield* holds(shared)) break;
      if ((yield* sleep(shared, sequence, timeoutMs)) === TIMED_OUT) break;
    }
    yield describe("dequeue", shared.memory, shared.queue.at, WaitQueue.WORDS, "queue");
  };
  const wrong: Body<Queue> = function* (shared): Task<void> {
    if ((yield* shared.c.load()) === 0) yield* sleep(shared, yield* enqueue(shared), timeoutMs);
    yield describe("dequeue", shared.memory, shared.queue.at, WaitQueue.WORDS, "queue");
  };
  return program(name, queued, [setAndWake, ...times(n, () => (broken ? wrong : sound))]);
}

function* enqueue({ memory, queue }: Queue): Task<number> {
  yield describe("enqueue", memory, queue.at, WaitQueue.WORDS, "queue");
  return memory.words[queue.at]!;
}

/**
 * The condition, as one that says what it reads: with the park after it, it is the task's second
 * operation of the queue.
 */
function* holds({ memory, queue, c }: Queue): Task<boolean> {
  yield describe("testCondition", memory, queue.at, 0, "queue", 0, Infinity, {
    at: c.at,
    words: 1,
  });
  return c.peek() !== 0;
}

function* sleep({ memory, queue }: Queue, sequence: number, timeoutMs: number): Task<Wake> {
  return yield describe("park", memory, queue.at, 1, "queue", sequence, timeoutMs);
}
