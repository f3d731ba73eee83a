/**
 * @module What a test thread can do. Words of the fixture's data area: each role says which it
 * uses.
 */

import { atomicExchange, atomicStore } from "../../src/sync/atomics.ts";
import { addResource, resourceKind } from "../../src/sync/lockdep/resources.ts";
import type { SharedMemory } from "../../src/sync/shared-memory.ts";
import { enterStore, leaveStore } from "../../src/sync/primitives/shootdown.ts";
import { removeResource } from "../../src/sync/lockdep/resources.ts";
import { registerSrcuCallback } from "../../src/sync/primitives/srcu-callbacks.ts";
import { DONE } from "../../src/sync/tasks/task.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import type { Fixture } from "./fixture.ts";
import { startThread } from "./threads.ts";

export type Role = (
  fixture: Fixture,
  amount: number,
  say: (message: unknown) => void,
) => Task<unknown>;

/** data[0]: counter. data[1..2]: a pair that writers keep equal. data[3]: turn. data[4]: stop. */
export const STOP = 4;
/**
 * Of the storers: whether the entry is there, whether the page is allocated, whether it was ever
 * stored to when not.
 */
export const ENTRY = 5;
export const PAGE = 6;
export const VIOLATIONS = 7;
/**
 * data[8]: the current object of the SRCU roles. From data[OBJECTS]: objects {next, kind, value,
 * value, is free}.
 */
export const CURRENT = 8;
export const OBJECTS = 16;
export const OBJECT_WORDS = 5;
export const OBJECT_COUNT = 40;
export const POISON = 0x6b6b6b6b;

export const testResource: number = resourceKind("test.resource");

function count(lockName: "mutex" | "spinlock"): Role {
  return function* (fixture, amount): Task<unknown> {
    const { memory, data, go } = fixture;
    const lock = fixture[lockName];
    yield* go.wait();
    for (let i = 0; i < amount; i++) {
      yield* lock.lock();
      memory.words[data] = memory.words[data]! + 1;
      yield* lock.unlock();
    }
    return amount;
  };
}

/** Writes the pair `amount` times. */
function* writePair({ memory, rwsem, data, go }: Fixture, amount: number): Task<unknown> {
  yield* go.wait();
  for (let i = 0; i < amount; i++) {
    yield* rwsem.downWrite();
    memory.words[data + 1] = memory.words[data + 1]! + 1;
    memory.words[data + 2] = memory.words[data + 2]! + 1;
    yield* rwsem.upWrite();
  }
  return amount;
}

/** Reads the pair until data[STOP]; returns how often it was torn, and how often it read. */
function* readPair({ memory, rwsem, data, go }: Fixture): Task<unknown> {
  let torn = 0;
  let reads = 0;
  yield* go.wait();
  for (let isOver = false; !isOver; reads++) {
    yield* rwsem.downRead();
    isOver = memory.words[data + STOP] !== 0;
    if (memory.words[data + 1] !== memory.words[data + 2]) torn++;
    yield* rwsem.upRead();
  }
  return { torn, reads };
}

/** Writes for ever until data[STOP]. */
function* writePairUntilStop({ memory, rwsem, data, go }: Fixture): Task<unknown> {
  let writes = 0;
  yield* go.wait();
  for (let isOver = false; !isOver; writes++) {
    yield* rwsem.downWrite();
    isOver = memory.words[data + STOP] !== 0;
    yield* rwsem.upWrite();
  }
  return writes;
}

/** Enters as a reader `amount` times. */
function* readTimes({ rwsem, go }: Fixture, amount: number): Task<unknown> {
  yield* go.wait();
  for (let i = 0; i < amount; i++) {
    yield* rwsem.downRead();
    yield* rwsem.upRead();
  }
  return amount;
}

/** Passes the turn in data[3] on: the odd ones are this thread's. */
function* pingPong({ memory, queue, data, go }: Fixture, amount: number): Task<unknown> {
  yield* go.wait();
  for (let i = 0; i < amount; i++) {
    yield* queue.waitEvent(() => (memory.load(data + 3) & 1) === 1);
    memory.words[data + 3] = memory.load(data + 3) + 1;
    yield* queue.wakeAll();
  }
  return amount;
}

