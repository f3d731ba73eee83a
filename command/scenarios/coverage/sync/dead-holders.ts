/**
 * @module A thread has died while it held a lock, or as a reader, and two others wait: who finds it
 * dead takes back what it changed, gives the lock back and wakes (sync/death/death.ts,
 * sync/primitives/lock-word.ts). Nobody looks again by itself, so the waiters need their wake.
 */

import { Cell, Places } from "../../../../src/checker/primitives/program.ts";
import {
  AGENT_DEAD,
  AGENT_FINDERS,
  AGENT_LIVE,
  AGENT_STATE,
  AGENT_STATE_MASK,
  DEATHS,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { declareDead } from "../../../../src/sync/death/death.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { lockClass } from "../../../../src/sync/lock-class.ts";
import { heldSlots } from "../../../../src/sync/lockdep/held-locks.ts";
import { RwSem } from "../../../../src/sync/primitives/rwsem.ts";
import { Spinlock } from "../../../../src/sync/primitives/spinlock.ts";
import { agentDied, registerAgent } from "../../../../src/sync/runners/agents.ts";
import { runInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { undoStore } from "../../../../src/sync/words/undo-log.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";
import { FIRST, reserveRecords, strangeThread } from "./threads.ts";

const HOST_THREAD = 72;

interface Lock {
  /** Its first word is 0 if nobody has it, or waits for it as a writer. */
  readonly at: number;
  enter(): Task<void>;
  tryEnter(): Task<boolean>;
  leave(): Task<void>;
}

interface Held {
  readonly memory: SharedMemory;
  readonly host: SharedMemory;
  readonly lock: Lock;
  /** Two words that the lock guards. They are equal. */
  readonly left: Cell;
  readonly right: Cell;
}

interface Kind {
  readonly name: string;
  readonly words: number;
  readonly of: (memory: SharedMemory, at: number) => Lock;
}

/** Of classes whose changes are taken back when their holder dies. */
const SPINLOCK: Kind = {
  name: "spinlock",
  words: Spinlock.WORDS,
  of(memory, at) {
    const lock = new Spinlock(memory, at, lockClass("ramLock"));
    return {
      at,
      enter: () => lock.lock(),
      tryEnter: () => lock.tryLock(),
      leave: () => lock.unlock(),
    };
  },
};
const WRITER: Kind = {
  name: "writer",
  words: RwSem.WORDS,
  of(memory, at) {
    const sem = new RwSem(memory, at, lockClass("mmapLock"));
    return {
      at,
      enter: () => sem.downWrite(),
      tryEnter: () => sem.tryDownWrite(),
      leave: () => sem.upWrite(),
    };
  },
};
const READER: Kind = {
  ...WRITER,
  name: "reader",
  of(memory, at) {
    const sem = new RwSem(memory, at, lockClass("mmapLock"));
    return { ...WRITER.of(memory, at), tryEnter: () => sem.tryDownRead() };
  },
};

/** Its thread's reader word is in use for another semaphore: STATE counts it. */
const COUNTED: Kind = {
  ...READER,
  name: "counted-reader",
  words: RwSem.WORDS * 2,
  of(memory, at) {
    const other = new RwSem(memory, at + RwSem.WORDS, lockClass("covered other of the dead"));
    const sem = READER.of(memory, at);
    return {
      ...sem,
      *tryEnter() {
        return (yield* other.tryDownRead()) && (yield* sem.tryEnter());
      },
    };
  },
};

/** For a set-up: enters a lock that is free, so nothing waits. */
function enterFree(lock: Lock): void {
  const { done, value } = lock.tryEnter().next();
  assert(done === true && value, "the lock is free, and was not taken");
}

function reopenAs(kind: Kind): (memory: SharedMemory) => Held {
  return (memory) => {
    const places = new Places(memory);
    const lock = kind.of(memory, places.take(kind.words));
    const [left, right] = [places.cell("left"), places.cell("right")];
    return { memory, host: strangeThread(memory), lock, left, right };
  };
}

/** It has stored the one word of the two. A reader stores nothing. */
function setUpAs(kind: Kind): (memory: SharedMemory) => Held {
  return (memory) => {
    reserveRecords(memory);
    const thread = strangeThread(memory);
    registerAgent(thread, { name: "dead", hostThreadId: HOST_THREAD });
    const at = new Places(memory).take(kind.words);
    enterFree(kind.of(thread, at));
    const held = reopenAs(kind)(memory);
    if (kind !== READER && kind !== COUNTED) undoStore(thread, at, held.left.at, 1);
    return held;
  };
}

function hear({ host }: Held): Task<void> {
  return runInSteps(agentDied, host, HOST_THREAD);
}

/** Breaks point 2 of death.ts: the record becomes dead, and what it held stays held. */
function* hearAlone({ memory }: Held): Task<void> {
  const state = new Cell(memory, agentRecord(FIRST) + AGENT_STATE, "agent record");
  yield* state.fetchAdd(AGENT_DEAD - ((yield* state.load()) & AGENT_DEAD));
}

/** As a thread of the machine, which may die as well. */
function* hearAsMember({ memory }: Held): Task<void> {
  const state = yield* new Cell(memory, agentRecord(FIRST) + AGENT_STATE, "agent record").load();
  if ((state & AGENT_STATE_MASK) !== AGENT_LIVE) return;
  yield* runInSteps(declareDead, memory, FIRST, state);
}

/** As `hearAsMember`, without D2 of death.ts: nobody knows what it was about to do. */
function* hearUnnoted({ memory }: Held): Task<void> {
  const record = agentRecord(FIRST);
  const state = new Cell(memory, record + AGENT_STATE, "agent record");
  const before = yield* state.load();
  if ((before & AGENT_STATE_MASK) !== AGENT_LIVE) return;
  if (!(yield* state.compareExchange(before, before - AGENT_LIVE + AGENT_DEAD))) return;
  yield* new Cell(memory, DEATHS, "deaths").fetchAdd(1);
}

function* enterAndLook({ lock, left, right }: Held): Task<void> {
  yield* lock.enter();
  const seen = yield* left.load();
  assert(seen === (yield* right.load()), "what a dead thread had half changed is there");
  yield* left.store(seen + 1);
  yield* right.store(seen + 1);
  yield* lock.leave();
}

function heldByDead(kind: Kind, runs: readonly string[]): Covered {
  return covering<Held>({
    layer: "sync",
    name: `dead-holder/${kind.name}`,
    summary: `A ${kind.name} has died inside, two wait, one finds it: they get in, and see nothing half changed.`,
    exploration: { spelledOut: true, engine: "bounded", preemptions: 2, spuriousWakes: 0 },
    setup: setUpAs(kind),
    reopen: reopenAs(kind),
    tasks: {
      one: { runs, body: enterAndLook },
      other: { runs, body: enterAndLook },
      finder: {
        runs: ["sync/runners/agents.agentDied", "sync/death/death.giveUpPlaces"],
        body: hear,
      },
    },
    check: ({ memory, lock, left, right }) => {
      const sums = [left.peek(), right.peek()];
      assert(sums.join(" ") === "2 2", `the words are ${sums.join(" and ")}, not 2`);
      const slots = heldSlots(memory, agentRecord(FIRST));
      assert(slots.length === 0, "a dead thread is still said to hold the lock");
      assert(memory.words[lock.at] === 0, "the lock is taken, although nobody is left");
    },
    twins: [
      {
        name: "kept",
        summary: "Who finds it does not give back what it held.",
        expects: "lost-wakeup",
        tasks: { finder: hearAlone },
      },
    ],
  });
}

function ofDeadFinder(kind: Kind): Covered {
  return covering<Held>({
    layer: "sync",
    name: `dead-holder/${kind.name}/dead-finder`,
    summary: `A ${kind.name} has died inside, and who finds it dies at any step: one that waits gets in.`,
    exploration: { spelledOut: true, engine: "bounded", preemptions: 0, deaths: 1 },
    killable: ["finder"],
    mustSurvive: true,
    setup: setUpAs(kind),
    reopen: reopenAs(kind),
    tasks: {
      one: { runs: ["sync/death/death.giveUpAll"], body: enterAndLook },
      finder: { runs: ["sync/death/death.giveUpAll"], body: hearAsMember },
      other: { runs: ["sync/death/death.declareDead"], body: hear },
    },
    check: ({ memory, lock, left, right }) => {
      const sums = [left.peek(), right.peek()];
      assert(sums.join(" ") === "1 1", `the words are ${sums.join(" and ")}, not 1`);
      assert(memory.words[lock.at] === 0, "the lock is taken, although nobody is left");
      const finders = memory.words[agentRecord(FIRST) + AGENT_FINDERS]!;
      assert(finders === 0, `${finders} are still said to find it`);
    },
    twins: [
      {
        name: "unnoted",
        summary: "Nobody knows what the finder was about to do.",
        expects: "lost-wakeup",
        tasks: { finder: hearUnnoted },
      },
    ],
  });
}

export const deadHolders: readonly Covered[] = [
  heldByDead(SPINLOCK, ["sync/primitives/lock-word.lockContended"]),
  heldByDead(WRITER, ["sync/primitives/rwsem.queueWrite"]),
  heldByDead(READER, ["sync/primitives/rwsem.queueWrite"]),
  ofDeadFinder(SPINLOCK),
  ofDeadFinder(WRITER),
  heldByDead(COUNTED, [
    "sync/primitives/rwsem.queueWrite",
    "sync/words/rwsem-words.leaveAsReaders",
  ]),
];
