/**
 * @module Threads that register and unregister at the same time, or unregister while another thread
 * declares them dead.
 */

import { Cell, Places } from "../../../../src/checker/primitives/program.ts";
import {
  agentDied,
  agentRecordsLeft,
  listAgents,
  registerAgent,
  unregisterAgent,
} from "../../../../src/sync/runners/agents.ts";
import {
  AGENT_DEAD,
  AGENT_FREE,
  AGENT_LIMIT,
  AGENT_STATE,
  DEATHS,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { runInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";
import {
  FIRST,
  listensAs,
  listensNoMore,
  reserveRecords,
  standing,
  strangeThread,
  threadOf,
  tokensAreCovered,
} from "./threads.ts";

const RECORDS = 5;

interface Joining {
  readonly memory: SharedMemory;
  readonly first: SharedMemory;
  readonly second: SharedMemory;
  /** By agent id: how many have it. */
  readonly taken: number;
  /** What the second thread wants after the first has gone. */
  readonly wants: Cell;
}

function reopen(memory: SharedMemory): Joining {
  const places = new Places(memory);
  const taken = places.take(RECORDS);
  const [first, second] = [strangeThread(memory), strangeThread(memory)];
  return { memory, first, second, taken, wants: places.cell("wants") };
}

function* beThere({ memory, taken }: Joining, agentId: number): Task<void> {
  const mine = new Cell(memory, taken + agentId, "threads of this record");
  assert((yield* mine.fetchAdd(1)) === 0, "two threads have the same record");
  yield* mine.fetchAdd(-1);
}

function* joinAndLeave(joining: Joining, thread: SharedMemory, name: string): Task<void> {
  yield* beThere(joining, yield* runInSteps(registerAgent, thread, { name }));
  yield* runInSteps(unregisterAgent, thread);
}

/** Takes the record that it saw free, without a compare. */
function* joinBlindly(joining: Joining): Task<void> {
  const { words } = joining.memory;
  const state = agentRecord(FIRST) + AGENT_STATE;
  const record = new Cell(joining.memory, state, "agent record");
  if ((yield* record.load()) !== AGENT_FREE) return;
  yield* record.store(words[state]! | 1);
  yield* beThere(joining, FIRST);
  yield* record.store(AGENT_FREE);
}

const JOIN = [
  "sync/runners/agents.registerAgent",
  "sync/runners/agents.claimRecord",
  "sync/runners/agents.unregisterAgent",
] as const;

function nobodyIsLeft({ memory }: Joining): void {
  const left = agentRecordsLeft(memory);
  assert(
    left === AGENT_LIMIT - 2,
    `${AGENT_LIMIT - left} records are taken, by the tasks' two threads`,
  );
  for (const id of [FIRST, RECORDS - 2, RECORDS - 1]) {
    listensNoMore(memory, id);
  }
}

const joining = covering<Joining>({
  layer: "sync",
  name: "threads/join",
  summary:
    "Two threads join the machine and leave it: each has a record of its own, and gives it back.",
  exploration: { engine: "bounded", preemptions: 2 },
  setup: (memory) => {
    reserveRecords(memory);
    return reopen(memory);
  },
  reopen,
  invariants: [
    {
      name: "L1",
      words: () => [{ at: agentRecord(FIRST), words: 32 }],
      holds: ({ memory }) => tokensAreCovered(memory, FIRST),
    },
  ],
  tasks: {
    first: {
      runs: [
        ...JOIN,
        "sync/death/liveness.armLiveness",
        "sync/death/liveness.addWaiters",
        "sync/death/liveness.disarmLiveness",
      ],
      body: (shared) => joinAndLeave(shared, shared.first, "first"),
    },
    second: { runs: JOIN, body: (shared) => joinAndLeave(shared, shared.second, "second") },
  },
  check: nobodyIsLeft,
  twins: [
    {
      name: "blind",
      summary: "One takes a record because it was free a moment ago.",
      expects: "assertion",
      tasks: { second: joinBlindly },
    },
  ],
});

const HOST_THREAD = 71;
const OTHER_HOST_THREAD = 72;

interface Leaving {
  readonly memory: SharedMemory;
  readonly leaver: SharedMemory;
  readonly teller: SharedMemory;
  readonly complained: Cell;
}

function leaving(memory: SharedMemory): Leaving {
  listensAs(memory, FIRST + 1, 2); // of the other host's thread, which may be probed
  return {
    memory,
    leaver: threadOf(memory, FIRST),
    teller: strangeThread(memory),
    complained: new Places(memory).cell("complained"),
  };
}

function* leave({ leaver, complained }: Leaving): Task<void> {
  try {
    yield* runInSteps(unregisterAgent, leaver);
  } catch {
    yield* complained.store(1);
  }
}

/** Unregisters without a check whether it was declared dead. */
function* slipAway({ leaver, memory }: Leaving): Task<void> {
  const state = new Cell(memory, agentRecord(leaver.agentId) + AGENT_STATE, "agent record");
  const before = yield* state.load();
  yield* state.store((before & ~3) + 4);
}

const toldDead = covering<Leaving>({
  layer: "sync",
  name: "threads/leave-vs-told-dead",
  summary:
    "A thread leaves while a host says, wrongly, that it has ended: it has left, or is told; a later thread, which is probed, is not concerned.",
  setup: (memory) => {
    reserveRecords(memory);
    for (const hostThreadId of [HOST_THREAD, OTHER_HOST_THREAD]) {
      registerAgent(strangeThread(memory), {
        name: `of host thread ${hostThreadId}`,
        hostThreadId,
      });
    }
    return leaving(memory);
  },
  reopen: leaving,
  tasks: {
    leaver: {
      runs: ["sync/runners/agents.unregisterAgent", "sync/death/liveness.disarmLiveness"],
      body: leave,
    },
    host: {
      runs: ["sync/runners/agents.agentDied", "sync/death/death.declareDead"],
      body: ({ teller }) => runInSteps(agentDied, teller, HOST_THREAD),
    },
  },
  check: ({ memory, complained }) => {
    const deaths = memory.words[DEATHS]!;
    assert(
      deaths === complained.peek(),
      `${deaths} were declared dead, ${complained.peek()} heard of it`,
    );
    const expected = deaths === 0 ? AGENT_FREE : AGENT_DEAD;
    assert(standing(memory, FIRST) === expected, "the record says something else");
    const others = listAgents(memory).filter(
      ({ hostThreadId }) => hostThreadId === OTHER_HOST_THREAD,
    );
    assert(
      others.length === 1 && !others[0]!.isDead,
      "a thread was declared dead that nobody spoke of",
    ); // there is one
  },
  twins: [
    {
      name: "unheard",
      summary: "The thread does not look whether it was declared dead.",
      expects: "assertion",
      tasks: { leaver: slipAway },
    },
  ],
});

export const joinings: readonly Covered[] = [joining, toldDead];
