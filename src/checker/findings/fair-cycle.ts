/**
 * @module Looks for a fair cycle near an unfair one, in which a task loops while another could go
 * on. It searches the states that can be reached from there, finds the strongly connected
 * components, and looks for a cycle through a component. It cannot see a task's local variables. So
 * two states count as one if three things are equal: the memory, the pending operations, and the
 * latest few steps of each task with the values that they found.
 *
 * The result is a candidate. lasso.ts tests whether it can be repeated for ever.
 */

import type { Execution } from "../execution/execution.ts";
import { isGoingOn, taskOf } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";

/**
 * The search stops after this many steps, replayed ones included: some tenths of a second.
 */
const STEPS = 200_000;
const STATES = 4000;
/** How many of each task's latest steps belong to a state. */
const REMEMBERED = 3;
const NO_STEP = -1;

interface Edge {
  readonly transition: Transition;
  readonly to: number;
}

interface State {
  /** The steps by which it was first reached. */
  readonly path: readonly Transition[];
  readonly edges: Edge[];
}

/** The steps that lead into the cycle, and the cycle. */
export interface FairCycle {
  readonly stem: readonly Transition[];
  readonly cycle: readonly Transition[];
}

/**
 * Fair cycles that can be reached after the steps of `stem`. Moves the execution.
 */
export function fairCycles(run: Execution, stem: readonly Transition[]): FairCycle[] {
  const states = statesAfter(run, stem);
  const rounds: FairCycle[] = [];
  for (const part of componentsOf(states)) {
    const round = cycleThrough(states, part);
    const [first] = part;
    if (round.length > 0 && first !== undefined)
      rounds.push({ stem: [...stem, ...states[first]!.path], cycle: round });
  }
  return rounds.toSorted(
    (a, b) => a.stem.length - b.stem.length || a.cycle.length - b.cycle.length,
  );
}

/** Breadth first, so that each path is a shortest one. */
function statesAfter(run: Execution, stem: readonly Transition[]): State[] {
  const states: State[] = [];
  const known = new Map<string, number>();
  let steps = 0;
  const go = (path: readonly Transition[]): void => {
    run.restart(0);
    for (const transition of [...stem, ...path]) run.step(transition);
    steps += stem.length + path.length;
  };
  const add = (path: readonly Transition[]): number => {
    const key = keyOf(run);
    const state = known.get(key);
    if (state !== undefined) return state;
    known.set(key, states.length);
    return states.push({ path, edges: [] }) - 1;
  };
  go([]);
  add([]);
  for (const { path, edges } of states) {
    if (steps >= STEPS || states.length >= STATES) break;
    go(path);
    const enabled = Array.from(run.frontier.enabledNow()).filter(isGoingOn);
    for (const [i, transition] of enabled.entries()) {
      if (i > 0) go(path);
      run.step(transition);
      edges.push({ transition, to: add([...path, transition]) });
    }
  }
  return states;
}

function keyOf(run: Execution): string {
  const { kind, index, before, counts, positions, tasks } = run.trace;
  const parts: number[] = [run.digests.value];
  for (let task = 0; task < tasks; task++) {
    const done = counts[run.depth * tasks + task]!;
    for (let ordinal = done; ordinal > Math.max(done - REMEMBERED, 0); ordinal--) {
      const step = positions[ordinal * tasks + task]!;
      parts.push(kind[step]!, index[step]!, before[step]!);
    }
    parts.push(NO_STEP);
  }
  return parts.join(" ");
}

/**
 * The strongly connected components (Tarjan's algorithm), with the states of each in order.
 */
function componentsOf(states: readonly State[]): number[][] {
  const parts: number[][] = [];
  const order = new Map<number, number>();
  const low = new Int32Array(states.length);
  const open: number[] = [];
  const isOpen = new Set<number>();
  const visit = (state: number): void => {
    order.set(state, order.size);
    low[state] = order.size - 1;
    open.push(state);
    isOpen.add(state);
    for (const { to } of states[state]!.edges) {
      if (!order.has(to)) visit(to);
      if (isOpen.has(to)) low[state] = Math.min(low[state], low[to]!);
    }
    if (low[state] !== order.get(state)) return;
    const part = open.splice(open.indexOf(state));
    for (const member of part) isOpen.delete(member);
    parts.push(part.toSorted((a, b) => a - b));
  };
  for (const state of states.keys()) if (!order.has(state)) visit(state);
  return parts;
}

/**
 * A cycle from the component's first state, in which every task that has a step in the component
 * takes one. Empty if it leaves out a task that could go on in all its states.
 */
function cycleThrough(states: readonly State[], part: readonly number[]): Transition[] {
  const inside = new Set(part);
  const innerEdges = (state: number): Edge[] =>
    states[state]!.edges.filter(({ to }) => inside.has(to));
  const moving = new Set(
    part.flatMap((state) => innerEdges(state).map(({ transition }) => taskOf(transition))),
  );
  const [home] = part;
  if (home === undefined || moving.size === 0) return [];
  const able = part.map(
    (state) => new Set(states[state]!.edges.map(({ transition }) => taskOf(transition))),
  );
  const isLeftOut = [...(able[0] ?? [])].some(
    (task) => !moving.has(task) && able.every((tasks) => tasks.has(task)),
  );
  if (isLeftOut) return [];
  const round: Transition[] = [];
  let at = home;
  const walk = (isThere: (edge: Edge) => boolean): void => {
    const way = shortestWay(at, innerEdges, isThere);
    round.push(...way.map(({ transition }) => transition));
    at = way.at(-1)?.to ?? at;
  };
  for (const task of moving) {
    if (!round.some((transition) => taskOf(transition) === task))
      walk(({ transition }) => taskOf(transition) === task);
  }
  if (at !== home) walk(({ to }) => to === home);
  return round;
}

/** A shortest path from a state whose last edge is a wanted one. */
function shortestWay(
  from: number,
  edgesOf: (state: number) => Edge[],
  isThere: (edge: Edge) => boolean,
): Edge[] {
  const ways: { readonly state: number; readonly way: Edge[] }[] = [{ state: from, way: [] }];
  const seen = new Set([from]);
  for (const { state, way } of ways) {
    for (const edge of edgesOf(state)) {
      if (isThere(edge)) return [...way, edge];
      if (seen.has(edge.to)) continue;
      seen.add(edge.to);
      ways.push({ state: edge.to, way: [...way, edge] });
    }
  }
  return [];
}