/** Takes `amount` completions of `done`. */
function* takeCompletions({ done, go }: Fixture, amount: number): Task<unknown> {
  yield* go.wait();
  for (let i = 0; i < amount; i++) yield* done.wait();
  return amount;
}

/** The object may be used anew: nobody can see it any more. */
const recycleKind: number = registerSrcuCallback(
  "test.recycle",
  function* (memory, head, slot): Task<void> {
    freeObject(memory, head);
    removeResource(memory, slot);
  },
);

function freeObject(memory: SharedMemory, object: number): void {
  memory.words[object + 2] = POISON;
  memory.words[object + 3] = POISON;
  atomicStore(memory.words, object + 4, 1);
}

function findFreeObject({ memory, data }: Fixture): number {
  for (let i = 0; i < OBJECT_COUNT; i++) {
    const object = data + OBJECTS + i * OBJECT_WORDS;
    if (atomicExchange(memory.words, object + 4, 0) === 1) return object;
  }
  return 0;
}

/** Reads the current object until data[STOP]; returns how often it saw a freed one. */
function* srcuRead({ memory, srcu, data, go }: Fixture): Task<unknown> {
  let freed = 0;
  let reads = 0;
  yield* go.wait();
  for (; memory.load(data + STOP) === 0; reads++) {
    const index = yield* srcu.readLock();
    const object = memory.load(data + CURRENT);
    for (let i = 0; i < 20; i++) {
      if (
        memory.words[object + 2] === POISON ||
        memory.words[object + 2] !== memory.words[object + 3]
      )
        freed++;
    }
    yield* srcu.readUnlock(index);
  }
  return { freed, reads };
}

/** Replaces the current object `amount` times; the old one is freed after a grace period. */
function* srcuReplace(fixture: Fixture, amount: number): Task<unknown> {
  const { memory, srcu, data, go } = fixture;
  yield* go.wait();
  for (let i = 1; i <= amount; i++) {
    let object = findFreeObject(fixture);
    for (; object === 0; object = findFreeObject(fixture)) yield* srcu.synchronize();
    memory.words[object + 2] = i;
    memory.words[object + 3] = i;
    const old = atomicExchange(memory.words, data + CURRENT, object);
    if (i % 4 === 0) {
      yield* srcu.synchronize();
      freeObject(memory, old);
    } else {
      yield* srcu.call(recycleKind, old);
    }
  }
  yield* srcu.barrier();
  return amount;
}

/** Takes something, says so, and keeps it until it is terminated. */
function hold(take: (fixture: Fixture) => Task<unknown>): Role {
  return function* (fixture, _amount, say): Task<unknown> {
    yield* take(fixture);
    say({ said: "holding" });
    yield* fixture.done.wait();
    return "was not terminated";
  };
}

/** Takes the mutex, says so, and gives it back when it is told to. */
function* lendMutex(
  { mutex, done }: Fixture,
  _amount: number,
  say: (message: unknown) => void,
): Task<unknown> {
  yield* mutex.lock();
  say({ said: "holding" });
  yield* done.wait();
  yield* mutex.unlock();
  return "lent";
}

/** As hold, but the thread ends itself, `amount` ms later, while its parent may be blocked. */
function* exitHolding({ mutex, queue }: Fixture, amount: number): Task<unknown> {
  yield* mutex.lock();
  yield* queue.waitEvent(() => false, amount);
  return process.exit(0);
}

/** Says so, then waits for the mutex (amount 0), to read (1) or to write (2). */
function* waitFor(
  { mutex, rwsem, queue }: Fixture,
  amount: number,
  say: (message: unknown) => void,
): Task<unknown> {
  say({ said: "waiting" });
  if (amount === 0) yield* mutex.lock();
  else if (amount === 1) yield* rwsem.downRead();
  else if (amount === 2) yield* rwsem.downWrite();
  else yield* queue.waitEvent(() => false);
  return "got it";
}

