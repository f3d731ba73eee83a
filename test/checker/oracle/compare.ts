/** @module Asks the oracle and every engine about one program, and says where they differ. */

import type { EngineName } from "../../../src/checker/scenario.ts";
import type { Execution } from "../../../src/checker/execution/execution.ts";
import { explore } from "../../../src/checker/explore.ts";
import type { Exploration, ExploreOptions } from "../../../src/checker/explore.ts";
import type { Weakness } from "../../../src/checker/scenario.ts";
import { TooLarge, answer, classesWithin } from "./answer.ts";
import type { Answer } from "./answer.ts";
import type { Program } from "./language.ts";
import { render } from "./render.ts";

export interface Comparison {
  /** The oracle had no patience for it: nothing was compared. */
  readonly isTooLarge: boolean;
  /** Empty if all agree. */
  readonly differences: readonly string[];
}

export interface ComparisonOptions {
  /** How many beginnings of executions the oracle looks at. */
  readonly patience: number;
  /** Ways in which the checker is broken on purpose. */
  readonly weaknesses?: readonly Weakness[];
  /** Ask the default engine alone. */
  readonly onlyDefault?: boolean;
}

const NAIVE_EXECUTIONS = 200;
const BOUNDS = [0, 1, 2];

/** Every engine says what the oracle says. */
export function compare(program: Program, options: ComparisonOptions): Comparison {
  let truth: Answer;
  try {
    truth = answer(program, options.patience);
  } catch (error) {
    if (error instanceof TooLarge) return { isTooLarge: true, differences: [] };
    throw error;
  }
  return { isTooLarge: false, differences: new Examination(program, truth, options).run() };
}

class Examination {
  readonly #program: Program;
  readonly #truth: Answer;
  readonly #options: ComparisonOptions;
  readonly #differences: string[] = [];
  readonly #isRacy: boolean;

  constructor(program: Program, truth: Answer, options: ComparisonOptions) {
    this.#program = program;
    this.#truth = truth;
    this.#options = options;
    // What is read of a word that races depends on more than the order of steps.
    this.#isRacy = truth.races.size > 0;
  }

  run(): readonly string[] {
    const { classes } = this.#truth;
    const optimal = this.#everything("optimal", {});
    if (this.#options.onlyDefault === true) return this.#differences;
    const sleep = this.#everything("sleep", {});
    // Where the oracle does not tell classes apart, the engines still must find the same.
    const others = Array.from(sleep?.keys ?? []).filter((key) => optimal?.keys?.has(key) !== true);
    if (others.length > 0)
      this.#differ("optimal", `misses ${others.length} classes that sleep sets find`);
    if (this.#program.deaths === 0) this.#everything("source", {});
    // The bounded ones repeat themselves too often where every step may be a death.
    if (classes !== undefined) {
      this.#everything("bounded", { preemptions: Infinity });
      this.#everything("delay", { delays: Infinity });
    }
    const naive = this.#explore("naive", { executions: NAIVE_EXECUTIONS });
    if (naive?.seen.complete === true) this.#judge("naive", naive.seen, naive.outcomes);
    if (classes === undefined) return this.#differences;
    for (const bound of BOUNDS) {
      this.#bounded("bounded", { preemptions: bound }, classes.preemptions, bound);
      this.#bounded("delay", { delays: bound }, classes.delays, bound);
    }
    return this.#differences;
  }

  #everything(engine: EngineName, options: ExploreOptions): Exploration | undefined {
    const explored = this.#explore(engine, options);
    if (explored === undefined) return undefined;
    const { seen, outcomes } = explored;
    this.#judge(engine, seen, outcomes);
    const { classes } = this.#truth;
    if (engine !== "optimal" || classes === undefined) return seen;
    if (seen.executions !== classes.count)
      this.#differ(engine, `${seen.executions} executions of ${classes.count} classes`);
    if (seen.blocked > 0) this.#differ(engine, `gave ${seen.blocked} executions up`);
    return seen;
  }

  #judge(engine: EngineName, seen: Exploration, outcomes: ReadonlySet<string>): void {
    const truth = this.#truth;
    if (!seen.complete) this.#differ(engine, `ended with "${seen.end}"`);
    if (!this.#isRacy) this.#compareSets(engine, "outcome", outcomes, truth.outcomes);
    const words = new Set<string>();
    for (const { kind, sites, threads } of seen.findings) {
      if (kind !== "data-race") continue;
      const word = sites[0]?.label ?? "";
      words.add(word);
      const pair = `${word} ${threads.toSorted().join(" ")}`;
      if (!truth.races.has(pair)) this.#differ(engine, `there is no race ${pair}`);
    }
    const racing = new Set(Array.from(truth.races, (race) => race.split(" ")[0] ?? ""));
    this.#compareSets(engine, "racing word", words, racing);
    if (truth.classes === undefined) return;
    const { count, stuck } = truth.classes;
    if (seen.classes !== count) this.#differ(engine, `${seen.classes} classes, not ${count}`);
    if (seen.stuckClasses !== stuck)
      this.#differ(engine, `${seen.stuckClasses} stuck classes, not ${stuck}`);
  }

  #bounded(
    engine: EngineName,
    options: ExploreOptions,
    costs: readonly number[],
    bound: number,
  ): void {
    const explored = this.#explore(engine, options);
    if (explored === undefined) return;
    let count = costs.filter((cost) => cost <= bound).length;
    if (explored.seen.classes === count) return;
    // What the engine knows to depend on each other is what it has seen within the bound.
    const cost = engine === "bounded" ? 0 : 1;
    count = classesWithin(this.#program, this.#options.patience, cost, bound);
    if (explored.seen.classes === count) return;
    this.#differ(engine, `${explored.seen.classes} classes with at most ${bound}, not ${count}`);
  }

  #explore(
    engine: EngineName,
    more: ExploreOptions,
  ): { seen: Exploration; outcomes: Set<string> } | undefined {
    const { timeouts, spurious, deaths, wakeAny } = this.#program;
    const { scenario, outcomeOf } = render(this.#program, "a random program");
    const outcomes = new Set<string>();
    let of: Execution | undefined;
    const options: ExploreOptions = {
      lockdep: false,
      collectClasses: true,
      timeouts: timeouts ?? Infinity,
      spuriousWakes: spurious,
      deaths,
      wakeAny,
      weaknesses: this.#options.weaknesses ?? [],
      ...more,
      engine,
      observer: {
        // An exploration may find out late that it has to begin anew.
        began: (run) => {
          if (run !== of) outcomes.clear();
          of = run;
        },
        ended: (run, _, isGivenUp) => {
          if (!isGivenUp) outcomes.add(outcomeOf(run));
        },
      },
    };
    try {
      return { seen: explore(scenario, options), outcomes };
    } catch (error) {
      this.#differ(engine, `threw ${String(error)}`);
      return undefined;
    }
  }

  #compareSets(
    engine: EngineName,
    what: string,
    found: ReadonlySet<string>,
    truth: ReadonlySet<string>,
  ): void {
    for (const one of truth) if (!found.has(one)) this.#differ(engine, `misses the ${what} ${one}`);
    for (const one of found)
      if (!truth.has(one)) this.#differ(engine, `has the ${what} ${one}, which there is not`);
  }

  #differ(engine: EngineName, how: string): void {
    this.#differences.push(`${engine}: ${how}`);
  }
}
