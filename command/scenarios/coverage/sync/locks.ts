/**
 * @module The locks of sync/: what they guard changes as a whole or not at all, in every order of
 * the tasks that take them.
 */

import { Places } from "../../../../src/checker/primitives/program.ts";
import type { Cell } from "../../../../src/checker/primitives/program.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { lockClass } from "../../../../src/sync/lock-class.ts";
import { Mutex } from "../../../../src/sync/primitives/mutex.ts";
import { RwSem } from "../../../../src/sync/primitives/rwsem.ts";
import { Spinlock } from "../../../../src/sync/primitives/spinlock.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";

interface Counter<L> {
  readonly lock: L;
  /** Guarded by the lock. */
  readonly count: Cell;
}

function* addOne({ count }: Counter<unknown>): Task<void> {
  yield* count.store((yield* count.load()) + 1);
}

function* lockAndAdd(counter: Counter<Mutex | Spinlock>): Task<void> {
  yield* counter.lock.lock();
  assert(counter.lock.isLocked(), "the lock is free although it was taken");
  yield* addOne(counter);
  yield* counter.lock.unlock();
}

/** Adds 1 if the lock is free, and 10 if it is not. So the sum shows what happened. */
function* tryToAdd({ lock, count }: Counter<Mutex | Spinlock>, missed: Cell): Task<void> {
  if (yield* lock.tryLock()) {
    yield* addOne({ lock, count });
    yield* lock.unlock();
  } else yield* missed.store(1);
}

const LOCK = ["sync/primitives/lock-word.lock", "sync/primitives/lock-word.unlock"] as const;
const TRY_LOCK = ["sync/primitives/lock-word.tryLock", "sync/primitives/lock-word.unlock"] as const;

interface Tried extends Counter<Mutex | Spinlock> {
  readonly missed: Cell;
}

function exclusion(name: string, summary: string, Lock: typeof Mutex | typeof Spinlock): Covered {
  return covering<Tried>({
    layer: "sync",
    name,
    summary,
    setup: (memory) => {
      const places = new Places(memory);
      const lock = new Lock(memory, places.take(Lock.WORDS), lockClass(`covered ${name}`));
      lock.init();
      return { lock, count: places.cell("count"), missed: places.cell("missed") };
    },
    tasks: {
      first: { runs: LOCK, body: lockAndAdd },
      second: { runs: LOCK, body: lockAndAdd },
      trying: { runs: TRY_LOCK, body: (tried) => tryToAdd(tried, tried.missed) },
    },
    check: ({ count, missed, lock }) => {
      assert(
        count.peek() + missed.peek() === 3,
        `${count.peek()} were added, ${missed.peek()} gave up, of 3`,
      );
      assert(!lock.isLocked(), "the lock is taken although nobody is left");
    },
    twins: [
      {
        name: "without-lock",
        summary: "One of them adds without the lock.",
        expects: "assertion",
        tasks: { second: addOne },
      },
    ],
  });
}

interface Pair {
  readonly sem: RwSem;
  /** Equal but while a writer is inside. */
  readonly left: Cell;
  readonly right: Cell;
  readonly missed: Cell;
}

function makePair(memory: ConstructorParameters<typeof Places>[0]): Pair {
  const places = new Places(memory);
  const sem = new RwSem(memory, places.take(RwSem.WORDS), lockClass("covered rwsem"));
  sem.init();
  return {
    sem,
    left: places.cell("left"),
    right: places.cell("right"),
    missed: places.cell("missed"),
  };
}

function* compare({ left, right }: Pair): Task<void> {
  const seen = yield* left.load();
  assert((yield* right.load()) === seen, "a reader sees half of a change");
}

function* change({ left, right }: Pair): Task<number> {
  const next = (yield* left.load()) + 1;
  yield* left.store(next);
  yield* right.store(next);
  return next;
}

function* readPair(pair: Pair): Task<void> {
  yield* pair.sem.downRead();
  yield* compare(pair);
  yield* pair.sem.upRead();
}

function* writePair(pair: Pair): Task<void> {
  yield* pair.sem.downWrite();
  yield* change(pair);
  yield* pair.sem.upWrite();
}

/** `keeps`: becomes a reader by downgradeWrite, not by a release and a new downRead. */
function* writeThenRead(pair: Pair, keeps: boolean): Task<void> {
  const { sem, left } = pair;
  yield* sem.downWrite();
  const written = yield* change(pair);
  if (keeps) yield* sem.downgradeWrite();
  else {
    yield* sem.upWrite();
    yield* sem.downRead();
  }
  assert((yield* left.load()) === written, "another writer came in while this one became a reader");
  yield* sem.upRead();
}

const READ = ["sync/primitives/rwsem.downRead", "sync/primitives/rwsem.upRead"] as const;
const WRITE = ["sync/primitives/rwsem.downWrite", "sync/primitives/rwsem.upWrite"] as const;

const readersAndWriters = covering<Pair>({
  layer: "sync",
  name: "rwsem",
  summary:
    "Two writers, one of which becomes a reader, and a reader: no reader sees half a change.",
  setup: makePair,
  tasks: {
    reader: { runs: READ, body: readPair },
    writer: { runs: WRITE, body: writePair },
    downgrader: {
      runs: [
        "sync/primitives/rwsem.downWrite",
        "sync/primitives/rwsem.downgradeWrite",
        "sync/primitives/rwsem.upRead",
      ],
      body: (shared) => writeThenRead(shared, true),
    },
  },
  check: ({ left, right }) => assert(left.peek() === 2 && right.peek() === 2, "a change was lost"),
  twins: [
    {
      name: "leave-and-return",
      summary: "The writer leaves and comes again as a reader.",
      expects: "assertion",
      tasks: { downgrader: (shared) => writeThenRead(shared, false) },
    },
    {
      name: "reader-outside",
      summary: "The reader takes no lock.",
      expects: "assertion",
      tasks: { reader: compare },
    },
  ],
});

function* tryRead(pair: Pair): Task<void> {
  if (!(yield* pair.sem.tryDownRead())) return;
  yield* compare(pair);
  yield* pair.sem.upRead();
}

function* tryWrite(pair: Pair): Task<void> {
  if (yield* pair.sem.tryDownWrite()) {
    yield* change(pair);
    yield* pair.sem.upWrite();
  } else yield* pair.missed.store(1);
}

const tries = covering<Pair>({
  layer: "sync",
  name: "rwsem-try",
  summary: "A reader and a writer that do not wait, beside a writer that does.",
  setup: makePair,
  tasks: {
    reader: {
      runs: ["sync/primitives/rwsem.tryDownRead", "sync/primitives/rwsem.upRead"],
      body: tryRead,
    },
    writer: {
      runs: ["sync/primitives/rwsem.tryDownWrite", "sync/primitives/rwsem.upWrite"],
      body: tryWrite,
    },
    waiting: { runs: WRITE, body: writePair },
  },
  check: ({ left, missed }) => assert(left.peek() + missed.peek() === 2, "a change was lost"),
  twins: [
    {
      name: "comes-in-anyway",
      summary: "The writer that may not wait comes in whatever it was told.",
      expects: "assertion",
      tasks: {
        *writer(shared) {
          const entered = yield* shared.sem.tryDownWrite();
          yield* change(shared);
          if (entered) yield* shared.sem.upWrite();
        },
      },
    },
  ],
});

export const locks: readonly Covered[] = [
  exclusion("mutex", "Two that wait for a mutex and one that does not.", Mutex),
  exclusion("spinlock", "Two that wait for a spinlock and one that does not.", Spinlock),
  readersAndWriters,
  tries,
];
