/**
 * @module A thread is found dead while another thread reaps, and a third one joins the machine: the
 * record of the dead one is nobody else's until its finder is done with it (D1 of
 * sync/death/death.ts). The finder is stopped where it gives up the dead thread's place in a queue.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { probeAgents, registerAgent, unregisterAgent } from "../../src/sync/runners/agents.ts";
import { atomicLoad } from "../../src/sync/atomics.ts";
import {
  AGENT_FREE,
  AGENT_INSIDE,
  AGENT_LIVE,
  AGENT_PROBE_AGAIN,
  AGENT_STATE,
  AGENT_STATE_MASK,
  AGENT_TOKENS,
  ALERT,
  PROBE_TIME,
  agentRecord,
} from "../../src/sync/control-block.ts";
import { enterTask, leaveTask, makeContext } from "../../src/sync/tasks/current-task.ts";
import { declareDead } from "../../src/sync/death/death.ts";
import { hasPanicked } from "../../src/sync/death/panic.ts";
import { reapTask } from "../../src/sync/death/reaper.ts";
import { addResource, registerReleaser, resourceKind } from "../../src/sync/lockdep/resources.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
import { enterStore, leaveStore } from "../../src/sync/primitives/shootdown.ts";
import { type Task, WOKEN } from "../../src/sync/tasks/task.ts";
import { type Fixture, makeFixture, viewFixture } from "./fixture.ts";

const THING: number = resourceKind("found-dead thing");
const released: number[] = [];

registerReleaser(THING, function* (_memory, pointer): Task<void> {
  released.push(pointer);
  yield* [];
});

/** A further thread of the machine. */
function join({ memory }: Fixture, name: string): Fixture {
  const other = SharedMemory.attach(memory.buffer);
  registerAgent(other, { name });
  return viewFixture(other);
}

/** The thread begins the task, and waits in it for ever. */
function beginToWait({ memory }: Fixture, task: Task<void>): void {
  const previous = enterTask(makeContext(memory, "waiting", false));
  try {
    assert.equal(task.next(WOKEN).done, false);
  } finally {
    leaveTask(previous);
  }
}

function isFree(memory: SharedMemory, agentId: number): boolean {
  return (
    (atomicLoad(memory.words, agentRecord(agentId) + AGENT_STATE) & AGENT_STATE_MASK) === AGENT_FREE
  );
}

test("a record is neither reaped nor given to a new thread before the death's finder is done with it", () => {
  const main = makeFixture();
  runBlocking(main.memory, main.rwsem.downWrite());
  const dying = join(main, "dying");
  const finder = join(main, "finder");
  const { agentId } = dying.memory;
  assert.ok(addResource(dying.memory, THING, 17) >= 0);
  beginToWait(dying, dying.rwsem.downWrite());
  const ensure = finder.memory.ensure.bind(finder.memory);
  let newcomer: SharedMemory | undefined;
  finder.memory.ensure = (endWord) => {
    ensure(endWord);
    if (newcomer !== undefined) return;
    runBlocking(main.memory, reapTask(main.memory));
    assert.deepEqual(
      released,
      [],
      "what the dead thread kept alive is there while its place is given up",
    );
    newcomer = join(main, "newcomer").memory;
    assert.notEqual(newcomer.agentId, agentId);
    enterStore(newcomer);
  };
  const state = atomicLoad(main.memory.words, agentRecord(agentId) + AGENT_STATE);
  assert.ok(declareDead(finder.memory, agentId, state));
  assert.ok(newcomer !== undefined, "the finder was never stopped");
  assert.deepEqual(released, []);
  assert.notEqual(atomicLoad(main.memory.words, ALERT), 0, "it is to be looked at again");
  const { words, insideMark, record } = newcomer;
  assert.equal(
    words[record + AGENT_INSIDE],
    insideMark,
    "a thread that is inside a store is seen inside",
  );
  leaveStore(newcomer);
  assert.equal(hasPanicked(main.memory), false);
  runBlocking(main.memory, main.rwsem.upWrite());
  runBlocking(finder.memory, finder.rwsem.downWrite());
  runBlocking(finder.memory, finder.rwsem.upWrite());
  runBlocking(main.memory, reapTask(main.memory));
  assert.deepEqual(released, [17], "once, by whichever of them came first");
  assert.ok(isFree(main.memory, agentId));
  assert.equal(atomicLoad(main.memory.words, ALERT), 0);
  for (const memory of [newcomer, finder.memory]) unregisterAgent(memory);
});

test("who finds a registration dead that is over leaves no trace in the record", () => {
  const main = makeFixture();
  const first = join(main, "first").memory;
  const { agentId } = first;
  const stale = atomicLoad(main.memory.words, agentRecord(agentId) + AGENT_STATE);
  unregisterAgent(first);
  const second = join(main, "second").memory;
  assert.equal(second.agentId, agentId);
  assert.equal(declareDead(main.memory, agentId, stale), false, "that registration is over");
  const state = atomicLoad(main.memory.words, agentRecord(agentId) + AGENT_STATE);
  assert.ok(declareDead(main.memory, agentId, state));
  runBlocking(main.memory, reapTask(main.memory));
  assert.ok(isFree(main.memory, agentId), "nobody is counted any more");
});

/** Runs `between` directly before the next wake of a futex. */
function beforeNextWake(between: () => void): void {
  const { notify } = Atomics;
  Reflect.set(Atomics, "notify", (words: Int32Array, index: number, count?: number): number => {
    Reflect.set(Atomics, "notify", notify);
    between();
    return notify(words, index, count);
  });
}

/** Probes, however short a time ago somebody did. */
function probeNow({ words }: SharedMemory, memory: SharedMemory, agentId: number): void {
  words[PROBE_TIME] = 0;
  words[agentRecord(agentId) + AGENT_PROBE_AGAIN] = 0;
  probeAgents(memory);
}

test("a prober that comes too late takes none of a newcomer's waiters: as long as it has tokens, it counts as alive", () => {
  const main = makeFixture();
  const leaving = join(main, "leaving").memory;
  const { agentId } = leaving;
  let newcomer: SharedMemory | undefined;
  beforeNextWake(() => {
    unregisterAgent(leaving);
    newcomer = join(main, "newcomer").memory;
  });
  probeNow(main.memory, main.memory, agentId);
  assert.equal(
    newcomer?.agentId,
    agentId,
    "it has the record of the one that left while it was probed",
  );
  const record = agentRecord(agentId);
  const tokens = atomicLoad(main.memory.words, record + AGENT_TOKENS);
  assert.ok(tokens > 60);
  for (let i = 0; i < tokens; i++) probeNow(main.memory, main.memory, agentId);
  assert.equal(
    atomicLoad(main.memory.words, record + AGENT_TOKENS),
    0,
    "each probe has used one up",
  );
  assert.equal(atomicLoad(main.memory.words, record + AGENT_STATE) & AGENT_STATE_MASK, AGENT_LIVE);
});
