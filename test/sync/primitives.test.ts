/** @module Each primitive by itself, in one thread: what it grants, refuses and complains about. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { unregisterAgent } from "../../src/sync/runners/agents.ts";
import { WRITER } from "../../src/sync/words/rwsem-words.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import { generationIndex } from "../../src/sync/primitives/shootdown.ts";
import { removeResource } from "../../src/sync/lockdep/resources.ts";
import { registerSrcuCallback } from "../../src/sync/primitives/srcu-callbacks.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { makeFixture } from "./fixture.ts";

for (const debug of [false, true]) {
  const mode = debug ? "debug" : "real";

  test(`${mode}: mutex and spinlock lock, refuse tryLock while held, and unlock`, () => {
    const { memory, mutex, spinlock } = makeFixture({ debug });
    for (const lock of [mutex, spinlock]) {
      const seen = runBlocking(
        memory,
        (function* (): Task<boolean[]> {
          const before = lock.isLocked();
          yield* lock.lock();
          lock.assertHeld();
          const again = yield* lock.tryLock();
          yield* lock.unlock();
          const free = yield* lock.tryLock();
          yield* lock.unlock();
          return [before, again, free, lock.isLocked()];
        })(),
      );
      assert.deepEqual(seen, [false, false, true, false]);
    }
    unregisterAgent(memory);
  });

  test(`${mode}: rwsem lets readers share, keeps writers out, and downgrades`, () => {
    const { memory, rwsem } = makeFixture({ debug });
    const seen = runBlocking(
      memory,
      (function* (): Task<boolean[]> {
        const results: boolean[] = [];
        yield* rwsem.downRead();
        results.push(yield* rwsem.tryDownWrite());
        yield* rwsem.upRead();
        yield* rwsem.downWrite();
        rwsem.assertHeldWrite();
        results.push(yield* rwsem.tryDownRead());
        yield* rwsem.downgradeWrite();
        rwsem.assertHeld();
        results.push(yield* rwsem.tryDownWrite());
        yield* rwsem.upRead();
        results.push(yield* rwsem.tryDownWrite());
        yield* rwsem.upWrite();
        return results;
      })(),
    );
    assert.deepEqual(seen, [false, false, false, true]);
    assert.equal(memory.load(rwsem.at), 0);
    unregisterAgent(memory);
  });

  test(`${mode}: waitEvent times out, tests at 0 ms, and sees a true condition at once`, () => {
    const { memory, queue } = makeFixture({ debug });
    assert.equal(
      runBlocking(
        memory,
        queue.waitEvent(() => false, 0),
      ),
      false,
    );
    assert.equal(
      runBlocking(
        memory,
        queue.waitEvent(() => false, 3),
      ),
      false,
    );
    assert.equal(
      runBlocking(
        memory,
        queue.waitEvent(() => true, 0),
      ),
      true,
    );
    assert.equal(memory.load(queue.at + 1), 0, "nobody is counted as waiting");
    unregisterAgent(memory);
  });

  test(`${mode}: a completion may come first, is used up, and completeAll is for ever`, () => {
    const { memory, done } = makeFixture({ debug });
    const seen = runBlocking(
      memory,
      (function* (): Task<boolean[]> {
        yield* done.complete();
        yield* done.complete();
        const first = [yield* done.wait(0), yield* done.wait(0), yield* done.wait(0)];
        yield* done.completeAll();
        yield* done.complete();
        return [...first, yield* done.wait(0), yield* done.wait()];
      })(),
    );
    assert.deepEqual(seen, [true, true, false, true, true]);
    unregisterAgent(memory);
  });

  test(`${mode}: SRCU read sections nest, synchronize passes when there are none, calls run in the end`, () => {
    const { memory, srcu, data } = makeFixture({ debug });
    const ran: number[] = [];
    const kind = registerSrcuCallback("test.note", function* (inMemory, head, slot): Task<void> {
      ran.push(head);
      removeResource(inMemory, slot);
    });
    runBlocking(
      memory,
      (function* (): Task<void> {
        const outer = yield* srcu.readLock();
        const inner = yield* srcu.readLock();
        yield* srcu.call(kind, data);
        yield* srcu.call(kind, data + 2);
        assert.deepEqual(ran, [], "no call runs while a reader is there");
        yield* srcu.readUnlock(inner);
        assert.deepEqual(ran, []);
        yield* srcu.readUnlock(outer);
        yield* srcu.synchronize();
        yield* srcu.barrier();
      })(),
    );
    assert.deepEqual(
      ran.toSorted((a, b) => a - b),
      [data, data + 2],
    );
    assert.equal(srcu.pendingCalls(), 0);
    unregisterAgent(memory);
  });

  test(`${mode}: sequence counts show that a writer came`, () => {
    const { memory, seqcount } = makeFixture({ debug });
    const seen = runBlocking(
      memory,
      (function* (): Task<boolean[]> {
        const quiet = yield* seqcount.readBegin();
        const unchanged = yield* seqcount.readRetry(quiet);
        yield* seqcount.writeBegin();
        const during = yield* seqcount.readRetry(quiet);
        yield* seqcount.writeEnd();
        const after = yield* seqcount.readRetry(quiet);
        return [unchanged, during, after, yield* seqcount.readRetry(yield* seqcount.readBegin())];
      })(),
    );
    assert.deepEqual(seen, [false, true, true, false]);
    unregisterAgent(memory);
  });
}

test("refcount counts, says which put was the last, and does not come back from 0", () => {
  const { memory, refcount } = makeFixture();
  const seen = runBlocking(
    memory,
    (function* (): Task<boolean[]> {
      yield* refcount.get();
      return [
        yield* refcount.put(),
        yield* refcount.getNotZero(),
        yield* refcount.put(),
        yield* refcount.put(),
        yield* refcount.getNotZero(),
      ];
    })(),
  );
  assert.deepEqual(seen, [false, true, false, true, false]);
});

test("refcount: get on 0 and put on 0 are assertion failures that name the address, and saturate", () => {
  for (const misuse of ["get", "put"] as const) {
    const { memory, refcount } = makeFixture();
    refcount.init(0);
    assert.throws(() => runBlocking<unknown>(memory, refcount[misuse]()), {
      name: "AssertionFailure",
      message: new RegExp(`word ${refcount.at}: ${misuse} on 0`),
    });
    assert.ok(refcount.read() < 0, "leaked for ever rather than freed twice");
    assert.equal(runBlocking(memory, refcount.put()), false, "a saturated count never reaches 0");
  }
});

test("refcount: at the top it saturates instead of wrapping", () => {
  const { memory, refcount } = makeFixture();
  refcount.init(0x7fffffff);
  runBlocking(memory, refcount.get());
  assert.ok(refcount.read() < 0);
  assert.equal(runBlocking(memory, refcount.put()), false);
  refcount.init(0x7fffffff);
  assert.equal(runBlocking(memory, refcount.getNotZero()), true);
  assert.ok(refcount.read() < 0);
});

test("a release by a thread that holds nothing is an assertion failure, each lock by its name", () => {
  const { memory, mutex, spinlock, rwsem, srcu } = makeFixture();
  assert.throws(() => runBlocking(memory, mutex.unlock()), /testMutex is released/);
  assert.throws(() => runBlocking(memory, spinlock.unlock()), /testSpinlock is released/);
  assert.throws(() => runBlocking(memory, rwsem.upRead()), /testRwSem is released by a reader/);
  assert.throws(() => runBlocking(memory, rwsem.upWrite()), /testRwSem is released by a writer/);
  assert.throws(() => runBlocking(memory, srcu.readUnlock(0)), /testSrcu is ended/);
  assert.throws(() => mutex.assertHeld(), /testMutex must be held/);
  assert.throws(() => rwsem.assertHeld(), /testRwSem must be held/);
  assert.throws(() => srcu.assertReadHeld(), /testSrcu is needed/);
});

test("two writers inside a sequence count are an assertion failure", () => {
  const { memory, seqcount } = makeFixture();
  runBlocking(memory, seqcount.writeBegin());
  assert.throws(() => runBlocking(memory, seqcount.writeBegin()), /two writers inside/);
});

test("a shootdown changes the generations of the blocks in its range and no other", () => {
  const { memory, shootdown } = makeFixture();
  const changed = (startPage: number, endPage: number): number[] => {
    shootdown.init();
    runBlocking(memory, shootdown.flush(startPage, endPage));
    return Array.from({ length: 64 }, (_, i) => i).filter(
      (i) => memory.load(shootdown.at + i) === 1,
    );
  };
  assert.deepEqual(changed(0, 1), [0]);
  assert.deepEqual(changed(511, 513), [0, 1]);
  assert.deepEqual(changed(512 * 63, 512 * 65), [0, 63]);
  assert.equal(changed(5, 512 * 1000).length, 64);
  assert.deepEqual(changed(0xffffffff, 0x100000000), [63]);
  assert.equal(generationIndex(0xffffffff), 63);
});

test("fairness: a queued writer stops new readers, and leaves the turn to the readers that waited", async () => {
  const { memory, rwsem, queue } = makeFixture();
  const events: string[] = [];
  const open = new Set<string>();
  const letGo = (name: string): void => {
    open.add(name);
    runBlocking(memory, queue.wakeAll());
  };
  const actor = (name: string, isWriter: boolean): Promise<void> =>
    runAsync(
      memory,
      (function* (): Task<void> {
        yield* isWriter ? rwsem.downWrite() : rwsem.downRead();
        events.push(`${name} in`);
        yield* queue.waitEvent(() => open.has(name));
        events.push(`${name} out`);
        yield* isWriter ? rwsem.upWrite() : rwsem.upRead();
      })(),
    );

  const all = [actor("reader1", false), actor("writer1", true), actor("reader2", false)];
  assert.deepEqual(events, ["reader1 in"], "reader2 may not overtake the queued writer");
  letGo("reader1");
  await all[0];
  while (!events.includes("writer1 in")) await new Promise(setImmediate);
  assert.deepEqual(events, ["reader1 in", "reader1 out", "writer1 in"]);

  all.push(actor("writer2", true), actor("reader3", false));
  letGo("writer1");
  letGo("reader2");
  letGo("reader3");
  letGo("writer2");
  await Promise.all(all);
  assert.deepEqual(events.slice(-6).toSorted().slice(0, 4), [
    "reader2 in",
    "reader2 out",
    "reader3 in",
    "reader3 out",
  ]);
  assert.deepEqual(
    events.slice(-2),
    ["writer2 in", "writer2 out"],
    "both readers had waited: the second writer comes last",
  );
  assert.equal(memory.load(rwsem.at), 0);
});

test("a downgrade lets waiting readers in and keeps waiting writers out", async () => {
  const { memory, rwsem, queue } = makeFixture();
  const events: string[] = [];
  let isOpen = false;
  runBlocking(memory, rwsem.downWrite());
  const actor = (name: string, isWriter: boolean): Promise<void> =>
    runAsync(
      memory,
      (function* (): Task<void> {
        yield* isWriter ? rwsem.downWrite() : rwsem.downRead();
        events.push(name);
        yield* queue.waitEvent(() => isOpen);
        yield* isWriter ? rwsem.upWrite() : rwsem.upRead();
      })(),
    );
  const all = [actor("writer", true), actor("reader", false)];
  assert.equal(memory.load(rwsem.at) & WRITER, WRITER);
  runBlocking(memory, rwsem.downgradeWrite());
  while (events.length === 0) await new Promise(setImmediate);
  assert.deepEqual(events, ["reader"]);
  isOpen = true;
  runBlocking(memory, queue.wakeAll());
  runBlocking(memory, rwsem.upRead());
  await Promise.all(all);
  assert.deepEqual(events, ["reader", "writer"]);
});
