/** @module The primitives under real threads that race for them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { atomicStore } from "../../src/sync/atomics.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { makeFixture } from "./fixture.ts";
import type { Fixture } from "./fixture.ts";
import {
  CURRENT,
  ENTRY,
  OBJECTS,
  PAGE,
  STOP,
  VIOLATIONS,
  OBJECT_COUNT,
  OBJECT_WORDS,
} from "./roles.ts";
import { resultsOf, startThread } from "./threads.ts";
import type { Thread } from "./threads.ts";

async function startAll({ memory, go }: Fixture, threads: readonly Thread[]): Promise<void> {
  await Promise.all(threads.map((thread) => thread.ready));
  runBlocking(memory, go.completeAll());
}

for (const role of ["countMutex", "countSpinlock"] as const) {
  test(`${role}: three threads, the main thread blocking and its async tasks, no increment is lost`, async () => {
    const fixture = makeFixture();
    const { memory, data } = fixture;
    const lock = role === "countMutex" ? fixture.mutex : fixture.spinlock;
    const threads = [1, 2, 3].map((n) => startThread(memory, role, 20_000, `${role}${n}`));
    await startAll(fixture, threads);
    function* add(times: number): Task<void> {
      for (let i = 0; i < times; i++) {
        yield* lock.lock();
        memory.words[data] = memory.words[data]! + 1;
        yield* lock.unlock();
      }
    }
    const asyncOnes = Array.from({ length: 20 }, () => runAsync(memory, add(100)));
    for (let i = 0; i < 20; i++) runBlocking(memory, add(100));
    await Promise.all([...asyncOnes, resultsOf(threads)]);
    assert.equal(memory.load(data), 3 * 20_000 + 2 * 2_000);
    assert.equal(lock.isLocked(), false);
  });
}

test("rwsem: writers get through continuous readers, and what readers see is never torn", async () => {
  const fixture = makeFixture();
  const { memory, rwsem, data } = fixture;
  const readers = [1, 2].map((n) => startThread(memory, "readPair", 0, `reader${n}`));
  const writers = [1, 2].map((n) => startThread(memory, "writePair", 2_000, `writer${n}`));
  await startAll(fixture, [...readers, ...writers]);
  await resultsOf(writers);
  memory.words[data + STOP] = 1;
  const seen = (await resultsOf(readers)) as { torn: number; reads: number }[];
  assert.deepEqual(
    seen.map(({ torn }) => torn),
    [0, 0],
  );
  assert.deepEqual([memory.load(data + 1), memory.load(data + 2)], [4_000, 4_000]);
  assert.equal(memory.load(rwsem.at), 0);
});

test("rwsem: readers get through continuous writers", async () => {
  const fixture = makeFixture();
  const { memory, rwsem, data } = fixture;
  const writers = [1, 2].map((n) => startThread(memory, "writePairUntilStop", 0, `writer${n}`));
  const readers = [1, 2].map((n) => startThread(memory, "readTimes", 1_000, `reader${n}`));
  await startAll(fixture, [...readers, ...writers]);
  assert.deepEqual(await resultsOf(readers), [1_000, 1_000]);
  runBlocking(memory, rwsem.downWrite());
  memory.words[data + STOP] = 1;
  runBlocking(memory, rwsem.upWrite());
  await resultsOf(writers);
  assert.equal(memory.load(rwsem.at), 0);
});

test("wait queue: two threads hand a turn to and fro and no wake is lost", async () => {
  const fixture = makeFixture();
  const { memory, queue, data } = fixture;
  const thread = startThread(memory, "pingPong", 2_000);
  await startAll(fixture, [thread]);
  runBlocking(
    memory,
    (function* (): Task<void> {
      for (let i = 0; i < 1_000; i++) {
        yield* queue.waitEvent(() => (memory.load(data + 3) & 1) === 0);
        memory.words[data + 3] = memory.load(data + 3) + 1;
        yield* queue.wakeAll();
      }
    })(),
  );
  for (let i = 0; i < 1_000; i++) {
    await runAsync(
      memory,
      queue.waitEvent(() => (memory.load(data + 3) & 1) === 0),
    );
    memory.words[data + 3] = memory.load(data + 3) + 1;
    runBlocking(memory, queue.wakeAll());
  }
  await resultsOf([thread]);
  assert.equal(memory.load(data + 3), 4_000);
});

test("completion: as many waits end as there were completions", async () => {
  const fixture = makeFixture();
  const { memory, done } = fixture;
  const threads = [1, 2].map((n) => startThread(memory, "takeCompletions", 1_000, `taker${n}`));
  await startAll(fixture, threads);
  for (let i = 0; i < 1_000; i++) {
    runBlocking(memory, done.complete());
    await runAsync(memory, done.complete());
  }
  await resultsOf(threads);
  assert.equal(done.isDone(), false);
});

test("SRCU: under load no reader sees an object freed by synchronize or by a deferred call", async () => {
  const fixture = makeFixture();
  const { memory, srcu, data } = fixture;
  for (let i = 0; i < OBJECT_COUNT; i++)
    memory.words[data + OBJECTS + i * OBJECT_WORDS + 4] = i === 0 ? 0 : 1;
  memory.words[data + CURRENT] = data + OBJECTS;
  const readers = [1, 2].map((n) => startThread(memory, "srcuRead", 0, `reader${n}`));
  const replacer = startThread(memory, "srcuReplace", 2_000);
  await startAll(fixture, [...readers, replacer]);
  await resultsOf([replacer]);
  memory.words[data + STOP] = 1;
  const seen = (await resultsOf(readers)) as { freed: number; reads: number }[];
  assert.deepEqual(
    seen.map(({ freed }) => freed),
    [0, 0],
  );
  assert.equal(srcu.pendingCalls(), 0);
  const free = Array.from({ length: OBJECT_COUNT }, (_, i) =>
    memory.load(data + OBJECTS + i * OBJECT_WORDS + 4),
  );
  assert.equal(
    free.reduce((sum, one) => sum + one, 0),
    OBJECT_COUNT - 1,
    "every object but the current one came back",
  );
});

test("shootdown: after flush no thread stores through the translation that was taken away", async () => {
  const fixture = makeFixture();
  const { memory, shootdown, data } = fixture;
  memory.words[data + ENTRY] = 1;
  memory.words[data + PAGE] = 1;
  const threads = [1, 2].map((n) => startThread(memory, "storeUntilStop", 0, `storer${n}`));
  await Promise.all(threads.map((thread) => thread.ready));
  for (let i = 0; i < 3_000; i++) {
    runBlocking(
      memory,
      (function* (): Task<void> {
        atomicStore(memory.words, data + ENTRY, 0);
        yield* shootdown.flush(0, 1);
        // The page may be freed now, and used again later.
        atomicStore(memory.words, data + PAGE, 0);
        atomicStore(memory.words, data + PAGE, 1);
        atomicStore(memory.words, data + ENTRY, 1);
      })(),
    );
  }
  memory.words[data + STOP] = 1;
  const stores = (await resultsOf(threads)) as number[];
  assert.ok(stores.every((count) => count > 0));
  assert.equal(memory.load(data + VIOLATIONS), 0);
});
