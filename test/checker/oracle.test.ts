/**
 * @module The checker held to an oracle that shares none of its code (test/checker/oracle): on
 * small random programs, every engine finds the outcomes, the deadlocks, the data races and the
 * classes that there are, and those within each bound. main.ts is the long form; ORACLE_SEED
 * chooses other programs.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Weakness } from "../../src/checker/scenario.ts";
import { answer } from "./oracle/answer.ts";
import { generate } from "./oracle/generate.ts";
import type { Mode, Op, Program } from "./oracle/language.ts";
import { flatten } from "./oracle/language.ts";
import { compareSafely, search, reportFailure } from "./oracle/search.ts";

const SEED = Number(process.env["ORACLE_SEED"] ?? 1);
const PROGRAMS = 300;
const PATIENCE = 500;

test(`every engine agrees with the oracle on the programs of ${PROGRAMS} seeds`, (context) => {
  context.diagnostic(`ORACLE_SEED=${SEED}`);
  const { compared, failure } = search(SEED, PROGRAMS, { patience: PATIENCE });
  assert.equal(failure, undefined, failure === undefined ? "" : reportFailure(failure));
  assert.ok(compared > PROGRAMS / 2, `${compared} programs were small enough`);
});

const weaknesses: readonly Weakness[] = [
  "latest-change",
  "fuse-sleeping",
  "fuse-parking",
  "drop-blocked",
  "shorten-wakeups",
  "never-ordering",
];
for (const weakness of weaknesses) {
  test(`the oracle notices an engine that is broken by "${weakness}"`, () => {
    const options = { patience: PATIENCE, weaknesses: [weakness], onlyDefault: true };
    const { failure } = search(1, 3 * PROGRAMS, options);
    assert.ok(failure !== undefined);
    // The smallest program that fails is right where nothing is broken.
    assert.deepEqual(compareSafely(failure.smallest, { patience: PATIENCE }).differences, []);
  });
}

const plainProgram: Omit<Program, "tasks"> = {
  names: true,
  timeouts: null,
  spurious: 0,
  deaths: 0,
  wakeAny: false,
  references: 1,
};
const of = (...tasks: (readonly Op[])[]): Program => ({ ...plainProgram, tasks });
const wake: Op = { op: "wake", all: true };
const store: Op = { op: "store", word: 0, value: 1 };
const load: Op = { op: "load", word: 0, inside: [] };
const plain = (writes: boolean): Op => ({ op: "plain", word: 0, writes });
const waitEvent = (value: number): Op => ({ op: "waitEvent", word: 0, value, timed: false });
const locked = (mutex: number, ...inside: readonly Op[]): Op => ({
  op: "lock",
  mutex,
  keeps: false,
  inside,
});

/**
 * Two timeouts share a budget of one, and an execution follows a longer one: what the longer one
 * had left behind the end of the trace was once taken for the step that is to be reversed.
 */
test("a timeout that another one prevents is reversed without it, after a longer execution", () => {
  const completion = (timed: boolean): Op => ({ op: "completion", timed });
  const program: Program = {
    ...of(
      [{ op: "complete", all: false }],
      [{ op: "signal", word: 2, all: false }],
      [{ op: "await", word: 2, timed: true }, completion(false)],
      [completion(true)],
    ),
    timeouts: 1,
    references: 2,
  };
  assert.deepEqual(compareSafely(program, { patience: 2000 }).differences, []);
});

/**
 * Recovery ends with a step on DEATHS that is no death. It once counted as one that a recheck may
 * see, and the order of the two made a class that the default engine did not find.
 */
test("a recheck of a parked task commutes with the end of recovery", () => {
  const park: Op = { op: "park", word: 2, expected: 0, timed: false };
  const program: Program = {
    ...of([park], [{ op: "section", inside: [] }]),
    spurious: "each",
    deaths: 1,
  };
  assert.deepEqual(compareSafely(program, { patience: 2000 }).differences, []);
});

/**
 * What a dead reader had of a semaphore was once left out of the value that a step would find
 * before a race: a step was planned that could not be done, and classes were missed.
 */
test("an attempt to write, beside a reader that dies and another that comes and goes", () => {
  const semaphore = (mode: Mode, ...inside: readonly Op[]): Op => ({
    op: "semaphore",
    mode,
    inside,
  });
  const write = of([semaphore("tryWrite")], [semaphore("read")], [semaphore("read", store)]);
  assert.deepEqual(compareSafely({ ...write, deaths: 1 }, { patience: 2000 }).differences, []);
});

/** The death of one of two readers was once taken for the end of a writer's wait. */
test("a writer that waits for two readers, of which one dies and stops the machine", () => {
  const read = (...inside: readonly Op[]): Op => ({ op: "semaphore", mode: "tryRead", inside });
  const write: Op = { op: "semaphore", mode: "write", inside: [] };
  const program = { ...of([read(locked(0))], [read()], [write]), deaths: 1, references: 2 };
  assert.deepEqual(compareSafely(program, { patience: 2000 }).differences, []);
});

test("the oracle itself, on programs whose answers are known", () => {
  const counts = (program: Program): readonly unknown[] => {
    const { outcomes, races, classes } = answer(program, 1e5);
    return [outcomes.size, races.size, classes?.count, classes?.stuck];
  };
  assert.deepEqual(counts(of([wake, wake], [waitEvent(1)])), [1, 0, 5, 5]);
  assert.deepEqual(counts(of([load], [load])), [1, 0, 1, 0]);
  assert.deepEqual(counts(of([store], [load])), [2, 0, 2, 0]);
  assert.deepEqual(counts(of([locked(0, locked(1))], [locked(1, locked(0))])), [2, 0, 3, 1]);
  assert.deepEqual(counts(of([plain(true)], [plain(false)])), [1, 1, 1, 0]);
  assert.deepEqual(
    counts(of([locked(0, plain(true))], [locked(0, plain(true))])).slice(1),
    [0, 2, 0],
  );
  const { classes } = answer(of([load, store], [load, store]), 1e5);
  assert.deepEqual([classes?.preemptions.toSorted(), classes?.count], [[0, 0, 1, 1], 4]);
});

test("a wait that ends by itself before two others, one that uses the budget up and one that ends it", () => {
  const wait: Op = { op: "await", word: 0, timed: true };
  const complete: Op = { op: "complete", all: false };
  const timed = of([wait], [complete], [{ op: "completion", timed: true }]);
  const broadcast: Op = { op: "signal", word: 1, all: true };
  const woken = of([waitEvent(1)], [{ ...wait, timed: false }], [broadcast]);
  for (const program of [
    { ...timed, timeouts: 1 },
    { ...woken, spurious: 1 },
  ]) {
    assert.deepEqual(compareSafely(program, { patience: 1e4 }).differences, []);
  }
});

test("the programs have everything that there is, and are not all alike", () => {
  const programs = Array.from({ length: PROGRAMS }, (_, i) => generate(SEED + i));
  const kinds = new Set(
    programs.flatMap(({ tasks }) => tasks.flatMap((ops) => flatten(ops).map(({ op }) => op))),
  );
  assert.equal(kinds.size, 21);
  assert.deepEqual(new Set(programs.map(({ tasks }) => tasks.length)), new Set([2, 3, 4]));
  for (const has of ["names", "spurious", "deaths", "wakeAny"] as const) {
    assert.ok(
      programs.some((program) => Boolean(program[has])) &&
        programs.some((program) => !program[has]),
      has,
    );
  }
  assert.equal(new Set(programs.map((program) => JSON.stringify(program))).size, PROGRAMS);
});
