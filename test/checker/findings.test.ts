/**
 * @module What the checker reports: each kind with its broken program, and the sound twin that it
 * must not accuse.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { findingIdentity } from "../../src/checker/findings/finding.ts";
import type { FindingKind } from "../../src/checker/findings/finding.ts";
import { minimise, replay } from "../../src/checker/replay/minimise.ts";
import { Places } from "../../src/checker/primitives/program.ts";
import type { Cell, PlainCell } from "../../src/checker/primitives/program.ts";
import type { Invariant, Scenario } from "../../src/checker/scenario.ts";
import { OperationHistory } from "../../src/checker/watch/linearizability.ts";
import type { SequentialModel } from "../../src/checker/watch/linearizability.ts";
import { Objects } from "../../src/checker/primitives/objects.ts";
import { UncontrolledNondeterminism } from "../../src/checker/scenario.ts";
import { formatToken, parseToken } from "../../src/checker/findings/token.ts";
import { Mutex } from "../../src/sync/primitives/mutex.ts";
import { RefCount } from "../../src/sync/primitives/refcount.ts";
import type { SharedMemory } from "../../src/sync/shared-memory.ts";
import { Spinlock } from "../../src/sync/primitives/spinlock.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { freedTwice, usedAfterFree } from "./programs/objects.ts";
import { program } from "./programs/program-of.ts";
import type { Body } from "./programs/program-of.ts";
import * as locks from "./programs/locks.ts";
import { handMade } from "./programs/waits.ts";

function counting(notZero: boolean): Scenario<unknown> {
  const start = (places: Places): RefCount => {
    const count = new RefCount(places.cell("x").memory, places.take(1));
    count.init(1);
    return count;
  };
  const getter: Body<RefCount> = function* (count) {
    if (notZero) {
      if (!(yield* count.getNotZero())) return;
    } else yield* count.get();
    yield* count.put();
  };
  return program(notZero ? "get unless zero" : "get on zero", start, [
    getter,
    (count): Task<unknown> => count.put(),
  ]);
}

function counter(atomic: boolean): Scenario<unknown> {
  const body: Body<Cell> = function* (x) {
    if (atomic) yield* x.fetchAdd(1);
    else yield* x.store((yield* x.load()) + 1);
  };
  const scenario = program("counter", (places) => places.cell("x"), [body, body]);
  return { ...scenario, check: (x): void => assert.equal((x as Cell).peek(), 2) };
}

function inverted(isInverted: boolean): Scenario<unknown> {
  // One after the other, so nothing ever deadlocks: only the order of classes tells.
  const start = (places: Places): { a: Mutex; b: Mutex; turn: Cell } => ({
    a: places.mutex("inverted a"),
    b: places.mutex("inverted b"),
    turn: places.cell("turn"),
  });
  const first: Body<ReturnType<typeof start>> = function* ({ a, b, turn }) {
    yield* a.lock();
    yield* b.lock();
    yield* b.unlock();
    yield* a.unlock();
    yield* turn.store(1);
  };
  const second: Body<ReturnType<typeof start>> = function* ({ a, b, turn }) {
    yield* turn.waitWhile(0);
    const [outer, inner] = isInverted ? [b, a] : [a, b];
    yield* outer.lock();
    yield* inner.lock();
    yield* inner.unlock();
    yield* outer.unlock();
  };
  return program("order", start, [first, second]);
}

function sleeping(inSpinlock: boolean): Scenario<unknown> {
  const start = (places: Places): { spin: Spinlock; mutex: Mutex } => ({
    spin: new Spinlock(places.cell("x").memory, places.take(1)),
    mutex: places.mutex("sleeper"),
  });
  const body: Body<ReturnType<typeof start>> = function* ({ spin, mutex }) {
    const [outer, inner] = inSpinlock ? [spin, mutex] : [mutex, spin];
    yield* outer.lock();
    yield* inner.lock();
    yield* inner.unlock();
    yield* outer.unlock();
  };
  return program("sleep", start, [body]);
}

function spinning(isEndless: boolean): Scenario<unknown> {
  const waiter: Body<Cell> = function* (x) {
    if (!isEndless) yield* x.waitWhile(0);
    else while ((yield* x.load()) === 0);
  };
  return program("spin", (places) => places.cell("x"), [
    waiter,
    (x: Cell): Task<unknown> => x.store(1),
  ]);
}

/**
 * The flag is atomic; what it guards is not. `waits`: the reader looks only once the flag is set.
 */
function publishingPlainly(waits: boolean): Scenario<unknown> {
  const start = (places: Places): { data: PlainCell; flag: Cell } => ({
    data: places.plainCell("data"),
    flag: places.cell("flag"),
  });
  const writer: Body<ReturnType<typeof start>> = function* ({ data, flag }) {
    data.store(42);
    yield* flag.store(1);
  };
  const reader: Body<ReturnType<typeof start>> = function* ({ data, flag }) {
    const isSet = (yield* flag.load()) === 1;
    if (isSet || !waits) data.load();
  };
  return program("plain", start, [writer, reader]);
}

