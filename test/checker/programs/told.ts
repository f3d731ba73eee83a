/**
 * @module Small broken programs whose timelines are compared letter by letter: nothing else may
 * stand in this file.
 */

import assert from "node:assert/strict";
import { Objects } from "../../../src/checker/primitives/objects.ts";
import { Cell, Places } from "../../../src/checker/primitives/program.ts";
import type { PlainCell } from "../../../src/checker/primitives/program.ts";
import { defineScenario } from "../../../src/checker/scenario.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import type { Mutex } from "../../../src/sync/primitives/mutex.ts";
import { RefCount } from "../../../src/sync/primitives/refcount.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../../src/sync/primitives/wait-queue.ts";

interface TwoLocks {
  readonly a: Mutex;
  readonly b: Mutex;
}

function* takeBoth(outer: Mutex, inner: Mutex): Task<void> {
  yield* outer.lock();
  yield* inner.lock();
  yield* inner.unlock();
  yield* outer.unlock();
}

/** AB and BA. */
export const deadlock: AnyScenario = defineScenario<TwoLocks>({
  name: "told/deadlock",
  summary: "two tasks take two locks in opposite orders",
  expects: "deadlock",
  exploration: { lockdep: false },
  setup: (memory) => {
    const places = new Places(memory);
    return { a: places.mutex("a"), b: places.mutex("b") };
  },
  tasks: {
    left: ({ a, b }) => takeBoth(a, b),
    right: ({ a, b }) => takeBoth(b, a),
  },
});

interface Waiting {
  readonly queue: WaitQueue;
  readonly isReady: Cell;
}

/** Looks before it queues, so the wake may come in between. */
function* lookThenSleep({ queue, isReady }: Waiting): Task<void> {
  if ((yield* isReady.load()) === 0) {
    let isFirst = true;
    yield* queue.waitEvent(() => {
      const enough = !isFirst;
      isFirst = false;
      return enough;
    }, Infinity);
  }
}

export const lostWakeup: AnyScenario = defineScenario<Waiting>({
  name: "told/lost-wakeup",
  expects: "lost-wakeup",
  setup: (memory) => {
    const places = new Places(memory);
    return {
      queue: new WaitQueue(memory, places.take(WaitQueue.WORDS)),
      isReady: places.cell("isReady"),
    };
  },
  tasks: {
    sleeper: lookThenSleep,
    *waker({ queue, isReady }) {
      yield* isReady.store(1);
      yield* queue.wakeAll();
    },
  },
});

interface Counted {
  readonly objects: Objects;
  readonly pointer: Cell;
}

const OBJECT_WORDS = 2;

/** The last reference frees; the reader takes one without asking whether there is any left. */
export const usedAfterFree: AnyScenario = defineScenario<Counted>({
  name: "told/use-after-free",
  summary: "a reader takes a reference to what its owner gives up",
  expects: "use-after-free",
  setup: (memory) => {
    const places = new Places(memory);
    return { pointer: places.cell("pointer"), objects: new Objects(memory, places.take(64), 16) };
  },
  tasks: {
    *owner({ objects, pointer }) {
      const at = yield* objects.alloc(OBJECT_WORDS, "mirror");
      const references = new RefCount(pointer.memory, at);
      references.init(1);
      yield* pointer.store(at);
      if (yield* references.put()) yield* objects.free(at, OBJECT_WORDS, "mirror");
    },
    *reader({ objects, pointer }) {
      const at = yield* pointer.load();
      if (at === 0) return;
      const references = new RefCount(pointer.memory, at);
      if (!(yield* references.getNotZero())) return;
      if (yield* references.put()) yield* objects.free(at, OBJECT_WORDS, "mirror");
    },
    *bystander({ pointer }) {
      yield* new Cell(pointer.memory, pointer.at + 1, "elsewhere").load();
      yield* new Cell(pointer.memory, pointer.at + 1, "elsewhere").load();
    },
  },
});

interface Published {
  readonly data: PlainCell;
  readonly isSet: Cell;
}

/** The flag is set before the data. */
export const dataRace: AnyScenario = defineScenario<Published>({
  name: "told/data-race",
  expects: "data-race",
  setup: (memory) => {
    const places = new Places(memory);
    return { data: places.plainCell("data"), isSet: places.cell("isSet") };
  },
  tasks: {
    *writer({ data, isSet }) {
      yield* isSet.store(1);
      data.store(42);
    },
    *reader({ data, isSet }) {
      if ((yield* isSet.load()) === 1) data.load();
    },
  },
});

/** Two increments of which one is lost. */
export const lostUpdate: AnyScenario = defineScenario<Cell>({
  name: "told/lost-update",
  expects: "assertion",
  setup: (memory) => new Places(memory).cell("x"),
  tasks: {
    *one(x) {
      yield* x.store((yield* x.load()) + 1);
    },
    *two(x) {
      yield* x.store((yield* x.load()) + 1);
    },
  },
  check: (x) => assert.equal(x.peek(), 2, "an increment was lost"),
  describe: (x) => [{ title: "counter", rows: [["x", String(x.peek())]] }],
});

/** One after the other, so nothing deadlocks; but the orders are opposite. */
export const lockOrder: AnyScenario = defineScenario<TwoLocks & { readonly turn: Cell }>({
  name: "told/lock-order",
  expects: "lock-order",
  setup: (memory) => {
    const places = new Places(memory);
    return { a: places.mutex("order.a"), b: places.mutex("order.b"), turn: places.cell("turn") };
  },
  tasks: {
    *first({ a, b, turn }) {
      yield* takeBoth(a, b);
      yield* turn.store(1);
    },
    *second({ a, b, turn }) {
      yield* turn.waitWhile(0);
      yield* takeBoth(b, a);
    },
  },
});

const STEPS_ALLOWED = 60;

/** Waits without saying so. */
export const endless: AnyScenario = defineScenario<Cell>({
  name: "told/endless",
  expects: "endless",
  exploration: { maxSteps: STEPS_ALLOWED },
  setup: (memory) => new Places(memory).cell("isSet"),
  tasks: {
    *setter(isSet) {
      yield* isSet.load();
      yield* isSet.store(1);
    },
    *spinner(isSet) {
      while ((yield* isSet.load()) === 0);
    },
  },
});
