/**
 * @module The messages about an execution that does not repeat its beginning: which step it is, and
 * what is different now.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";
import { UncontrolledNondeterminism } from "../scenario.ts";
import type { Trace } from "../steps/trace.ts";

/** What two executions of one schedule are compared by. */
export interface Compared {
  readonly scenarioName: string;
  readonly memory: SharedMemory;
  readonly trace: Trace;
}

/** Step `step` is `found` now. */
export function otherStep(run: Compared, step: number, found: string): UncontrolledNondeterminism {
  const expected = step < run.trace.length ? `"${run.trace.kindName(step)}"` : "another";
  return new UncontrolledNondeterminism(run.scenarioName, step, expected, found);
}

/** Step `step` is the same, but what it left is not: `value` stands in its word now. */
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
