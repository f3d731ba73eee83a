/**
 * @module Threads probe whether other threads still exist (sync/death/liveness.ts): while others
 * probe, while the probed thread unregisters, and while a new thread gets its record. No live
 * thread is declared dead, and each dead one is found once.
 */

import { Cell, Gate, Places } from "../../../../src/checker/primitives/program.ts";
import {
  abandonMachine,
  registerAgent,
  unregisterAgent,
} from "../../../../src/sync/runners/agents.ts";
import {
  AGENT_DEAD,
  AGENT_FINDERS,
  AGENT_FREE,
  AGENT_PROBE_AGAIN,
  AGENT_TOKENS,
  ALERT,
  ALERT_DEAD,
  DEATHS,
  PROBE_TIME,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { assert } from "../../../../src/sync/errors.ts";
import {
  disarmLiveness,
  probeAgents,
  probeStartedAfter,
} from "../../../../src/sync/death/liveness.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { runInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";
import {
  FIRST,
  everybodyLives,
  listenersOf,
  listensAs,
  listensNoMore,
  reserveRecords,
  standing,
  strangeThread,
  threadOf,
  tokensAreCovered,
  tokensOf,
} from "./threads.ts";

/** Host's ids of a thread that has ended, and of the watched one, which may be one of its own. */
const STARTER = 7;
const STARTED = 8;

interface Watched {
  readonly memory: SharedMemory;
  /** Has the first record when an execution begins. */
  readonly thread: SharedMemory;
  /** Comes when that one has gone. */
  readonly next: SharedMemory;
  /** Opened when the first has looked. */
  readonly looked: Gate;
}

/** `tokens`: how often the thread may be probed; `listeners`: how many waiters it has. */
function watched(
  tokens: number,
  listeners: number,
): Pick<Parameters<typeof covering<Watched>>[0], "setup" | "reopen"> {
  const reopen = (memory: SharedMemory): Watched => {
    const looked = new Gate(memory, new Places(memory).take(1), "the first has looked");
    listensAs(memory, FIRST, listeners);
    return { memory, thread: threadOf(memory, FIRST), next: strangeThread(memory), looked };
  };
  return {
    reopen,
    setup: (memory) => {
      reserveRecords(memory);
      registerAgent(strangeThread(memory), { name: "watched", hostThreadId: STARTED });
      memory.words[agentRecord(FIRST) + AGENT_TOKENS] = tokens;
      return reopen(memory);
    },
  };
}

function look({ memory }: Watched): Task<void> {
  return runInSteps(probeAgents, memory);
}

/** A time long after the last probe. */
function* lookLater({ memory }: Watched): Task<void> {
  yield* new Cell(memory, PROBE_TIME, "when somebody looked last").store(0);
  yield* new Cell(memory, agentRecord(FIRST) + AGENT_PROBE_AGAIN, "when to look at it again").store(
    0,
  );
  yield* runInSteps(probeAgents, memory);
}

const LOOK = ["sync/death/liveness.probeAgents", "sync/death/liveness.probeAgent"] as const;
const LEAVE = [
  "sync/runners/agents.unregisterAgent",
  "sync/death/liveness.disarmLiveness",
  "sync/runners/agents.registerAgent",
] as const;

const l1 = {
  name: "L1",
  words: () => [{ at: agentRecord(FIRST), words: 32 }],
  holds: ({ memory }: Watched): void => tokensAreCovered(memory, FIRST),
};

/** Takes a token without a compare: another prober may have taken it. */
function* lookCarelessly({ memory }: Watched): Task<void> {
  const tokens = new Cell(memory, agentRecord(FIRST) + AGENT_TOKENS, "tokens");
  const left = yield* tokens.load();
  if (left > 0) yield* tokens.store(left - 1);
  if (left > 0) yield* runInSteps(probeAgents, memory);
}

const two = covering<Watched>({
  layer: "sync",
  name: "liveness/two-look",
  summary:
    "Two look whether a thread is there, one long after the other or at the same time: it is taken for alive.",
  ...watched(1, 1),
  invariants: [l1],
  tasks: { one: { runs: LOOK, body: look }, other: { runs: LOOK, body: lookLater } },
  check: ({ memory }) => {
    everybodyLives(memory, FIRST);
    assert(
      tokensOf(memory, FIRST) === listenersOf(memory, FIRST),
      "a listener is left that nobody may wake",
    );
  },
  twins: [
    {
      name: "careless",
      summary: "One takes a token that it saw, although the other may have taken it.",
      expects: "assertion",
      tasks: { one: lookCarelessly },
    },
  ],
});

const rate = covering<Watched>({
  layer: "sync",
  name: "liveness/rate",
  summary:
    "Two look at the same time, and a third right after one of them: only one of them spends a token.",
  ...watched(2, 2),
  invariants: [l1],
  tasks: {
    one: {
      runs: LOOK,
      *body({ memory, looked }) {
        yield* runInSteps(probeAgents, memory);
        yield* looked.open();
      },
    },
    other: { runs: LOOK, body: look },
    third: {
      runs: LOOK,
      *body({ memory, looked }) {
        yield* looked.pass();
        yield* runInSteps(probeAgents, memory);
      },
    },
  },
  check: ({ memory }) => {
    everybodyLives(memory, FIRST);
    assert(tokensOf(memory, FIRST) === 1, `${tokensOf(memory, FIRST)} of 2 tokens are left`);
  },
  twins: [
    {
      name: "impatient",
      summary: "The third does not care when the others looked.",
      expects: "assertion",
      tasks: {
        *third(shared) {
          yield* shared.looked.pass();
          yield* lookLater(shared);
        },
      },
    },
  ],
});

const spared = covering<Watched>({
  layer: "sync",
  name: "liveness/spared",
  summary:
    "One looks; another looks some time later, too early for a thread with few tokens: it is spared.",
  ...watched(2, 2),
  tasks: {
    one: {
      runs: LOOK,
      *body({ memory, looked }) {
        yield* runInSteps(probeAgents, memory);
        yield* looked.open();
      },
    },
    other: {
      runs: LOOK,
      *body({ memory, looked }) {
        yield* looked.pass();
        yield* new Cell(memory, PROBE_TIME, "when somebody looked last").store(0);
        yield* runInSteps(probeAgents, memory);
      },
    },
  },
  check: ({ memory }) =>
    assert(tokensOf(memory, FIRST) === 1, `${tokensOf(memory, FIRST)} of 2 tokens are left`),
  twins: [
    {
      name: "unspared",
      summary: "The other one comes when the thread is to be looked at again.",
      expects: "assertion",
      tasks: {
        *other(shared) {
          yield* shared.looked.pass();
          yield* lookLater(shared);
        },
      },
    },
  ],
});

function* leaveAndMakeRoom({ thread, next }: Watched): Task<void> {
  yield* runInSteps(unregisterAgent, thread);
  yield* runInSteps(registerAgent, next, { name: "next" });
}

/** A thread leaves, and a new one gets its record, while `one` and another one look. */
function leavesWhile(
  name: string,
  summary: string,
  one: { readonly runs: readonly string[]; readonly body: (shared: Watched) => Task<void> },
): Covered {
  return covering<Watched>({
    layer: "sync",
    name: `liveness/${name}`,
    summary,
    ...watched(1, 1),
    exploration: { engine: "bounded", preemptions: 2 },
    invariants: [l1],
    tasks: {
      leaver: { runs: LEAVE, body: leaveAndMakeRoom },
      one,
      later: { runs: LOOK, body: lookLater },
    },
    check: ({ memory }) => everybodyLives(memory, FIRST),
    twins: [
      {
        name: "listeners-first",
        summary: "The thread lets go of its listeners while it still says that it lives.",
        expects: "assertion",
        tasks: {
          *leaver({ thread, next }) {
            yield* runInSteps(disarmLiveness, thread);
            yield* leaveAndMakeRoom({ thread, next } as Watched); // needs no more
          },
        },
      },
    ],
  });
}

const leaving = leavesWhile(
  "leave",
  "A thread leaves, and a new one gets its record, while two look: neither is taken for dead.",
  { runs: LOOK, body: look },
);

/** The host has told this thread that the starter has ended. */
function lookAtStarted({ memory }: Watched): Task<void> {
  return runInSteps(probeStartedAfter, memory, STARTER);
}

const LOOK_AT_STARTED = [
  "sync/death/liveness.probeStartedAfter",
  "sync/death/liveness.probeAgent",
] as const;

const leavingAfterStarter = leavesWhile(
  "leave-vs-starter-ended",
  "A thread leaves, and a new one gets its record, while one is told that an earlier thread has ended, and another looks: neither is taken for dead.",
  { runs: LOOK_AT_STARTED, body: lookAtStarted },
);

/** It has few tokens, and somebody looked a moment ago. */
const justProbed = watched(1, 0);

const endedWithStarter = covering<Watched>({
  layer: "sync",
  name: "liveness/ended-with-starter",
  summary:
    "A thread with few tokens that was probed a moment ago has ended with the one that started it: who is told of that one finds it, while another looks.",
  ...justProbed,
  setup: (memory) => {
    const shared = justProbed.setup(memory);
    memory.words[agentRecord(FIRST) + AGENT_PROBE_AGAIN] = 2; // the clock stands at 1
    return shared;
  },
  tasks: {
    told: {
      runs: [...LOOK_AT_STARTED, "sync/death/death.declareDead"],
      body: lookAtStarted,
    },
    one: { runs: LOOK, body: look },
  },
  check: ({ memory }) => {
    assert(memory.words[DEATHS] === 1, `${memory.words[DEATHS]} threads were found dead, of one`);
    assert(standing(memory, FIRST) === AGENT_DEAD, "its record does not say so");
  },
  twins: [
    {
      name: "as-others",
      summary: "It is probed like any other.",
      expects: "assertion",
      tasks: { told: look },
    },
  ],
});

const abandoning = covering<Watched>({
  layer: "sync",
  name: "liveness/abandon",
  summary:
    "The last thread abandons the machine while another one looks: it is not taken for dead, and listens no more.",
  ...watched(1, 1),
  tasks: {
    last: {
      runs: ["sync/runners/agents.abandonMachine", "sync/death/liveness.disarmLiveness"],
      body: ({ thread }) => runInSteps(abandonMachine, thread),
    },
    one: { runs: LOOK, body: look },
  },
  check: ({ memory }) => {
    assert(memory.words[DEATHS] === 0, "who abandons a machine is taken for dead");
    assert(
      standing(memory, FIRST) === AGENT_FREE,
      "the machine is abandoned, and somebody is there",
    );
    listensNoMore(memory, FIRST);
  },
  twins: [
    {
      name: "listeners-first",
      summary: "It lets go of its listeners while it still says that it lives.",
      expects: "assertion",
      tasks: {
        *last({ thread }) {
          yield* runInSteps(disarmLiveness, thread);
          yield* runInSteps(abandonMachine, thread);
        },
      },
    },
  ],
});

const dead = covering<Watched>({
  layer: "sync",
  name: "liveness/dead",
  summary: "A thread is gone, and its listeners with it: of two that look, one finds it dead.",
  ...watched(2, 0),
  tasks: {
    one: { runs: [...LOOK, "sync/death/death.declareDead"], body: look },
    later: { runs: [...LOOK, "sync/death/death.declareDead"], body: lookLater },
  },
  check: ({ memory }) => {
    assert(memory.words[DEATHS] !== 0, "a thread is dead, and nobody is told");
    assert((memory.words[ALERT]! & ALERT_DEAD) !== 0, "a thread is dead, and nobody is alerted");
    assert(standing(memory, FIRST) === AGENT_DEAD, "its record does not say so");
    assert(
      memory.words[agentRecord(FIRST) + AGENT_FINDERS] === 0,
      "somebody is still said to find it",
    );
  },
  twins: [
    {
      name: "listened-to",
      summary: "A listener of it is left.",
      expects: "assertion",
      tasks: {
        *later(shared) {
          listensAs(shared.memory, FIRST, 2);
          yield* lookLater(shared);
        },
      },
    },
  ],
});

/** Registers in the execution, and ends without unregistering. */
const joinedAndGone = covering<Watched>({
  layer: "sync",
  name: "liveness/joined-and-gone",
  summary: "A thread joins and ends without a word: it is found by who looks afterwards.",
  ...watched(1, 1),
  tasks: {
    thread: {
      runs: [
        "sync/runners/agents.registerAgent",
        "sync/death/liveness.armLiveness",
        "sync/death/liveness.addWaiters",
      ],
      *body({ memory, thread, next, looked }) {
        yield* runInSteps(unregisterAgent, thread);
        yield* runInSteps(registerAgent, next, { name: "short-lived" });
        listensAs(memory, FIRST, 0); // its host's: they go with it
        yield* looked.open();
      },
    },
    one: {
      runs: LOOK,
      *body(shared) {
        yield* shared.looked.pass();
        yield* look(shared);
      },
    },
  },
  check: ({ memory }) =>
    assert(memory.words[DEATHS] === 1, `${memory.words[DEATHS]} threads were found dead, of one`),
  twins: [
    {
      name: "looked-before",
      summary: "Who looks does so before it is gone.",
      expects: "assertion",
      tasks: { one: look },
    },
  ],
});

export const liveness: readonly Covered[] = [
  two,
  rate,
  spared,
  leaving,
  leavingAfterStarter,
  endedWithStarter,
  abandoning,
  dead,
  joinedAndGone,
];
