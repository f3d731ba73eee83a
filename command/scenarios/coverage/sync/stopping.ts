/**
 * @module The machine stops (sync/death/panic.ts), step by step: every thread gets the same
 * complete reason, and threads that are known to sleep are woken.
 */

import { Cell, Condition, Places } from "../../../../src/checker/primitives/program.ts";
import {
  AGENT_WAITING_ON,
  ALERT,
  ALERT_PANIC,
  PANIC_CODE,
  PANIC_FIRST,
  PANIC_RECORDS,
  PANIC_RECORDS_TAKEN,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { ENOTRECOVERABLE, EOWNERDEAD } from "../../../../src/sync/errno.ts";
import type { Errno } from "../../../../src/sync/errno.ts";
import { HmmError, assert } from "../../../../src/sync/errors.ts";
import {
  checkPanic,
  declarePanic,
  hasPanicked,
  isAlerted,
  panic,
  panicInfo,
} from "../../../../src/sync/death/panic.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { runInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import { park, step } from "../../../../src/sync/tasks/task.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";

interface Reason {
  readonly code: Errno;
  readonly message: string;
  readonly lock: number;
  readonly agent: number;
}

const LONG: Reason = {
  code: EOWNERDEAD,
  message: "a thread died while it held a lock",
  lock: 4321,
  agent: 3,
};
const SHORT: Reason = { code: ENOTRECOVERABLE, message: "broken", lock: 8765, agent: 4 };

interface Stopping {
  readonly memory: SharedMemory;
  /** 1 if LONG was first, 2 if SHORT was. */
  readonly first: Cell;
}

/** Stops the machine, and returns whether this call was the first. */
function* stop({ memory, first }: Stopping, reason: Reason): Task<void> {
  const { code, message, lock, agent } = reason;
  if (yield* runInSteps(declarePanic, memory, code, message, lock, agent))
    yield* first.store(reason === LONG ? 1 : 2);
}

/** As {@link stop}, by the function that throws. */
function* stopAndThrow(
  { memory, first }: Stopping,
  { code, message, lock, agent }: Reason,
): Task<void> {
  try {
    yield* runInSteps(panic, memory, code, message, lock, agent);
  } catch (error) {
    assert(error instanceof HmmError, "it throws something else");
    assert(hasPanicked(memory), "it throws, and the machine goes on");
    if (error.message === message) yield* first.store(2);
  }
}

function isWhole({ memory }: Stopping, { code, message, lock, agent }: Reason): boolean {
  const info = panicInfo(memory);
  return (
    info?.code === code && info.message === message && info.lock === lock && info.agent === agent
  );
}

function* listen({ memory }: Stopping): Task<void> {
  const info = yield* runInSteps(panicInfo, memory);
  if (info === undefined) return;
  const heard = [LONG, SHORT].find(({ message }) => message === info.message);
  const isThat =
    heard?.code === info.code && heard.lock === info.lock && heard.agent === info.agent;
  assert(
    isThat,
    `half of a reason is heard: ${info.code} ${info.message} ${info.lock} ${info.agent}`,
  );
}

/** Breaks Z1: announces the stop before the reason is written. */
function* stopFirst({ memory, first }: Stopping): Task<void> {
  yield* new Cell(memory, PANIC_RECORDS_TAKEN, "records").add(1);
  if (!(yield* new Cell(memory, PANIC_FIRST, "first").compareExchange(0, 1))) return;
  yield* new Cell(memory, ALERT, "alert").store(ALERT_PANIC);
  yield* new Cell(memory, PANIC_RECORDS + PANIC_CODE, "code").store(LONG.code);
  yield* first.store(1);
}

/** Breaks Z2: leaves the announcement to whoever was first. */
function* stopIfFirst({ memory }: Stopping): Task<void> {
  if (!(yield* new Cell(memory, PANIC_FIRST, "first").compareExchange(0, 2))) {
    assert(hasPanicked(memory), "it throws, and the machine goes on");
    return;
  }
  yield* new Cell(memory, ALERT, "alert").store(ALERT_PANIC);
}

const twice = covering<Stopping>({
  layer: "sync",
  name: "stopping/two-reasons",
  summary:
    "Two stop the machine for different reasons, a third asks why: the first reason stays, and is heard whole.",
  setup: (memory) => ({ memory, first: new Places(memory).cell("first") }),
  tasks: {
    one: { runs: ["sync/death/panic.declarePanic"], body: (shared) => stop(shared, LONG) },
    other: {
      runs: ["sync/death/panic.panic", "sync/death/panic.declarePanic"],
      body: (shared) => stopAndThrow(shared, SHORT),
    },
    third: { runs: ["sync/death/panic.panicInfo"], body: listen },
  },
  check: (shared) => {
    const first = shared.first.peek();
    assert(
      hasPanicked(shared.memory) && isAlerted(shared.memory),
      "two have stopped the machine, and it goes on",
    );
    assert(
      first !== 0 && isWhole(shared, first === 1 ? LONG : SHORT),
      "another reason is told than the first one",
    );
    try {
      checkPanic(shared.memory);
    } catch {
      return;
    }
    assert(false, "who begins something is told nothing");
  },
  twins: [
    {
      name: "flag-first",
      summary: "One says that there is a reason before there is one.",
      expects: "assertion",
      tasks: { one: stopFirst },
    },
    {
      name: "first-announces",
      summary: "One leaves it to the other, who was first, to say that the machine stops.",
      expects: "assertion",
      tasks: { other: stopIfFirst },
    },
  ],
});

/** The agent of the first task. */
const BLOCKED_AGENT = 1;

interface Sleeping extends Stopping {
  readonly condition: Condition;
  /** Of the condition's mutex, and where its waiters sleep. */
  readonly queue: number;
}

/** `lists`: it records what it waits on, as a blocking thread does. Other threads do not. */
function* sleep({ memory, condition, queue }: Sleeping, lists: boolean): Task<void> {
  const waitingOn = memory.record + AGENT_WAITING_ON;
  yield* condition.mutex.lock();
  if (!hasPanicked(memory)) {
    if (lists) memory.words[waitingOn] = queue;
    // As the condition waits, but without taking the mutex again, which would be to wait for the
    // one who stops the machine.
    yield* step(memory, "release", condition.mutex.at, Condition.WORDS, "sleepers");
    const sequence = memory.words[queue]!;
    condition.mutex.unlockNow();
    yield park(memory, queue, sequence, Infinity, "sleepers");
    assert(panicInfo(memory)?.message === LONG.message, "it is woken, and is not told why");
  } else yield* condition.mutex.unlock();
}

const asleep = covering<Sleeping>({
  layer: "sync",
  name: "stopping/asleep",
  summary:
    "Two sleep on one word, one of which lists it as what it waits on: whoever stops the machine wakes both.",
  exploration: { spuriousWakes: 0 },
  setup: (memory) => {
    const places = new Places(memory);
    const at = places.take(Condition.WORDS);
    const condition = new Condition(memory, at, "sleepers");
    return {
      memory,
      first: places.cell("first"),
      condition,
      queue: at + 1,
    };
  },
  tasks: {
    blocked: { runs: [], body: (shared) => sleep(shared, true) },
    waiting: { runs: [], body: (shared) => sleep(shared, false) },
    stopper: {
      runs: ["sync/death/panic.declarePanic"],
      *body(shared) {
        yield* shared.condition.mutex.lock();
        const isKnown = shared.memory.words[agentRecord(BLOCKED_AGENT) + AGENT_WAITING_ON] !== 0;
        yield* stop(shared, LONG);
        yield* shared.condition.mutex.unlock();
        // who sleeps and is not known to looks up by itself, later
        if (!isKnown) yield* shared.condition.broadcast();
      },
    },
  },
  check: (shared) => assert(isWhole(shared, LONG), "the reason is not told"),
  twins: [
    {
      name: "unlisted",
      summary: "Neither of the two lists what it waits on.",
      expects: "lost-wakeup",
      tasks: {
        blocked: (shared) => sleep(shared, false),
        *stopper(shared) {
          yield* shared.condition.mutex.lock();
          yield* stop(shared, LONG);
          yield* shared.condition.mutex.unlock();
        },
      },
    },
  ],
});

export const stopping: readonly Covered[] = [twice, asleep];
