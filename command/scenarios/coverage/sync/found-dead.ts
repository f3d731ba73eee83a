/**
 * @module A thread is found dead, step by step: by two finders at once, while other threads reap,
 * while a new thread gets its record, while threads wait for what it was doing
 * (sync/death/death.ts, sync/death/reaper.ts). The dead thread registered before the execution, or
 * it runs up to its first sleep.
 */

import { Cell, Gate, Places } from "../../../../src/checker/primitives/program.ts";
import { agentDied, registerAgent, unregisterAgent } from "../../../../src/sync/runners/agents.ts";
import {
  AGENT_DEAD,
  AGENT_FINDERS,
  AGENT_FREE,
  AGENT_INSIDE,
  AGENT_LIVE,
  AGENT_STATE,
  ALERT,
  ALERT_DEAD,
  DEATHS,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { declareDead } from "../../../../src/sync/death/death.ts";
import { hasPanicked, panicInfo } from "../../../../src/sync/death/panic.ts";
import { reapTask, shouldReap } from "../../../../src/sync/death/reaper.ts";
import {
  addResource,
  registerReleaser,
  resourceKind,
} from "../../../../src/sync/lockdep/resources.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { Shootdown, enterStore, leaveStore } from "../../../../src/sync/primitives/shootdown.ts";
import { runInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";
import { FIRST, reserveRecords, standing, strangeThread, threadOf } from "./threads.ts";

const HOST_THREAD = 71;

const THING: number = resourceKind("coverage thing of a dead thread");
const STRANGE_THING: number = resourceKind("coverage thing that this thread cannot release");
const BROKEN_THING: number = resourceKind("coverage thing whose release fails");

registerReleaser(THING, function* (memory, at) {
  yield* new Cell(memory, at, "released").fetchAdd(1);
});

registerReleaser(BROKEN_THING, function* (memory, at) {
  yield* new Cell(memory, at, "released").fetchAdd(1);
  throw new Error("it cannot be released");
});

interface Dead {
  readonly memory: SharedMemory;
  /** Not of the machine: a host's main thread, which is told of the end of others. */
  readonly host: SharedMemory;
  /** Two that reap, each with what it knows of its last try. */
  readonly one: SharedMemory;
  readonly other: SharedMemory;
  readonly newcomer: SharedMemory;
  readonly released: Cell;
  readonly shootdown: Shootdown;
  readonly gone: Gate;
}

/** A registered thread that owns a resource of the kind, and may be inside a store. */
function deadThread(
  kind: number,
  isInside: boolean,
): Pick<Parameters<typeof covering<Dead>>[0], "setup" | "reopen"> {
  const reopen = (memory: SharedMemory): Dead => {
    const places = new Places(memory);
    const released = places.cell("released");
    const shootdown = new Shootdown(memory, places.take(Shootdown.WORDS));
    return {
      memory,
      host: strangeThread(memory),
      one: threadOf(memory, 1, memory.mode),
      other: threadOf(memory, 2, memory.mode),
      newcomer: strangeThread(memory),
      released,
      shootdown,
      gone: new Gate(memory, places.take(1), "gone"),
    };
  };
  return {
    reopen,
    setup: (memory) => {
      reserveRecords(memory);
      const dead = reopen(memory);
      const thread = strangeThread(memory);
      registerAgent(thread, { name: "dead", hostThreadId: HOST_THREAD });
      if (kind !== 0) addResource(thread, kind, dead.released.at);
      if (isInside) enterStore(thread);
      return dead;
    },
  };
}

function hear({ host }: Dead): Task<void> {
  return runInSteps(agentDied, host, HOST_THREAD);
}

/** As the runners do from time to time, without any lock. */
function* lookAfter(thread: SharedMemory): Task<void> {
  if (!(yield* runInSteps(shouldReap, thread))) return;
  yield* reapTask(thread);
}

/** Registers, makes a store, and unregisters. */
function* joinAndStore({ memory, newcomer }: Dead): Task<void> {
  const agentId = yield* runInSteps(registerAgent, newcomer, { name: "newcomer" });
  yield* runInSteps(enterStore, newcomer);
  const mark = yield* new Cell(memory, agentRecord(agentId) + AGENT_INSIDE, "store mark").load();
  assert(mark === newcomer.insideMark, "somebody ended the store of a thread that lives");
  yield* runInSteps(leaveStore, newcomer);
  assert(standing(memory, agentId) === AGENT_LIVE, "somebody gave away the record of a thread");
  yield* runInSteps(unregisterAgent, newcomer);
}

const FIND = [
  "sync/runners/agents.agentDied",
  "sync/death/death.declareDead",
  "sync/death/death.giveUpPlaces",
] as const;
const REAP = ["sync/death/reaper.reapTask", "sync/death/reaper.releaseList"] as const;
const JOIN = [
  "sync/runners/agents.registerAgent",
  "sync/runners/agents.unregisterAgent",
  "sync/primitives/shootdown.enterStore",
] as const;

function oneWasFound({ memory }: Dead): void {
  assert(memory.words[DEATHS] !== 0, "a thread is dead, and nobody is told");
  assert(
    memory.words[agentRecord(FIRST) + AGENT_FINDERS] === 0,
    "somebody is still said to find it",
  );
}

/**
 * Breaks D1 of death.ts: no count of finders. The record becomes dead first; the finder does the
 * rest later.
 */
function* findHastily({ memory }: Dead): Task<void> {
  const record = agentRecord(FIRST);
  const state = new Cell(memory, record + AGENT_STATE, "agent record");
  const before = yield* state.load();
  if (!(yield* state.compareExchange(before, before | AGENT_DEAD))) return;
  const inside = new Cell(memory, record + AGENT_INSIDE, "store mark");
  if (((yield* inside.load()) & 1) !== 0) yield* inside.fetchAdd(1);
  yield* new Cell(memory, DEATHS, "deaths").fetchAdd(1);
}

const reused = covering<Dead>({
  layer: "sync",
  name: "found-dead/record-reused",
  summary:
    "A thread died inside a store: one finds it, one reaps, a new thread joins: nobody ends the store of that one.",
  exploration: { spelledOut: true, engine: "bounded", preemptions: 2 },
  ...deadThread(0, true),
  tasks: {
    finder: { runs: FIND, body: hear },
    reaping: { runs: REAP, body: ({ one }) => reapTask(one) },
    newcomer: { runs: JOIN, body: joinAndStore },
  },
  check: (dead) => {
    oneWasFound(dead);
    assert(!hasPanicked(dead.memory), "the machine stopped, although nobody held a lock");
  },
  twins: [
    {
      name: "hasty",
      summary: "The finder does not say that it is not done yet.",
      expects: "assertion",
      tasks: { finder: findHastily },
    },
  ],
});

function* releaseOnSight({ released, memory }: Dead): Task<void> {
  if (
    ((yield* new Cell(memory, agentRecord(FIRST) + AGENT_STATE, "agent record").load()) & 3) !==
    AGENT_DEAD
  )
    return;
  yield* released.fetchAdd(1);
}

const reaped = covering<Dead>({
  layer: "sync",
  name: "found-dead/reaped-once",
  summary:
    "Two hear that a thread has ended, and look after it: what it owned is released once, its record is free, and all is well.",
  exploration: { spelledOut: true, engine: "bounded", preemptions: 2 },
  ...deadThread(THING, false),
  tasks: {
    one: {
      runs: [
        ...FIND,
        ...REAP,
        "sync/death/reaper.shouldReap",
        "sync/death/reaper.anyDead",
        "sync/death/reaper.clearDeadAlert",
      ],
      *body(dead) {
        yield* hear(dead);
        yield* lookAfter(dead.one);
      },
    },
    other: {
      runs: [
        ...FIND,
        ...REAP,
        "sync/death/reaper.shouldReap",
        "sync/death/reaper.anyDead",
        "sync/death/reaper.clearDeadAlert",
      ],
      *body(dead) {
        yield* hear(dead);
        yield* lookAfter(dead.other);
      },
    },
    newcomer: { runs: JOIN, body: joinAndStore },
  },
  check: (dead) => {
    oneWasFound(dead);
    assert(
      dead.released.peek() === 1,
      `what the dead thread owned was released ${dead.released.peek()} times`,
    );
    assert(
      standing(dead.memory, FIRST) === AGENT_FREE,
      "nobody has the record, and it is not free",
    );
    assert(
      dead.memory.words[ALERT] === 0,
      "everything is put in order, and everybody is still alerted",
    );
  },
  twins: [
    {
      name: "unclaimed",
      summary: "One releases what a dead thread owns without taking it off the list first.",
      expects: "assertion",
      tasks: {
        *other(dead) {
          yield* hear(dead);
          yield* releaseOnSight(dead);
        },
      },
    },
  ],
});

const strange = covering<Dead>({
  layer: "sync",
  name: "found-dead/left-to-others",
  summary:
    "The dead thread owned what nobody here can release: it stays listed, and everybody alerted, for one who can.",
  exploration: { spelledOut: true },
  ...deadThread(STRANGE_THING, false),
  tasks: {
    finder: { runs: FIND, body: hear },
    reaping: {
      runs: [...REAP, "sync/death/reaper.anyDead", "sync/death/reaper.clearDeadAlert"],
      *body({ one, memory }) {
        yield* new Cell(memory, DEATHS, "deaths").waitWhile(0);
        yield* reapTask(one);
      },
    },
  },
  check: (dead) => {
    oneWasFound(dead);
    assert(
      standing(dead.memory, FIRST) === AGENT_DEAD,
      "the record is free, and what it listed was not released",
    );
    assert(dead.memory.words[ALERT] !== 0, "nobody will look after the dead thread any more");
  },
  twins: [
    {
      name: "cleared-late",
      summary: "Who reaps takes the alert away last of all.",
      expects: "assertion",
      tasks: {
        *reaping({ one, memory }) {
          yield* new Cell(memory, DEATHS, "deaths").waitWhile(0);
          yield* reapTask(one);
          yield* new Cell(memory, ALERT, "alert").store(0);
        },
      },
    },
  ],
});

function* reapInVain({ one, memory }: Dead, tells: boolean): Task<void> {
  yield* new Cell(memory, DEATHS, "deaths").waitWhile(0);
  try {
    yield* reapTask(one);
  } catch {
    if (!tells) yield* new Cell(memory, ALERT, "alert").store(0);
  }
}

const broken = covering<Dead>({
  layer: "sync",
  name: "found-dead/cannot-be-released",
  summary:
    "What the dead thread owned cannot be released: the machine stops and says so, instead of leaking it silently.",
  exploration: { spelledOut: true },
  ...deadThread(BROKEN_THING, false),
  tasks: {
    finder: { runs: FIND, body: hear },
    reaping: { runs: REAP, body: (dead) => reapInVain(dead, true) },
  },
  check: ({ memory, released }) => {
    const text = panicInfo(memory)?.message ?? "";
    assert(
      released.peek() === 1 && text.startsWith("Cannot release "),
      `the machine says: ${text}`,
    );
  },
  twins: [
    {
      name: "silent",
      summary: "Who reaps goes on as if nothing had happened.",
      expects: "assertion",
      tasks: { reaping: (dead) => reapInVain(dead, false) },
    },
  ],
});

function* flushIt({ shootdown, memory }: Dead): Task<void> {
  yield* shootdown.flush(1, 2);
  const isInside = (memory.words[agentRecord(FIRST) + AGENT_INSIDE]! & 1) !== 0;
  assert(
    !isInside || standing(memory, FIRST) === AGENT_DEAD,
    "a thread that may be alive is still inside its store",
  );
}

const flushed = covering<Dead>({
  layer: "sync",
  name: "found-dead/inside-a-store",
  summary: "A thread died inside a store for whose end two wait: who finds it wakes both.",
  // One looks again by itself, once: so the other one needs its wake.
  exploration: { spelledOut: true, timeouts: 1, spuriousWakes: 0 },
  ...deadThread(0, true),
  tasks: {
    one: {
      runs: ["sync/primitives/shootdown.flush", "sync/primitives/shootdown.waitForStores"],
      body: flushIt,
    },
    other: {
      runs: ["sync/primitives/shootdown.flush", "sync/primitives/shootdown.waitForStores"],
      body: flushIt,
    },
    finder: { runs: FIND, body: hear },
  },
  check: oneWasFound,
  twins: [
    {
      name: "unwoken",
      summary: "Who finds it takes it out of its store and wakes nobody.",
      expects: "lost-wakeup",
      tasks: { finder: findHastily },
    },
  ],
});

/** Another thread has been found dead already. */
const second = deadThread(0, false);

/** Breaks the order of `announce` of death.ts. */
function* hearAndAlertLate(dead: Dead): Task<void> {
  yield* hear(dead);
  yield* new Cell(dead.memory, ALERT, "alert").store(ALERT_DEAD);
}

const besideAnother = covering<Dead>({
  layer: "sync",
  name: "found-dead/beside-another",
  summary:
    "A thread is found dead while another one reaps for an earlier death: nobody is alerted for nothing.",
  exploration: { spelledOut: true, engine: "bounded", preemptions: 2 },
  ...second,
  setup(memory) {
    const dead = second.setup(memory);
    const agentId = registerAgent(strangeThread(memory), { name: "dead before" });
    declareDead(memory, agentId, memory.words[agentRecord(agentId) + AGENT_STATE]!);
    return dead;
  },
  tasks: {
    finder: { runs: [...FIND, "sync/death/death.announce"], body: hear },
    reaping: {
      runs: [...REAP, "sync/death/reaper.shouldReap", "sync/death/reaper.clearDeadAlert"],
      body: ({ one }) => lookAfter(one),
    },
  },
  check: (dead) => {
    oneWasFound(dead);
    assert(
      dead.memory.words[ALERT] === 0 || shouldReap(dead.one),
      "everybody is alerted, and who reaps has no reason to look again",
    );
  },
  twins: [
    {
      name: "late",
      summary: "The alert comes after the count.",
      expects: "assertion",
      tasks: { finder: hearAndAlertLate },
    },
  ],
});

export const foundDead: readonly Covered[] = [
  reused,
  reaped,
  strange,
  broken,
  flushed,
  besideAnother,
];
