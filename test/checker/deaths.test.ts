/**
 * @module The death of a thread as a choice: what the others then see is what the shipped code does
 * about it.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import type { Exploration, ExploreOptions } from "../../src/checker/explore.ts";
import { formatToken, parseToken } from "../../src/checker/findings/token.ts";
import { Cell } from "../../src/checker/primitives/program.ts";
import type { Places } from "../../src/checker/primitives/program.ts";
import { minimise, replay } from "../../src/checker/replay/minimise.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import { AssertionFailure } from "../../src/sync/errors.ts";
import { lockClass } from "../../src/sync/lock-class.ts";
import {
  AGENT_DEAD,
  AGENT_FREE,
  AGENT_LIVE,
  AGENT_STATE,
  AGENT_STATE_MASK,
  ALERT,
  ALERT_DEAD,
  agentRecord,
} from "../../src/sync/control-block.ts";
import { Mutex } from "../../src/sync/primitives/mutex.ts";
import {
  addResource,
  registerReleaser,
  removeResource,
  resourceKind,
} from "../../src/sync/lockdep/resources.ts";
import { RwSem } from "../../src/sync/primitives/rwsem.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../src/sync/primitives/wait-queue.ts";
import { program } from "./programs/program-of.ts";
import type { Body } from "./programs/program-of.ts";

/** Explores under the optimal engine and the oracle, which must agree. */
function agreed(scenario: Scenario<unknown>, options: ExploreOptions): Exploration {
  const optimal = explore(scenario, { collectClasses: true, ...options });
  const oracle = explore(scenario, { collectClasses: true, engine: "sleep", ...options });
  assert.deepEqual(optimal.keys, oracle.keys);
  assert.equal(optimal.executions, oracle.executions);
  assert.equal(optimal.blocked, 0);
  assert.ok(optimal.complete);
  return optimal;
}

function kindsOf({ findings }: Exploration): string[] {
  return Array.from(new Set(findings.map(({ kind }) => kind))).toSorted();
}

const section: Body<Mutex> = function* (mutex) {
  yield* mutex.lock();
  yield* mutex.unlock();
};

function sections(mustSurvive: boolean): Scenario<unknown> {
  return { ...program("sections", (places) => places.mutex("m"), [section, section]), mustSurvive };
}

test("a thread that dies holding a lock stops the machine: nobody waits for ever, and nothing is found", () => {
  const seen = agreed(sections(false), { deaths: 1 });
  assert.deepEqual(seen.findings, []);
  assert.equal(seen.stuck, 0);
});

test("where the machine must survive, that death is the finding, and its token says who died", () => {
  const scenario = sections(true);
  const found = agreed(scenario, { deaths: 1 }).findings.find(({ kind }) => kind === "owner-died");
  assert.ok(found !== undefined);
  const small = minimise(scenario, found, { deaths: 1 });
  assert.equal(small.token, "h1-aXa");
  assert.match(small.message, /thread "t0" was terminated while it held m/);
  assert.deepEqual(
    replay(scenario, small.token, { deaths: 1 }).map(({ kind }) => kind),
    ["owner-died"],
  );
});

test("without deaths among the budget nothing of it is explored", () => {
  assert.equal(explore(sections(true), { symmetry: false }).classes, 2);
  assert.deepEqual(explore(sections(true)).findings, []);
});

test("a writer that dies in the queue of a semaphore leaves it, so that readers come in", () => {
  const start = (places: Places): RwSem =>
    new RwSem(places.cell("x").memory, places.take(RwSem.WORDS));
  const reader: Body<RwSem> = function* (sem): Task<void> {
    yield* sem.downRead();
    yield* sem.upRead();
  };
  const writer: Body<RwSem> = function* (sem): Task<void> {
    yield* sem.downWrite();
    yield* sem.upWrite();
  };
  const seen = agreed(program("queued", start, [reader, writer]), { deaths: 1 });
  assert.equal(seen.stuck, 0);
});

const THING = resourceKind("deathTestThing");
registerReleaser(THING, (memory, at) => new Cell(memory, at, "thing").store(0));

/** The owner counts what it has in `thing`, and says so on its list, or forgets to. */
function owner(lists: boolean): Scenario<unknown> {
  const body: Body<Cell> = function* (thing) {
    yield* thing.store(1);
    const slot = lists ? addResource(thing.memory, THING, thing.at) : -1;
    yield* thing.load();
    yield* thing.store(0);
    if (slot >= 0) removeResource(thing.memory, slot);
  };
  const scenario = program("owner", (places) => places.cell("thing"), [body]);
  return { ...scenario, check: (thing): void => assert.equal((thing as Cell).peek(), 0) };
}

