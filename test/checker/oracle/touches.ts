/**
 * @module Which steps depend on each other: what each touches, and in which mode. The oracle's
 * own statement of what the checker promises about classes; where the checker learns that more
 * commutes, this is where it is said again.
 */

import { CONDITION, CONDITION_MUTEX, MUTEX, REFERENCES } from "./instructions.ts";
import type { Instruction } from "./instructions.ts";
import { RUN, SPURIOUS, TIMEOUT, WAKE } from "./machine.ts";
import type { Machine, Step } from "./machine.ts";
import type { State } from "./state.ts";

/** All data words together, which a condition that names none may read. */
export const EVERYTHING = 30;
const TIMEOUTS = 31;
const SPURIOUS_WAKES = 32;

export type Mode = "reads" | "writes" | "shares" | "tests" | "queues" | "puts" | "scans" | "raises";
export type Touch = readonly [place: number, mode: Mode];

/** Pairs that commute. Whatever is not here does not. */
const commuting: ReadonlySet<string> = new Set([
  "reads reads",
  "shares shares",
  "tests tests",
  "tests reads",
  "reads tests",
  "tests queues",
  "queues tests",
  "puts puts",
  "scans scans",
  "raises raises",
]);

/** Whether two steps that touch this depend on each other. */
export function depend(a: readonly Touch[], b: readonly Touch[]): boolean {
  return a.some(([place, mode]) =>
    b.some(([other, how]) => place === other && !commuting.has(`${mode} ${how}`)),
  );
}

/** What a step touches in a state. */
export function touchesOf(
  machine: Machine,
  state: State,
  { task, choice }: Step,
  facts: Facts,
): Touch[] {
  const next = machine.next(state, task);
  if (next === undefined) return [];
  const { timeouts } = machine.program;
  if (choice === TIMEOUT) {
    const leaves: Touch = [next.at, next.does === "completion" ? "reads" : "queues"];
    return timeouts === null ? [leaves] : [leaves, [TIMEOUTS, "writes"]];
  }
  if (choice === SPURIOUS) {
    const leaves: Touch = [next.at, "queues"];
    return machine.program.spurious === "each" ? [leaves] : [leaves, [SPURIOUS_WAKES, "writes"]];
  }
  if (choice !== RUN && choice < WAKE)
    throw new RangeError("classes are not told apart where threads die");
  const own = ofOperation(machine, state, next, facts.strict);
  const changes = own.some(([place, mode]) => mode !== "reads" && isData(next, place));
  return facts.scans && changes ? [...own, [EVERYTHING, "puts"]] : own;
}

/** Whether a condition may read what the operation changes. */
function isData({ does }: Instruction, place: number): boolean {
  return place < MUTEX && does !== "wake" && does !== "sleep" && does !== "parked"
    ? true
    : ["get", "getNotZero", "put", "complete"].includes(does);
}

function ofOperation(
  machine: Machine,
  state: State,
  next: Instruction,
  strict: ReadonlySet<number>,
): Touch[] {
  const { at, does } = next;
  switch (does) {
    case "load":
    case "test0":
    case "park":
    case "parked":
    case "syncWait":
    case "settle":
      return [[at, "reads"]];
    case "exchange":
      return [[at, state.words[at] === next.a ? "writes" : "reads"]];
    case "sleep":
      return [[at, state.words[at] === next.a ? "queues" : "reads"]];
    case "tryLock":
      return [[at, state.mutexes[at - MUTEX] === -1 ? "writes" : "reads"]];
    case "tryDownRead":
      return [[at, state.writer === -1 && state.queuedWriters === 0 ? "shares" : "reads"]];
    case "tryDownWrite":
      return [[at, isFree(state) ? "writes" : "reads"]];
    case "downRead":
    case "upRead":
      return [[at, "shares"]];
    case "enqueue":
    case "dequeue":
      return [[at, "queues"]];
    case "test":
    case "lastTest":
      return machine.program.names
        ? [
            [at, "tests"],
            [next.a, "reads"],
          ]
        : [
            [at, "tests"],
            [EVERYTHING, "scans"],
          ];
    case "wake":
      if (!strict.has(at)) return [[at, "raises"]];
      return [[at, next.all ? "queues" : "writes"]];
    case "complete":
    case "put":
      return [[at, strict.has(at) || next.all ? "writes" : "raises"]];
    case "enter":
    case "leave":
      return [[at, state.srcu.phase === "idle" ? "shares" : "writes"]];
    case "release":
      return [
        [MUTEX + CONDITION_MUTEX, "writes"],
        [CONDITION, "writes"],
      ];
    case "get":
      return [[at, state.references > 0 ? "raises" : "writes"]];
    case "getNotZero":
      return [[at, state.references !== 0 ? "raises" : "reads"]];
    default:
      return [[at, "writes"]];
  }
}

function isFree({ writer, readers, queuedWriters }: State): boolean {
  return writer === -1 && readers === 0 && queuedWriters === 0;
}

/**
 * What the states of a program show. A place is lenient while all that happens to it commutes: a
 * reference count that cannot reach 0 even if each task stopped where it has given back most; a
 * queue on which nobody waits; a completion of whose waits none can end by itself. `strict`: those
 * that are not.
 */
export interface Facts {
  /** Some task tests a condition that does not say what it reads. */
  scans: boolean;
  readonly strict: Set<number>;
}

/** Adds what a state shows. */
export function learn(machine: Machine, state: State, facts: Facts): void {
  const { program } = machine;
  for (const task of state.tasks.keys()) {
    const pending = machine.next(state, task);
    if (pending === undefined) continue;
    const { does, at, timed } = pending;
    if (["enqueue", "test", "lastTest", "park", "sleep", "parked"].includes(does))
      facts.strict.add(at);
    if (!program.names && (does === "test" || does === "lastTest")) facts.scans = true;
    const mayEnd = program.deaths > 0 || (timed && program.timeouts !== 0);
    if (does === "completion" && mayEnd) facts.strict.add(at);
  }
  const lowest = state.tasks.reduce((sum, task) => sum + task.lowest, program.references);
  if (lowest < 1) facts.strict.add(REFERENCES);
}
