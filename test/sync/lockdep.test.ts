/**
 * @module Lockdep: each kind of mistake is reported with both places, and sound code is left alone.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { lockClass } from "../../src/sync/lock-class.ts";
import {
  LOCK_ORDER,
  lockOrderGraph,
  lockOrderTable,
  lockRanks,
  orderAllows,
  parseLockOrder,
} from "../../src/sync/lockdep/lock-order.ts";
import { LockdepError } from "../../src/sync/lockdep/lockdep.ts";
import type { LockdepKind } from "../../src/sync/lockdep/lockdep.ts";
import { Mutex } from "../../src/sync/primitives/mutex.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { SharedMemory } from "../../src/sync/shared-memory.ts";
import { Spinlock } from "../../src/sync/primitives/spinlock.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { makeFixture } from "./fixture.ts";
import type { Fixture } from "./fixture.ts";

let used = 0;

/** Two mutexes whose classes no other test has ordered. */
function freshMutexes({ memory, data }: Fixture): [Mutex, Mutex] {
  const make = (): Mutex => new Mutex(memory, data + 32 + (used % 32), lockClass(`fresh${used++}`));
  return [make(), make()];
}

/**
 * A function of this name is where the first, or second, lock is taken: it must show in the report.
 */
function* takeHereFirst(lock: Mutex | Spinlock): Task<void> {
  yield* lock.lock();
}
function* takeHereSecond(lock: Mutex | Spinlock): Task<void> {
  yield* lock.lock();
}

function reportOf(memory: SharedMemory, task: Task<unknown>, kind: LockdepKind): LockdepError {
  try {
    runBlocking(memory, task);
  } catch (error) {
    assert.ok(error instanceof LockdepError, String(error));
    assert.equal(error.kind, kind);
    assert.match(error.secondSite, /lockdep\.test/);
    return error;
  }
  return assert.fail("nothing was reported");
}

test("an inversion of two mutexes is reported although nobody ever waits, naming where the first order was seen", () => {
  const fixture = makeFixture({ debug: true });
  const [a, b] = freshMutexes(fixture);
  const inOrder = function* (): Task<void> {
    yield* a.lock();
    yield* takeHereFirst(b);
    yield* b.unlock();
    yield* a.unlock();
  };
  runBlocking(fixture.memory, inOrder());
  runBlocking(fixture.memory, inOrder());
  const error = reportOf(
    fixture.memory,
    (function* (): Task<void> {
      yield* b.lock();
      yield* takeHereSecond(a);
    })(),
    "order",
  );
  assert.match(error.firstSite, /takeHereFirst/);
  assert.match(error.secondSite, /takeHereSecond/);
});

test("an inversion over three classes is found too, and a try-lock breaks no order", () => {
  const fixture = makeFixture({ debug: true });
  const [a, b] = freshMutexes(fixture);
  const [c] = freshMutexes(fixture);
  function* nest(outer: Mutex, inner: Mutex): Task<void> {
    yield* outer.lock();
    yield* inner.lock();
    yield* inner.unlock();
    yield* outer.unlock();
  }
  runBlocking(fixture.memory, nest(a, b));
  runBlocking(fixture.memory, nest(b, c));
  runBlocking(
    fixture.memory,
    (function* (): Task<void> {
      yield* c.lock();
      assert.equal(yield* a.tryLock(), true);
      yield* a.unlock();
      yield* c.unlock();
    })(),
  );
  reportOf(fixture.memory, nest(c, a), "order");
});

test("the order of the text holds from the first acquisition on", () => {
  const { memory, data } = makeFixture({ debug: true });
  const outer = new Mutex(memory, data, lockClass("mmapLock"));
  const inner = new Mutex(memory, data + 1, lockClass("driverLock"));
  const leaf = new Spinlock(memory, data + 2, lockClass("slabLock"));
  runBlocking(
    memory,
    (function* (): Task<void> {
      yield* outer.lock();
      yield* inner.lock();
      yield* leaf.lock();
      yield* leaf.unlock();
      yield* inner.unlock();
      yield* outer.unlock();
    })(),
  );
  const error = reportOf(
    memory,
    (function* (): Task<void> {
      yield* takeHereFirst(inner);
      yield* takeHereSecond(outer);
    })(),
    "order",
  );
  assert.match(
    error.message,
    /mmapLock is taken while driverLock is held: the lock order does not allow it/,
  );
  assert.match(error.firstSite, /takeHereFirst/);
});

test("taking a lock twice, and two locks of one class, are reported", () => {
  const { memory, mutex, rwsem, data } = makeFixture({ debug: true });
  const twin = new Mutex(memory, data, mutex.lockClass);
  const twice = function* (first: () => Task<void>, second: () => Task<void>): Task<void> {
    yield* first();
    yield* second();
  };
  reportOf(
    memory,
    twice(
      () => mutex.lock(),
      () => mutex.lock(),
    ),
    "recursion",
  );
  mutex.init();
  reportOf(
    memory,
    twice(
      () => rwsem.downRead(),
      () => rwsem.downRead(),
    ),
    "recursion",
  );
  rwsem.init();
  reportOf(
    memory,
    twice(
      () => mutex.lock(),
      () => twin.lock(),
    ),
    "order",
  );
});

