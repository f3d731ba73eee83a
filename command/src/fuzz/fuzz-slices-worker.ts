/**
 * @module The Worker that searches slices, each from its first program to its last. It counts which
 * functions run, so it loads them after the count has begun.
 */

import type { Finding } from "../../../src/checker/findings/finding.ts";
import { answerCall } from "../worker-call.ts";
import { RunFunctions } from "./fuzz-coverage.ts";
import type { FunctionCoverage } from "./fuzz-coverage.ts";
import type { FuzzProgram } from "./fuzz-program.ts";
import type { FuzzSearch } from "./fuzz-search.ts";
import { SLICE } from "./fuzz-slice.ts";
import type { SliceOutcome, SlicesInput } from "./fuzz-slice.ts";
import type { OperationsModule } from "./fuzz-stage.ts";
import { natureOf } from "./nature.ts";

const functions = new RunFunctions();

await answerCall<FunctionCoverage>(
  async ({ seed, programs, slices, operations, cancelled }: SlicesInput, call) => {
    const { operations: table } = (await import(operations)) as OperationsModule;
    const { FuzzSearch } = await import("./fuzz-search.ts");
    const { shrinkProgram } = await import("./shrink-program.ts");
    const flag = new Int32Array(cancelled);
    const told = new Set<string>();
    for (const slice of slices) {
      const search = new FuzzSearch({ seed, table });
      const end = Math.min((slice + 1) * SLICE, programs);
      const outcome = trySlice(search, slice * SLICE, end, () => flag[0] !== 0);
      if (outcome === undefined) break;
      const fresh = outcome.found.filter(({ finding }) => !told.has(natureOf(finding)));
      for (const { finding } of fresh) told.add(natureOf(finding));
      const shrunk = fresh.map(({ program, finding }) => shrinkProgram(program, finding, table));
      const { executions, signals } = outcome;
      const done = end - slice * SLICE;
      call.report({ slice, programs: done, executions, signals, shrunk } satisfies SliceOutcome);
    }
    return functions.take();
  },
);

interface Tried {
  readonly executions: number;
  readonly signals: readonly string[];
  readonly found: readonly { readonly program: FuzzProgram; readonly finding: Finding }[];
}

/** Undefined if it was stopped: an incomplete slice has no result. */
function trySlice(
  search: FuzzSearch,
  start: number,
  end: number,
  isStopped: () => boolean,
): Tried | undefined {
  const signals: string[] = [];
  const found: { program: FuzzProgram; finding: Finding }[] = [];
  let executions = 0;
  for (let number = start; number < end; number++) {
    if (isStopped()) return undefined;
    const { program, finding, ...outcome } = search.tryProgram(number);
    executions += outcome.executions;
    signals.push(...outcome.signals);
    if (finding !== undefined) found.push({ program, finding });
  }
  return { executions, signals, found };
}
