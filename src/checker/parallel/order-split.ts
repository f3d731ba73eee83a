/**
 * @module Splits an exploration into parts that have no class in common: by when the first step of
 * one task (`placed`) comes among certain steps of another (`among`) that all conflict with it. A
 * class settles that order, so each class is in one part, and a part is an exploration that keeps
 * to one order (step-order.ts). Threads that explore the parts have nothing to tell each other, and
 * together do no more work than one would.
 *
 * The steps were seen in one execution; {@link isOrderOfClass} looks in every one whether they are
 * there and conflict. If not, nothing is split. Why branches of the search are not handed out
 * instead: what a race in one branch finds may belong into the middle of a later one that another
 * thread has half explored; ignored there, classes are lost (of 1698, 45).
 */

import { Execution } from "../execution/execution.ts";
import { Reporter } from "../findings/reporter.ts";
import type { AnyScenario, Budget } from "../scenario.ts";
import { CONDITIONAL, MAY_BLOCK } from "../steps/kinds.ts";
import type { Dependence } from "../steps/dependence.ts";
import type { StepOrder } from "../steps/step-order.ts";

/**
 * What is put in order. Part k of `ordinals.length + 1`: after k of the steps, before the others.
 */
export interface Split {
  readonly placed: number;
  readonly among: number;
  /** Which steps of `among`, from 0. */
  readonly ordinals: readonly number[];
}

const STEPS = 5000;
const MAX_PARTS = 16;

/**
 * The split with the most parts, and among those one that places a task of few steps: the parts are
 * then of about the same size (a task of many steps that begins early leaves more open than one
 * that begins late). Undefined if there is none.
 */
export function findSplit(
  scenario: AnyScenario,
  budget: Budget,
  dependence: Dependence,
): Split | undefined {
  // A thread that dies takes no first step; a wake that chooses comes with other choices in each
  // order.
  if (budget.deaths > 0 || budget.wakeAny) return undefined;
  const witness = new Reporter({ withStacks: false });
  const run = new Execution(scenario, {
    budget,
    dependence,
    weaknesses: new Set(),
    witness,
    withSites: false,
  });
  try {
    run.restart(0);
    while (run.depth < STEPS && run.frontier.listEnabled() > 0) run.step(run.frontier.enabled[0]!);
    let best: Split | undefined;
    let bestSteps = Infinity;
    for (let placed = 0; placed < run.tasks; placed++) {
      for (let among = 0; among < run.tasks; among++) {
        const ordinals = among === placed ? [] : conflictsOf(run, placed, among);
        const more = ordinals.length - (best?.ordinals.length ?? 0);
        const steps = run.trace.counts[run.depth * run.tasks + placed]!;
        if (more < 0 || ordinals.length === 0 || (more === 0 && steps >= bestSteps)) continue;
        best = { placed, among, ordinals };
        bestSteps = steps;
      }
    }
    return best;
  } finally {
    run.finish();
  }
}

function conflictsOf(run: Execution, placed: number, among: number): number[] {
  const { trace, footprints } = run;
  const first = trace.positionOf(placed, 0);
  if (first === undefined || !isPlain(trace.kind[first]!)) return [];
  const ordinals: number[] = [];
  for (let ordinal = 0; ordinals.length < MAX_PARTS - 1; ordinal++) {
    const step = trace.positionOf(among, ordinal);
    if (step === undefined) break;
    if (!isPlain(trace.kind[step]!)) continue;
    if (footprints.conflict(trace.footprint[first]!, trace.footprint[step]!))
      ordinals.push(ordinal);
  }
  return ordinals;
}

/** Steps of a kind that never waits, and touches the same whether or not it succeeds. */
function isPlain(kind: number): boolean {
  return MAY_BLOCK[kind] === 0 && CONDITIONAL[kind] === 0;
}

/** What part `part` of the split keeps to. */
export function orderOf({ placed, among, ordinals }: Split, part: number): StepOrder {
  return { placed, among, after: ordinals[part - 1] ?? -1, before: ordinals[part] ?? Infinity };
}

/**
 * Whether an execution that kept to the order had its steps, and they conflict: else the order is
 * not that of a class. Asked of each execution.
 */
export function isOrderOfClass(run: Execution, order: StepOrder): boolean {
  const first = run.trace.positionOf(order.placed, 0);
  if (first === undefined) return false;
  if (order.after !== -1 && !isConflicting(run, order.among, order.after, first)) return false;
  return order.before === Infinity || isConflicting(run, order.among, order.before, first);
}

function isConflicting(
  { trace, footprints }: Execution,
  task: number,
  ordinal: number,
  other: number,
): boolean {
  const step = trace.positionOf(task, ordinal);
  return step !== undefined && footprints.conflict(trace.footprint[step]!, trace.footprint[other]!);
}
