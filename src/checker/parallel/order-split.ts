/**
 * @module Splits an exploration into parts that have no class in common. The first step of one task
 * (`placed`) conflicts with certain steps of another task (`among`). The parts differ in where
 * among them that first step comes. All executions of a class have conflicting steps in the same
 * order. So each class is in exactly one part, and a part is an exploration that keeps one order
 * (step-order.ts). The threads that explore the parts need not communicate, and together they do no
 * more work than one thread.
 *
 * The conflicting steps are those of one execution. {@link isOrderOfClass} checks in every
 * execution that they exist and conflict. If they do not, the exploration begins again without a
 * split.
 *
 * Why threads do not take branches of the search tree instead: a race in one branch may require a
 * sequence in the middle of a later branch, of which another thread has explored a part. Without
 * that sequence classes are lost (45 of 1698).
 */

import { Execution } from "../execution/execution.ts";
import { Reporter } from "../findings/reporter.ts";
import type { AnyScenario, Budget } from "../scenario.ts";
import { CONDITIONAL, MAY_BLOCK } from "../steps/kinds.ts";
import type { Dependence } from "../steps/dependence.ts";
import type { StepOrder } from "../steps/step-order.ts";

/**
 * A split into `ordinals.length + 1` parts. In part k the placed step comes after k of the steps,
 * and before the others.
 */
export interface Split {
  readonly placed: number;
  readonly among: number;
  /** The numbers of the steps of `among`, from 0. */
  readonly ordinals: readonly number[];
}

const STEPS = 5000;
const MAX_PARTS = 16;

/**
 * The split with the most parts. If there are several, one that places a task of few steps: then
 * the parts have about the same size, because a task of many steps leaves more orders open if it
 * begins early than if it begins late. Undefined if there is none.
 */
export function findSplit(
  scenario: AnyScenario,
  budget: Budget,
  dependence: Dependence,
): Split | undefined {
  // A thread that dies may have no first step. A wake with a choice has other choices in each
  // order.
  if (budget.deaths > 0 || budget.wakeAny) return undefined;
  const sink = new Reporter({ withStacks: false });
  const run = new Execution(scenario, {
    budget,
    dependence,
    weaknesses: new Set(),
    sink,
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

/** Whether steps of this kind never wait, and always have the same footprint. */
function isPlain(kind: number): boolean {
  return MAY_BLOCK[kind] === 0 && CONDITIONAL[kind] === 0;
}

/** The order that part `part` of the split keeps. */
export function orderOf({ placed, among, ordinals }: Split, part: number): StepOrder {
  return { placed, among, after: ordinals[part - 1] ?? -1, before: ordinals[part] ?? Infinity };
}

/**
 * Whether the execution, which kept the order, has the ordered steps and they conflict. If not, the
 * order is not the same in the whole class. Checked for each execution.
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
