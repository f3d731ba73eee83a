/**
 * @module How a step touches a place, and which of these access modes commute. Two steps that touch
 * one place in modes that commute lead to the same state and the same answers in either order.
 *
 * Some modes commute only under a condition. Puts of references commute as long as the count cannot
 * reach 0. A wake of a queue on which nobody ever waits does nothing. The search assumes this of a
 * word until an execution shows otherwise: see dependence.ts.
 */

import { STEP_KINDS } from "../../sync/tasks/step-kinds.ts";
import type { StepKind, Touch } from "../../sync/tasks/step-kinds.ts";
import { KINDS } from "./kinds.ts";

export type AccessMode = number;
export const READ: AccessMode = 0;
/** Conflicts with every mode. */
export const WRITE: AccessMode = 1;
/**
 * Entering and leaving a shared section: readers of a semaphore, read sections outside any grace
 * period.
 */
export const SHARE: AccessMode = 2;
/** The test of a condition, after which the task may park: depends only on a wake of one. */
export const TEST: AccessMode = 3;
/** Queueing, leaving the queue, waking all. */
export const QUEUE: AccessMode = 4;
/** A write that conditions may see (place 0); the return of a recorded operation. */
export const PUT: AccessMode = 5;
/** A condition that may read any word (place 0); the call of a recorded operation. */
export const SCAN: AccessMode = 6;
/**
 * Adding to a word without learning what it held: a reference, a completion, a count, a wake of a
 * queue on which nobody waits.
 */
export const RAISE: AccessMode = 7;
export const ACCESS_MODES = 8;

const commuting: readonly (readonly [AccessMode, AccessMode])[] = [
  [READ, READ],
  [SHARE, SHARE],
  [TEST, TEST],
  [TEST, READ],
  [TEST, QUEUE],
  [PUT, PUT],
  [SCAN, SCAN],
  [RAISE, RAISE],
];

const conflicts: Uint8Array = new Uint8Array(ACCESS_MODES * ACCESS_MODES).fill(1);
for (const [a, b] of commuting) {
  conflicts[a * ACCESS_MODES + b] = 0;
  conflicts[b * ACCESS_MODES + a] = 0;
}

/** Whether steps that touch one place in these modes depend on each other. */
export function modesConflict(a: AccessMode, b: AccessMode): boolean {
  return conflicts[a * ACCESS_MODES + b] === 1;
}

const modesByTouch: Readonly<Record<Touch, AccessMode>> = {
  read: READ,
  write: WRITE,
  share: SHARE,
  test: TEST,
  queue: QUEUE,
  count: RAISE,
  call: SCAN,
  return: PUT,
};

/** Four modes for each kind: of a step that fails or succeeds, on a commuting or ordering word. */
const modes: Uint8Array = Uint8Array.from(KINDS.flatMap((kind) => modesOf(STEP_KINDS[kind])));
const PER_KIND = 4;
const SUCCESS = 1;
const ORDERING = 2;

function modesOf({
  touch,
  touchFailing = touch,
  touchCommuting,
  touchOrdering,
}: StepKind): AccessMode[] {
  const commutingTouches = [touchCommuting ?? touchFailing, touchCommuting ?? touch];
  const ordering = [touchOrdering ?? touchFailing, touchOrdering ?? touch];
  return [...commutingTouches, ...ordering].map((each) => modesByTouch[each]);
}

/** How an operation of this kind touches its words. */
export function accessModeOf(code: number, succeeds: boolean, isOrdering: boolean): AccessMode {
  return modes[code * PER_KIND + (succeeds ? SUCCESS : 0) + (isOrdering ? ORDERING : 0)]!;
}
