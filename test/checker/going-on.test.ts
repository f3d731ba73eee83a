/** A task that goes on with its next step is not suspended in between (X3 of execution.ts). */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Cell } from "../../src/checker/index.ts";
import { Places, explore } from "../../src/checker/index.ts";
import type { ExploreOptions, Scenario } from "../../src/checker/index.ts";
import { UncontrolledNondeterminism } from "../../src/checker/scenario.ts";
import type { SharedMemory } from "../../src/sync/shared-memory.ts";
import { WOKEN } from "../../src/sync/tasks/task.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

interface Pair {
  readonly one: Cell;
  readonly other: Cell;
}

function pair(memory: SharedMemory): Pair {
  const places = new Places(memory);
  return { one: places.cell("one"), other: places.cell("other") };
}

function* addToBoth({ one, other }: Pair): Task<void> {
  yield* one.fetchAdd(1);
  yield* one.load();
  yield* other.load();
  yield* other.fetchAdd(1);
}

/** What an exploration sees, and how often it has resumed a task. */
function seenBy(options: ExploreOptions): { readonly steps: string[]; readonly resumed: number } {
  let resumed = 0;
  function* counted(task: Task<void>): Task<void> {
    for (let result = task.next(WOKEN); result.done !== true;) {
      const wake = yield result.value;
      resumed++;
      result = task.next(wake);
    }
  }
  const scenario: Scenario<Pair> = {
    name: "both",
    setup: pair,
    tasks: { a: (shared) => counted(addToBoth(shared)), b: (shared) => counted(addToBoth(shared)) },
  };
  const steps: string[] = [];
  const { findings } = explore(scenario, {
    ...options,
    checkDeterminism: false,
    symmetry: false,
    observer: {
      stepped: ({ trace, depth }) =>
        void steps.push(`${trace.transition[depth - 1]} ${trace.kindName(depth - 1)}`),
    },
  });
  assert.deepEqual(findings, []);
  return { steps, resumed };
}

for (const options of [
  { engine: "optimal" },
  { engine: "source" },
  { engine: "pct", seed: 5, executions: 20 },
  { engine: "random", seed: 5, executions: 20 },
] as const) {
  test(`${options.engine}: the same steps, and fewer resumptions`, () => {
    const asked = seenBy(options);
    // Places in the code are those of a task that is suspended at each step.
    const suspended = seenBy({ ...options, withSites: true });
    assert.deepEqual(asked.steps, suspended.steps);
    assert.equal(suspended.resumed, suspended.steps.length);
    assert.ok(asked.resumed < suspended.resumed, `${asked.resumed} of ${suspended.resumed}`);
  });
}

test("what the checker finds in such a step is thrown past the task, which catches everything", () => {
  let value = 0;
  const scenario: Scenario<Pair> = {
    name: "fickle",
    setup: pair,
    tasks: {
      *a({ one, other }) {
        try {
          yield* one.store(++value);
          yield* other.load();
        } catch {
          // Not its concern.
        }
      },
      *b({ one, other }) {
        yield* other.fetchAdd(1);
        yield* one.load();
      },
    },
  };
  assert.throws(
    () => explore(scenario, { checkDeterminism: false, symmetry: false }),
    UncontrolledNondeterminism,
  );
});
