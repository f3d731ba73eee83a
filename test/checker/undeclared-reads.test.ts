/**
 * @module A condition that reads a word which is not among its `reads` is a finding that names the
 * step which writes it.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { Places } from "../../src/checker/primitives/program.ts";
import { defineScenario } from "../../src/checker/scenario.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";
import { WaitQueue } from "../../src/sync/primitives/wait-queue.ts";

/** A waiter for two flags that says it reads `words` words from the first one on. */
function twoFlags(words: number): AnyScenario {
  return defineScenario({
    name: `reads ${words} of two flags`,
    setup: (memory) => {
      const places = new Places(memory);
      const [first, second] = [places.cell("first flag"), places.cell("second flag")];
      const queue = new WaitQueue(memory, places.take(WaitQueue.WORDS));
      queue.init();
      return { first, second, queue };
    },
    tasks: {
      *waiter({ first, second, queue }) {
        const areSet = (): boolean => first.peek() !== 0 && second.peek() !== 0;
        yield* queue.waitEvent(areSet, Infinity, undefined, { at: first.at, words });
      },
      *setter({ first, second, queue }) {
        yield* first.store(1);
        yield* second.store(1);
        yield* queue.wakeAll();
      },
    },
  });
}

test("a condition that says all that it reads: nothing is found", () => {
  assert.deepEqual(explore(twoFlags(2)).findings, []);
});

test("a condition that reads a word more than it says is found, with the step that writes it", () => {
  const [finding] = explore(twoFlags(1)).findings;
  assert.equal(finding?.kind, "error");
  assert.match(
    finding.message,
    /waiter waits for reads what setter changes by "write" of second flag/,
  );
  assert.deepEqual(finding.threads, ["waiter"]);
});
