/**
 * @module The oracle: everything that a program can do, by brute force. All its states are looked
 * at: how executions end, and which plain accesses race, needs no more. For the classes, all
 * beginnings of executions are made, shortest first; two that are the same but for the order of
 * independent steps are one, and must have led to the same state.
 */

import { DEATH, Machine, outcomeOf } from "./machine.ts";
import type { Step } from "./machine.ts";
import { signature } from "./state.ts";
import type { State } from "./state.ts";
import type { Program } from "./language.ts";
import { depend, learn, touchesOf } from "./touches.ts";
import type { Facts, Touch } from "./touches.ts";

/** What a program can do. */
export interface Answer {
  /** How executions end. */
  readonly outcomes: ReadonlySet<string>;
  /** Plain words that race: word and tasks. */
  readonly races: ReadonlySet<string>;
  /** Undefined where threads die: classes are not told apart then. */
  readonly classes: Classes | undefined;
}

export interface Classes {
  readonly count: number;
  /** Those in which some task cannot go on. */
  readonly stuck: number;
  /** Of each class, the fewest preemptions, and the fewest delays, that it takes. */
  readonly preemptions: readonly number[];
  readonly delays: readonly number[];
}

/** The program can do more than the oracle has patience for. */
export class TooLarge extends Error {}

/** Throws TooLarge beyond `patience` states, or beginnings. */
export function answer(program: Program, patience: number): Answer {
  // Nothing comes of a wait on the queue that ends for no reason but what comes of one that begins
  // later: the states show that, since they have both, while the classes leave the former out, as
  // the checker does.
  const states = new States(new Machine(program, true), patience);
  const machine = new Machine(program, false);
  const { outcomes, races, facts } = states;
  if (program.deaths > 0) return { outcomes, races, classes: undefined };
  // Where plain accesses race, the state depends on more than the order of steps.
  const classes = new Beginnings(machine, facts, patience, races.size === 0).count();
  return { outcomes, races, classes };
}

/** The two costs of an execution: preemptions, and delays. */
export type Costs = readonly [preemptions: number, delays: number];

/**
 * How many classes have an execution within a bound on one of the costs, where steps depend on each
 * other by what the executions within the bound show, and no others: a queue on which somebody
 * waits only beyond the bound is one on which nobody waits. For `cost`: 0 preemptions, 1 delays.
 * Throws TooLarge as `answer` does.
 */
export function classesWithin(
  program: Program,
  patience: number,
  cost: 0 | 1,
  bound: number,
): number {
  const machine = new Machine(program, false);
  const facts = factsWithin(machine, patience, cost, bound);
  const { preemptions, delays } = new Beginnings(machine, facts, patience, false).count();
  return (cost === 0 ? preemptions : delays).filter((least) => least <= bound).length;
}

/** What the states show that are reached within the bound. */
function factsWithin(machine: Machine, patience: number, cost: 0 | 1, bound: number): Facts {
  const facts: Facts = { scans: false, strict: new Set() };
  /** By state and who went last: the least cost. */
  const least = new Map<string, number>();
  const open: { readonly state: State; readonly last: number; readonly used: number }[] = [
    { state: machine.start(), last: NOBODY, used: 0 },
  ];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { state, last, used } = next;
    learn(machine, state, facts);
    for (const step of machine.steps(state)) {
      const after = used + pricesOf(machine, state, step, last)[cost];
      const reached = machine.after(state, step);
      const key = `${step.task} ${signature(reached)}`;
      if (after > bound || after >= (least.get(key) ?? Infinity)) continue;
      if (least.size === patience * state.tasks.length) throw new TooLarge();
      least.set(key, after);
      open.push({ state: reached, last: step.task, used: after });
    }
  }
  return facts;
}

/** Whoever could go on: to let another go first is to preempt it, or to pass over it. */
function pricesOf(machine: Machine, state: State, { task }: Step, last: number): Costs {
  const able = state.tasks.flatMap((_, other) => (machine.mayRun(state, other) ? [other] : []));
  const preempts = task !== last && able.includes(last) ? 1 : 0;
  return [preempts, able.filter((other) => turn(other, last) < turn(task, last)).length];
}

/** All states. */
class States {
  readonly outcomes = new Set<string>();
  readonly races = new Set<string>();
  readonly facts: Facts = { scans: false, strict: new Set() };

  constructor(machine: Machine, patience: number) {
    const first = machine.start();
    const seen = new Set([signature(first)]);
    for (const open = [first]; ;) {
      const state = open.pop();
      if (state === undefined) return;
      learn(machine, state, this.facts);
      this.#noteRaces(state);
      const steps = machine.steps(state);
      // That a thread may still die is no reason to go on: perhaps none does.
      if (steps.every(({ choice }) => choice === DEATH))
        this.outcomes.add(outcomeOf(machine, state));
      for (const step of steps) {
        const after = machine.after(state, step);
        const text = signature(after);
        if (seen.has(text)) continue;
        if (seen.size === patience) throw new TooLarge();
        seen.add(text);
        open.push(after);
      }
    }
  }

