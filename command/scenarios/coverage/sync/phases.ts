/**
 * @module The inside of a reader-writer semaphore, access by access, for few tasks, so that all
 * orders are explored. The readers are counted in STATE: their threads' reader words are in use
 * for another semaphore (those that are not are in reader-words.ts). A waiter is woken even if
 * other threads die in the queue. At the end no task is inside or queued, and no reader phase is
 * left.
 */

import { Cell, Gate, Places } from "../../../../src/checker/primitives/program.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { registerAgent } from "../../../../src/sync/runners/agents.ts";
import {
  AGENT_LIVE,
  AGENT_READS,
  AGENT_STATE,
  AGENT_STATE_MASK,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { declareDead } from "../../../../src/sync/death/death.ts";
import { HmmError, assert } from "../../../../src/sync/errors.ts";
import { lockClass } from "../../../../src/sync/lock-class.ts";
import {
  COUNT,
  QUEUED_WRITE,
  countedSlot,
  heldSlots,
  heldTag,
  noteCounted,
} from "../../../../src/sync/lockdep/held-locks.ts";
import type { Mutex } from "../../../../src/sync/primitives/mutex.ts";
import { RwSem } from "../../../../src/sync/primitives/rwsem.ts";
import {
  QUEUED_READERS,
  QUEUED_WRITER,
  QUEUED_WRITERS_MASK,
  READERS_PHASE,
  STATE,
} from "../../../../src/sync/words/rwsem-words.ts";
import { DEBUG } from "../../../../src/sync/shared-memory.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { runInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import { WOKEN } from "../../../../src/sync/tasks/task.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";
import { FIRST, reserveRecords, strangeThread, threadOf } from "./threads.ts";

const COMPLETE: ScenarioExploration = { spelledOut: true, spuriousWakes: 0 };
const BOUNDED: ScenarioExploration = { ...COMPLETE, engine: "bounded", preemptions: 2 };

const ofClass = lockClass("covered phases");
/** As many tasks as a scenario has here. */
const TASKS_MAX = 4;

interface Phases {
  readonly memory: SharedMemory;
  readonly sem: RwSem;
  /** How many readers are inside, or -1 with a writer. */
  readonly inside: Cell;
  /** As a thread that dies in the queue sees it. */
  readonly dying: RwSem;
  readonly dead: Gate;
  /** The first writer has gone. */
  readonly left: Gate;
  /** Another semaphore, which nobody uses. */
  readonly elsewhere: number;
}

function reopen(memory: SharedMemory): Phases {
  const places = new Places(memory);
  const sem = new RwSem(memory, places.take(RwSem.WORDS), ofClass);
  return {
    memory,
    sem,
    inside: places.cell("inside"),
    dying: new RwSem(threadOf(memory, FIRST, DEBUG), sem.at, ofClass),
    dead: new Gate(memory, places.take(1), "dead"),
    left: new Gate(memory, places.take(1), "left"),
    elsewhere: places.take(RwSem.WORDS),
  };
}

function setup(memory: SharedMemory): Phases {
  reserveRecords(memory);
  registerAgent(strangeThread(memory), { name: "dying" });
  memory.words[new Places(memory).take(RwSem.WORDS)] = -1; // whatever was there before
  const phases = reopen(memory);
  phases.sem.init();
  for (let task = 0; task < TASKS_MAX; task++)
    memory.words[agentRecord(FIRST + 1 + task) + AGENT_READS] = phases.elsewhere;
  return phases;
}

function* read({ sem, inside }: Phases): Task<void> {
  yield* sem.downRead();
  assert((yield* inside.fetchAdd(1)) >= 0, "a reader is inside with a writer");
  yield* inside.fetchAdd(-1);
  yield* sem.upRead();
}

function* write({ sem, inside }: Phases): Task<void> {
  yield* sem.downWrite();
  assert((yield* inside.exchange(-1)) === 0, "a writer is not alone");
  yield* inside.store(0);
  yield* sem.upWrite();
}

/** Never leaves. */
function* writeForEver({ sem }: Phases): Task<void> {
  yield* sem.downWrite();
}

function nobodyIsQueued({ memory, sem }: Phases, state: number): void {
  const readers = memory.words[sem.at + QUEUED_READERS];
  assert(
    state === 0 && readers === 0,
    `somebody is inside, queued or has the turn: ${state}, ${readers}`,
  );
}

function nobodyIsLeft(phases: Phases): void {
  nobodyIsQueued(phases, phases.memory.words[phases.sem.at + STATE]!);
}

const READ = [
  "sync/primitives/rwsem.queueRead",
  "sync/primitives/rwsem-steps.enterReaderQueue",
  "sync/words/rwsem-words.leaveReaderQueue",
] as const;
const WAKE = ["sync/words/rwsem-words.wakeForState"] as const;
const WRITE = [
  "sync/primitives/rwsem.queueWrite",
  "sync/primitives/rwsem-steps.tryQueueWrite",
  "sync/primitives/rwsem-steps.tryEnterQueued",
  "sync/primitives/rwsem-steps.leaveWrite",
] as const;

/** A writer that never leaves shows as the lock that it holds. */
const staying = {
  name: "staying",
  summary: "A writer never leaves.",
  expects: "lock-misuse",
} as const;

const few: readonly Covered[] = [
  covering<Phases>({
    layer: "sync",
    name: "phases/reader-and-writer",
    summary: "A reader and a writer.",
    exploration: COMPLETE,
    setup,
    reopen,
    tasks: {
      reader: { runs: [...READ, ...WAKE], body: read },
      writer: { runs: WRITE, body: write },
    },
    check: nobodyIsLeft,
    twins: [{ ...staying, tasks: { writer: writeForEver } }],
  }),
  covering<Phases>({
    layer: "sync",
    name: "phases/two-writers",
    summary: "Two writers.",
    exploration: COMPLETE,
    setup,
    reopen,
    tasks: {
      writer: { runs: [...WRITE, ...WAKE, "sync/words/rwsem-words.wakeWriter"], body: write },
      other: { runs: WRITE, body: write },
    },
    check: nobodyIsLeft,
    twins: [{ ...staying, tasks: { writer: writeForEver } }],
  }),
  covering<Phases>({
    layer: "sync",
    name: "phases/two-readers",
    summary: "Two readers that wait for one writer: both are woken.",
    exploration: BOUNDED,
    setup,
    reopen,
    tasks: {
      writer: { runs: [...WRITE, ...WAKE, "sync/words/rwsem-words.wakeReaders"], body: write },
      reader: { runs: READ, body: read },
      other: { runs: READ, body: read },
    },
    check: nobodyIsLeft,
    twins: [{ ...staying, tasks: { writer: writeForEver } }],
  }),
];

/** A reader phase without readers: the only one died while the writer before it was leaving. */
function setupIdleTurn(memory: SharedMemory): Phases {
  const phases = setup(memory);
  memory.words[phases.sem.at + STATE] = READERS_PHASE;
  return phases;
}

const idleTurn = covering<Phases>({
  layer: "sync",
  name: "phases/idle",
  summary:
    "The readers' turn has come, and those who had waited are dead: a writer takes the turn away, whoever comes meanwhile.",
  exploration: BOUNDED,
  setup: setupIdleTurn,
  reopen,
  tasks: {
    writer: { runs: ["sync/words/rwsem-words.endEmptyPhase", ...WRITE], body: write },
    other: { runs: WRITE, body: write },
    reader: { runs: READ, body: read },
  },
  check: nobodyIsLeft,
  twins: [{ ...staying, tasks: { writer: writeForEver } }],
});

/** Begins to wait, and dies in its sleep. If it need not wait, it enters and leaves. */
function* dieAsleep({ dead, dying, inside }: Phases, isReader: boolean): Task<void> {
  yield* inside.load();
  const wait = isReader ? dying.downRead() : dying.downWrite();
  for (let result = wait.next(WOKEN); ; result = wait.next(yield result.value)) {
    if (result.done === true) {
      yield* isReader ? dying.upRead() : dying.upWrite();
      break;
    }
    if (result.value.kind === "park") break;
  }
  yield* dead.open();
}

/**
 * Runs after the writer before has left. If both run at the same time, the writer may begin a phase
 * for the dead reader. A waiting writer ends that phase at its next recheck (endEmptyPhase), and
 * there is none here.
 */
function* find({ memory, dead, left }: Phases): Task<void> {
  yield* dead.pass();
  yield* left.pass();
  const state = yield* new Cell(memory, agentRecord(FIRST) + AGENT_STATE, "agent record").load();
  yield* runInSteps(declareDead, memory, FIRST, state);
}

const FIND = ["sync/death/death.declareDead", "sync/death/death.giveUpPlaces"] as const;

function queuedDead(name: string, who: "reader" | "writer"): Covered {
  const isReader = who === "reader";
  return covering<Phases>({
    layer: "sync",
    name: `phases/dead-${who}`,
    summary: `A ${who} dies while it is queued, and is found: ${name}.`,
    exploration: BOUNDED,
    setup,
    reopen,
    tasks: {
      [who]: {
        runs: isReader ? READ : WRITE,
        body: (phases) => dieAsleep(phases, isReader),
      },
      first: {
        runs: WAKE,
        *body(phases) {
          yield* write(phases);
          yield* phases.left.open();
        },
      },
      second: {
        runs: isReader ? WRITE : READ,
        *body(phases) {
          yield* phases.dead.pass();
          yield* isReader ? write(phases) : read(phases);
        },
      },
      finder: {
        runs: [
          ...FIND,
          `sync/words/rwsem-words.${isReader ? "leaveReaderQueue" : "leaveWriterQueue"}`,
        ],
        body: find,
      },
    },
    // A dead reader may have been given the turn while it was found; the next writer takes that
    // away.
    check: (phases) =>
      nobodyIsQueued(phases, phases.memory.words[phases.sem.at + STATE]! & ~READERS_PHASE),
    twins: [
      {
        name: "not-found",
        summary: "Nobody finds it.",
        expects: "lost-wakeup",
        tasks: { finder: ({ dead }) => dead.pass() },
      },
    ],
  });
}

/** The thread that dies is in the queue as often as STATE can count. */
function setUpFull(memory: SharedMemory): Phases {
  const phases = setup(memory);
  const { dying, sem } = phases;
  const place = countedSlot(dying.memory, sem.at, heldTag(ofClass, QUEUED_WRITE));
  memory.words[place] = sem.at;
  noteCounted(dying.memory, place);
  memory.words[place + COUNT] = QUEUED_WRITERS_MASK / QUEUED_WRITER;
  memory.words[sem.at + STATE] = QUEUED_WRITERS_MASK;
  for (let task = 0; task < TASKS_MAX; task++)
    memory.words[agentRecord(FIRST + 1 + task) + AGENT_READS] = 0; // here threads may be found dead
  return phases;
}

/** A wait for room in the queue looks again from time to time (B1 of run-blocking.ts). */
function* writePatiently({ memory, sem, inside }: Phases): Task<void> {
  const wait = sem.downWrite();
  for (let result = wait.next(WOKEN); result.done !== true;) {
    const { kind, index, expected } = result.value;
    const isForRoom = kind === "park" && index === sem.at + STATE;
    if (isForRoom) yield* new Cell(memory, index, "state").waitWhile(expected);
    result = wait.next(isForRoom ? WOKEN : yield result.value);
  }
  assert((yield* inside.exchange(-1)) === 0, "a writer is not alone");
  yield* inside.store(0);
  yield* sem.upWrite();
}

function* findLive({ memory }: Phases): Task<void> {
  const state = yield* new Cell(memory, agentRecord(FIRST) + AGENT_STATE, "agent record").load();
  if ((state & AGENT_STATE_MASK) !== AGENT_LIVE) return;
  yield* runInSteps(declareDead, memory, FIRST, state);
}

const fullQueue = covering<Phases>({
  layer: "sync",
  name: "phases/full",
  summary:
    "A thread has died with as many places in the queue as there are, and who finds it dies at any step: a further writer gets a place, and all those are given up once.",
  exploration: { ...COMPLETE, engine: "bounded", preemptions: 0, deaths: 1 },
  killable: ["finder"],
  mustSurvive: true,
  setup: setUpFull,
  reopen,
  tasks: {
    writer: { runs: WRITE, body: writePatiently },
    finder: { runs: [...FIND, "sync/words/rwsem-words.leaveWriterQueue"], body: findLive },
    other: { runs: FIND, body: findLive },
  },
  check: (phases) => {
    nobodyIsLeft(phases);
    const { length } = heldSlots(phases.memory, agentRecord(FIRST));
    assert(length === 0, "a dead thread is still said to be queued");
  },
  twins: [
    {
      name: "twice",
      summary: "The places are given up before, and nobody says so.",
      expects: "assertion",
      tasks: {
        *finder(phases) {
          const { memory, sem } = phases;
          yield* new Cell(memory, sem.at + STATE, "state").fetchAdd(-QUEUED_WRITERS_MASK);
          yield* findLive(phases);
        },
      },
    },
  ],
});

interface Nested {
  readonly outer: Mutex;
  readonly inner: Mutex;
  readonly refused: Cell;
}

function nested(memory: SharedMemory): Nested {
  const places = new Places(memory);
  return {
    outer: places.mutex("outer"),
    inner: places.mutex("inner"),
    refused: places.cell("refused"),
  };
}

function* takeBoth({ outer, inner }: Nested): Task<void> {
  yield* outer.lock();
  yield* inner.lock();
  yield* inner.unlock();
  yield* outer.unlock();
}

const selfWait = covering<Nested>({
  layer: "sync",
  name: "phases/self-wait",
  summary:
    "One takes two locks, for either of which it may have to wait; another wants one that it has, and is refused.",
  // That it is taken twice is for lockdep to complain of; here it is for the lock itself to refuse.
  exploration: { ...COMPLETE, lockdep: false },
  setup: nested,
  tasks: {
    both: {
      runs: ["sync/primitives/lock-word.lockContended", "sync/lockdep/held-locks.heldBeneath"],
      body: takeBoth,
    },
    again: {
      runs: ["sync/primitives/lock-word.lockContended", "sync/lockdep/held-locks.heldBeneath"],
      *body({ inner, refused }) {
        yield* inner.lock();
        try {
          yield* inner.lock();
        } catch (error) {
          assert(
            error instanceof HmmError && error.code === "EDEADLK",
            "it is refused for another reason",
          );
          yield* refused.store(1);
        }
        yield* inner.unlock();
      },
    },
  },
  check: ({ refused }) => assert(refused.peek() === 1, "a lock was taken twice by one"),
  twins: [
    {
      name: "in-vain",
      summary: "The other one wants the lock once only.",
      expects: "assertion",
      tasks: {
        *again({ inner }) {
          yield* inner.lock();
          yield* inner.unlock();
        },
      },
    },
  ],
});

export const semaphorePhases: readonly Covered[] = [
  ...few,
  idleTurn,
  queuedDead("a writer that waits for the turn of it goes on", "reader"),
  queuedDead("a reader that waits behind it goes on", "writer"),
  fullQueue,
  selfWait,
];
