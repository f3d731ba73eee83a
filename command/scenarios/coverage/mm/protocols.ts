/**
 * @module Why each step of a fault and a fork is there: the shipped code is sound, and the same
 * code without one step is not.
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { leafAlloc, leafOf, pteIndex, wordAt } from "../../../../src/mmu/radix-table.ts";
import { PTE_ACCESSED, PTE_DIRTY, PTE_WRITE, makePte, ptePfn } from "../../../../src/mm/pte.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";
import type { HarnessTasks } from "../on-harness.ts";

type Body = (shared: Cell, harness: HmmHarness) => Task<unknown>;
type Twin = readonly [name: string, summary: string, tasks: Readonly<Record<string, Body>>];

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly present: number;
  readonly tasks: HarnessTasks<Cell>;
  readonly check?: (shared: Cell, harness: HmmHarness) => void;
  readonly twins: readonly Twin[];
}

function protocol({ name, summary, present, tasks, check, twins }: Parts): Covered {
  return coveringOnHarness<Cell>({
    layer: "mm",
    name,
    summary,
    tasks,
    twins: twins.map(([twin, about, own]) => [twin, about, "assertion", own]),
    harness: { pages: 1, present, arenaWords: 8192 },
    setup: (harness: HmmHarness) =>
      new Cell(harness.machine.memory, harness.run(harness.machine.heap.allocWords(512)), "shared"),
    ...(check === undefined ? {} : { check }),
  });
}

/** A fault that installs a frame without a recheck of the entry. */
function* faultWithoutLooking(_shared: Cell, { machine, mm }: HmmHarness): Task<void> {
  const { memory, ram } = machine;
  yield* mm.mmapLock.downRead();
  const index = pteIndex(yield* leafAlloc(machine, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
  yield* access(memory, "read", index, 1, "pte");
  if (wordAt(memory.words, index) === 0) {
    const pfn = yield* ram.allocFrame(true);
    yield* access(memory, "update", index, 1, "pte");
    atomicStore(memory.words, index, makePte(pfn, PTE_ACCESSED | PTE_WRITE | PTE_DIRTY));
  }
  yield* mm.mmapLock.upRead();
}

function* fork(child: Cell, { machine, mm }: HmmHarness): Task<void> {
  child.init(yield* doFork(machine, mm));
}

/** The child's entry gets WRITE back, which fork has removed from both. */
function* forkWithoutProtecting(child: Cell, harness: HmmHarness): Task<void> {
  const { memory } = harness.machine;
  yield* fork(child, harness);
  const { pgd } = Mm.at(memory, child.peek());
  for (const table of [pgd, harness.mm.pgd]) {
    const index = pteIndex(leafOf(memory, table, HARNESS_PAGE), HARNESS_PAGE);
    yield* access(memory, "update", index, 1, "pte");
    atomicStore(memory.words, index, wordAt(memory.words, index) | PTE_WRITE);
  }
}

const FAULT = ["mm/fault/cpu-fault.cpuFault", "mm/fault/fault.handleMmFault"] as const;

const write: Body = (_shared, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, true);

export const protocols: readonly Covered[] = [
  protocol({
    name: "fault-vs-fault",
    summary:
      "Two threads take the first fault of a page: it gets one frame, and the other one is given back.",
    present: 0,
    tasks: { write: [FAULT, write], other: [FAULT, write] },
    check: (_shared, { machine, mm }) => {
      const rest = machine.ram.usage().usedPages;
      const own = wordAt(
        machine.memory.words,
        pteIndex(leafOf(machine.memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE),
      );
      assert(own !== 0 && rest === 1, `${rest} frames are in use for one page`);
    },
    twins: [
      [
        "without-recheck",
        "A fault puts its frame in without looking whether the entry is still empty.",
        { write: faultWithoutLooking },
      ],
    ],
  }),
  protocol({
    name: "fork-vs-write",
    summary:
      "A fork while another thread writes: afterwards no frame can be written by both spaces.",
    present: 1,
    tasks: { fork: [["mm/lifetime/fork.doFork"], fork], write: [FAULT, write] },
    check: (child, harness) => {
      const [own, copied] = [
        harness.entryOf(HARNESS_PAGE),
        harness.entryOf(HARNESS_PAGE, Mm.at(harness.machine.memory, child.peek())),
      ];
      const isBoth = (own & copied & PTE_WRITE) !== 0 && ptePfn(own) === ptePfn(copied);
      assert(!isBoth, "parent and child may write the same frame");
    },
    twins: [
      ["without-protecting", "Fork leaves both entries writable.", { fork: forkWithoutProtecting }],
    ],
  }),
];
