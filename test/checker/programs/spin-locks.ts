/**
 * @module Locks made of atomic words, two tasks each: an MCS lock, a queued spinlock, a futex
 * mutex, a reader-writer lock.
 */

import type { Cell, Places } from "../../../src/checker/primitives/program.ts";
import type { Scenario } from "../../../src/checker/scenario.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import { assume } from "./assume.ts";
import { program } from "./program-of.ts";
import type { Body } from "./program-of.ts";

type Program = Scenario<unknown>;

interface Lock {
  readonly lock: Cell;
  readonly shared: Cell;
  readonly never: Cell;
}

function lockOf(places: Places): Lock {
  return { lock: places.cell("lock"), shared: places.cell("shared"), never: places.cell("never") };
}

interface McsLock extends Lock {
  /** By owner, 1 or 2, as everything that points to a node. */
  readonly next: readonly Cell[];
  readonly passed: readonly Cell[];
}

const isSet = (value: number): boolean => value !== 0;

function* mcsLock({ lock, next, passed, never }: McsLock, own: number): Task<void> {
  yield* passed[own]!.store(0);
  yield* next[own]!.store(0);
  const previous = yield* lock.exchange(own);
  if (previous === 0) return;
  yield* next[previous]!.store(own);
  yield* assume(passed[own]!, isSet, never);
}

function* mcsUnlock({ lock, next, passed, never }: McsLock, own: number): Task<void> {
  let successor = yield* next[own]!.load();
  if (successor === 0) {
    if (yield* lock.compareExchange(own, 0)) return;
    successor = yield* assume(next[own]!, isSet, never);
  }
  yield* passed[successor]!.store(1);
}

export function mcs(): Program {
  const start = (places: Places): McsLock => ({
    ...lockOf(places),
    next: places.cells("next", 3),
    passed: places.cells("passed", 3),
  });
  const body = (own: number): Body<McsLock> =>
    function* (lock) {
      yield* mcsLock(lock, own);
      yield* lock.shared.store(42);
      yield* mcsUnlock(lock, own);
    };
  return program("mcs", start, [body(1), body(2)]);
}

const LOCKED = 1;
const PENDING = 0x100;

/** With two tasks nobody ever queues: there is one owner, and one that is pending. */
function* queuedLock({ lock, never }: Lock): Task<void> {
  let value = yield* lock.compareExchangeValue(0, LOCKED);
  if (value === 0) return;
  if (value === PENDING) value = yield* assume(lock, (found) => found !== PENDING, never);
  for (;;) {
    if ((value & ~LOCKED) !== 0) throw new RangeError("Cannot queue: two tasks need no queue");
    const wanted = value === LOCKED ? LOCKED | PENDING : LOCKED;
    const found = yield* lock.compareExchangeValue(value, wanted);
    if (found === value) break;
    value = found;
  }
  if (value === 0) return;
  yield* assume(lock, (found) => (found & LOCKED) === 0, never);
  yield* lock.fetchAdd(LOCKED - PENDING);
}

export function qspinlock(): Program {
  const body: Body<Lock> = function* (lock) {
    yield* queuedLock(lock);
    yield* lock.shared.store(42);
    yield* lock.lock.fetchAdd(-LOCKED);
  };
  return program("qspinlock", lockOf, [body, body]);
}

interface Futex extends Lock {
  readonly signal: Cell;
}

function* futexWait({ lock, signal, never }: Futex): Task<void> {
  const before = yield* signal.load();
  if ((yield* lock.load()) !== 2) return;
  yield* assume(signal, (now) => now !== before, never);
}

function* futexLock(futex: Futex): Task<void> {
  const { lock } = futex;
  if (yield* lock.compareExchange(0, 1)) return;
  for (;;) {
    yield* lock.compareExchange(1, 2);
    yield* futexWait(futex);
    if (yield* lock.compareExchange(0, 2)) return;
  }
}

/** Drepper's mutex of three states, over a futex that is a counter of wakes. */
export function futexMutex(): Program {
  const start = (places: Places): Futex => ({ ...lockOf(places), signal: places.cell("signal") });
  const body = (own: number): Body<Futex> =>
    function* (futex) {
      yield* futexLock(futex);
      yield* futex.shared.store(own);
      yield* futex.shared.load();
      if (yield* futex.lock.compareExchange(1, 0)) return;
      yield* futex.lock.store(0);
      yield* futex.signal.fetchAdd(1);
    };
  return program("futex mutex", start, [body(0), body(1)]);
}

const BIAS = 0x100000;

/**
 * Readers take one off the word, a writer all of it. Whoever took too much puts it back and tries
 * again: a round without net effect, which the published counts see as a spin, so such executions
 * are given up too.
 */
function* biasedLock(
  { lock, never }: Lock,
  share: number,
  isFree: (before: number) => boolean,
): Task<void> {
  if (isFree(yield* lock.fetchAdd(-share))) return;
  yield* lock.fetchAdd(share);
  yield* never.waitWhile(0);
}

/** Each task reads under the lock, then writes under it. */
export function linuxRwLocks(): Program {
  const start = (places: Places): Lock => {
    const made = lockOf(places);
    made.lock.init(BIAS);
    return made;
  };
  const body: Body<Lock> = function* (rw) {
    yield* biasedLock(rw, 1, (before) => before > 0);
    yield* rw.shared.load();
    yield* rw.lock.fetchAdd(1);
    yield* biasedLock(rw, BIAS, (before) => before === BIAS);
    yield* rw.shared.store(1);
    yield* rw.lock.fetchAdd(BIAS);
  };
  return program("linuxrwlocks", start, [body, body]);
}
