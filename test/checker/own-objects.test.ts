/**
 * @module What scenarios are made of: Places hands out every primitive, a heap's objects are used
 * by their words.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { Objects } from "../../src/checker/primitives/objects.ts";
import { Places } from "../../src/checker/primitives/program.ts";
import type { Cell } from "../../src/checker/primitives/program.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import type { Completion } from "../../src/sync/primitives/completion.ts";
import type { RefCount } from "../../src/sync/primitives/refcount.ts";
import type { RwSem } from "../../src/sync/primitives/rwsem.ts";
import type { SeqCount } from "../../src/sync/primitives/seqcount.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
import type { Spinlock } from "../../src/sync/primitives/spinlock.ts";
import type { Srcu } from "../../src/sync/primitives/srcu.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import type { WaitQueue } from "../../src/sync/primitives/wait-queue.ts";

interface All {
  readonly spinlock: Spinlock;
  readonly rwsem: RwSem;
  readonly srcu: Srcu;
  readonly count: RefCount;
  readonly sequence: SeqCount;
  readonly queue: WaitQueue;
  readonly completion: Completion;
  readonly data: Cell;
}

function all(memory: SharedMemory): All {
  const places = new Places(memory);
  return {
    spinlock: places.spinlock("the spinlock"),
    rwsem: places.rwsem("the semaphore"),
    srcu: places.srcu("the domain"),
    count: places.refCount(2),
    sequence: places.seqCount("the sequence"),
    queue: places.waitQueue("the queue"),
    completion: places.completion("the completion"),
    data: places.cell("data"),
  };
}

function* publishes({
  spinlock,
  rwsem,
  srcu,
  count,
  sequence,
  queue,
  completion,
  data,
}: All): Task<void> {
  yield* rwsem.downWrite();
  yield* spinlock.lock();
  yield* sequence.writeBegin();
  yield* data.store(1);
  yield* sequence.writeEnd();
  yield* spinlock.unlock();
  yield* rwsem.upWrite();
  yield* queue.wakeAll();
  yield* completion.wait();
  yield* srcu.synchronize();
  yield* count.put();
}

function* receives({ rwsem, srcu, count, queue, completion, data }: All): Task<void> {
  yield* queue.waitEvent(() => data.peek() !== 0);
  const section = yield* srcu.readLock();
  yield* rwsem.downRead();
  yield* data.load();
  yield* rwsem.upRead();
  yield* srcu.readUnlock(section);
  yield* completion.complete();
  yield* count.put();
}

test("Places hands out every primitive, ready for use and by its name", () => {
  const scenario: Scenario<All> = {
    name: "all primitives",
    setup: all,
    tasks: { publishes, receives },
    check: ({ count, data }) => assert.deepEqual([count.read(), data.peek()], [0, 1]),
  };
  const labels = new Set<string>();
  const seen = explore(scenario, {
    observer: {
      ended: ({ trace }) =>
        trace.waits.slice(0, trace.length).forEach(({ label }) => labels.add(label)),
    },
  });
  assert.ok(seen.complete);
  assert.deepEqual(seen.findings, []);
  for (const name of ["spinlock", "semaphore", "domain", "sequence", "queue", "completion"]) {
    assert.ok(labels.has(`the ${name}`), `the ${name} is not among ${[...labels].join(", ")}`);
  }
});

test("who takes more words than there are is told how many there are", () => {
  const places = new Places(SharedMemory.create());
  assert.throws(
    () => places.cell("one too many"),
    /^RangeError: Cannot take 1 words: of the memory's 0, 0 are taken; raise `words`/,
  );
  const scenario = (words: number): Scenario<unknown> => ({
    name: "five words",
    words,
    setup: (memory) => new Places(memory).cells("x", 5),
    tasks: { a: (cells) => (cells as readonly Cell[])[4]!.store(1) },
  });
  assert.throws(() => explore(scenario(4)), /Cannot take 1 words: of the memory's 4, 4 are taken/);
  assert.deepEqual(explore(scenario(5)).findings, []);
});

/**
 * A list of one node with a count, a lock and a value; whoever drops the last reference frees it.
 */
function node(isCareful: boolean): Scenario<unknown> {
  interface Shared {
    readonly head: Cell;
    readonly heap: Objects;
  }
  const WORDS = 3;
  const drop = function* (heap: Objects, at: number): Task<void> {
    const held = heap.object(at, "node", WORDS);
    yield* held.mutex(1, "lock").lock();
    const value = held.plainCell(2, "value");
    value.store(value.load() + 1);
    yield* held.mutex(1, "lock").unlock();
    if ((yield* held.refCount(0).put()) || !isCareful) yield* held.free();
  };
  const scenario: Scenario<Shared> = {
    name: isCareful ? "node" : "node freed twice",
    setup(memory) {
      const places = new Places(memory);
      return { head: places.cell("head"), heap: Objects.from(places, 2, 16) };
    },
    tasks: {
      *makes({ head, heap }) {
        const made = yield* heap.create("node", WORDS);
        made.refCount(0).init(2);
        yield* head.store(made.at);
        yield* drop(heap, made.at);
      },
      *takes({ head, heap }) {
        yield* drop(heap, yield* head.waitWhile(0));
      },
    },
  };
  return scenario as Scenario<unknown>;
}

test("an object of a heap is used by its words, and freed as one", () => {
  assert.deepEqual(explore(node(true)).findings, []);
  const kinds = explore(node(false)).findings.map(({ kind }) => kind);
  assert.ok(kinds.includes("double-free") && kinds.includes("use-after-free"), kinds.join());
});

test("a word that an object does not have is refused", () => {
  const { memory } = new Places(SharedMemory.create({ initialBytes: 2 ** 16 }));
  const object = new Objects(memory, 0, 16).object(1, "node", 3);
  assert.equal(object.cell(2, "value").label, "node.value");
  for (const word of [-1, 3, 0.5])
    assert.throws(() => object.cell(word, "value"), /Cannot use word .* of node: it has 3/);
});
