/**
 * @module Minimises the schedule of a finding. Every candidate is replayed, so the result is a
 * schedule that was seen to fail in the same scenario.
 *
 * 1. It searches for a schedule with the fewest preemptions.
 * 2. It removes the steps of whole tasks that are not needed.
 * 3. It removes spans of steps, down to single steps, until none can be removed (after Zeller and
 *    Hildebrandt, "Simplifying and isolating failure-inducing input", 2002).
 * 4. It brings the steps into an order that is the same for equal bugs.
 *
 * A deadlock or a wrong outcome shows only when no task can go on, so all steps that lead there
 * stay. An endless loop keeps its length.
 */

import { explore } from "../explore.ts";
import type { ExploreOptions, Observer } from "../explore.ts";
import { findingIdentity, isSmaller } from "../findings/finding.ts";
import type { Finding } from "../findings/finding.ts";
import { formatToken, parseToken } from "../findings/token.ts";
import type { Scenario } from "../scenario.ts";
import { taskOf } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";

/** How many executions the search for fewer preemptions may take at each bound. */
const SEARCH_EXECUTIONS = 5000;
const PREEMPTIONS_TRIED = 4;

/** Replays a token. Returns the findings of that schedule, with places in the code. */
export function replay<S>(
  scenario: Scenario<S>,
  token: string,
  options: ExploreOptions = {},
): readonly Finding[] {
  const schedule = parseToken(token);
  return explore(scenario, { ...options, engine: "replay", schedule, withSites: true }).findings;
}

/**
 * The smallest sighting of the same bug that it finds. `options` must have the budget of the
 * exploration that found the bug.
 */
export function minimise<S>(
  scenario: Scenario<S>,
  finding: Finding,
  options: ExploreOptions = {},
): Finding {
  return new Minimiser(scenario, finding, options).smallest();
}

class Minimiser<S> {
  readonly #scenario: Scenario<S>;
  readonly #identity: string;
  readonly #options: ExploreOptions;
  #best: Finding;

  constructor(scenario: Scenario<S>, finding: Finding, options: ExploreOptions) {
    this.#scenario = scenario;
    this.#identity = findingIdentity(finding);
    this.#options = options;
    this.#best = finding;
  }

  smallest(): Finding {
    this.#searchFewerPreemptions();
    // An endless loop is as long as the limit allows, and so would be each attempt.
    if (this.#best.kind === "endless" || this.#best.kind === "livelock") return this.#best;
    this.#tryAll(() => this.#without());
    this.#putInOrder();
    return this.#best;
  }

  /** It begins with 0, so that the result does not depend on the sighting that it began with. */
  #searchFewerPreemptions(): void {
    const most = Math.min(this.#best.preemptions, PREEMPTIONS_TRIED);
    for (let preemptions = 0; preemptions <= most; preemptions++) {
      const found = explore(this.#scenario, {
        ...this.#options,
        engine: "bounded",
        preemptions,
        executions: SEARCH_EXECUTIONS,
        stopAt: (seen) => findingIdentity(seen) === this.#identity,
      });
      const same = found.findings.find((seen) => findingIdentity(seen) === this.#identity);
      if (same !== undefined) {
        this.#best = same;
        return;
      }
      if (found.bound === Infinity) return;
    }
  }

  /**
   * Shorter schedules, each made from the smallest sighting so far: without whole tasks, then
   * without spans of steps.
   */
  *#without(): Generator<readonly Transition[], void, undefined> {
    for (let task = 0; task < Object.keys(this.#scenario.tasks).length; task++) {
      const { schedule } = this.#best;
      const rest = schedule.filter((transition) => taskOf(transition) !== task);
      if (rest.length < schedule.length) yield rest;
    }
    for (let before: Finding | undefined; before !== this.#best;) {
      before = this.#best;
      for (let size = before.steps >> 1; size >= 1; size >>= 1) {
        for (let end = this.#best.steps; end > 0; end = Math.min(end - size, this.#best.steps)) {
          yield this.#best.schedule.toSpliced(Math.max(end - size, 0), Math.min(size, end));
        }
      }
    }
  }

  /**
   * Replays the schedules. A smaller sighting of the bug becomes the best one before the next
   * schedule is made.
   */
  #tryAll(schedules: () => Iterable<readonly Transition[]>): void {
    explore(this.#scenario, {
      ...this.#options,
      engine: "replay",
      schedules,
      lenient: true,
      executions: Infinity,
      stopAtFinding: false,
      stopAt: (seen) => {
        if (findingIdentity(seen) === this.#identity && isSmaller(seen, this.#best))
          this.#best = seen;
        return false;
      },
    });
  }

  /**
   * Of all orders that differ only in independent steps: one with the fewest switches, and of these
   * the one with the first token.
   */
  #putInOrder(): void {
    const clocks: number[][] = [];
    const observer: Observer = {
      began: () => void (clocks.length = 0),
      stepped: ({ trace, depth }) => {
        clocks.push(
          Array.from(trace.clocks.subarray((depth - 1) * trace.tasks, depth * trace.tasks)),
        );
      },
    };
    const { schedule } = this.#best;
    if (this.#sightingIn(schedule, observer) === undefined || clocks.length !== schedule.length)
      return;
    const tried = new Set([this.#best.token]);
    for (let first = 0; first < Object.keys(this.#scenario.tasks).length; first++) {
      const ordered = inOrder(schedule, clocks, first);
      const token = formatToken(ordered);
      if (tried.has(token)) continue;
      tried.add(token);
      const same = this.#sightingIn(ordered);
      if (same === undefined || isSmaller(this.#best, same)) continue;
      if (isSmaller(same, this.#best) || orderOf(same) < orderOf(this.#best)) this.#best = same;
    }
  }

  /** The bug, if this schedule shows it. Steps that are not possible are skipped. */
  #sightingIn(schedule: readonly Transition[], observer?: Observer): Finding | undefined {
    const found = explore(this.#scenario, {
      ...this.#options,
      engine: "replay",
      schedule,
      lenient: true,
      ...(observer !== undefined && { observer }),
    });
    return found.findings.find((seen) => findingIdentity(seen) === this.#identity);
  }
}

/** A key that sorts by the number of switches, then by the token. */
function orderOf({ schedule, token }: Finding): string {
  const blocks = schedule.filter(
    (transition, i) => i === 0 || taskOf(transition) !== taskOf(schedule[i - 1]!),
  ).length;
  return `${String(blocks).padStart(6, "0")} ${token}`;
}

/**
 * An order of the steps that respects happens-before. It begins with task `first`, and each task
 * goes on for as long as it can.
 */
function inOrder(
  schedule: readonly Transition[],
  clocks: readonly (readonly number[])[],
  first: number,
): Transition[] {
  const ordered: Transition[] = [];
  const done = clocks[0]?.map(() => 0) ?? [];
  const left = new Set(schedule.keys());
  let current = first;
  while (left.size > 0) {
    const ready = [...left].filter((step) => {
      const own = taskOf(schedule[step]!);
      // there is one clock for each step
      return clocks[step]!.every((count, task) => count <= done[task]! + (task === own ? 1 : 0));
    });
    const next = ready.find((step) => taskOf(schedule[step]!) === current) ?? ready[0];
    if (next === undefined) break;
    left.delete(next);
    current = taskOf(schedule[next]!);
    done[current]!++;
    ordered.push(schedule[next]!);
  }
  return ordered;
}
