/**
 * @module Tasks that sleep, with more than one wake, time-outs, wakes that change nobody's
 * condition, and words that are parked on without a queue: whoever leaves out equivalent executions
 * finds the classes that all interleavings have.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import type { ExploreOptions } from "../../src/checker/explore.ts";
import type { Cell, Places, PlainCell } from "../../src/checker/primitives/program.ts";
import { EngineFault, UncontrolledNondeterminism } from "../../src/checker/scenario.ts";
import type { Scenario, Weakness } from "../../src/checker/scenario.ts";
import { TIMED_OUT, describe } from "../../src/sync/tasks/task.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../src/sync/primitives/wait-queue.ts";
import { program } from "./programs/program-of.ts";
import type { Body } from "./programs/program-of.ts";

interface Shared {
  readonly flag: Cell;
  readonly other: Cell;
  readonly queue: WaitQueue;
  /** A word to park on, as a futex. */
  readonly word: Cell;
}

function start(places: Places): Shared {
  const [flag, other, word] = [places.cell("flag"), places.cell("other"), places.cell("word")];
  return { flag, other, word, queue: new WaitQueue(flag.memory, places.take(WaitQueue.WORDS)) };
}

const never: Body<Shared> = ({ queue }) => queue.waitEvent(() => false);
const wakesTwice: Body<Shared> = function* ({ queue }) {
  yield* queue.wakeAll();
  yield* queue.wakeAll();
};
const wakesOneTwice: Body<Shared> = function* ({ queue }) {
  yield* queue.wakeOne();
  yield* queue.wakeOne();
};
const waitsFor =
  (timeoutMs: number): Body<Shared> =>
  ({ queue, flag }) =>
    queue.waitEvent(() => flag.peek() !== 0, timeoutMs);
const setsLate: Body<Shared> = function* ({ queue, flag }) {
  yield* queue.wakeAll();
  yield* flag.store(1);
  yield* queue.wakeAll();
};

/**
 * An event count: whoever waits takes a ticket, looks, and parks on the ticket. `isBroken`: it
 * takes the ticket too late.
 */
function waitsOnEvents(isBroken: boolean): Body<Shared> {
  return function* ({ flag, word }) {
    for (;;) {
      let ticket = isBroken ? 0 : yield* word.load();
      if ((yield* flag.load()) !== 0) return;
      if (isBroken) ticket = yield* word.load();
      yield describe("park", word.memory, word.at, 1, "events", ticket);
    }
  };
}

function* notify({ word }: Shared, kind: "wakeAll" | "wakeOne"): Task<void> {
  yield* word.fetchAdd(1);
  yield describe(kind, word.memory, word.at, 1, "events");
}

const happens: Body<Shared> = function* (shared) {
  yield* notify(shared, "wakeAll");
  yield* shared.flag.store(1);
  yield* notify(shared, "wakeAll");
};

/** The wake is one step with the change of the word, as in WaitQueue. */
const happensAtOnce: Body<Shared> = function* ({ word, flag }) {
  for (const value of [0, 1]) {
    if (value === 1) yield* flag.store(1);
    yield describe("wakeAll", word.memory, word.at, 1, "events");
    word.memory.words[word.at] = word.peek() + 1;
  }
};

/** Parks once on what it has seen; `between` is another step that it does before it parks. */
function parksOnce(timeoutMs: number, between: boolean): Body<Shared> {
  return function* ({ word, other }) {
    const seen = yield* word.load();
    if (between) yield* other.store(1);
    const wake = yield describe("park", word.memory, word.at, 1, "futex", seen, timeoutMs);
    yield* other.store(wake === TIMED_OUT ? 2 : 3);
  };
}

const wakesOnly =
  (kind: "wakeAll" | "wakeOne", count: number): Body<Shared> =>
  (shared) =>
    wakes(shared, kind, count);

function* wakes({ word }: Shared, kind: "wakeAll" | "wakeOne", count: number): Task<void> {
  for (let i = 0; i < count; i++) yield describe(kind, word.memory, word.at, 1, "futex");
}