/** An object that is given back, or forgotten when the other one was first. */
function forgetting(forgets: boolean): Scenario<unknown> {
  const start = (places: Places): { slot: Cell; objects: Objects } => {
    const slot = places.cell("slot");
    return { slot, objects: new Objects(slot.memory, places.take(64), 16) };
  };
  const body: Body<ReturnType<typeof start>> = function* ({ slot, objects }) {
    const at = yield* objects.alloc(2, "thing");
    const isFirst = yield* slot.compareExchange(0, at);
    if (!isFirst && forgets) return;
    yield* objects.free(at, 2, "thing");
  };
  return program(forgets ? "forgotten" : "given back", start, [body, body]);
}

/** The count of an object of the set-up. */
function keeping(keeps: boolean): Scenario<unknown> {
  const start = (places: Places): RefCount => {
    const count = new RefCount(places.cell("x").memory, places.take(1));
    count.init(1);
    return count;
  };
  const body: Body<RefCount> = function* (count) {
    yield* count.get();
    if (!keeps) yield* count.put();
  };
  return program(keeps ? "kept" : "put", start, [body, body]);
}

/** x never above y: y is raised first, or last. */
function raising(isWrong: boolean): Scenario<unknown> {
  const start = (places: Places): readonly Cell[] => places.cells("x", 2);
  const body: Body<readonly Cell[]> = function* (cells) {
    const [x, y] = isWrong ? [cells[1]!, cells[0]!] : [cells[0]!, cells[1]!];
    yield* y.fetchAdd(1);
    yield* x.fetchAdd(1);
  };
  const invariant: Invariant<readonly Cell[]> = {
    name: "x is not above y",
    words: (cells) => cells.map(({ at }) => ({ at, words: 1 })),
    holds: (cells) => assert.ok(cells[0]!.peek() <= cells[1]!.peek()),
  };
  const scenario = program(isWrong ? "raised wrongly" : "raised", start, [body, body]);
  return { ...scenario, invariants: [invariant] };
}

/** After you: each waits for its turn and hands it over, for ever; or one of them takes it. */
function courteous(both: boolean): Scenario<unknown> {
  const start = (places: Places): { turn: Cell; done: Cell } => ({
    turn: places.cell("turn"),
    done: places.cell("done"),
  });
  const body = (me: number): Body<ReturnType<typeof start>> =>
    function* ({ turn, done }) {
      for (;;) {
        yield* turn.waitWhile(1 - me);
        if (me === 0 && !both) yield* done.store(1);
        const isDone = (yield* done.load()) === 1;
        yield* turn.store(1 - me);
        if (isDone) return;
      }
    };
  return program(both ? "after you" : "after me", start, [body(0), body(1)]);
}

const counterModel: SequentialModel<number> = {
  initial: 0,
  step: (state, { output }) => (output === undefined || output === state ? state + 1 : undefined),
};

/** A counter whose increments give the value from before: atomic, or read and then written. */
function handingOut(isAtomic: boolean): Scenario<unknown> {
  const start = (places: Places): { x: Cell; history: OperationHistory } => {
    const x = places.cell("x");
    return { x, history: new OperationHistory(x.memory, places.take(1), counterModel) };
  };
  const body: Body<ReturnType<typeof start>> = function* ({ x, history }) {
    yield* history.call("next", undefined, function* () {
      if (isAtomic) return yield* x.fetchAdd(1);
      const value = yield* x.load();
      yield* x.store(value + 1);
      return value;
    });
  };
  return program(isAtomic ? "handed out" : "handed out twice", start, [body, body]);
}

const twins: readonly { kind: FindingKind; broken: Scenario<unknown>; sound: Scenario<unknown> }[] =
  [
    { kind: "use-after-free", broken: usedAfterFree(false), sound: usedAfterFree(true) },
    { kind: "double-free", broken: freedTwice(false), sound: freedTwice(true) },
    { kind: "refcount", broken: counting(false), sound: counting(true) },
    { kind: "assertion", broken: counter(false), sound: counter(true) },
    { kind: "lock-order", broken: inverted(true), sound: inverted(false) },
    { kind: "sleep-in-atomic", broken: sleeping(true), sound: sleeping(false) },
    { kind: "deadlock", broken: locks.abba(), sound: locks.tryLocks(2, 1, true) },
    { kind: "lock-misuse", broken: locks.mutexKept(1, false), sound: locks.lockinc(2, true) },
    {
      kind: "lost-wakeup",
      broken: handMade(1, true, Infinity),
      sound: handMade(1, false, Infinity),
    },
    { kind: "data-race", broken: publishingPlainly(false), sound: publishingPlainly(true) },
    { kind: "leak", broken: forgetting(true), sound: forgetting(false) },
    { kind: "refcount-leak", broken: keeping(true), sound: keeping(false) },
    { kind: "invariant", broken: raising(true), sound: raising(false) },
    { kind: "not-linearizable", broken: handingOut(false), sound: handingOut(true) },
    { kind: "livelock", broken: courteous(true), sound: courteous(false) },
    { kind: "endless", broken: spinning(true), sound: spinning(false) },
  ];

