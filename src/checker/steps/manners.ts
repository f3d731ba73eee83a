/**
 * @module How a step touches a place, and which manners commute: two steps that touch one place in
 * manners that commute lead to the same state and the same answers in either order.
 *
 * Some commute only where something else never happens: a reference that is put back is no
 * different from any other as long as the count cannot reach 0, and a wake of a queue on which
 * nobody ever waits does nothing. The search takes such a word for lenient until an execution shows
 * that it is not; see dependence.ts.
 */

import { STEP_KINDS } from "../../sync/step-kinds.ts";
import type { StepKind, Touch } from "../../sync/step-kinds.ts";
import { KINDS } from "./kinds.ts";

export type Manner = number;
export const READ: Manner = 0;
/** Conflicts with everything. */
export const WRITE: Manner = 1;
/**
 * Going in and out of what many may be in: readers of a semaphore, read sections outside any grace
 * period.
 */
export const SHARE: Manner = 2;
/** The test of a condition, after which the task may be parked: matters to a wake of one only. */
export const TEST: Manner = 3;
/** Queueing, leaving the queue, waking all. */
export const QUEUE: Manner = 4;
/** A write, as conditions see it (place 0); the return of a recorded operation. */
export const PUT: Manner = 5;
/** A condition, which may read anything (place 0); the call of a recorded operation. */
export const SCAN: Manner = 6;
/**
 * Adding to a word without being told what it held: a reference, a completion, a count, a wake on
 * which nobody waits.
 */
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

const mannersByTouch: Readonly<Record<Touch, Manner>> = {
  read: READ,
  write: WRITE,
  share: SHARE,
  test: TEST,
  queue: QUEUE,
  count: RAISE,
  call: SCAN,
  return: PUT,
};

/** By code: of a step that succeeds or not, on a word that is strict or not. */
const manners: Uint8Array = Uint8Array.from(KINDS.flatMap((kind) => mannersOf(STEP_KINDS[kind])));
const PER_KIND = 4;
const SUCCESS = 1;
const STRICT = 2;

function mannersOf({ touch, touchFailing = touch, touchLenient, touchStrict }: StepKind): Manner[] {
  const lenient = [touchLenient ?? touchFailing, touchLenient ?? touch];
  const strict = [touchStrict ?? touchFailing, touchStrict ?? touch];
  return [...lenient, ...strict].map((each) => mannersByTouch[each]);
}

/** How an operation of this kind touches its words. */
export function mannerOf(code: number, succeeds: boolean, isStrict: boolean): Manner {
  return manners[code * PER_KIND + (succeeds ? SUCCESS : 0) + (isStrict ? STRICT : 0)]!;
}
