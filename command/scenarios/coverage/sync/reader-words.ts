/**
 * @module The reader words of a reader-writer semaphore, access by access: a reader that writes its
 * own word, and a writer that looks at the words of all (sync/words/reader-word.ts). Each twin
 * leaves out one thing that the protocol needs. And threads that die on either side of it.
 */

import { Cell, Places } from "../../../../src/checker/primitives/program.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import {
  AGENT_LIVE,
  AGENT_READS,
  AGENT_READS_COUNT,
  AGENT_STATE,
  AGENT_STATE_MASK,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { declareDead } from "../../../../src/sync/death/death.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { lockClass } from "../../../../src/sync/lock-class.ts";
import {
  HELD_CALLBACK,
  HELD_SHARED,
  enterCritical,
  heldTag,
  leaveCritical,
} from "../../../../src/sync/lockdep/held-locks.ts";
import { RwSem } from "../../../../src/sync/primitives/rwsem.ts";
import { registerAgent } from "../../../../src/sync/runners/agents.ts";
import { runInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { park } from "../../../../src/sync/tasks/task.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { enterWithWord, leaveWithWord } from "../../../../src/sync/words/reader-word.ts";
import {
  NOBODY,
  QUEUED_READERS,
  READERS_PHASE,
  STATE,
  WRITER,
  leaveAsWriter,
  mayRead,
  wakeForState,
} from "../../../../src/sync/words/rwsem-words.ts";
import { covering } from "../covered.ts";
import type { BrokenTwin, Covered } from "../covered.ts";
import { FIRST, reserveRecords, strangeThread } from "./threads.ts";

const COMPLETE: ScenarioExploration = { spelledOut: true, spuriousWakes: 0 };
const BOUNDED: ScenarioExploration = { ...COMPLETE, engine: "bounded", preemptions: 2 };

const ofClass = lockClass("covered reader words");
const otherClass = lockClass("covered other reader words");
const sharedTag: number = heldTag(ofClass, HELD_SHARED);
const halfDoneTag: number = heldTag(lockClass("covered half done"), HELD_CALLBACK);

interface Words {
  readonly memory: SharedMemory;
  readonly sem: RwSem;
  readonly other: RwSem;
  /** How many readers are inside `sem`, or -1 with a writer. */
  readonly inside: Cell;
}

function reopen(memory: SharedMemory): Words {
  const places = new Places(memory);
  return {
    memory,
    sem: new RwSem(memory, places.take(RwSem.WORDS), ofClass),
    other: new RwSem(memory, places.take(RwSem.WORDS), otherClass),
    inside: places.cell("inside"),
  };
}

function setup(memory: SharedMemory): Words {
  const words = reopen(memory);
  words.sem.init();
  words.other.init();
  return words;
}

const common = { layer: "sync", setup, reopen } as const;

function* beReader({ inside }: Words): Task<void> {
  assert((yield* inside.fetchAdd(1)) >= 0, "a reader is inside with a writer");
  yield* inside.fetchAdd(-1);
}

function* beWriter({ inside }: Words): Task<void> {
  assert((yield* inside.exchange(-1)) === 0, "a writer is not alone");
  yield* inside.store(0);
}

function* read(words: Words): Task<void> {
  yield* words.sem.downRead();
  yield* beReader(words);
  yield* words.sem.upRead();
}

function* write(words: Words): Task<void> {
  yield* words.sem.downWrite();
  yield* beWriter(words);
  yield* words.sem.upWrite();
}

function nobodyIsLeft({ memory: { words }, sem, other }: Words, ignored: number = 0): void {
  for (const { at } of [sem, other]) {
    const [state, queued] = [words[at + STATE]! & ~ignored, words[at + QUEUED_READERS]!];
    assert(state === 0 && queued === 0, `somebody is inside or queued: ${state}, ${queued}`);
  }
}

/** A phase for a reader that died in the queue may be left: the next writer ends it. */
function nobodyIsLeftAlive(words: Words): void {
  nobodyIsLeft(words, READERS_PHASE);
}

/** Broken: looks at STATE first and writes its word after. */
function* readLate(words: Words): Task<void> {
  const { memory, sem } = words;
  if (!mayRead(yield* new Cell(memory, sem.at + STATE, "state").load())) return;
  const { record } = memory;
  memory.words[record + AGENT_READS_COUNT] = 1;
  yield* new Cell(memory, record + AGENT_READS, "reader word").store(sem.at);
  yield* beReader(words);
  yield* runInSteps(leaveWithWord, memory.words, record, sem.at);
}

/** Broken: clears its word and wakes nobody. */
function* readUnwoken(words: Words): Task<void> {
  const { memory, sem } = words;
  const { record } = memory;
  if (!(yield* runInSteps(enterWithWord, memory.words, record, sem.at, sharedTag))) return;
  yield* beReader(words);
  yield* new Cell(memory, record + AGENT_READS, "reader word").store(0);
}

/** Broken: sets WRITER, and waits for the reader words of these agents only. */
function writeAfter(...agents: readonly number[]): (words: Words) => Task<void> {
  return function* (words): Task<void> {
    const { memory, sem } = words;
    if (!(yield* new Cell(memory, sem.at + STATE, "state").compareExchange(NOBODY, WRITER))) return;
    for (const agentId of agents) {
      const word = new Cell(memory, agentRecord(agentId) + AGENT_READS, "reader word");
      while ((yield* word.load()) === sem.at)
        yield park(memory, word.at, sem.at, Infinity, "reader word");
    }
    yield* beWriter(words);
    const state = yield* runInSteps(leaveAsWriter, memory.words, sem.at, memory.heldNext);
    yield* runInSteps(wakeForState, memory.words, sem.at, state);
  };
}

const unseen: BrokenTwin<Words> = {
  name: "unseen",
  summary: "The writer does not look at the reader's word.",
  expects: "assertion",
  tasks: { writer: writeAfter() },
};

const READ = [
  "sync/words/reader-word.enterWithWord",
  "sync/words/reader-word.leaveWithWord",
] as const;
const COUNT = ["sync/primitives/rwsem-steps.tryCountRead"] as const;
const WRITE = [
  "sync/primitives/rwsem-steps.tryClaim",
  "sync/primitives/rwsem-steps.tryEnterClaimed",
  "sync/words/reader-word.nextReader",
  "sync/words/rwsem-words.leaveAsWriter",
] as const;
const WAIT = ["sync/primitives/rwsem.awaitReaders"] as const;

const pair = covering<Words>({
  ...common,
  name: "reader-words/reader-and-writer",
  summary: "A reader that enters by its word, and a writer that looks at it: every order.",
  exploration: COMPLETE,
  tasks: {
    reader: { runs: READ, body: read },
    writer: { runs: [...WRITE, ...WAIT], body: write },
  },
  check: (words) => nobodyIsLeft(words),
  twins: [
    {
      name: "late-word",
      summary: "The reader looks for a writer before it writes its word.",
      expects: "assertion",
      tasks: { reader: readLate },
    },
    {
      name: "unwoken",
      summary: "The reader clears its word and wakes nobody.",
      expects: "lost-wakeup",
      tasks: { reader: readUnwoken },
    },
    unseen,
  ],
});

const readers = covering<Words>({
  ...common,
  name: "reader-words/two-readers",
  summary: "Two readers, each with its word, and a writer that waits for both.",
  exploration: BOUNDED,
  tasks: {
    reader: { runs: READ, body: read },
    other: { runs: READ, body: read },
    writer: { runs: [...WRITE, ...WAIT], body: write },
  },
  check: (words) => nobodyIsLeft(words),
  twins: [
    {
      name: "one-unseen",
      summary: "The writer leaves out the word of one of them.",
      expects: "assertion",
      tasks: { writer: writeAfter(1) },
    },
  ],
});

const writers = covering<Words>({
  ...common,
  name: "reader-words/two-writers",
  summary: "Two writers, of whom one waits for a reader while the other is queued.",
  exploration: BOUNDED,
  tasks: {
    reader: { runs: READ, body: read },
    writer: { runs: [...WRITE, ...WAIT], body: write },
    other: { runs: WRITE, body: write },
  },
  check: (words) => nobodyIsLeft(words),
  twins: [unseen],
});

const trying = covering<Words>({
  ...common,
  name: "reader-words/attempts",
  summary: "A writer that only tries, beside a reader and a writer that waits: all get through.",
  exploration: BOUNDED,
  tasks: {
    reader: { runs: READ, body: read },
    writer: { runs: [...WRITE, ...WAIT], body: write },
    trying: {
      runs: ["sync/primitives/rwsem-steps.tryEnterWrite", "sync/primitives/rwsem-steps.dropClaim"],
      *body(words) {
        if (!(yield* words.sem.tryDownWrite())) return;
        yield* beWriter(words);
        yield* words.sem.upWrite();
      },
    },
  },
  check: (words) => nobodyIsLeft(words),
  twins: [{ ...unseen, tasks: { trying: writeAfter() } }],
});

const counted = covering<Words>({
  ...common,
  name: "reader-words/counted",
  summary: "A thread whose word is in use for another semaphore is counted, and the writer waits.",
  exploration: BOUNDED,
  tasks: {
    both: {
      runs: [...READ, ...COUNT],
      *body(words) {
        yield* words.other.downRead();
        yield* read(words);
        yield* words.other.upRead();
      },
    },
    reader: { runs: READ, body: read },
    writer: { runs: [...WRITE, ...WAIT], body: write },
  },
  check: (words) => nobodyIsLeft(words),
  twins: [unseen],
});

function* readHalfDone({ memory, sem }: Words): Task<void> {
  yield* sem.downRead();
  enterCritical(memory, sem.at, halfDoneTag);
  yield* sem.upRead();
  leaveCritical(memory, sem.at, halfDoneTag);
}

const halfDone: BrokenTwin<Words> = {
  name: "half-done",
  summary: "What the reader does cannot be left half done: its death stops the machine.",
  expects: "owner-died",
  tasks: { reader: readHalfDone },
};

const FIND = ["sync/death/death.giveUpPlaces", "sync/words/reader-word.clearReaderWord"] as const;

const died = covering<Words>({
  ...common,
  name: "reader-words/death",
  summary: "A reader dies wherever it stands: the writer that waits for its word goes on.",
  exploration: { ...BOUNDED, preemptions: 1, deaths: 1 },
  killable: ["reader"],
  mustSurvive: true,
  tasks: {
    reader: { runs: [...READ, ...FIND], body: read },
    writer: { runs: [...WRITE, ...WAIT], body: writeAlone },
  },
  check: nobodyIsLeftAlive,
  twins: [halfDone],
});

/** Among readers that may die inside: they no longer count themselves out. */
function* writeAlone({ sem, inside }: Words): Task<void> {
  yield* sem.downWrite();
  yield* inside.store(-1);
  yield* inside.store(0);
  yield* sem.upWrite();
}

const diedCounted = covering<Words>({
  ...common,
  name: "reader-words/death-counted",
  summary: "The same of a reader that is counted: its share is given up once, nobody else's.",
  exploration: { deaths: 2 },
  killable: ["reader", "other"],
  mustSurvive: true,
  tasks: {
    reader: { runs: [...COUNT, "sync/words/rwsem-words.leaveAsReaders"], body: read },
    other: { runs: COUNT, body: read },
    living: {
      runs: COUNT,
      *body({ sem, inside }) {
        yield* sem.downRead();
        assert((yield* inside.load()) >= 0, "a reader is inside with a writer");
        yield* sem.upRead();
      },
    },
    writer: { runs: ["sync/primitives/rwsem-steps.tryEnterQueued"], body: writeAlone },
  },
  check: nobodyIsLeftAlive,
  twins: [halfDone],
});

const diedEntering = covering<Words>({
  ...common,
  name: "reader-words/death-entering",
  summary:
    "A writer dies while it waits for readers: others go on. If it dies inside, all hear of it.",
  exploration: { ...BOUNDED, preemptions: 1, deaths: 1 },
  killable: ["dying"],
  tasks: {
    dying: {
      runs: [...WRITE, ...WAIT],
      *body({ sem }) {
        yield* sem.downWrite();
        yield* sem.upWrite();
      },
    },
    reader: { runs: READ, body: read },
    writer: { runs: WRITE, body: write },
  },
  check: nobodyIsLeftAlive,
  twins: [
    {
      name: "unlisted",
      summary: "It is not listed as one that is about to enter: nobody clears WRITER for it.",
      expects: "lost-wakeup",
      tasks: { dying: writeAfter(2) },
    },
  ],
});

/** Before the execution a thread enters by its word, and dies. */
function setupDead(memory: SharedMemory): Words {
  reserveRecords(memory);
  registerAgent(strangeThread(memory), { name: "dying" });
  const words = setup(memory);
  enterWithWord(memory.words, agentRecord(FIRST), words.sem.at, sharedTag);
  return words;
}

/**
 * Only a live record may be declared dead, as by all callers of declareDead: a finder that took a
 * dead one for live would read what the first finder gives up, in a step that does not name it.
 */
function* find({ memory }: Words): Task<void> {
  const state = yield* new Cell(memory, agentRecord(FIRST) + AGENT_STATE, "agent record").load();
  if ((state & AGENT_STATE_MASK) !== AGENT_LIVE) return;
  yield* runInSteps(declareDead, memory, FIRST, state);
}

function* idle(): Task<void> {}

const foundDead = covering<Words>({
  ...common,
  name: "reader-words/found-dead",
  summary: "A reader has died, and two find it: its word is cleared, and the writer is woken.",
  exploration: COMPLETE,
  setup: setupDead,
  tasks: {
    writer: { runs: [...WRITE, ...WAIT], body: write },
    finder: { runs: FIND, body: find },
    other: { runs: FIND, body: find },
  },
  check: (words) => {
    nobodyIsLeft(words);
    const word = words.memory.words[agentRecord(FIRST) + AGENT_READS];
    assert(word === 0, "a dead thread is still inside");
  },
  twins: [
    {
      name: "not-found",
      summary: "Nobody finds it.",
      expects: "lost-wakeup",
      tasks: { finder: idle, other: idle },
    },
  ],
});

/** Two tasks of one thread, of which the second comes while the first is inside. */
function* readTwice({ memory, sem }: Words): Task<void> {
  const { record, words } = memory;
  const state = new Cell(memory, sem.at + STATE, "state");
  if (!(yield* runInSteps(enterWithWord, words, record, sem.at, sharedTag))) return;
  const isAwaited = ((yield* state.load()) & WRITER) !== 0;
  if (yield* runInSteps(enterWithWord, words, record, sem.at, sharedTag)) {
    assert(!isAwaited, "a reader overtakes a writer that waits");
    yield* runInSteps(leaveWithWord, words, record, sem.at);
  }
  yield* runInSteps(leaveWithWord, words, record, sem.at);
}

const twice = covering<Words>({
  ...common,
  name: "reader-words/second-task",
  summary: "A second task of a thread that is inside enters, unless a writer waits.",
  exploration: COMPLETE,
  tasks: {
    reader: { runs: READ, body: readTwice },
    writer: { runs: [...WRITE, ...WAIT], body: write },
  },
  check: (words) => nobodyIsLeft(words),
  twins: [
    {
      name: "overtakes",
      summary: "The second task enters without a look for a writer.",
      expects: "assertion",
      tasks: {
        *reader({ memory, sem }) {
          const { record, words } = memory;
          const state = new Cell(memory, sem.at + STATE, "state");
          if (!(yield* runInSteps(enterWithWord, words, record, sem.at, sharedTag))) return;
          assert(((yield* state.load()) & WRITER) === 0, "a reader overtakes a writer that waits");
          yield* runInSteps(leaveWithWord, words, record, sem.at);
        },
      },
    },
  ],
});

export const readerWords: readonly Covered[] = [
  twice,
  pair,
  readers,
  writers,
  trying,
  counted,
  died,
  diedCounted,
  diedEntering,
  foundDead,
];
