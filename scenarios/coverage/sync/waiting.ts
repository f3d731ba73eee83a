/** @module Wait queues, completions and sequence counts: no wake is lost, and what is read belongs together. */

import { Places } from "../../../src/checker/pieces/program.ts";
import type { Cell } from "../../../src/checker/pieces/program.ts";
import { Completion } from "../../../src/sync/completion.ts";
import { assert } from "../../../src/sync/errors.ts";
import { SeqCount } from "../../../src/sync/seqcount.ts";
import type { Task } from "../../../src/sync/task.ts";
import { WaitQueue } from "../../../src/sync/wait-queue.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";

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
  queue.init();
  return { queue, flag: places.cell("flag"), gaveUp: places.cell("gave up"), used: places.cell("used") };
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

const WAIT = ["sync/wait-queue.waitEvent"] as const;

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
    waker: { runs: ["sync/wait-queue.wakeAll"], body: setAndWake },
  },
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

/** Takes one of what there is; the condition may have stopped to hold by then, so looks again. */
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
    giver: { runs: ["sync/wait-queue.wakeOne"], body: (shared) => giveTwo(shared, 2) },
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
  done.init();
  return { done, result: places.cell("result") };
}

function* awaitResult({ done, result }: Once): Task<void> {
  yield* done.wait();
  assert((yield* result.load()) === 7, "the wait ended before there was a result");
}

function* awaitBriefly({ done, result }: Once): Task<void> {
  if (yield* done.wait(10)) assert((yield* result.load()) === 7, "the wait ended before there was a result");
}

const completeAll = covering<Once>({
  layer: "sync",
  name: "completion-all",
  summary: "One waits for a result, one for a while, and a third gives it to all.",
  setup: once,
  tasks: {
    waiter: { runs: ["sync/completion.wait"], body: awaitResult },
    impatient: { runs: ["sync/completion.wait"], body: awaitBriefly },
    worker: {
      runs: ["sync/completion.completeAll"],
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
    first: { runs: ["sync/completion.wait"], body: ({ done }) => done.wait() },
    second: { runs: ["sync/completion.wait"], body: ({ done }) => done.wait() },
    worker: { runs: ["sync/completion.complete"], body: ({ done }) => done.complete() },
    other: { runs: ["sync/completion.complete"], body: ({ done }) => done.complete() },
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
  summary: "A writer changes two words twice; a reader uses them only if no writer came in between.",
  setup: (memory) => {
    const places = new Places(memory);
    const sequence = new SeqCount(memory, places.take(SeqCount.WORDS), { name: "sequence" });
    sequence.init();
    return { sequence, left: places.cell("left"), right: places.cell("right") };
  },
  tasks: {
    writer: {
      runs: ["sync/seqcount.writeBegin", "sync/seqcount.writeEnd"],
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
      runs: ["sync/seqcount.readBegin", "sync/seqcount.readRetry"],
      body: (shared) => readSequenced(shared, true),
    },
  },
  twins: [
    {
      name: "without-retry",
      summary: "The reader does not look whether a writer came.",
      expects: "assertion",
      tasks: { reader: (shared) => readSequenced(shared, false) },
    },
  ],
});

export const waits: readonly Covered[] = [waitQueue, wakeOne, completeAll, completeEach, seqCount];