/** Owns `amount` test resources. */
function* own(
  { memory, done, data }: Fixture,
  amount: number,
  say: (message: unknown) => void,
): Task<unknown> {
  for (let i = 0; i < amount; i++) addResource(memory, testResource, data + 100 + i);
  say({ said: "owning" });
  yield* done.wait();
  return "was not terminated";
}

/**
 * Takes and releases every lock in turn, for ever; data[0] is kept equal to data[1] under the
 * mutex.
 */
function* hammer(
  { memory, mutex, spinlock, rwsem, srcu, data }: Fixture,
  _amount: number,
  say: (message: unknown) => void,
): Task<unknown> {
  say({ said: "hammering" });
  while (memory.load(data + STOP) === 0) {
    yield* mutex.lock();
    memory.words[data] = memory.words[data]! + 1;
    memory.words[data + 1] = memory.words[data + 1]! + 1;
    yield* mutex.unlock();
    yield* spinlock.lock();
    yield* spinlock.unlock();
    yield* rwsem.downRead();
    yield* rwsem.upRead();
    yield* rwsem.downWrite();
    yield* rwsem.upWrite();
    yield* srcu.readUnlock(yield* srcu.readLock());
  }
  return "stopped";
}

/**
 * Stores through a translation that it caches by generation, until data[STOP] and once at least: it
 * may begin late.
 */
function* storeUntilStop({ memory, shootdown, data }: Fixture): Task<unknown> {
  let stores = 0;
  let generation = -1;
  const word = shootdown.generationWord(0);
  while (memory.load(data + STOP) === 0 || stores === 0) {
    enterStore(memory);
    const isInForce = memory.load(word) === generation;
    if (isInForce && memory.load(data + PAGE) === 0) memory.words[data + VIOLATIONS] = 1;
    leaveStore(memory);
    if (isInForce) stores++;
    else {
      const seen = memory.load(word);
      if (memory.load(data + ENTRY) === 1) generation = seen;
    }
  }
  return stores;
}

/** Is inside a store and stays there. */
function* stayInside(
  { memory, done }: Fixture,
  _amount: number,
  say: (message: unknown) => void,
): Task<unknown> {
  enterStore(memory);
  say({ said: "inside" });
  yield* done.wait();
  return "was not terminated";
}

/** Starts a thread, which ends with this one, and stays. */
function* startAnother({ memory, done }: Fixture): Task<unknown> {
  startThread(memory, "holdNothing", 0, "its thread");
  yield* done.wait();
  return "was not terminated";
}

export type RoleName =
  | "countMutex"
  | "countSpinlock"
  | "writePair"
  | "readPair"
  | "writePairUntilStop"
  | "readTimes"
  | "pingPong"
  | "takeCompletions"
  | "srcuRead"
  | "srcuReplace"
  | "holdMutex"
  | "lendMutex"
  | "holdRead"
  | "holdWrite"
  | "holdSrcu"
  | "holdNothing"
  | "exitHolding"
  | "waitFor"
  | "holdTwoRead"
  | "own"
  | "hammer"
  | "storeUntilStop"
  | "stayInside"
  | "startAnother";

export const roles: Readonly<Record<RoleName, Role>> = {
  countMutex: count("mutex"),
  countSpinlock: count("spinlock"),
  writePair,
  readPair,
  writePairUntilStop,
  readTimes,
  pingPong,
  takeCompletions,
  srcuRead,
  srcuReplace,
  holdMutex: hold(({ mutex }) => mutex.lock()),
  holdRead: hold(({ rwsem }) => rwsem.downRead()),
  holdTwoRead: hold(function* ({ rwsem, otherRwsem }) {
    yield* otherRwsem.downRead();
    yield* rwsem.downRead();
  }),
  holdWrite: hold(({ rwsem }) => rwsem.downWrite()),
  holdSrcu: hold(({ srcu }) => srcu.readLock()),
  holdNothing: hold(() => DONE),
  lendMutex,
  exitHolding,
  waitFor,
  own,
  hammer,
  storeUntilStop,
  stayInside,
  startAnother,
};
