/** @module Reference counts, SRCU and shootdown: an object exists as long as it is used. */

import { Objects } from "../../../../src/checker/primitives/objects.ts";
import { Cell, Places } from "../../../../src/checker/primitives/program.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { lockClass } from "../../../../src/sync/lock-class.ts";
import { RefCount } from "../../../../src/sync/primitives/refcount.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { Shootdown } from "../../../../src/sync/primitives/shootdown.ts";
import { Spinlock } from "../../../../src/sync/primitives/spinlock.ts";
import { removeResource } from "../../../../src/sync/lockdep/resources.ts";
import {
  SRCU_CALL_WORDS,
  registerSrcuCallback,
} from "../../../../src/sync/primitives/srcu-callbacks.ts";
import { ACTIVE, PENDING, STATE, isIdle } from "../../../../src/sync/words/srcu-words.ts";
import { Srcu } from "../../../../src/sync/primitives/srcu.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";

const OBJECT_WORDS = 4;

interface Counted {
  readonly objects: Objects;
  readonly count: RefCount;
  readonly object: number;
  readonly memory: SharedMemory;
}

function counted(memory: SharedMemory): Counted {
  const places = new Places(memory);
  const count = new RefCount(memory, places.take(RefCount.WORDS));
  count.init(1);
  return {
    memory,
    count,
    objects: new Objects(memory, places.take(1), 1),
    object: places.take(OBJECT_WORDS),
  };
}

function* putAndFree({ count, objects, object }: Counted): Task<void> {
  if (yield* count.put()) yield* objects.free(object, OBJECT_WORDS, "object");
}

function* useIfAlive(shared: Counted): Task<void> {
  if (!(yield* shared.count.getNotZero())) return;
  yield* new Cell(shared.memory, shared.object, "object.field").load();
  yield* putAndFree(shared);
}

function* lend(shared: Counted): Task<void> {
  yield* shared.count.get();
  yield* putAndFree(shared);
  yield* putAndFree(shared);
}

const NOT_ZERO = ["sync/primitives/refcount.getNotZero", "sync/primitives/refcount.put"] as const;

const refCount = covering<Counted>({
  layer: "sync",
  name: "refcount",
  summary:
    "An owner takes and drops references; two others get one only while the count is not zero. The last one frees.",
  setup: counted,
  tasks: {
    owner: { runs: ["sync/primitives/refcount.get", "sync/primitives/refcount.put"], body: lend },
    first: { runs: NOT_ZERO, body: useIfAlive },
    second: { runs: NOT_ZERO, body: useIfAlive },
  },
  check: ({ count }) => assert(count.read() === 0, "the count is not zero although nobody is left"),
  twins: [
    {
      name: "get-on-zero",
      summary: "One takes a reference without asking whether there is one left.",
      expects: "refcount",
      tasks: {
        *first(shared) {
          yield* shared.count.get();
          yield* putAndFree(shared);
        },
      },
    },
    {
      name: "use-before-get",
      summary: "One uses the object and takes its reference afterwards.",
      expects: "use-after-free",
      tasks: {
        *first(shared) {
          yield* new Cell(shared.memory, shared.object, "object.field").load();
          yield* useIfAlive(shared);
        },
      },
    },
  ],
});

const FULL = 0x7fffffff;
const SATURATED = -0x40000000;

function isFull({ count }: Counted): void {
  const value = count.read();
  assert(
    value === SATURATED,
    `a count that was full is ${value}, and may come to its end some day`,
  );
}

function* getAndPut({ count }: Counted): Task<void> {
  yield* count.get();
  assert(!(yield* count.put()), "an object that has more references than can be counted is freed");
}

const saturated = covering<Counted>({
  layer: "sync",
  name: "saturated",
  summary: "Two take and drop references to what has as many as can be counted: it stays for ever.",
  setup: (memory) => {
    const shared = counted(memory);
    shared.count.init(FULL);
    return shared;
  },
  tasks: {
    one: {
      runs: ["sync/primitives/refcount.get", "sync/primitives/refcount.put"],
      body: getAndPut,
    },
    other: { runs: ["sync/primitives/refcount.get"], body: ({ count }) => count.get() },
  },
  check: isFull,
  twins: [
    {
      name: "wraps",
      summary: "One of them adds without a look at what there was.",
      expects: "assertion",
      tasks: {
        one: ({ memory, count }) => new Cell(memory, count.at, "count").fetchAdd(1),
        *other() {
          yield* [];
        },
      },
    },
  ],
});

