/**
 * @module Every two operations of operations.ts at the same time on one page, private or shared,
 * until the address space is gone.
 */

import { HmmRig, RIG_PAGE, rigScenario } from "../../../../src/checker/rig/hmm-rig.ts";
import type { RigOptions } from "../../../../src/checker/rig/hmm-rig.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { cpuFault } from "../../../../src/mm/cpu-fault.ts";
import { mmget, mmput } from "../../../../src/mm/mm.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma.ts";
import { bug } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import { operations } from "./operations.ts";
import type { Operation } from "./operations.ts";

interface World {
  /** What must be left when the address space is gone. */
  readonly books: string;
}

const ROOM: RigOptions = { pages: 0, arenaWords: 8192, frames: 8 };

function mapOnePage(rig: HmmRig, shared: boolean): void {
  rig.map(RIG_PAGE, 1, VM_READ | VM_WRITE, shared);
  rig.run(cpuFault(rig.machine, rig.mm, RIG_PAGE, true));
}

/** The books of a rig whose address space came and went. */
function booksOfEmpty(tasks: number, shared: boolean): string {
  const rig = new HmmRig(tasks, ROOM);
  mapOnePage(rig, shared);
  rig.run(mmput(rig.machine, rig.mm));
  return rig.books();
}

function together(name: string, ops: readonly Operation[], shared: boolean): AnyScenario {
  const tasks = ops.map((operation, i) => {
    const task = ops.indexOf(operation) === i ? operation.name : `${operation.name} ${i + 1}`;
    return [
      task,
      function* (_world: World, rig: HmmRig) {
        yield* operation.body(rig);
        yield* mmput(rig.machine, rig.mm);
      },
    ] as const;
  });
  return rigScenario<World>({
    name,
    summary: `${ops.map((operation) => operation.name).join(" and ")} at the same time, on one ${shared ? "shared" : "private"} page; who is last takes the space down.`,
    // Two views are too long for every order.
    exploration: ops.every(({ name: op }) => op.endsWith("view"))
      ? { engine: "bounded", preemptions: 2 }
      : {},
    rig: ROOM,
    setup: (rig) => {
      mapOnePage(rig, shared);
      for (let i = 1; i < ops.length; i++) rig.run(mmget(rig.mm));
      return { books: booksOfEmpty(ops.length, shared) };
    },
    tasks: Object.fromEntries(tasks),
    check: ({ books }, rig) => {
      if (rig.books() !== books)
        bug(`The space left something behind: ${rig.books()}; must be ${books}`);
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
  const exit = ["mm/mm.mmput"];
  return {
    layer: "mm",
    scenario,
    twins: [],
    runs: { [one]: [...first.runs, ...exit], [other]: [...second.runs, ...exit] },
  };
}

/** What does something else on a shared page. */
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