for (const { kind, broken, sound } of twins) {
  test(`${kind}: found in the broken program, not in the sound one`, () => {
    const seen = explore(broken, { maxSteps: 100 });
    assert.ok(
      seen.findings.some((finding) => finding.kind === kind),
      JSON.stringify(seen.findings),
    );
    assert.deepEqual(explore(sound, { maxSteps: 100 }).findings, []);
  });

  test(`${kind}: the token replays the same finding, and so does the minimised one`, () => {
    const options = { maxSteps: 100 };
    const finding = explore(broken, options).findings.find((found) => found.kind === kind);
    assert.ok(finding !== undefined);
    const small = minimise(broken, finding, options);
    assert.ok(small.schedule.length <= finding.schedule.length);
    for (const { token } of [finding, small]) {
      const identities = replay(broken, token, options).map(findingIdentity);
      assert.ok(identities.includes(findingIdentity(finding)), `${token}: ${identities.join()}`);
    }
  });
}

test("a use after free names who freed and who used, and its smallest schedule has one preemption", () => {
  const scenario = usedAfterFree(false);
  const found = explore(scenario).findings.find(({ kind }) => kind === "use-after-free");
  assert.ok(found !== undefined);
  const small = minimise(scenario, found);
  assert.deepEqual(
    small.sites.map(({ task, operation, label }) => `${task} ${operation} ${label}`),
    ["t0 alloc object", "t0 free object", "t1 read object.field"],
  );
  assert.equal(small.token, "h1-a2ba2b");
  assert.match(small.message, /t1 uses object\.field, which t0 freed/);
});

test("a wait for a lock in freed memory is a use after free, though it never comes to be a step", () => {
  const lockFreed: Body<{ memory: SharedMemory; objects: Objects }> = function* ({
    memory,
    objects,
  }) {
    const at = yield* objects.alloc(Mutex.WORDS, "object");
    yield* objects.free(at, Mutex.WORDS, "object");
    yield* new Mutex(memory, at).lock();
  };
  const start = (places: Places): { memory: SharedMemory; objects: Objects } => {
    const { memory } = places.cell("x");
    return { memory, objects: new Objects(memory, places.take(64), 16) };
  };
  const { findings } = explore(program("lock of a freed object", start, [lockFreed]));
  assert.deepEqual(
    findings.map(({ kind, message }) => [kind, message]),
    [["use-after-free", "t0 uses mutex, which t0 freed"]],
  );
});

test("a deadlock names who waits for what and who holds it", () => {
  const found = explore(locks.abba(), { lockdep: false }).findings;
  assert.deepEqual(
    found.map(({ kind, message }) => [kind, message]),
    [
      [
        "deadlock",
        "t0 waits for ever (lock of m[1]), which t1 holds; t1 waits for ever (lock of m[0]), which t0 holds",
      ],
    ],
  );
});

test("every engine that covers everything finds the bug, and the sampling ones soon do", () => {
  for (const engine of [
    "naive",
    "sleep",
    "source",
    "optimal",
    "bounded",
    "random",
    "pct",
    "pos",
  ] as const) {
    const { findings } = explore(usedAfterFree(false), { engine, executions: 500, seed: 7 });
    assert.ok(
      findings.some(({ kind }) => kind === "use-after-free"),
      engine,
    );
  }
});

test("state that outlives an execution is noticed, not silently explored", () => {
  let executions = 0;
  const body: Body<readonly Cell[]> = function* (cells) {
    yield* cells[executions++ % 3]!.store(1);
    yield* cells[0]!.load();
  };
  const scenario = program("impure", (places) => places.cells("x", 3), [body, body]);
  assert.throws(() => explore(scenario), UncontrolledNondeterminism);
});

test("tokens are read as they are written, and nonsense is refused", () => {
  const schedule = [0, 0, 0, 1, 32 + 2, 64 + 2, 26, 26];
  assert.equal(formatToken(schedule), "h1-a3b~c!cA2");
  assert.deepEqual(parseToken(formatToken(schedule)), schedule);
  assert.throws(() => parseToken("a3"), SyntaxError);
  assert.throws(() => parseToken("h1-a3?"), SyntaxError);
  assert.throws(() => replay(counter(true), "h1-a9"), /Cannot replay/);
});

test("the verdict of a scenario may read plain words: it comes after every task", () => {
  const count = function* ({ mutex, x }: { mutex: Mutex; x: PlainCell }): Task<void> {
    yield* mutex.lock();
    x.store(x.load() + 1);
    yield* mutex.unlock();
  };
  const { findings } = explore({
    name: "plain verdict",
    setup: (memory) => {
      const places = new Places(memory);
      return { mutex: places.mutex("m"), x: places.plainCell("x") };
    },
    tasks: { a: count, b: count },
    check: ({ x }) => assert.equal(x.load(), 2),
  });
  assert.deepEqual(findings, []);
});
