/**
 * @module How a step touches a place, and which manners commute: two steps that touch one place in manners that commute lead
 * to the same state and the same answers in either order.
 *
 * Some commute only where something else never happens: a reference that is put back is no different from any other as long
 * as the count cannot reach 0, and a wake of a queue on which nobody ever waits does nothing. The search takes such a word
 * for lenient until an execution shows that it is not; see dependence.ts.
 */

import { FOOTPRINTS } from "../../sync/explored.ts";
import type { WaitKind } from "../../sync/task.ts";

export type Manner = number;
export const READ: Manner = 0;
/** Conflicts with everything. */
export const WRITE: Manner = 1;
/** Going in and out of what many may be in: readers of a semaphore, read sections outside any grace period. */
export const SHARE: Manner = 2;
/** The test of a condition, after which the task may be parked: matters to a wake of one only. */
export const TEST: Manner = 3;
/** Queueing, leaving the queue, waking all. */
export const QUEUE: Manner = 4;
/** A write, as conditions see it (place 0); the return of a recorded operation. */
export const PUT: Manner = 5;
/** A condition, which may read anything (place 0); the call of a recorded operation. */
export const SCAN: Manner = 6;
/** Adding to a word without being told what it held: a reference, a completion, a count, a wake on which nobody waits. */
export const RAISE: Manner = 7;
export const MANNERS = 8;

const commuting: readonly (readonly [Manner, Manner])[] = [
  [READ, READ],
  [SHARE, SHARE],
  [TEST, TEST],
  [TEST, READ],
  [TEST, QUEUE],
  [PUT, PUT],
  [SCAN, SCAN],
  [RAISE, RAISE],
];

const conflicts: Uint8Array = new Uint8Array(MANNERS * MANNERS).fill(1);
for (const [a, b] of commuting) {
  conflicts[a * MANNERS + b] = 0;
  conflicts[b * MANNERS + a] = 0;
}

/** Whether steps that touch one place in these manners depend on each other. */
export function mannersConflict(a: Manner, b: Manner): boolean {
  return conflicts[a * MANNERS + b] === 1;
}

/** Of a step that succeeds, and of one that does not. Kinds that are not here write, or read, as explored.ts says. */
const special: Readonly<Partial<Record<WaitKind, readonly [Manner, Manner]>>> = {
  downRead: [SHARE, SHARE],
  upRead: [SHARE, SHARE],
  tryDownRead: [SHARE, READ],
  // Outside any grace period; inside one, which index a section takes and which section is the last one matter.
  srcuReadLock: [SHARE, WRITE],
  srcuReadUnlock: [SHARE, WRITE],
  enqueue: [QUEUE, QUEUE],
  dequeue: [QUEUE, QUEUE],
  sleep: [QUEUE, READ],
  wakeAll: [QUEUE, QUEUE],
  // A reference that is taken from nothing leaves a count that is spoilt.
  refGet: [RAISE, WRITE],
  refGetNotZero: [RAISE, READ],
  complete: [RAISE, RAISE],
  add: [RAISE, RAISE],
  opCall: [SCAN, SCAN],
  opReturn: [PUT, PUT],
};

/** Where nothing has shown that the word is strict. */
const lenient: Readonly<Partial<Record<WaitKind, Manner>>> = { refPut: RAISE, wakeAll: RAISE, wakeOne: RAISE };
/** Where something has. */
const strict: Readonly<Partial<Record<WaitKind, Manner>>> = { complete: WRITE, add: WRITE };

/** How an operation of this kind touches its words. */
export function mannerOf(kind: WaitKind, succeeds: boolean, isStrict: boolean): Manner {
  const known = isStrict ? strict[kind] : lenient[kind];
  if (known !== undefined) return known;
  const [success, failure] = special[kind] ?? plain(kind);
  return succeeds ? success : failure;
}

function plain(kind: WaitKind): readonly [Manner, Manner] {
  const footprint = FOOTPRINTS[kind];
  return footprint === "read" ? [READ, READ] : [WRITE, footprint === "success-writes" ? READ : WRITE];
}
