/**
 * @module A small scheduler that owns every step of a few tasks: the least that an explorer must
 * do. It resumes a random enabled task until none is left, and reports a deadlock or what a task
 * threw. One seed, one interleaving.
 */

import { enterTask, leaveTask, makeContext } from "../../src/sync/tasks/current-task.ts";
import type { TaskContext } from "../../src/sync/tasks/current-task.ts";
import { isEnabled, mayTimeOut, wakesParked } from "../../src/sync/tasks/explored.ts";
import { EXPLORED } from "../../src/sync/shared-memory.ts";
import type { SharedMemory } from "../../src/sync/shared-memory.ts";
import { TIMED_OUT, WOKEN } from "../../src/sync/tasks/task.ts";
import type { Task, Wait, Wake } from "../../src/sync/tasks/task.ts";
import { diceOf } from "../dice.ts";

const STEPS_MAX = 2_000;
/** One resumption in this many of a parked task that nobody woke. */
const SPURIOUS_ONE_IN = 50;

interface Actor {
  readonly name: string;
  readonly task: Task<unknown>;
  readonly context: TaskContext;
  readonly agentId: number;
  /** What it will do when it is resumed; undefined before its first step. */
  wait: Wait | undefined;
  isWoken: boolean;
  /** Order of parking, for wakeOne. */
  parkedAt: number;
}

export interface Outcome {
  /** What a task threw. */
  readonly error: unknown;
  /** Names of the tasks that were left when nothing was enabled. */
  readonly stuck: readonly string[];
  /** One line for each step. */
  readonly trace: readonly string[];
}

/** Options of {@link schedule}. */
export interface ScheduleOptions {
  readonly seed: number;
  /** Makes `memory` act as the thread of this actor, before each of its steps. */
  readonly select?: (agentId: number) => void;
  readonly allowSpurious?: boolean;
}

/** Plays the tasks on `memory` in one random interleaving. */
export function schedule(
  memory: SharedMemory,
  tasks: Readonly<Record<string, () => Task<unknown>>>,
  options: ScheduleOptions,
): Outcome {
  const random = diceOf(options.seed);
  const modeBefore = memory.mode;
  memory.mode = EXPLORED;
  const trace: string[] = [];
  let actors = Object.entries(tasks).map(([name, make], agentId): Actor => ({
    name,
    task: make(),
    context: makeContext(memory, name, false),
    agentId,
    wait: undefined,
    isWoken: false,
    parkedAt: 0,
  }));
  try {
    for (let step = 0; actors.length > 0; step++) {
      if (step === STEPS_MAX) throw new Error("the tasks do not end");
      const choices = actors.flatMap((actor) => choicesOf(actor, options, random));
      if (choices.length === 0)
        return { error: undefined, stuck: actors.map((actor) => actor.name), trace };
      const [actor, wake] = choices[random(choices.length)]!;
      trace.push(
        `${actor.name}: ${actor.wait?.kind ?? "start"} ${actor.wait?.label ?? ""}${wake === TIMED_OUT ? " (timed out)" : ""}`,
      );
      options.select?.(actor.agentId);
      if (!perform(actor, wake, actors, step)) actors = actors.filter((other) => other !== actor);
    }
    return { error: undefined, stuck: [], trace };
  } catch (error) {
    return { error, stuck: [], trace };
  } finally {
    memory.mode = modeBefore;
  }
}

function choicesOf(
  actor: Actor,
  options: ScheduleOptions,
  random: (limit: number) => number,
): [Actor, Wake][] {
  const { wait } = actor;
  if (wait === undefined) return [[actor, WOKEN]];
  const choices: [Actor, Wake][] = [];
  if (actor.isWoken || isEnabled(wait)) choices.push([actor, WOKEN]);
  else if (wait.kind === "park" && options.allowSpurious === true && random(SPURIOUS_ONE_IN) === 0)
    choices.push([actor, WOKEN]);
  if (mayTimeOut(wait)) choices.push([actor, TIMED_OUT]);
  return choices;
}

/** One step; false when the task has ended. */
function perform(actor: Actor, wake: Wake, actors: readonly Actor[], step: number): boolean {
  const done = actor.wait;
  if (done !== undefined) {
    const parked = actors.filter(
      ({ wait, isWoken }) => wait?.kind === "park" && wait.index === done.index && !isWoken,
    );
    parked.sort((a, b) => a.parkedAt - b.parkedAt);
    for (const other of parked.slice(0, wakesParked(done))) other.isWoken = true;
  }
  actor.isWoken = false;
  const previous = enterTask(actor.context);
  try {
    const result = actor.task.next(wake);
    if (result.done === true) return false;
    actor.wait = result.value;
    actor.parkedAt = step;
    return true;
  } finally {
    leaveTask(previous);
  }
}

/**
 * Plays `make()`'s tasks under seeds 1 .. `runs`; returns the first outcome that is not clean, and
 * its seed.
 */
export function findFailure(
  runs: number,
  play: (seed: number) => Outcome,
): { readonly seed: number; readonly outcome: Outcome } | undefined {
  for (let seed = 1; seed <= runs; seed++) {
    const outcome = play(seed);
    if (outcome.error !== undefined || outcome.stuck.length > 0) return { seed, outcome };
  }
  return undefined;
}
