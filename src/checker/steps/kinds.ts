/**
 * @module The table of step kinds as a search needs it: arrays indexed by the kind's code, made
 * from sync/tasks/step-kinds.ts when this module is loaded.
 */

import { STEP_KINDS } from "../../sync/tasks/step-kinds.ts";
import type { StepKind, WaitKind } from "../../sync/tasks/step-kinds.ts";

/** All kinds, in a fixed order: the code of a kind is its index here. */
export const KINDS: readonly WaitKind[] = Object.keys(STEP_KINDS) as WaitKind[];
const table: readonly StepKind[] = KINDS.map((kind) => STEP_KINDS[kind]);
/**
 * A map, because each operation that a task yields is looked up: with a plain object a search takes
 * 5 % longer on Node 20.
 */
const codes: ReadonlyMap<WaitKind, number> = new Map(KINDS.map((kind, code) => [kind, code]));

/** The code of a kind. */
export function kindCode(kind: WaitKind): number {
  return codes.get(kind)!; // every kind has one
}

function flags(isSet: (row: StepKind) => boolean): Uint8Array {
  return Uint8Array.from(table, (row) => (isSet(row) ? 1 : 0));
}

/** Kinds that may have to wait. */
export const MAY_BLOCK: Uint8Array = flags(({ enabled }) => enabled !== undefined);
/** Kinds whose footprint depends on whether they succeed. */
export const CONDITIONAL: Uint8Array = flags(({ succeeds: test }) => test !== undefined);
/** Kinds that touch every word that they name. */
export const TOUCHES_ALL: Uint8Array = flags(({ whole }) => whole === true);
/** Kinds whose writes a condition may read. */
export const CHANGES_DATA: Uint8Array = flags(({ data }) => data === true);
/** Kinds that take or give back a reference. */
export const COUNTS_REFERENCES: Uint8Array = flags(({ refcount }) => refcount === true);
/** Kinds whose task queues, or sleeps in a queue. */
export const QUEUES: Uint8Array = flags(({ queues }) => queues === true);
/** Kinds that commute with themselves unless their task reads the word, too. */
export const IS_BLIND: Uint8Array = flags(({ blind }) => blind === true);

/** More than there can be tasks. */
const EVERYBODY = 255;
/** How many of the tasks parked on its word a kind wakes. */
export const WAKES: Uint8Array = Uint8Array.from(table, ({ wakes }) =>
  wakes === undefined ? 0 : wakes === "all" ? EVERYBODY : 1,
);

export const PARK: number = kindCode("park");
export const SLEEP: number = kindCode("sleep");
export const ENQUEUE: number = kindCode("enqueue");
export const TEST_CONDITION: number = kindCode("testCondition");
export const WAKE_ONE: number = kindCode("wakeOne");
export const COMPLETION_WAIT: number = kindCode("completionWait");

/**
 * Whether an operation may be performed if its first word has this value. Never for a park: see
 * parking.ts.
 */
export function allows(code: number, value: number, expected: number): boolean {
  const { enabled } = table[code]!; // every code has a row
  return enabled === undefined || enabled(value, expected);
}

/** Whether an operation succeeds if its first word has this value. */
export function succeeds(code: number, value: number, expected: number): boolean {
  const { succeeds: test } = table[code]!; // every code has a row
  return test === undefined || test(value, expected);
}
