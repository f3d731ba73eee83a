/** @module The small shared objects of the checker outside of it: what was explored also runs. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { Places } from "../../src/checker/primitives/program.ts";
import type { Cell, Condition, Gate } from "../../src/checker/primitives/program.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import { registerAgent, unregisterAgent } from "../../src/sync/runners/agents.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

interface Shared {
  readonly condition: Condition;
  readonly full: Cell;
  readonly gate: Gate;
}

function setup(memory: SharedMemory): Shared {
  const places = new Places(memory);
  return { condition: places.condition("c"), full: places.cell("full"), gate: places.gate("gate") };
}

function* take({ condition, full, gate }: Shared): Task<number> {
  yield* gate.pass();
  yield* condition.mutex.lock();
  while ((yield* full.load()) === 0) yield* condition.wait();
  const value = yield* full.exchange(0);
  yield* condition.mutex.unlock();
  return value;
}

function* put({ condition, full, gate }: Shared): Task<void> {
  yield* gate.open();
  yield* condition.mutex.lock();
  assert.ok(yield* full.compareExchange(0, 7));
  assert.equal(yield* full.fetchAdd(1), 7);
  yield* condition.broadcast();
  yield* condition.mutex.unlock();
}

const scenario: Scenario<Shared> = { name: "program", setup, tasks: { take, put } };

async function inRealLife(run: (memory: SharedMemory) => Promise<void>): Promise<void> {
  const memory = SharedMemory.create({ initialBytes: 2 ** 20 });
  registerAgent(memory, { name: "test" });
  await run(memory);
  unregisterAgent(memory);
}

test("explored to the end, without a finding", () => {
  const { complete, findings } = explore(scenario);
  assert.ok(complete);
  assert.deepEqual(findings, []);
});

test("the same tasks run side by side, whoever comes first", async () => {
  await inRealLife(async (memory) => {
    const shared = setup(memory);
    const taken = runAsync(memory, take(shared));
    await runAsync(memory, put(shared));
    assert.equal(await taken, 8);
  });
  await inRealLife(async (memory) => {
    const shared = setup(memory);
    await runAsync(memory, put(shared));
    assert.equal(runBlocking(memory, take(shared)), 8);
  });
});

test("a wait on a condition may time out", async () => {
  await inRealLife(async (memory) => {
    const { condition } = setup(memory);
    const outcome = await runAsync(
      memory,
      (function* (): Task<boolean> {
        yield* condition.mutex.lock();
        const wasWoken = yield* condition.wait(1);
        yield* condition.mutex.unlock();
        return wasWoken;
      })(),
    );
    assert.equal(outcome, false);
  });
});
