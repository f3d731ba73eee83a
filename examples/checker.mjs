/**
 * @module Two tasks that take turns wrongly, and the checker that runs them in every order of their
 * steps. It finds the order in which an addition is lost, and shows it.
 *
 * Run with: node --conditions=hmm-explore examples/checker.mjs
 */

import assert from "node:assert/strict";
import { Places, explore, recordRun, renderTimeline } from "hmm-ts/checker";

function setup(memory) {
  const places = new Places(memory);
  return { count: places.cell("count"), lock: places.mutex("lock") };
}

/** Between the two another task may run. */
function* add({ count }) {
  const before = yield* count.load();
  yield* count.store(before + 1);
}

function* addLocked(shared) {
  yield* shared.lock.lock();
  yield* add(shared);
  yield* shared.lock.unlock();
}

function check({ count }) {
  if (count.peek() !== 2) throw new Error(`the count is ${count.peek()}, and not 2`);
}

const wrong = { name: "lost", setup, tasks: { first: add, second: add }, check };
const [finding] = explore(wrong).findings;
console.log(`${finding.kind}: ${finding.message}`);
console.log(renderTimeline(recordRun(wrong, finding.token), { width: 100 }));
assert.match(finding.message, /the count is 1/);

const tasks = { first: addLocked, second: addLocked };
const { findings, classes, complete } = explore({ name: "locked", setup, tasks, check });
console.log(`with a lock: ${classes} classes of orders, ${findings.length} findings`);
assert.ok(complete && findings.length === 0);