const programs: readonly Scenario<unknown>[] = [
  program("wakeAll twice | waits for ever", start, [wakesTwice, never]),
  program("wakeOne twice | waits for ever", start, [wakesOneTwice, never]),
  program("wakeAll twice | waits with a time-out", start, [wakesTwice, waitsFor(10)]),
  program("wakeOne | two wait", start, [
    ({ queue }): Task<void> => queue.wakeOne(),
    waitsFor(10),
    never,
  ]),
  program("wakes, sets, wakes | waits", start, [setsLate, waitsFor(Infinity)]),
  program("wakes, sets, wakes | wakes once | waits", start, [
    setsLate,
    ({ queue }): Task<void> => queue.wakeOne(),
    waitsFor(Infinity),
  ]),
  program("event count", start, [happens, waitsOnEvents(false)]),
  program("event count, two wait", start, [
    happensAtOnce,
    waitsOnEvents(false),
    waitsOnEvents(false),
  ]),
  program("event count, late ticket", start, [happens, waitsOnEvents(true)]),
  program("event count in one step", start, [happensAtOnce, waitsOnEvents(false)]),
  program("futex", start, [
    wakesOnly("wakeOne", 2),
    parksOnce(Infinity, false),
    parksOnce(Infinity, true),
  ]),
  program("futex with a time-out", start, [
    wakesOnly("wakeOne", 1),
    parksOnce(5, true),
    parksOnce(5, false),
  ]),
  program("futex, changed and woken", start, [
    (shared): Task<void> => notify(shared, "wakeOne"),
    parksOnce(5, true),
    parksOnce(Infinity, false),
  ]),
  program("futex, only changed", start, [
    ({ word }): Task<number> => word.fetchAdd(1),
    parksOnce(Infinity, true),
  ]),
  program("parks at once", start, [
    function* ({ word }): Task<void> {
      yield describe("park", word.memory, word.at, 1, "futex", 0);
    },
    wakesOnly("wakeAll", 2),
  ]),
];

/** Where there are more interleavings, sleep sets say what there is. */
const NAIVE_EXECUTIONS = 20_000;
const SLEEP_EXECUTIONS = 5000;
const budget: readonly ExploreOptions[] = [
  { spuriousWakes: 0 },
  { spuriousWakes: "each" },
  { spuriousWakes: 0, timeouts: 1 },
  { spuriousWakes: 0, wakeAny: true },
];

for (const scenario of programs) {
  test(`${scenario.name}: all interleavings, and what each engine finds`, () => {
    for (const free of budget) {
      const options = { lockdep: false, collectClasses: true, ...free };
      const every = explore(scenario, {
        engine: "naive",
        executions: NAIVE_EXECUTIONS,
        ...options,
      });
      const all = every.complete
        ? every
        : explore(scenario, { engine: "sleep", executions: SLEEP_EXECUTIONS, ...options });
      // Too many ways to wake in a loop.
      if (free.spuriousWakes === "each" && !all.complete) continue;
      assert.ok(all.complete && all.classes > 1);
      const says = `${JSON.stringify(free)}: ${all.classes} classes`;
      const kinds = new Set(all.findings.map(({ kind }) => kind));
      for (const engine of ["sleep", "source", "optimal", "bounded", "delay"] as const) {
        const seen = explore(scenario, {
          engine,
          preemptions: Infinity,
          delays: Infinity,
          ...options,
        });
        assert.deepEqual(seen.keys, all.keys, `${engine}, ${says}`);
        assert.equal(seen.stuckClasses, all.stuckClasses, `${engine}, ${says}`);
        assert.deepEqual(
          new Set(seen.findings.map(({ kind }) => kind)),
          kinds,
          `${engine}, ${says}`,
        );
        if (engine !== "optimal") continue;
        assert.equal(seen.executions, all.classes, `no class twice, ${says}`);
        assert.equal(seen.blocked, 0, `none given up, ${says}`);
      }
    }
  });
}

test("the figures of the smallest program", () => {
  const [smallest] = programs;
  assert.ok(smallest);
  const { classes, stuck, findings } = explore(smallest);
  assert.deepEqual(
    { classes, stuck, kinds: findings.map(({ kind }) => kind) },
    { classes: 5, stuck: 5, kinds: ["lost-wakeup"] },
  );
});