test("whatever may sleep is refused while a spinlock is held, even if it would not have slept", () => {
  const sleepers: readonly ((fixture: Fixture) => Task<unknown>)[] = [
    ({ mutex }) => mutex.lock(),
    ({ rwsem }) => rwsem.downRead(),
    ({ queue }) => queue.waitEvent(() => true),
    ({ done }) => done.wait(0),
    ({ srcu }) => srcu.synchronize(),
    ({ seqcount }) => seqcount.readBegin(),
  ];
  for (const sleep of sleepers) {
    const fixture = makeFixture({ debug: true });
    const error = reportOf(
      fixture.memory,
      (function* (): Task<void> {
        yield* takeHereFirst(fixture.spinlock);
        yield* sleep(fixture);
      })(),
      "sleep",
    );
    assert.match(error.firstSite, /takeHereFirst/);
    assert.match(error.message, /holds the spinlock testSpinlock may sleep/);
  }
});

test("what does not sleep is allowed while a spinlock is held", () => {
  const fixture = makeFixture({ debug: true });
  const { memory, spinlock, queue, done, srcu, refcount, shootdown, data } = fixture;
  const other = new Spinlock(memory, data, lockClass("inner spinlock"));
  runBlocking(
    memory,
    (function* (): Task<void> {
      yield* spinlock.lock();
      yield* other.lock();
      yield* queue.wakeAll();
      yield* done.complete();
      yield* refcount.get();
      const index = yield* srcu.readLock();
      yield* shootdown.flush(0, 1);
      yield* other.unlock();
      yield* spinlock.unlock();
      yield* srcu.readUnlock(index);
    })(),
  );
});

test("a release by a stranger names the holder and where it took the lock", async () => {
  const { memory, mutex, queue } = makeFixture({ debug: true });
  let isOpen = false;
  const holder = runAsync(
    memory,
    (function* (): Task<void> {
      yield* takeHereFirst(mutex);
      yield* queue.waitEvent(() => isOpen);
      yield* mutex.unlock();
    })(),
    "the holder",
  );
  const error = reportOf(
    memory,
    (function* (): Task<void> {
      yield* mutex.unlock();
    })(),
    "not-owner",
  );
  assert.match(error.message, /task "the holder" does/);
  assert.match(error.firstSite, /takeHereFirst/);
  assert.throws(
    () =>
      runBlocking(
        memory,
        (function* (): Task<void> {
          mutex.assertHeld();
        })(),
      ),
    { kind: "not-held" },
  );
  isOpen = true;
  runBlocking(memory, queue.wakeAll());
  await holder;
  assert.equal(mutex.isLocked(), false);
});

test("a task that ends while it holds a lock is reported, by both runners", async () => {
  const { memory, mutex, rwsem } = makeFixture({ debug: true });
  assert.throws(() => runBlocking(memory, takeHereFirst(mutex)), {
    kind: "held-at-end",
    firstSite: /takeHereFirst/,
  });
  await assert.rejects(runAsync(memory, rwsem.downRead()), {
    kind: "held-at-end",
    lockName: "testRwSem",
  });
});

test("the order text: ranks, table and graph say the same, and mistakes in it are refused", () => {
  const ranks = lockRanks();
  const { locks, edges } = parseLockOrder(LOCK_ORDER);
  for (const [outer, inner] of edges) {
    assert.equal(orderAllows(outer, inner), true);
    if (outer !== inner) {
      assert.equal(orderAllows(inner, outer), false, `${inner} < ${outer}`);
      assert.ok(ranks.get(outer)! < ranks.get(inner)!);
      assert.ok(lockOrderGraph().includes(`${outer} --> ${inner}`));
    }
  }
  assert.equal(orderAllows("mmapLock", "slabLock"), true, "transitively");
  assert.equal(orderAllows("slabLock", "ramLock"), false);
  assert.equal(orderAllows("mmapLock", "no such lock"), undefined);
  for (const { name } of locks) assert.ok(lockOrderTable().includes(`\`${name}\``));

  const declared = "lock a: mutex: x\nlock b: mutex: y\n";
  assert.throws(() => parseLockOrder(`${declared}order a < c`), /c is not declared/);
  assert.throws(
    () => parseLockOrder(`${declared}order a < b\norder b < a`),
    /each inside the other/,
  );
  assert.throws(() => parseLockOrder("locks a"), /neither a lock nor an order/);
  assert.throws(() => parseLockOrder("lock a"), /must be/);
  assert.deepEqual(Array.from(parseLockOrder(`${declared}order a < a`).inside.get("a") ?? []), [
    "a",
  ]);
});
