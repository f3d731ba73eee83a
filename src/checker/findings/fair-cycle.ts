/**
 * @module Where one task goes round and another could go on, this looks for a way to go round for
 * ever that leaves nobody out. It searches the states that the tasks can come to from there, finds
 * the parts in which each state can be reached from each other one, and looks for a round through
 * such a part. It does not see what a task has in its variables. So two states count as one if
 * three things are equal: the memory, what comes next, and the latest few steps of each task with
 * what they found.
 *
 * The result is a suggestion. Whether it can be gone round for ever, lasso.ts tries out.
 */

import type { Execution } from "../execution/execution.ts";
import { isGoingOn, taskOf } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";

/**
 * The search is given up after so many steps, replayed ones among them: some tenths of a second.
 */
const STEPS = 200_000;
const STATES = 4000;
/** Of each task, how many of its latest steps belong to a state. */
const REMEMBERED = 3;
const NO_STEP = -1;

interface Edge {
  readonly transition: Transition;
  readonly to: number;
}

interface State {
  /** How it was reached first. */
  readonly path: readonly Transition[];
  readonly edges: Edge[];
}

/** A way into the round, and the round. */
export interface Round {
  readonly stem: readonly Transition[];
  readonly cycle: readonly Transition[];
}

/**
 * Rounds that leave nobody out, behind the steps of `stem`. The execution is afterwards elsewhere.
 */
export function fairRounds(run: Execution, stem: readonly Transition[]): Round[] {
  const states = statesBehind(run, stem);
  const rounds: Round[] = [];
  for (const part of partsOf(states)) {
    const round = roundThrough(states, part);
    const [first] = part;
    if (round.length > 0 && first !== undefined)
      rounds.push({ stem: [...stem, ...states[first]!.path], cycle: round });
  }
  return rounds.toSorted(
    (a, b) => a.stem.length - b.stem.length || a.cycle.length - b.cycle.length,
  );
}

/** Breadth first, so that each path is as short as can be. */
function statesBehind(run: Execution, stem: readonly Transition[]): State[] {
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
 * The parts in which each state leads to each other one (Tarjan's algorithm), each from its first
 * state on.
 */
function partsOf(states: readonly State[]): number[][] {
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
 * A round from the part's first state, in which every task that moves in the part has a step; empty
 * if that leaves one out.
 */
function roundThrough(states: readonly State[], part: readonly number[]): Transition[] {
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

/** The fewest edges from a state whose last one is wanted. */
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
