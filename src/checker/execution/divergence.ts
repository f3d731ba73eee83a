/**
 * @module The errors about an execution that does not repeat what its beginning did before: at
 * which step, and what is different.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";
import { UncontrolledNondeterminism } from "../scenario.ts";
import type { Trace } from "../steps/trace.ts";

/** What these errors need of an execution. */
export interface Compared {
  readonly scenarioName: string;
  readonly memory: SharedMemory;
  readonly trace: Trace;
}

/** Step `step` was another one before, and is `found` now. */
export function otherStep(run: Compared, step: number, found: string): UncontrolledNondeterminism {
  const expected = step < run.trace.length ? `"${run.trace.kindName(step)}"` : "another";
  return new UncontrolledNondeterminism(run.scenarioName, step, expected, found);
}

/** Step `step` is the same, but its outcome is not: its word now holds `value`. */
export function otherOutcome(
  run: Compared,
  step: number,
  value: number,
): UncontrolledNondeterminism {
  const { trace } = run;
  const before = trace.after[step]!;
  const what = `"${run.trace.kindName(step)}" of ${trace.waits[step]?.label ?? ""}`;
  const found =
    before === value
      ? "one after which its task does something else, or plainly stores other values"
      : `one that leaves ${value}`;
  const expected = before === value ? what : `${what} that left ${before}`;
  return new UncontrolledNondeterminism(run.scenarioName, step, expected, found);
}

/** The tasks do other things before their first step. */
export function otherStart(run: Compared): UncontrolledNondeterminism {
  const found = "one before which a task did other things";
  return new UncontrolledNondeterminism(run.scenarioName, 0, "the first", found);
}

/** After the same steps, a word of the memory does not hold what it held before. */
export function otherEnd(run: Compared, word: number, before: number): UncontrolledNondeterminism {
  const last = (value: number): string => `the last, after which word ${word} is ${value}`;
  const now = run.memory.words[word]!;
  return new UncontrolledNondeterminism(
    run.scenarioName,
    run.trace.length - 1,
    last(before),
    last(now),
  );
}
