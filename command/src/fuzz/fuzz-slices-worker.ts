/**
 * @module The Worker that searches slices, each from its first program to its last, or to its first
 * finding.
 */

import { answerCall } from "../worker-call.ts";
import { FuzzSearch } from "./fuzz-search.ts";
import { SLICE } from "./fuzz-slice.ts";
import type { SliceOutcome, SlicesInput } from "./fuzz-slice.ts";
import type { OperationsModule, OperationTable } from "./fuzz-stage.ts";
import { shrinkProgram } from "./shrink-program.ts";

await answerCall<void>(
  async ({ seed, programs, slices, operations, cancelled }: SlicesInput, call) => {
    const { operations: table } = (await import(operations)) as OperationsModule;
    const flag = new Int32Array(cancelled);
    for (const slice of slices) {
      const outcome = doSlice(seed, slice, programs, table, () => flag[0] !== 0);
      if (outcome === undefined) return;
      call.report(outcome);
    }
  },
);

/** Undefined if it was stopped: an incomplete slice has no result. */
function doSlice(
  seed: number,
  slice: number,
  programs: number,
  table: OperationTable,
  isStopped: () => boolean,
): SliceOutcome | undefined {
  const search = new FuzzSearch({ seed, table });
  const signals: string[] = [];
  let executions = 0;
  let number = slice * SLICE;
  const end = Math.min(number + SLICE, programs);
  for (; number < end; number++) {
    if (isStopped()) return undefined;
    const outcome = search.tryProgram(number);
    executions += outcome.executions;
    signals.push(...outcome.signals);
    if (outcome.finding === undefined) continue;
    const shrunk = shrinkProgram(outcome.program, outcome.finding, table);
    return { slice, programs: number + 1 - slice * SLICE, executions, signals, shrunk };
  }
  return { slice, programs: end - slice * SLICE, executions, signals, shrunk: undefined };
}
