/**
 * @module Threads that are terminated: nobody hangs, and what they left is either released or stops
 * the machine.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { AGENT_PROBE_AGAIN, AGENT_TOKENS, agentRecord } from "../../src/sync/control-block.ts";
import { agentDied, agentName, listAgents, probeAgents } from "../../src/sync/runners/agents.ts";
import { hasPanicked, panicInfo } from "../../src/sync/death/panic.ts";
import { registerReleaser } from "../../src/sync/lockdep/resources.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import { sharedMs } from "../../src/sync/tasks/clock.ts";
import { DONE } from "../../src/sync/tasks/task.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { makeFixture } from "./fixture.ts";
import type { Fixture } from "./fixture.ts";
import { STOP, testResource } from "./roles.ts";
import type { RoleName } from "./roles.ts";
import { startThread } from "./threads.ts";
import { diceOf } from "../dice.ts";

const released: number[] = [];
registerReleaser(testResource, function* (_memory, pointer): Task<void> {
  released.push(pointer);
});

/**
 * Waits, by operations of the machine alone, until it has noticed the death of every other thread.
 */
async function untilAlone({ memory, queue }: Fixture): Promise<void> {
  while (listAgents(memory).length > 1 && !hasPanicked(memory)) {
    await runAsync(
      memory,
      queue.waitEvent(() => false, 250),
    ).catch(() => {});
  }
}

const holders: readonly (readonly [RoleName, string, (fixture: Fixture) => Task<unknown>])[] = [
  ["holdMutex", "testMutex", ({ mutex }) => mutex.lock()],
  ["holdWrite", "testRwSem", ({ rwsem }) => rwsem.downRead()],
];

for (const [role, lockName, operation] of holders) {
  for (const runner of ["blocking", "async"] as const) {
    test(`${role}, terminated: a ${runner} waiter and everybody after it gets EOWNERDEAD with lock and thread`, async () => {
      const fixture = makeFixture();
      const { memory } = fixture;
      const holder = startThread(memory, role, 0, "the holder");
      const waiter = startThread(memory, "holdNothing", 0, "a bystander");
      assert.equal(await holder.said, "holding");
      assert.equal(await waiter.said, "holding");
      await holder.worker.terminate();
      const expected = {
        code: "EOWNERDEAD",
        message: new RegExp(`thread "the holder" was terminated while it held ${lockName}`),
      };
      if (runner === "blocking")
        assert.throws(() => runBlocking(memory, operation(fixture)), expected);
      else await assert.rejects(runAsync(memory, operation(fixture)), expected);
      assert.throws(() => runBlocking(memory, DONE), expected);
      await assert.rejects(runAsync(memory, DONE), expected);
      assert.equal(
        (await waiter.report).error?.code,
        "EOWNERDEAD",
        "a thread that waits for something else is told too",
      );
      const { agent } = panicInfo(memory) ?? { agent: -1 };
      assert.equal(agentName(memory, agent), "the holder");
    });
  }
}

for (const role of ["holdRead", "holdTwoRead"] as const) {
  for (const runner of ["blocking", "async"] as const) {
    test(`${role}, terminated: a ${runner} writer enters, and nobody is stopped`, async () => {
      const fixture = makeFixture();
      const { memory, rwsem, otherRwsem, done } = fixture;
      const holder = startThread(memory, role, 0, "the holder");
      const bystander = startThread(memory, "holdNothing", 0, "a bystander");
      assert.equal(await holder.said, "holding");
      assert.equal(await bystander.said, "holding");
      assert.equal(runBlocking(memory, rwsem.tryDownWrite()), false);
      await holder.worker.terminate();
      function* write(): Task<void> {
        for (const sem of [rwsem, otherRwsem]) {
          yield* sem.downWrite();
          yield* sem.upWrite();
        }
      }
      if (runner === "blocking") runBlocking(memory, write());
      else await runAsync(memory, write());
      runBlocking(memory, done.complete());
      assert.equal((await bystander.report).error, undefined);
      await untilAlone(fixture);
      assert.equal(hasPanicked(memory), false);
      assert.deepEqual([memory.load(rwsem.at), memory.load(otherRwsem.at)], [0, 0]);
    });
  }
}