test("an event count whose ticket comes too late loses its wake, and one that takes it first does not", () => {
  const kinds = (isBroken: boolean): string[] =>
    explore(program("events", start, [happensAtOnce, waitsOnEvents(isBroken)])).findings.map(
      ({ kind }) => kind,
    );
  assert.deepEqual(kinds(true), ["lost-wakeup"]);
  assert.deepEqual(kinds(false), []);
});

test("a word that has changed is not slept on", () => {
  const changes: Body<Shared> = ({ word }): Task<void> => word.store(1);
  const { findings, classes } = explore(
    program("changed before", start, [
      function* (shared): Task<void> {
        yield* changes(shared) as Task<void>;
        yield describe("park", shared.word.memory, shared.word.at, 1, "futex", 0);
      },
    ]),
  );
  assert.deepEqual([findings, classes], [[], 1]);
});

const plain: ExploreOptions = { lockdep: false, collectClasses: true, spuriousWakes: 0 };

/** What the default engine says when it is broken so: its classes, or the error that it throws. */
function brokenBy(weakness: Weakness, scenario: Scenario<unknown>): number | string {
  try {
    return explore(scenario, { ...plain, weaknesses: [weakness] }).classes;
  } catch (error) {
    return error instanceof Error ? error.name : "thrown";
  }
}

test("a park put down to the latest change of its word loses classes", () => {
  const scenario = program("wakes twice", start, [wakesTwice, never]);
  assert.deepEqual([brokenBy("latest-change", scenario), explore(scenario).classes], [3, 5]);
});

test("a park that compares in the step before loses what comes in between", () => {
  const scenario = program("event count", start, [happens, waitsOnEvents(false)]);
  const all = explore(scenario, { ...plain, engine: "naive" });
  assert.equal(explore(scenario, plain).classes, all.classes);
  assert.notEqual(brokenBy("fuse-sleeping", scenario), all.classes);
});

/** What `looks` does depends on a word that `leaves` writes and no step names. */
function sharesUnseen(isNoted: boolean): Scenario<unknown> {
  const startUnseen = (places: Places): Shared & { readonly unseen: PlainCell } => ({
    ...start(places),
    unseen: places.plainCell("unseen"),
  });
  type Unseen = ReturnType<typeof startUnseen>;
  const leaves: Body<Unseen> = function* ({ flag, word, unseen }) {
    yield* flag.store(1);
    if (isNoted) unseen.store(1);
    else word.memory.words[unseen.at] = 1;
  };
  const looks: Body<Unseen> = function* ({ other, word, unseen }) {
    yield* other.load();
    if ((isNoted ? unseen.load() : unseen.peek()) === 0) yield* other.load();
    else yield* word.load();
  };
  const stores: Body<Unseen> = ({ flag }) => flag.store(2);
  return program("unseen", startUnseen, [leaves, looks, stores]);
}

test("a plan that fails although the tasks repeat themselves is a fault, which says so and gives a token", () => {
  assert.throws(
    () => explore(sharesUnseen(false)),
    (error) =>
      error instanceof EngineFault &&
      error.token.startsWith("h1-") &&
      /please report it/.test(error.message),
  );
});

test("and where the tasks have a data race, that is told, and that not everything was seen", () => {
  const { findings, complete, end } = explore(sharesUnseen(true));
  assert.deepEqual(
    [findings.map(({ kind }) => kind), complete, end],
    [["data-race"], false, "racy"],
  );
});

test("but it is nondeterminism where the tasks do not repeat themselves", () => {
  let executions = 0;
  const chance: Body<Shared> = function* ({ flag, other }) {
    const which = executions++ % 3;
    yield* flag.load();
    if (which === 0) yield* other.store(1);
    else if (which === 1) yield* flag.store(2);
    yield* other.load();
  };
  const sets: Body<Shared> = function* ({ flag, other }) {
    yield* flag.store(1);
    yield* other.store(2);
  };
  assert.throws(
    () => explore(program("chance", start, [chance, sets])),
    UncontrolledNondeterminism,
  );
});
