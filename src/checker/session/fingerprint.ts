/**
 * @module What tells a scenario from one that was changed: its tasks, and its first execution
 * (always the first task that can go on), step by step with what each touches, finds and leaves.
 */

import { Execution } from "../execution/execution.ts";
import { Reporter } from "../findings/reporter.ts";
import type { Budget, Scenario } from "../scenario.ts";
import type { Dependence } from "../steps/dependence.ts";
import { textDigest } from "./text-digest.ts";

const STEPS = 5000;

/** Performs the first execution and names it. May throw DependsOnMore. */
export function fingerprintOf(
  scenario: Scenario<unknown>,
  budget: Budget,
  dependence: Dependence,
): string {
  const weaknesses = new Set<never>();
  // What goes wrong here goes wrong again in the exploration.
  const witness = new Reporter({ withStacks: false });
  const run = new Execution(scenario, {
    budget,
    dependence,
    weaknesses,
    witness,
    withSites: false,
  });
  try {
    run.restart(0);
    while (run.depth < STEPS && run.frontier.listEnabled() > 0) run.step(run.frontier.enabled[0]!);
    run.lenience.require();
    const lines = run.names.map((name, task) => `${name} ${run.pending[task]?.kind ?? "over"}`);
    const { trace } = run;
    for (let step = 0; step < run.depth; step++) {
      const { label, words } = trace.waits[step]!;
      const values = [
        trace.transition[step],
        trace.index[step],
        words,
        trace.before[step],
        trace.after[step],
      ];
      lines.push(`${trace.kindName(step)} ${label} ${values.join(" ")}`);
    }
    return textDigest(lines.join("\n"));
  } finally {
    run.finish();
  }
}