/** Puts this many references. If a task has put too many, the put fails, and none is the last. */
function* putOrHear(count: RefCount, times: number): Task<void> {
  try {
    for (let i = 0; i < times; i++) yield* count.put();
  } catch {
    assert(!(yield* count.put()), "it is freed again");
  }
}

const dropped = covering<Counted>({
  layer: "sync",
  name: "put-too-many",
  summary:
    "One drops a reference that it does not have, and goes on: what may have been freed is not freed again.",
  setup: counted,
  tasks: {
    owner: { runs: ["sync/primitives/refcount.put"], body: ({ count }) => putOrHear(count, 1) },
    confused: { runs: ["sync/primitives/refcount.put"], body: ({ count }) => putOrHear(count, 2) },
  },
  check: ({ count }) => assert(count.read() <= SATURATED, `the count is ${count.read()}`),
  twins: [
    {
      name: "unguarded",
      summary: "It counts down by itself.",
      expects: "assertion",
      tasks: { confused: ({ memory, count }) => new Cell(memory, count.at, "count").fetchAdd(-1) },
    },
  ],
});

/** The object begins with the two words of its deferred call. */
interface Published {
  readonly srcu: Srcu;
  readonly pointer: Cell;
  readonly objects: Objects;
  readonly object: number;
  /** Where the deferred call counts that it ran. */
  readonly freed: Cell;
}

/**
 * An object that is freed in place. Layout: {object, freed, lock of the free list}.
 */
const freeLater: number = registerSrcuCallback(
  "coverage: free later",
  function* (memory, head, slot) {
    const lock = new Spinlock(memory, head + OBJECT_WORDS + 1, lockClass("covered free list"));
    yield* lock.lock();
    yield* new Objects(memory, head, 1).free(head, OBJECT_WORDS, "object");
    yield* new Cell(memory, head + OBJECT_WORDS, "freed").fetchAdd(1);
    removeResource(memory, slot);
    yield* lock.unlock();
  },
);

function published(memory: SharedMemory): Published {
  const places = new Places(memory);
  const srcu = new Srcu(memory, places.take(Srcu.WORDS), lockClass("covered srcu"));
  srcu.init();
  const object = places.take(OBJECT_WORDS);
  const freed = places.cell("freed");
  places.take(Spinlock.WORDS);
  return {
    srcu,
    object,
    freed,
    pointer: places.cell("pointer", object),
    objects: new Objects(memory, object, 1),
  };
}

function* readPublished({ srcu, pointer }: Published): Task<void> {
  const section = yield* srcu.readLock();
  const at = yield* pointer.load();
  if (at !== 0) yield* new Cell(pointer.memory, at + OBJECT_WORDS - 1, "object.field").load();
  yield* srcu.readUnlock(section);
}

function* takeBack(
  { srcu, pointer, objects, object, freed }: Published,
  waits: boolean,
): Task<void> {
  yield* pointer.store(0);
  if (waits) yield* srcu.synchronize();
  yield* objects.free(object, OBJECT_WORDS, "object");
  yield* freed.store(1);
}

/** Returns whether this task unlinked the object. */
function* takeBackLater({ srcu, pointer, object }: Published): Task<boolean> {
  if (!(yield* pointer.compareExchange(object, 0))) return false;
  yield* srcu.call(freeLater, object);
  return true;
}

const SECTION = ["sync/primitives/srcu.readLock", "sync/primitives/srcu.readUnlock"] as const;

function expectFreed({ freed, srcu }: Published): void {
  assert(freed.peek() === 1, `the object was freed ${freed.peek()} times`);
  assert(srcu.pendingCalls() === 0, "a deferred call is left over");
  const { words } = srcu.memory;
  const readers = words[srcu.at + ACTIVE]! + words[srcu.at + ACTIVE + 1]!;
  assert(
    readers === 0 && isIdle(words[srcu.at + STATE]!),
    `${readers} are said to read, or a grace period to go on`,
  );
}

