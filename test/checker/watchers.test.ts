/**
 * @module What looks on at an execution must not depend on which execution of a class an engine
 * happens to run.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import type { ExploreOptions } from "../../src/checker/explore.ts";
import type { Cell, Places } from "../../src/checker/primitives/program.ts";
import type { Invariant, Scenario } from "../../src/checker/scenario.ts";
import { OperationHistory } from "../../src/checker/watch/linearizability.ts";
import type { SequentialModel } from "../../src/checker/watch/linearizability.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { program } from "./programs/program-of.ts";
import type { Body } from "./programs/program-of.ts";

const engines: readonly ExploreOptions[] = [
  {},
  { engine: "sleep" },
  { engine: "source" },
  { engine: "naive" },
];

/** The same kinds from every engine; optimal and the oracle agree on the classes. */
function kindsFrom(scenario: Scenario<unknown>): string[] {
  const kinds = engines.map((options) => {
    const { findings, complete } = explore(scenario, options);
    assert.ok(complete);
    return Array.from(new Set(findings.map(({ kind }) => kind))).toSorted();
  });
  for (const of of kinds) assert.deepEqual(of, kinds[0]);
  const optimal = explore(scenario, { collectClasses: true });
  assert.deepEqual(optimal.keys, explore(scenario, { collectClasses: true, engine: "sleep" }).keys);
  assert.equal(optimal.blocked, 0);
  return kinds[0] ?? [];
}

/** Two tasks, each stores to its own cell; `bad` is what the two must not be. */
function storing(bad: readonly [number, number], names: boolean): Scenario<unknown> {
  const start = (places: Places): readonly Cell[] => places.cells("x", 2);
  const invariant: Invariant<readonly Cell[]> = {
    name: "never so",
    words: (cells) => (names ? cells.map(({ at }) => ({ at, words: 1 })) : []),
    holds: (cells) => assert.notDeepEqual([cells[0]!.peek(), cells[1]!.peek()], bad),
  };
  const scenario = program("storing", start, [
    (cells): Task<unknown> => cells[0]!.store(1),
    (cells): Task<unknown> => cells[1]!.store(1),
  ]);
  return { ...scenario, invariants: [invariant] };
}

test("an invariant that names its words sees each order in which they change", () => {
  for (const bad of [
    [1, 0],
    [0, 1],
    [1, 1],
    [0, 0],
  ] as const) {
    assert.deepEqual(kindsFrom(storing(bad, true)), ["invariant"]);
  }
  assert.deepEqual(kindsFrom(storing([2, 0], true)), []);
  assert.equal(explore(storing([2, 0], true)).classes, 2);
});

test("one that names none sees one order of independent steps only", () => {
  assert.equal(explore(storing([1, 0], false)).classes, 1);
});

interface Register {
  readonly cell: Cell;
  readonly copy: Cell;
  readonly history: OperationHistory;
}

const registerModel: SequentialModel<number> = {
  initial: 0,
  step(state, { name, input, output }) {
    if (name === "write") return input as number;
    return output === undefined || output === state ? state : undefined;
  },
};

/** A register, and a copy of it that is written after it. `stale`: readers look at the copy. */
function registering(stale: boolean, keys: number): Scenario<unknown> {
  const start = (places: Places): Register => {
    const cell = places.cell("register");
    const history = new OperationHistory(cell.memory, places.take(keys), registerModel, keys);
    return { cell, copy: places.cell("copy"), history };
  };
  const writer: Body<Register> = function* ({ cell, copy, history }) {
    yield* history.call("write", 1, () => cell.store(1));
    if (stale) yield* copy.store(1);
  };
  const reader =
    (key: number): Body<Register> =>
    ({ cell, copy, history }) =>
      history.call("read", undefined, () => (stale ? copy : cell).load(), key);
  return program("register", start, [writer, reader(0), ...(keys > 1 ? [reader(1)] : [])]);
}

test("a read that begins after a write has returned must see it: the order of returns and calls is explored", () => {
  assert.deepEqual(kindsFrom(registering(true, 1)), ["not-linearizable"]);
  assert.deepEqual(kindsFrom(registering(false, 1)), []);
});

test("the finding shows the longest order that the model allows, and what has no place in it", () => {
  const { findings } = explore(registering(true, 1));
  assert.match(
    findings[0]?.message ?? "",
    /at most write\(1\) = nothing can be put in order, and then read\(\) = 0 has no place/,
  );
  assert.deepEqual(findings[0]?.threads, ["t1"]);
});

test("operations on different keys are searched apart, and no order between them is explored", () => {
  assert.ok(explore(registering(true, 2)).classes < explore(registering(true, 1)).classes * 3);
});

test("a store through a null pointer is found, and one beside it is not", () => {
  const note = (places: Places): readonly Cell[] => places.cells("note", 1);
  const storesNote = (isNull: boolean): Body<readonly Cell[]> =>
    function* (cells): Task<void> {
      const [{ memory, at }] = cells as [Cell];
      yield* cells[0]!.load();
      memory.words[isNull ? 0 : at] = 7;
    };
  const of = (isNull: boolean): readonly string[] =>
    kindsFrom(program("noting", note, [storesNote(isNull)]));
  assert.deepEqual(of(true), ["invariant"]);
  assert.deepEqual(of(false), []);
});
