/**
 * @module The fingerprint of a scenario, which differs if the scenario was changed. It is made of
 * its tasks and its first execution, in which always the first task that can go on does. For each
 * step it has the words and their values before and after.
 */

import { Execution } from "../execution/execution.ts";
import { Reporter } from "../findings/reporter.ts";
import type { Budget, Scenario } from "../scenario.ts";
import type { Dependence } from "../steps/dependence.ts";
import { textDigest } from "./text-digest.ts";

const STEPS = 5000;

/** Performs the first execution and returns its fingerprint. May throw DependsOnMore. */
export function fingerprintOf(
  scenario: Scenario<unknown>,
  budget: Budget,
  dependence: Dependence,
): string {
  const weaknesses = new Set<never>();
  // Findings of this execution are ignored: the exploration finds them again.
  const sink = new Reporter({ withStacks: false });
  const run = new Execution(scenario, {
    budget,
    dependence,
    weaknesses,
    sink,
    withSites: false,
  });
  try {
    run.restart(0);
    while (run.depth < STEPS && run.frontier.listEnabled() > 0) run.step(run.frontier.enabled[0]!);
    run.commutingWords.require();
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
