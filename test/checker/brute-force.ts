/**
 * @module Every interleaving of a small program, one after the other, without any notion of which
 * steps depend on each other: what a search that leaves some out must come to as well. Shares
 * nothing with the engines but the execution itself.
 */

import { OVER } from "../../src/checker/engines/scheduler.ts";
import { Execution } from "../../src/checker/execution/execution.ts";
import { explore } from "../../src/checker/explore.ts";
import type { Exploration, ExploreOptions } from "../../src/checker/explore.ts";
import { Reporter } from "../../src/checker/findings/reporter.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import { budgetOf } from "../../src/checker/session/session.ts";
import { CONTROL_WORDS } from "../../src/sync/control-block.ts";
import type { SharedMemory } from "../../src/sync/shared-memory.ts";

/** A program whose tasks write down what they are told. */
export interface Recorded {
  readonly scenario: Scenario<unknown>;
  /** What each task was told in the execution under way. */
  told(): readonly unknown[][];
}

/**
 * How an execution ended: the words, what each task was told, and where those wait that cannot go
 * on. Equal tasks have no names in it.
 */
function outcomeOf(run: Execution, program: Recorded): string {
  const [group = []] = program.scenario.symmetricTasks || [];
  const words = Array.from(run.memory.words.subarray(CONTROL_WORDS));
  const tasks = run.names.map((_, task) => {
    const threw = (run.throwers & (1 << task)) !== 0;
    return JSON.stringify([program.told()[task], run.pending[task]?.kind ?? "", threw]);
  });
  const ends = [...tasks.slice(0, group.length).toSorted(), ...tasks.slice(group.length)];
  const used = words.slice(0, words.findLastIndex((word) => word !== 0) + 1);
  return JSON.stringify([used, ...ends]);
}

/** The outcomes of all interleavings; undefined if there are more than `limit` of these. */
export function allOutcomes(
  program: Recorded,
  options: ExploreOptions,
  limit: number,
): Set<string> | undefined {
  const run = new Execution(program.scenario, {
    budget: budgetOf(options),
    dependence: {
      scans: true,
      ordering: "all",
      distinguishesTasks: true,
      spuriousQueueWakes: false,
    },
    weaknesses: new Set(),
    sink: new Reporter({ withStacks: false }),
    withSites: false,
  });
  const outcomes = new Set<string>();
  /** At each depth, what is still to be done there; the first of it is under way. */
  const left: number[][] = [];
  try {
    for (let executions = 0; executions < limit; executions++) {
      run.restart(0);
      for (const [first = OVER] of left) run.step(first);
      for (let count = run.frontier.listEnabled(); count > 0; count = run.frontier.listEnabled()) {
        left.push(Array.from(run.frontier.enabled.subarray(0, count)));
        run.step(run.frontier.enabled[0]!);
      }
      outcomes.add(outcomeOf(run, program));
      for (let last = left.at(-1); last !== undefined; last = left.at(-1)) {
        last.shift();
        if (last.length > 0) break;
        left.pop();
      }
      if (left.length === 0) return outcomes;
    }
    return undefined;
  } finally {
    run.finish();
  }
}

/** What an engine sees, and the outcomes among it. */
export function seenOutcomes(
  program: Recorded,
  options: ExploreOptions,
): { readonly seen: Exploration; readonly outcomes: ReadonlySet<string> } {
  const outcomes = new Set<string>();
  const scenario: Scenario<unknown> = {
    ...program.scenario,
    setup(memory: SharedMemory) {
      // What an engine saw before it began again does not count.
      outcomes.clear();
      return program.scenario.setup(memory);
    },
  };
  const ended = (run: Execution): void => {
    // Not of one that the engine gave up.
    if (run.frontier.listEnabled() === 0) outcomes.add(outcomeOf(run, program));
  };
  const seen = explore(scenario, { ...options, observer: { ended } });
  return { seen, outcomes };
}