/** If a call is pending, a barrier waits until it has finished. */
function* waitForCalls({ srcu, freed }: Published, isBarrier: boolean): Task<void> {
  const pending = new Cell(srcu.memory, srcu.at + PENDING, "pending calls");
  if ((yield* pending.load()) === 0) return;
  if (isBarrier) yield* srcu.barrier();
  else yield* srcu.synchronize();
  assert((yield* freed.load()) === 1, "a deferred call has not run");
}

const twoBarriers = covering<Published>({
  layer: "sync",
  name: "srcu-barriers",
  summary: "Two wait at a barrier while a deferred call is queued and run.",
  setup: published,
  tasks: {
    owner: { runs: ["sync/primitives/srcu.call"], body: takeBackLater },
    one: { runs: ["sync/primitives/srcu.barrier"], body: (shared) => waitForCalls(shared, true) },
    other: { runs: ["sync/primitives/srcu.barrier"], body: (shared) => waitForCalls(shared, true) },
  },
  check: expectFreed,
  twins: [
    {
      name: "synchronize-is-no-barrier",
      summary: "One waits for the readers, not for the deferred calls.",
      expects: "assertion",
      tasks: { one: (shared) => waitForCalls(shared, false) },
    },
  ],
});

const twoOwners = covering<Published>({
  layer: "sync",
  name: "srcu-two",
  summary: "Two wait for the readers at the same time, one of which takes away what they read.",
  setup: published,
  tasks: {
    reader: { runs: SECTION, body: readPublished },
    owner: { runs: ["sync/primitives/srcu.synchronize"], body: (shared) => takeBack(shared, true) },
    other: { runs: ["sync/primitives/srcu.synchronize"], body: ({ srcu }) => srcu.synchronize() },
  },
  check: expectFreed,
  twins: [
    {
      name: "without-waiting",
      summary: "The owner does not wait for the readers.",
      expects: "use-after-free",
      tasks: { owner: (shared) => takeBack(shared, false) },
    },
  ],
});

const synchronize = covering<Published>({
  layer: "sync",
  name: "srcu",
  summary: "Two read what is published; a third takes it back, waits for the readers and frees it.",
  setup: published,
  tasks: {
    reader: { runs: SECTION, body: readPublished },
    other: { runs: SECTION, body: readPublished },
    owner: { runs: ["sync/primitives/srcu.synchronize"], body: (shared) => takeBack(shared, true) },
  },
  check: expectFreed,
  twins: [
    {
      name: "without-waiting",
      summary: "The owner does not wait for the readers.",
      expects: "use-after-free",
      tasks: { owner: (shared) => takeBack(shared, false) },
    },
  ],
});

const deferred = covering<Published>({
  layer: "sync",
  name: "srcu-call",
  summary:
    "What is published is freed by a deferred call while one reads it; a barrier waits until that was done.",
  setup: published,
  tasks: {
    reader: { runs: SECTION, body: readPublished },
    owner: { runs: ["sync/primitives/srcu.call"], body: takeBackLater },
    barrier: {
      runs: ["sync/primitives/srcu.barrier"],
      *body(shared) {
        const isMine = yield* takeBackLater(shared);
        yield* shared.srcu.barrier();
        const freed = yield* shared.freed.load();
        assert(!isMine || freed === 1, "the barrier returned before the deferred call had run");
      },
    },
  },
  check: expectFreed,
  twins: [
    {
      name: "synchronize-is-no-barrier",
      summary: "It waits for the readers, not for the deferred calls.",
      expects: "assertion",
      tasks: {
        *barrier(shared) {
          const isMine = yield* takeBackLater(shared);
          yield* shared.srcu.synchronize();
          const freed = yield* shared.freed.load();
          assert(!isMine || freed === 1, "a deferred call has not run");
        },
      },
    },
  ],
});

interface TwoCalls {
  readonly srcu: Srcu;
  readonly heads: readonly number[];
}

/** Counts in the word behind those of its call. */
const countCall: number = registerSrcuCallback(
  "coverage: count one of two calls",
  function* (memory, head, slot) {
    yield* new Cell(memory, head + SRCU_CALL_WORDS, "ran").fetchAdd(1);
    removeResource(memory, slot);
  },
);

