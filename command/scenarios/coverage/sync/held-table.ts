/**
 * @module The table of what a thread holds (sync/lockdep/held-locks.ts), by one thread that takes
 * as many locks as fit, and gives them back in another order: the table has holes, which are
 * closed.
 */

import { Places } from "../../../../src/checker/primitives/program.ts";
import { AGENT_HELD, HELD_LIMIT } from "../../../../src/sync/control-block.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { lockClass } from "../../../../src/sync/lock-class.ts";
import {
  HELD_CALLBACK,
  assertNoLockHeld,
  enterCritical,
  heldSlots,
  heldTag,
  leaveCritical,
} from "../../../../src/sync/lockdep/held-locks.ts";
import { Mutex } from "../../../../src/sync/primitives/mutex.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";

/** Of a class each, as they are held together. */
const classes = Array.from({ length: HELD_LIMIT }, (_, i) => lockClass(`covered held ${i}`));
const critical: number = heldTag(lockClass("covered critical"), HELD_CALLBACK);

interface Held {
  readonly memory: SharedMemory;
  readonly locks: readonly Mutex[];
}

function setup(memory: SharedMemory): Held {
  const places = new Places(memory);
  return { memory, locks: classes.map((of) => new Mutex(memory, places.take(Mutex.WORDS), of)) };
}

function expectHeld({ memory, locks }: Held, ...wanted: readonly number[]): void {
  const listed = heldSlots(memory, memory.record).map(({ at }) => at);
  const all = wanted.map((i) => locks[i]!.at);
  assert(listed.join() === all.join(), `${listed.join()} are listed, and ${all.join()} are held`);
}

/** Every second lock is given back, so that the next ones do not fit without closing the holes. */
function* fillTable(held: Held): Task<void> {
  const { locks, memory } = held;
  const last = HELD_LIMIT - 2;
  for (let i = 0; i < last; i++) yield* locks[i]!.lock();
  for (let i = 0; i < last; i += 2) yield* locks[i]!.unlock();
  yield* locks[last]!.lock();
  yield* locks[last + 1]!.lock();
  const kept = Array.from({ length: last / 2 }, (_, i) => 2 * i + 1);
  expectHeld(held, ...kept, last, last + 1);
  assert(memory.heldNext < memory.record + AGENT_HELD + last, "the holes are there still");
  for (const i of [...kept, last, last + 1]) yield* locks[i]!.unlock();
  expectHeld(held);
}

/** A slot that was given back, under one that is in use, still has its tag. */
function* leaveHole({ locks, memory }: Held): Task<void> {
  const [lock, other] = locks as [Mutex, Mutex];
  yield* lock.lock();
  enterCritical(memory, other.at, critical);
  yield* lock.unlock();
  assertNoLockHeld(memory, "waiting", "a scenario says so");
  leaveCritical(memory, other.at, critical);
}

const words = HELD_LIMIT * Mutex.WORDS + 64;

export const heldTables: readonly Covered[] = [
  covering<Held>({
    layer: "sync",
    name: "held-table/full",
    summary: "A thread takes more locks than fit behind the holes that earlier ones have left.",
    words,
    exploration: { maxSteps: 2000 },
    setup,
    tasks: { task: { runs: ["sync/lockdep/held-locks.compact"], body: fillTable } },
    twins: [
      {
        name: "too-many",
        summary: "It gives none back.",
        expects: "assertion",
        tasks: {
          *task({ locks }) {
            for (const lock of locks) yield* lock.lock();
          },
        },
      },
    ],
  }),
  covering<Held>({
    layer: "sync",
    name: "held-table/hole",
    summary: "A lock that was given back is held no more, though its slot says which it was.",
    words,
    setup,
    tasks: { task: { runs: ["sync/lockdep/held-locks.assertNoLockHeld"], body: leaveHole } },
    twins: [
      {
        name: "held",
        summary: "The lock is not given back.",
        expects: "assertion",
        tasks: {
          *task({ locks, memory }) {
            yield* locks[0]!.lock();
            assertNoLockHeld(memory, "waiting", "a scenario says so");
          },
        },
      },
    ],
  }),
];
