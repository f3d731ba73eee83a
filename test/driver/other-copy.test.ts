/**
 * @module A program that explores without the condition has two copies of the library: the
 * checker's, and the one for programs that run. A lock of the latter is refused at its first
 * operation, and the error says what to do; the checker's own copy of the same class is explored.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { Mutex, type SharedMemory, type Task } from "../../src/driver.ts";

// of the graph beside the stepped one, in which this file runs
const [root] = import.meta.url.split("stepped/");
const other = (await import(`${root}src/driver.js`)) as {
  readonly Mutex: typeof Mutex;
};

const scenarioOf = (Lock: typeof Mutex) => ({
  name: "a lock",
  words: 64,
  setup(memory: SharedMemory): Mutex {
    const lock = new Lock(memory, memory.words.length - 64);
    lock.init();
    return lock;
  },
  tasks: {
    *a(lock: Mutex): Task<void> {
      yield* lock.lock();
      yield* lock.unlock();
    },
  },
});

test("a lock of the checker's copy is explored", () => {
  const { findings, complete } = explore(scenarioOf(Mutex));
  assert.deepEqual([findings.length, complete], [0, true]);
});

test("a lock of the other copy is refused, with what to do", () => {
  assert.notEqual(other.Mutex, Mutex);
  const { findings } = explore(scenarioOf(other.Mutex));
  assert.match(findings[0]?.message ?? "", /another copy.*--conditions=hmm-explore/);
});