  /** Two tasks are between two steps each: nothing orders what they do there plainly. */
  #noteRaces({ tasks }: State): void {
    for (const [first, { plain }] of tasks.entries()) {
      for (const [word, writes] of plain) {
        for (let second = first + 1; second < tasks.length; second++) {
          for (const [other, alsoWrites] of tasks[second]?.plain ?? []) {
            if (word === other && (writes || alsoWrites))
              this.races.add(`p${word} t${first} t${second}`);
          }
        }
      }
    }
  }
}

/** One step of a beginning: known by all that happens before it. */
interface Event {
  readonly id: number;
  readonly touches: readonly Touch[];
  /** Of each task, how many of its steps happen before this one or are it. */
  readonly past: readonly number[];
}

interface Beginning {
  readonly state: State;
  /** Of each task, what it did. */
  readonly events: readonly (readonly Event[])[];
  /** By who did the last step: the fewest preemptions and delays that lead here. */
  readonly costs: Map<number, Costs>;
}

const NOBODY = -1;

/** All beginnings of executions. */
class Beginnings {
  readonly #machine: Machine;
  readonly #facts: Facts;
  readonly #compares: boolean;
  #left: number;
  readonly #ids = new Map<string, number>();
  readonly #preemptions: number[] = [];
  readonly #delays: number[] = [];
  #stuck = 0;

  constructor(machine: Machine, facts: Facts, patience: number, compares: boolean) {
    this.#compares = compares;
    this.#machine = machine;
    this.#facts = facts;
    this.#left = patience;
  }

  count(): Classes {
    const state = this.#machine.start();
    const none = state.tasks.map(() => []);
    const first: Beginning = { state, events: none, costs: new Map([[NOBODY, [0, 0]]]) };
    for (let level = new Map([["", first]]); level.size > 0;) {
      const longer = new Map<string, Beginning>();
      for (const beginning of level.values()) this.#extend(beginning, longer);
      level = longer;
    }
    const count = this.#preemptions.length;
    return { count, stuck: this.#stuck, preemptions: this.#preemptions, delays: this.#delays };
  }

  #extend(beginning: Beginning, longer: Map<string, Beginning>): void {
    const { state } = beginning;
    if (this.#left-- === 0) throw new TooLarge();
    const steps = this.#machine.steps(state);
    if (steps.length === 0) return this.#end(beginning);
    for (const step of steps) {
      const after = this.#machine.after(state, step);
      const events = this.#appended(beginning, step);
      const key = events.map((own) => own.at(-1)?.id ?? 0).join();
      let next = longer.get(key);
      if (next === undefined) longer.set(key, (next = { state: after, events, costs: new Map() }));
      else if (this.#compares && signature(next.state) !== signature(after)) {
        throw new Error(
          `two orders of independent steps differ: ${signature(next.state)} ${signature(after)}`,
        );
      }
      for (const [last, [preempted, delayed]] of beginning.costs) {
        const [preempts, passed] = pricesOf(this.#machine, state, step, last);
        const [fewest, least] = next.costs.get(step.task) ?? [Infinity, Infinity];
        next.costs.set(step.task, [
          Math.min(fewest, preempted + preempts),
          Math.min(least, delayed + passed),
        ]);
      }
    }
  }

  #appended({ state, events }: Beginning, step: Step): (readonly Event[])[] {
    const touches = touchesOf(this.#machine, state, step, this.#facts);
    const past = events.map(() => 0);
    for (const [task, own] of events.entries()) {
      // What comes before the latest one that it depends on comes before it anyway.
      const latest =
        task === step.task ? own.at(-1) : own.findLast((event) => depend(touches, event.touches));
      for (const [other, count] of (latest?.past ?? []).entries())
        past[other] = Math.max(past[other] ?? 0, count);
    }
    const before = past.map((count, task) => events[task]?.[count - 1]?.id ?? 0);
    past[step.task] = (events[step.task]?.length ?? 0) + 1;
    const text = `${step.task}:${step.choice}:${before.join()}`;
    let id = this.#ids.get(text);
    if (id === undefined) this.#ids.set(text, (id = this.#ids.size + 1));
    const event: Event = { id, touches, past };
    return events.map((own, task) => (task === step.task ? [...own, event] : own));
  }

  #end({ state, costs }: Beginning): void {
    const all = Array.from(costs.values());
    this.#preemptions.push(Math.min(...all.map(([preemptions]) => preemptions)));
    this.#delays.push(Math.min(...all.map(([, delays]) => delays)));
    if (state.tasks.some(({ status }) => status === "runs")) this.#stuck++;
  }
}

/** Turns go round from the task that went last. */
function turn(task: number, last: number): number {
  return task >= Math.max(last, 0) ? task : task + 32;
}