for (const runner of ["blocking", "async"] as const) {
  test(`holdSrcu, terminated: a ${runner} thread that waits for its read section goes on`, async () => {
    const fixture = makeFixture();
    const { memory, srcu, done } = fixture;
    const holder = startThread(memory, "holdSrcu", 0, "the holder");
    const bystander = startThread(memory, "holdNothing", 0, "a bystander");
    assert.equal(await holder.said, "holding");
    assert.equal(await bystander.said, "holding");
    await holder.worker.terminate();
    if (runner === "blocking") runBlocking(memory, srcu.synchronize());
    else await runAsync(memory, srcu.synchronize());
    runBlocking(memory, done.complete());
    assert.equal((await bystander.report).error, undefined);
    await untilAlone(fixture);
    assert.equal(hasPanicked(memory), false);
  });
}

test("a thread that ends itself with a lock is noticed by one that is blocked all the while", async () => {
  const fixture = makeFixture();
  const { memory, mutex } = fixture;
  const holder = startThread(memory, "exitHolding", 30, "the leaver");
  await holder.ready;
  while (!mutex.isLocked()) await new Promise(setImmediate);
  // This thread turns its event loop no more: it cannot hear the exit event.
  assert.throws(() => runBlocking(memory, mutex.lock()), {
    code: "EOWNERDEAD",
    message: /the leaver/,
  });
  await holder.report;
});

for (const [what, kind] of [
  ["to lock", 0],
  ["to read", 1],
  ["to write", 2],
  ["for an event", 3],
] as const) {
  test(`a thread terminated while it waits ${what} is in nobody's way`, async () => {
    const fixture = makeFixture();
    const { memory, mutex, rwsem } = fixture;
    runBlocking(memory, mutex.lock());
    if (kind === 1) runBlocking(memory, rwsem.downWrite());
    else runBlocking(memory, rwsem.downRead());
    const waiter = startThread(memory, "waitFor", kind);
    assert.equal(await waiter.said, "waiting");
    while (!listAgents(memory).some((agent) => agent.name === "waitFor" && agent.waitingOn !== 0))
      await new Promise(setImmediate);
    await waiter.worker.terminate();
    if (kind === 1) runBlocking(memory, rwsem.upWrite());
    else runBlocking(memory, rwsem.upRead());
    runBlocking(memory, mutex.unlock());
    // The dead one may still stand in the queue: both ways through must come free.
    runBlocking(
      memory,
      (function* (): Task<void> {
        yield* mutex.lock();
        yield* mutex.unlock();
        yield* rwsem.downRead();
        yield* rwsem.upRead();
        yield* rwsem.downWrite();
        yield* rwsem.upWrite();
      })(),
    );
    await untilAlone(fixture);
    assert.equal(hasPanicked(memory), false);
    assert.equal(memory.load(rwsem.at), 0);
  });
}

test("what a dead thread owned is released once, by a blocking operation or in the background", async () => {
  for (const way of ["blocking", "async", "host"] as const) {
    const fixture = makeFixture();
    const { memory, data, queue } = fixture;
    const owner = startThread(memory, "own", 5);
    assert.equal(await owner.said, "owning");
    released.length = 0;
    const { threadId } = owner.worker;
    await owner.worker.terminate();
    if (way === "blocking") {
      while (released.length === 0)
        runBlocking(
          memory,
          queue.waitEvent(() => false, 250),
        );
    } else if (way === "async") {
      while (released.length === 0)
        await runAsync(
          memory,
          queue.waitEvent(() => false, 250),
        );
    } else {
      agentDied(memory, threadId);
      agentDied(memory, threadId);
    }
    assert.deepEqual(
      released,
      [0, 1, 2, 3, 4].map((i) => data + 100 + i),
      way,
    );
    assert.deepEqual(
      listAgents(memory).map((agent) => agent.name),
      ["main"],
    );
    runBlocking(memory, DONE);
    assert.equal(released.length, 5);
  }
});

