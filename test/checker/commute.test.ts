/**
 * @module What commutes: three equal tasks of steps that cannot tell who came first are one class,
 * and whatever an engine leaves out leads to an outcome that it has seen: on programs drawn from a
 * seed, all interleavings end as those that the engines choose. COMMUTE_SEED chooses the first
 * seed, COMMUTE_PROGRAMS how many.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import type { ExploreOptions } from "../../src/checker/explore.ts";
import { allOutcomes, seenOutcomes } from "./brute-force.ts";
import type { Recorded } from "./brute-force.ts";
import * as programs from "./commuting-programs.ts";
import type { Act } from "./commuting-programs.ts";

const firstSeed = Number(process.env["COMMUTE_SEED"] ?? Date.now() % 1_000_000);
const count = Number(process.env["COMMUTE_PROGRAMS"] ?? 150);
const INTERLEAVINGS = 4000;
const options: ExploreOptions = { lockdep: false, collectClasses: true, maxSteps: 500 };

function difference(all: ReadonlySet<string>, some: ReadonlySet<string>): string[] {
  return [...all].filter((outcome) => !some.has(outcome));
}

/** Each engine comes to every outcome that there is; returns how many classes there are. */
function agrees(program: Recorded, asked: ExploreOptions, says: string): number | undefined {
  const all = allOutcomes(program, asked, INTERLEAVINGS);
  if (all === undefined) return undefined;
  const optimal = seenOutcomes(program, asked);
  assert.deepEqual(difference(all, optimal.outcomes), [], `${says}: missed by optimal`);
  assert.deepEqual(difference(optimal.outcomes, all), [], `${says}: cannot be`);
  assert.equal(optimal.seen.executions, optimal.seen.classes, `${says}: no class twice`);
  assert.equal(optimal.seen.blocked, 0, `${says}: none begun in vain`);
  for (const engine of ["source", "sleep"] as const) {
    const other = seenOutcomes(program, { ...asked, engine });
    assert.deepEqual(difference(all, other.outcomes), [], `${says}: missed by ${engine}`);
    assert.deepEqual(other.seen.keys, optimal.seen.keys, `${says}: the classes of ${engine}`);
  }
  return optimal.seen.classes;
}

const alone: Readonly<Record<string, readonly Act[]>> = {
  "read sections": [programs.section],
  "references taken and given back": [programs.getAndPut],
  "wakes of all with nobody waiting": [programs.wakeAll, programs.wakeAll],
  "wakes of one and of all with nobody waiting": [programs.wakeOne, programs.wakeAll],
  completions: [programs.complete, programs.complete],
  "additions that are told nothing": [programs.add, programs.add],
  loads: [programs.load, programs.load],
  "readers of a semaphore": [programs.share],
  "tries to read a semaphore": [programs.tryShare],
};
for (const [name, acts] of Object.entries(alone)) {
  test(`three equal tasks, one class: ${name}`, () => {
    assert.equal(agrees(programs.recorded(name, [acts, acts, acts]), options, name), 1);
  });
}

const told: Readonly<Record<string, readonly [readonly Act[], number]>> = {
  "the last reference given back": [[({ count: references }) => references.put()], 3],
  "a look at the count in the step that gives back": [[programs.putAndLook], 4],
  "a look at what was added to": [[programs.addAndLook], 1],
  "additions that are told what was there": [[({ cell }) => cell.fetchAdd(1)], 1],
};
for (const [name, [acts, references]] of Object.entries(told)) {
  test(`three equal tasks, all orders: ${name}`, () => {
    assert.equal(agrees(programs.recorded(name, [acts, acts, acts], references), options, name), 6);
  });
}

test("a grace period tells read sections apart", () => {
  const synchronizes: Act = ({ srcu }) => srcu.synchronize();
  const classes = agrees(
    programs.recorded("grace", [[programs.section], [programs.section], [synchronizes]]),
    options,
    "a grace period",
  );
  assert.ok(classes !== undefined && classes > 4, `${classes} classes`);
});

test("a waiter tells wakes apart", () => {
  const waits: Act = ({ queue, flag }) => queue.waitEvent(() => flag.peek() !== 0);
  const sets: Act = ({ flag }) => flag.store(1);
  const program = programs.recorded("waiter", [
    [waits],
    [sets, programs.wakeAll],
    [programs.wakeAll],
  ]);
  const classes = agrees(program, options, "a waiter");
  assert.ok(classes !== undefined && classes > 4, `${classes} classes`);
});

test("a search that takes every word for lenient misses outcomes", () => {
  const weak: ExploreOptions = { ...options, weaknesses: ["never-ordering"] };
  const waits: Act = ({ queue, flag }) => queue.waitEvent(() => flag.peek() !== 0, 5);
  const sets: Act = ({ flag }) => flag.store(1);
  const broken = [
    ...["the last reference given back", "a look at what was added to"].map((name) => {
      const [acts, references] = told[name]!; // a row of the table above
      return programs.recorded(name, [acts, acts, acts], references);
    }),
    programs.recorded("wakes", [[waits], [sets, programs.wakeAll], [programs.wakeAll]]),
  ];
  for (const program of broken) {
    const { name } = program.scenario;
    assert.ok(agrees(program, options, name) !== undefined);
    assert.throws(() => agrees(program, weak, name), name);
  }
});

test(`the engines come to every outcome of ${count} random programs`, (context) => {
  context.diagnostic(`COMMUTE_SEED=${firstSeed}`);
  let compared = 0;
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const says = `COMMUTE_SEED=${seed} COMMUTE_PROGRAMS=1`;
    const asked = {
      ...options,
      spuriousWakes: seed % 5 === 0 ? 1 : 0,
      timeouts: seed % 7 === 0 ? 1 : Infinity,
    };
    if (agrees(programs.commutingProgram(seed), asked, says) !== undefined) compared++;
  }
  assert.ok(compared > count / 3, `${compared} programs were small enough`);
});

test(`of ${count} random programs with equal tasks every outcome is seen, but for who is who`, (context) => {
  context.diagnostic(`COMMUTE_SEED=${firstSeed}`);
  let [compared, saved] = [0, 0];
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const says = `COMMUTE_SEED=${seed} COMMUTE_PROGRAMS=1`;
    const program = programs.equalProgram(seed);
    const classes = agrees(program, options, says);
    if (classes === undefined) continue;
    compared++;
    if (explore(program.scenario, { ...options, symmetry: false }).classes > classes) saved++;
  }
  assert.ok(compared > count / 3, `${compared} programs were small enough`);
  assert.ok(saved > compared / 5, `fewer classes in ${saved} of ${compared}`);
});

test("an exploration whose count may reach nothing begins again, and says so nowhere", () => {
  const puts: Act = ({ count: references }) => references.put();
  const { scenario } = programs.recorded("twice", [[puts], [puts]], 2);
  const seen = explore(scenario, options);
  assert.deepEqual(
    [seen.executions, seen.classes, seen.complete, seen.end],
    [2, 2, true, "covered"],
  );
});