test("what a dead thread owned is released by the reaper; what it did not list is not", () => {
  assert.deepEqual(kindsOf(agreed(owner(true), { deaths: 1 })), []);
  assert.deepEqual(kindsOf(agreed(owner(false), { deaths: 1 })), ["assertion"]);
});

const UNRELEASABLE = resourceKind("deathTestUnreleasable");
registerReleaser(UNRELEASABLE, () => {
  throw new AssertionFailure("what a dead thread owned cannot be released");
});

test("what goes wrong after a death is found, though the machine stops by that", () => {
  const body: Body<Cell> = function* (thing) {
    const slot = addResource(thing.memory, UNRELEASABLE, thing.at);
    yield* thing.load();
    removeResource(thing.memory, slot);
  };
  const scenario = program("unreleasable", (places) => places.cell("thing"), [body]);
  const { findings } = agreed(scenario, { deaths: 1 });
  assert.deepEqual(
    findings.map(({ kind, message }) => [kind, message]),
    [["assertion", "what a dead thread owned cannot be released"]],
  );
});

test("a waker that dies before it wakes, or after it was woken itself, loses no wake", () => {
  const start = (places: Places): { queue: WaitQueue; tokens: Cell } => {
    const tokens = places.cell("tokens");
    return { queue: new WaitQueue(tokens.memory, places.take(WaitQueue.WORDS)), tokens };
  };
  const giver: Body<ReturnType<typeof start>> = function* ({ queue, tokens }) {
    yield* tokens.store(1);
    yield* queue.wakeOne();
  };
  const taker: Body<ReturnType<typeof start>> = ({ queue, tokens }) =>
    queue.waitEvent(() => tokens.peek() !== 0);
  const scenario = { ...program("wakes", start, [giver, taker, taker]), killable: ["t1"] };
  // Two takers and one wake of one: stuck without a death, but not because of one.
  const without = explore(scenario);
  const deathsOf = new Set<number>();
  for (const { schedule } of agreed(scenario, { deaths: 1 }).findings) {
    for (const transition of schedule) deathsOf.add(transition >> 5);
  }
  assert.ok(without.stuck > 0);
  assert.ok(!deathsOf.has(3), "no finding needs a death");
});

/** What a step that reads a word of the control block sees, beside a thread that may die. */
function seenAt(word: number, mask: number): number[] {
  const seen = new Set<number>();
  const store: Body<Cell> = (cell) => cell.store(1);
  const look: Body<Cell> = function* (cell) {
    const value = (yield* new Cell(cell.memory, word, "looked at").load()) & mask;
    seen.add(value);
    // So that what it does next depends on what it saw.
    if (value === 0) yield* cell.load();
    else yield* cell.store(value);
  };
  const base = program("looks", (places) => places.cell("x"), [store, look]);
  const scenario = { ...base, killable: ["t0"] };
  agreed(scenario, { deaths: 1, spelledOut: true });
  return [...seen].toSorted((a, b) => a - b);
}

test("a death is ordered with steps that read the dead thread's record, or whether one is dead", () => {
  assert.deepEqual(seenAt(agentRecord(1) + AGENT_STATE, AGENT_STATE_MASK), [
    AGENT_FREE,
    AGENT_LIVE,
    AGENT_DEAD,
  ]);
  assert.deepEqual(seenAt(ALERT, ALERT_DEAD), [0, ALERT_DEAD]);
});

test("killable limits who may die", () => {
  const base = program(
    "mortal",
    (places) => new Mutex(places.cell("x").memory, places.take(1), lockClass("m")),
    [section, section],
  );
  const scenario = { ...base, killable: ["t1"], mustSurvive: true };
  const found = agreed(scenario, { deaths: 1 }).findings;
  assert.ok(found.length > 0);
  for (const { threads } of found) assert.deepEqual(threads, ["t1"]);
});

test("deaths have a mark in tokens", () => {
  const schedule = [0, 96, 1, 129];
  assert.equal(formatToken(schedule), "h1-aXab?b");
  assert.deepEqual(parseToken("h1-aXab?b"), schedule);
});