test("the threads that a dead thread had started are found at once, though they were just probed", async () => {
  const { memory, done } = makeFixture();
  const agentNamed = (wanted: string): number | undefined =>
    listAgents(memory).find(({ name }) => name === wanted)?.id;
  const parent = startThread(memory, "startAnother", 0, "parent");
  assert.equal(await parent.ready, true);
  while (agentNamed("its thread") === undefined) await sleep(1);
  const later = startThread(memory, "holdNothing", 0, "a later one");
  assert.equal(await later.said, "holding");
  // As after a computation in which they have often been probed.
  for (const name of ["its thread", "a later one"]) {
    const record = agentRecord(agentNamed(name)!); // it was just seen
    memory.words[record + AGENT_TOKENS] = 3;
    memory.words[record + AGENT_PROBE_AGAIN] = sharedMs() + 59_000;
  }
  const { threadId } = parent.worker;
  await parent.worker.terminate();
  probeAgents(memory);
  assert.notEqual(agentNamed("its thread"), undefined, "nobody has told of it");
  agentDied(memory, threadId);
  assert.equal(agentNamed("its thread"), undefined);
  assert.notEqual(agentNamed("a later one"), undefined, "which is alive");
  runBlocking(memory, done.complete());
  await later.report;
});

test("a flush does not wait for a thread that died inside a store", async () => {
  const fixture = makeFixture();
  const { memory, shootdown } = fixture;
  const storer = startThread(memory, "stayInside", 0);
  assert.equal(await storer.said, "inside");
  await storer.worker.terminate();
  runBlocking(memory, shootdown.flush(0, 1));
  assert.equal(hasPanicked(memory), false);
});

test("a record is used again after its thread left or died, and nobody is taken for dead by mistake", async () => {
  const fixture = makeFixture();
  const { memory, done, queue } = fixture;
  for (let round = 0; round < 2; round++) {
    const threads = [1, 2].map((n) => startThread(memory, "holdNothing", 0, `thread${round}.${n}`));
    for (const thread of threads) assert.equal(await thread.said, "holding");
    for (let i = 0; i < 3; i++)
      await runAsync(
        memory,
        queue.waitEvent(() => false, 210),
      );
    assert.deepEqual(
      listAgents(memory).filter((agent) => agent.isDead),
      [],
    );
    await threads[0]!.worker.terminate();
    runBlocking(memory, done.complete());
    await threads[1]!.report;
    await untilAlone(fixture);
    assert.deepEqual(
      listAgents(memory).map((agent) => agent.id),
      [0],
    );
  }
});

const ROUNDS = 30;
/** Where no death has met a thread with a lock by then: about one round in eight has one. */
const ROUNDS_MAX = 300;

test(`${ROUNDS} rounds: a thread among others is terminated at a random moment`, async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = diceOf(seed);
  let stopped = 0;
  for (let round = 0; round < ROUNDS || (stopped === 0 && round < ROUNDS_MAX); round++) {
    const fixture = makeFixture();
    const { memory, mutex, spinlock, rwsem, srcu, data } = fixture;
    function* takeAll(): Task<void> {
      yield* mutex.lock();
      yield* mutex.unlock();
      yield* spinlock.lock();
      yield* spinlock.unlock();
      yield* rwsem.downWrite();
      yield* rwsem.upWrite();
      yield* srcu.synchronize();
    }
    const [victim, other] = [
      startThread(memory, "hammer", 0, "victim"),
      startThread(memory, "hammer", 0, "other"),
    ];
    assert.equal(await victim.said, "hammering");
    assert.equal(await other.said, "hammering");
    await new Promise((resolve) => setTimeout(resolve, random(4)));
    for (let spins = random(20_000); spins > 0; spins--) memory.load(data);
    const { threadId } = victim.worker;
    await victim.worker.terminate();
    // Half of the deaths are told by the host, half must be found out.
    if (random(2) === 0) agentDied(memory, threadId);
    let failure: Error | undefined;
    try {
      runBlocking(memory, takeAll());
    } catch (error) {
      failure = error as Error;
    }
    memory.words[data + STOP] = 1;
    const report = await other.report;
    const where = `seed ${seed}, round ${round}: ${String(failure)}, ${JSON.stringify(report)}`;
    if (failure === undefined) {
      assert.equal(report.result, "stopped", where);
      assert.equal(
        memory.load(data),
        memory.load(data + 1),
        "nothing under the mutex is half done",
      );
    } else {
      stopped++;
      assert.equal((failure as { code?: string }).code, "EOWNERDEAD", where);
      assert.match(String(failure), /thread "victim" was terminated while it held test/, where);
      // The other one is told in its next wait; it may have had none.
      assert.ok(report.error?.code === "EOWNERDEAD" || report.result === "stopped", where);
    }
  }
  // Both outcomes occur.
  assert.ok(stopped > 0, `seed ${seed}: no thread was ever terminated while it held a lock`);
});
