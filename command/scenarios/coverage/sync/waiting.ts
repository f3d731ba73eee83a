/**
 * @module Wait queues, completions and sequence counts: no wakeup is lost, and what is read is
 * consistent.
 */

import { Places } from "../../../../src/checker/primitives/program.ts";
import type { Cell } from "../../../../src/checker/primitives/program.ts";
import { Completion } from "../../../../src/sync/primitives/completion.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { SeqCount } from "../../../../src/sync/primitives/seqcount.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { runInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../../../src/sync/primitives/wait-queue.ts";
import {
  compareExchangeWord,
  readWord,
  writeWord,
} from "../../../../src/sync/primitives/word-steps.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";

/** Its words may have held anything before. */
function soil({ memory, at }: { readonly memory: SharedMemory; readonly at: number }): void {
  memory.words[at] = 7;
}

/** For a wait queue and a sequence count: the count of waiters is 0. */
function nobodyWaits({ memory, at }: WaitQueue | SeqCount): void {
  assert(memory.words[at + 1] === 0, `${memory.words[at + 1]} are said to wait, and nobody does`);
}

interface Waiting {
  readonly queue: WaitQueue;
  readonly flag: Cell;
  /** How many waiters gave up, and how many used something up. */
  readonly gaveUp: Cell;
  readonly used: Cell;
}

function waiting(memory: ConstructorParameters<typeof Places>[0]): Waiting {
  const places = new Places(memory);
  const queue = new WaitQueue(memory, places.take(WaitQueue.WORDS), { name: "queue" });
  soil(queue);
  queue.init();
  return {
    queue,
    flag: places.cell("flag"),
    gaveUp: places.cell("gave up"),
    used: places.cell("used"),
  };
}

function* waitForFlag({ queue, flag }: Waiting): Task<void> {
  assert(yield* queue.waitEvent(() => flag.peek() !== 0), "the wait without an end timed out");
  assert(flag.peek() !== 0, "the wait ended before the condition held");
}

function* waitAWhile({ queue, flag, gaveUp }: Waiting): Task<void> {
  const isSet = yield* queue.waitEvent(() => flag.peek() !== 0, 10);
  assert(!isSet || flag.peek() !== 0, "the wait ended before the condition held");
  if (!isSet) yield* gaveUp.fetchAdd(1);
}

function* setAndWake({ queue, flag }: Waiting): Task<void> {
  yield* flag.store(1);
  yield* queue.wakeAll();
}

const WAIT = ["sync/primitives/wait-queue.waitEvent"] as const;

const waitQueue = covering<Waiting>({
  layer: "sync",
  name: "wait-queue",
  summary:
    "One waits until a flag is set, one for a while; both may wake for no reason; a third sets it and wakes all.",
  exploration: { spuriousWakes: 1 },
  setup: waiting,
  tasks: {
    waiter: { runs: WAIT, body: waitForFlag },
    impatient: { runs: WAIT, body: waitAWhile },
    waker: { runs: ["sync/primitives/wait-queue.wakeAll"], body: setAndWake },
  },
  check: ({ queue }) => nobodyWaits(queue),
  twins: [
    {
      name: "wake-first",
      summary: "The waker wakes before it sets the flag.",
      expects: "lost-wakeup",
      tasks: {
        *waker({ queue, flag }) {
          yield* queue.wakeAll();
          yield* flag.store(1);
        },
      },
    },
  ],
});

/** Takes one item. The condition may be false again by then, so it rechecks. */
function* takeOne({ queue, flag, used }: Waiting): Task<void> {
  for (;;) {
    yield* queue.waitEvent(() => flag.peek() > 0);
    const left = yield* flag.load();
    if (left > 0 && (yield* flag.compareExchange(left, left - 1))) break;
  }
  yield* used.fetchAdd(1);
}

function* giveTwo({ queue, flag }: Waiting, wakes: number): Task<void> {
  for (let i = 0; i < 2; i++) {
    yield* flag.fetchAdd(1);
    if (i < wakes) yield* queue.wakeOne();
  }
}

const wakeOne = covering<Waiting>({
  layer: "sync",
  name: "wake-one",
  summary: "Two wait for one thing each, of two that come one by one with a wake of one.",
  exploration: { engine: "bounded", preemptions: 3 },
  setup: waiting,
  tasks: {
    first: { runs: WAIT, body: takeOne },
    second: { runs: WAIT, body: takeOne },
    giver: { runs: ["sync/primitives/wait-queue.wakeOne"], body: (shared) => giveTwo(shared, 2) },
  },
  check: ({ flag, used }) =>
    assert(flag.peek() === 0 && used.peek() === 2, "something was used up twice or not at all"),
  twins: [
    {
      name: "one-wake-for-two",
      summary: "Only the first of the two comes with a wake.",
      expects: "lost-wakeup",
      tasks: { giver: (shared) => giveTwo(shared, 1) },
    },
  ],
});

interface Once {
  readonly done: Completion;
  readonly result: Cell;
}

function once(memory: ConstructorParameters<typeof Places>[0]): Once {
  const places = new Places(memory);
  const done = new Completion(memory, places.take(Completion.WORDS), { name: "done" });
  soil(done);
  done.init();
  return { done, result: places.cell("result") };
}

function* awaitResult({ done, result }: Once): Task<void> {
  yield* done.wait();
  assert((yield* result.load()) === 7, "the wait ended before there was a result");
}

function* awaitBriefly({ done, result }: Once): Task<void> {
  if (yield* done.wait(10))
    assert((yield* result.load()) === 7, "the wait ended before there was a result");
}

const completeAll = covering<Once>({
  layer: "sync",
  name: "completion-all",
  summary: "One waits for a result, one for a while, and a third gives it to all.",
  setup: once,
  tasks: {
    waiter: { runs: ["sync/primitives/completion.wait"], body: awaitResult },
    impatient: { runs: ["sync/primitives/completion.wait"], body: awaitBriefly },
    worker: {
      runs: ["sync/primitives/completion.completeAll"],
      *body({ done, result }) {
        yield* result.store(7);
        yield* done.completeAll();
      },
    },
  },
  check: ({ done }) => assert(done.isDone(), "completed for all, and yet used up"),
  twins: [
    {
      name: "complete-first",
      summary: "The worker completes before the result is there.",
      expects: "assertion",
      tasks: {
        *worker({ done, result }) {
          yield* done.completeAll();
          yield* result.store(7);
        },
      },
    },
    {
      name: "complete-one",
      summary: "It completes for one of the two only, and the other never gives up.",
      expects: "deadlock",
      tasks: {
        impatient: awaitResult,
        *worker({ done, result }) {
          yield* result.store(7);
          yield* done.complete();
        },
      },
    },
  ],
});

const completeEach = covering<Once>({
  layer: "sync",
  name: "completion-each",
  summary: "Two wait for one completion each; each of the two completions lets exactly one go.",
  setup: once,
  tasks: {
    first: { runs: ["sync/primitives/completion.wait"], body: ({ done }) => done.wait() },
    second: { runs: ["sync/primitives/completion.wait"], body: ({ done }) => done.wait() },
    worker: { runs: ["sync/primitives/completion.complete"], body: ({ done }) => done.complete() },
    other: { runs: ["sync/primitives/completion.complete"], body: ({ done }) => done.complete() },
  },
  check: ({ done }) => assert(!done.isDone(), "a completion was not used up"),
});

interface Sequenced {
  readonly sequence: SeqCount;
  readonly left: Cell;
  readonly right: Cell;
}

function* readSequenced({ sequence, left, right }: Sequenced, retries: boolean): Task<void> {
  for (;;) {
    const before = yield* sequence.readBegin();
    const a = yield* left.load();
    const b = yield* right.load();
    if (retries && (yield* sequence.readRetry(before))) continue;
    assert(a === b, "a reader uses what does not belong together");
    return;
  }
}

const seqCount = covering<Sequenced>({
  layer: "sync",
  name: "seqcount",
  summary:
    "A writer changes two words twice; a reader uses them only if no writer came in between.",
  setup: (memory) => {
    const places = new Places(memory);
    const sequence = new SeqCount(memory, places.take(SeqCount.WORDS), { name: "sequence" });
    soil(sequence);
    sequence.init();
    return { sequence, left: places.cell("left"), right: places.cell("right") };
  },
  tasks: {
    writer: {
      runs: ["sync/primitives/seqcount.writeBegin", "sync/primitives/seqcount.writeEnd"],
      *body({ sequence, left, right }) {
        for (let i = 1; i <= 2; i++) {
          yield* sequence.writeBegin();
          yield* left.store(i);
          yield* right.store(i);
          yield* sequence.writeEnd();
        }
      },
    },
    reader: {
      runs: ["sync/primitives/seqcount.readBegin", "sync/primitives/seqcount.readRetry"],
      body: (shared) => readSequenced(shared, true),
    },
  },
  check: ({ sequence }) => nobodyWaits(sequence),
  twins: [
    {
      name: "without-retry",
      summary: "The reader does not look whether a writer came.",
      expects: "assertion",
      tasks: { reader: (shared) => readSequenced(shared, false) },
    },
  ],
});

/** One task waits and one wakes: few enough to explore every order of the accesses inside. */
const oneWake = covering<Waiting>({
  layer: "sync",
  name: "one-wake",
  summary: "One waits until a flag is set, and another one sets it and wakes it.",
  setup: waiting,
  tasks: {
    waiter: { runs: WAIT, body: waitForFlag },
    waker: {
      runs: ["sync/primitives/wait-queue.wakeOne"],
      *body({ queue, flag }) {
        yield* flag.store(1);
        yield* queue.wakeOne();
      },
    },
  },
  check: ({ queue }) => nobodyWaits(queue),
  twins: [
    {
      name: "wake-first",
      summary: "The waker wakes before it sets the flag.",
      expects: "lost-wakeup",
      tasks: {
        *waker({ queue, flag }) {
          yield* queue.wakeOne();
          yield* flag.store(1);
        },
      },
    },
  ],
});

function* writeOnce({ sequence, left, right }: Sequenced): Task<void> {
  yield* sequence.writeBegin();
  yield* left.store(1);
  yield* right.store(1);
  yield* sequence.writeEnd();
}

const readersAsleep = covering<Sequenced>({
  layer: "sync",
  name: "seqcount-asleep",
  summary: "Two readers come while a writer is inside, and sleep until it has gone.",
  setup: (memory) => {
    const places = new Places(memory);
    const sequence = new SeqCount(memory, places.take(SeqCount.WORDS), { name: "sequence" });
    sequence.init();
    return { sequence, left: places.cell("left"), right: places.cell("right") };
  },
  tasks: {
    writer: {
      runs: ["sync/primitives/seqcount.writeBegin", "sync/primitives/seqcount.writeEnd"],
      body: writeOnce,
    },
    reader: {
      runs: ["sync/primitives/seqcount.readBegin"],
      body: (shared) => readSequenced(shared, true),
    },
    other: {
      runs: ["sync/primitives/seqcount.readBegin"],
      body: (shared) => readSequenced(shared, true),
    },
  },
  check: ({ sequence }) => nobodyWaits(sequence),
  twins: [
    {
      name: "without-retry",
      summary: "A reader does not look whether a writer came.",
      expects: "assertion",
      tasks: { reader: (shared) => readSequenced(shared, false) },
    },
  ],
});

interface Words {
  readonly memory: SharedMemory;
  readonly count: number;
  readonly ready: Cell;
}

function* addByWords({ memory, count }: Words): Task<void> {
  for (;;) {
    const seen = yield* yield* runInSteps(readWord, memory, count, "count");
    const before = yield* yield* runInSteps(
      compareExchangeWord,
      memory,
      count,
      seen,
      seen + 1,
      "count",
    );
    if (before === seen) return;
  }
}

function* addCarelessly({ memory, count }: Words): Task<void> {
  const seen = yield* yield* runInSteps(readWord, memory, count, "count");
  yield* yield* runInSteps(writeWord, memory, count, seen + 1, "count");
}

const words = covering<Words>({
  layer: "sync",
  name: "words",
  summary: "Two count up a word by compare-and-swap, after a third has set it to where to begin.",
  setup: (memory) => {
    const places = new Places(memory);
    return { memory, count: places.take(1), ready: places.cell("ready") };
  },
  tasks: {
    first: {
      runs: [
        "sync/primitives/word-steps.readWord",
        "sync/primitives/word-steps.writeWord",
        "sync/primitives/word-steps.compareExchangeWord",
      ],
      *body(shared) {
        yield* yield* runInSteps(writeWord, shared.memory, shared.count, 40, "count");
        yield* shared.ready.store(1);
        yield* addByWords(shared);
      },
    },
    second: {
      runs: ["sync/primitives/word-steps.compareExchangeWord"],
      *body(shared) {
        yield* shared.ready.waitWhile(0);
        yield* addByWords(shared);
      },
    },
  },
  check: ({ memory, count }) =>
    assert(memory.words[count] === 42, `40 and two more are ${memory.words[count]}`),
  twins: [
    {
      name: "careless",
      summary: "One of them does not compare.",
      expects: "assertion",
      tasks: {
        *second(shared) {
          yield* shared.ready.waitWhile(0);
          yield* addCarelessly(shared);
        },
      },
    },
  ],
});

export const waits: readonly Covered[] = [
  waitQueue,
  wakeOne,
  oneWake,
  completeAll,
  completeEach,
  seqCount,
  readersAsleep,
  words,
];