function twoCalls(memory: SharedMemory): TwoCalls {
  const places = new Places(memory);
  const srcu = new Srcu(memory, places.take(Srcu.WORDS), lockClass("covered srcu"));
  const heads = [0, 1].map(() => places.take(SRCU_CALL_WORDS + 1));
  return { srcu, heads };
}

const CALL = ["sync/primitives/srcu.call", "sync/primitives/srcu.endCall"] as const;

const twoCallers = covering<TwoCalls>({
  layer: "sync",
  name: "srcu-callers",
  summary: "Two defer a call each, and run them: both are counted, and count no more.",
  setup: twoCalls,
  tasks: {
    one: { runs: CALL, body: ({ srcu, heads }) => srcu.call(countCall, heads[0]!) },
    other: { runs: CALL, body: ({ srcu, heads }) => srcu.call(countCall, heads[1]!) },
  },
  check: ({ srcu: { memory, at }, heads }) => {
    for (const head of heads)
      assert(memory.words[head + SRCU_CALL_WORDS] === 1, "a deferred call has not run");
    assert(memory.words[at + PENDING] === 0, `${memory.words[at + PENDING]} calls are pending`);
  },
  twins: [
    {
      name: "same",
      summary: "Both defer the same call.",
      expects: "assertion",
      tasks: { other: ({ srcu, heads }) => srcu.call(countCall, heads[0]!) },
    },
  ],
});

interface Mapped {
  readonly shootdown: Shootdown;
  readonly entry: Cell;
  readonly frame: number;
  readonly objects: Objects;
  readonly memory: SharedMemory;
}

const PAGE = 5;

/**
 * A CPU store as in mmu/soft-tlb.ts: mark, check the generation, write, leave.
 */
function* storeThrough({ shootdown, entry, memory }: Mapped, marks: boolean): Task<void> {
  const generation = new Cell(memory, shootdown.generationWord(PAGE), "generation");
  const seen = yield* generation.load();
  const frame = yield* entry.load();
  if (frame === 0) return;
  if (marks) yield* shootdown.enterStore();
  if ((yield* generation.load()) === seen) yield* new Cell(memory, frame, "frame").store(1);
  if (marks) yield* shootdown.leaveStore();
}

function* unmap({ shootdown, entry, objects, frame }: Mapped, flushes: boolean): Task<void> {
  yield* entry.store(0);
  if (flushes) yield* shootdown.flush(PAGE, PAGE + 1);
  yield* objects.free(frame, OBJECT_WORDS, "frame");
}

const STORE = [
  "sync/primitives/shootdown.enterStore",
  "sync/primitives/shootdown.leaveStore",
  "sync/primitives/shootdown.generationWord",
] as const;

const shootdown = covering<Mapped>({
  layer: "sync",
  name: "shootdown",
  summary:
    "Two store through a translation that a third takes away: no store reaches the frame once it is free.",
  setup: (memory) => {
    const places = new Places(memory);
    const words = new Shootdown(memory, places.take(Shootdown.WORDS));
    words.init();
    const frame = places.take(OBJECT_WORDS);
    const objects = new Objects(memory, frame, 1);
    return { memory, shootdown: words, frame, objects, entry: places.cell("entry", frame) };
  },
  tasks: {
    storer: { runs: STORE, body: (shared) => storeThrough(shared, true) },
    other: { runs: STORE, body: (shared) => storeThrough(shared, true) },
    unmapper: { runs: ["sync/primitives/shootdown.flush"], body: (shared) => unmap(shared, true) },
  },
  twins: [
    {
      name: "unmarked",
      summary: "One does not mark itself as inside a store.",
      expects: "use-after-free",
      tasks: { storer: (shared) => storeThrough(shared, false) },
    },
    {
      name: "without-flush",
      summary: "The frame is freed without a flush.",
      expects: "use-after-free",
      tasks: { unmapper: (shared) => unmap(shared, false) },
    },
  ],
});

export const lifetimes: readonly Covered[] = [
  refCount,
  saturated,
  dropped,
  synchronize,
  twoOwners,
  twoBarriers,
  twoCallers,
  deferred,
  shootdown,
];
