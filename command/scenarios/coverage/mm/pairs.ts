/**
 * @module Every two operations of operations.ts at the same time on one page, private or shared,
 * until the address space is gone.
 */

import {
  HmmHarness,
  HARNESS_PAGE,
  harnessScenario,
} from "../../../../src/checker/harness/hmm-harness.ts";
import type { HarnessOptions } from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { mmget, mmput } from "../../../../src/mm/lifetime/mm.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { bug } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import { operations } from "./operations.ts";
import type { Operation } from "./operations.ts";

interface World {
  /** The state that must be left after the exit of the space. */
  readonly accounting: string;
}

const ROOM: HarnessOptions = { pages: 0, arenaWords: 8192, frames: 8 };

function mapOnePage(harness: HmmHarness, shared: boolean): void {
  harness.map(HARNESS_PAGE, 1, VM_READ | VM_WRITE, shared);
  harness.run(cpuFault(harness.machine, harness.mm, HARNESS_PAGE, true));
}

/** The accounting of a harness whose address space has been made and has exited. */
function accountingOfEmpty(tasks: number, shared: boolean): string {
  const harness = new HmmHarness(tasks, ROOM);
  mapOnePage(harness, shared);
  harness.run(mmput(harness.machine, harness.mm));
  return harness.accounting();
}

function together(name: string, ops: readonly Operation[], shared: boolean): AnyScenario {
  const tasks = ops.map((operation, i) => {
    const task = ops.indexOf(operation) === i ? operation.name : `${operation.name} ${i + 1}`;
    return [
      task,
      function* (_world: World, harness: HmmHarness) {
        yield* operation.body(harness);
        yield* mmput(harness.machine, harness.mm);
      },
    ] as const;
  });
  return harnessScenario<World>({
    name,
    summary: `${ops.map((operation) => operation.name).join(" and ")} at the same time, on one ${shared ? "shared" : "private"} page; the last one runs the exit.`,
    // Two views have too many orders to explore all.
    exploration: ops.every(({ name: op }) => op.endsWith("view"))
      ? { engine: "bounded", preemptions: 2 }
      : {},
    harness: ROOM,
    setup: (harness) => {
      mapOnePage(harness, shared);
      for (let i = 1; i < ops.length; i++) harness.run(mmget(harness.mm));
      return { accounting: accountingOfEmpty(ops.length, shared) };
    },
    tasks: Object.fromEntries(tasks),
    check: ({ accounting }, harness) => {
      if (harness.accounting() !== accounting)
        bug(`The space left something behind: ${harness.accounting()}; must be ${accounting}`);
    },
  });
}

function coveredPair(first: Operation, second: Operation, shared: boolean): Covered {
  const kind = shared ? "shared" : "private";
  const scenario = together(
    `coverage/mm/${kind}/${first.name}-vs-${second.name}`,
    [first, second],
    shared,
  );
  const [one = "", other = ""] = Object.keys(scenario.tasks);
  const exit = ["mm/lifetime/mm.mmput"];
  return {
    layer: "mm",
    scenario,
    twins: [],
    runs: { [one]: [...first.runs, ...exit], [other]: [...second.runs, ...exit] },
  };
}

/** Operations that differ on a shared page. */
const onSource: ReadonlySet<string> = new Set(
  "read write munmap madvise fork read-view write-view".split(" "),
);

function pairsOf(ops: readonly Operation[], shared: boolean): Covered[] {
  return ops.flatMap((first, i) =>
    ops.slice(i).map((second) => coveredPair(first, second, shared)),
  );
}

/** All pairs on a private page, and those on a shared one that differ. */
export const mmPairs: readonly Covered[] = [
  ...pairsOf(operations, false),
  ...pairsOf(
    operations.filter(({ name }) => onSource.has(name)),
    true,
  ),
];
