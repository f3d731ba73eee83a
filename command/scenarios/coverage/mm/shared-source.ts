/**
 * @module Two address spaces over one shared source: views that migrate its frames, faults that
 * find them, forks, and the exit of both.
 */

import {
  HmmHarness,
  HARNESS_PAGE,
  harnessScenario,
} from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { mmget, mmput } from "../../../../src/mm/lifetime/mm.ts";
import { PAGE_BYTES, ptePfn } from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { EBUSY } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
const STAMP = 7;

interface Family {
  readonly child: Mm;
  readonly accounting: string;
}

const ROOM = { pages: 0, arenaWords: 8192, frames: 8 } as const;

/**
 * What the page has at the beginning: a frame that the parent has filled, and an entry; the frame
 * alone; or nothing, not even a table of the source.
 */
type Beginning = "present" | "filled" | "untouched";

/** A page that parent and child share. */
function makeFamily(harness: HmmHarness, beginning: Beginning): Mm {
  const { machine, mm } = harness;
  harness.map(HARNESS_PAGE, 1, VM_READ | VM_WRITE, true);
  if (beginning !== "untouched") {
    harness.run(cpuFault(machine, mm, HARNESS_PAGE, true));
    const { words, at } = wordOf(harness, mm);
    words[at] = STAMP;
  }
  const child = harness.run(doFork(machine, mm));
  if (beginning === "filled")
    harness.run(doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED));
  return Mm.at(machine.memory, child);
}

/** The first word of the page, as `mm` sees it. */
function wordOf(harness: HmmHarness, mm: Mm): { readonly words: Int32Array; readonly at: number } {
  const pfn = ptePfn(harness.entryOf(HARNESS_PAGE, mm));
  return {
    words: harness.machine.ram.sections.of(pfn).i32,
    at: harness.machine.ram.sections.wordIndex(pfn),
  };
}

/** What is left when both spaces are gone. */
function accountingOfNone(tasks: number): string {
  const harness = new HmmHarness(tasks, ROOM);
  const child = makeFamily(harness, "present");
  harness.run(mmput(harness.machine, child));
  harness.run(mmput(harness.machine, harness.mm));
  return harness.accounting();
}

/** Opens and closes a write view. If the space has no entry for the page, the frame migrates. */
function* viewPage({ machine }: HmmHarness, mm: Mm): Task<void> {
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
  assert(at > 0 || at === EBUSY, `the view answered ${at}`);
  if (at > 0) yield* viewClose(machine, at);
}

/** Reads what the parent wrote before the fork, if it did. */
function* readPage(harness: HmmHarness, mm: Mm, stamp: number): Task<void> {
  const errno = yield* cpuFault(harness.machine, mm, HARNESS_PAGE, false);
  assert(errno === 0, `the fault answered ${errno}`);
  // No other thread unmaps this space's page, so it holds now what a load would read.
  const { words, at } = wordOf(harness, mm);
  assert(words[at] === stamp, `the page holds ${words[at]}; before the fork it held ${stamp}`);
}

function* discard({ machine }: HmmHarness, mm: Mm): Task<void> {
  yield* doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED);
}

interface Act {
  readonly name: string;
  readonly runs: readonly string[];
  /** The same, if the space has no entry for the page. */
  readonly fills?: readonly string[];
  readonly body: (harness: HmmHarness, mm: Mm, stamp: number) => Task<void>;
}

const acts: readonly Act[] = [
  {
    name: "view",
    runs: ["mm/view/view-open.viewOpen", "mm/view/view-open.viewClose"],
    fills: ["mm/vma/page-cache.cacheMove"],
    body: viewPage,
  },
  {
    name: "fault",
    runs: ["mm/fault/cpu-fault.cpuFault"],
    fills: ["mm/vma/page-cache.cacheFrame"],
    body: readPage,
  },
  { name: "discard", runs: ["mm/calls/madvise.doMadvise"], body: discard },
];

/** Parent and child do one thing each, then both exit. The last exit frees the source. */
function together(parentAct: Act, childAct: Act, beginning: Beginning): Covered {
  const stamp = beginning === "untouched" ? 0 : STAMP;
  const parent = `parent's ${parentAct.name}`;
  const child = `child's ${childAct.name}`;
  const scenario: AnyScenario = harnessScenario<Family>({
    name: `coverage/mm/source/${parentAct.name}-vs-${childAct.name}${beginning === "filled" ? "" : `/${beginning}`}`,
    summary: `A parent and a child over one shared source: ${parentAct.name} here and ${childAct.name} there, then both exit.`,
    harness: ROOM,
    setup: (harness) => ({
      child: makeFamily(harness, beginning),
      accounting: accountingOfNone(2),
    }),
    tasks: {
      *[parent](_family: Family, harness: HmmHarness) {
        yield* parentAct.body(harness, harness.mm, stamp);
        yield* mmput(harness.machine, harness.mm);
      },
      *[child](family: Family, harness: HmmHarness) {
        yield* childAct.body(harness, family.child, stamp);
        yield* mmput(harness.machine, family.child);
      },
    },
    check: ({ accounting }, harness) =>
      assert(
        harness.accounting() === accounting,
        `the accounting does not balance: ${harness.accounting()}, not ${accounting}`,
      ),
  });
  const filled = (act: Act): readonly string[] =>
    beginning === "present" ? act.runs : [...act.runs, ...(act.fills ?? [])];
  const exit = ["mm/lifetime/mm.mmput", "mm/vma/page-cache.cachePut"];
  return {
    layer: "mm",
    scenario,
    twins: [],
    runs: { [parent]: [...filled(parentAct), ...exit], [child]: [...filled(childAct), ...exit] },
  };
}

/** Two threads of one space. The second finds what the first has made, and gives its own back. */
function inOneSpace(): Covered {
  const thread = function* (_books: string, harness: HmmHarness): Task<void> {
    yield* readPage(harness, harness.mm, 0);
    yield* mmput(harness.machine, harness.mm);
  };
  const runs = [
    "mm/fault/cpu-fault.cpuFault",
    "mm/vma/page-cache.cacheFrame",
    "mm/lifetime/mm.mmput",
  ];
  const scenario = harnessScenario<string>({
    name: "coverage/mm/source/fault-vs-fault/one-space",
    summary: "Two threads of one space touch a shared page first, then both leave.",
    harness: ROOM,
    exploration: { engine: "bounded", preemptions: 2 },
    setup: (harness) => {
      harness.map(HARNESS_PAGE, 1, VM_READ | VM_WRITE, true);
      harness.run(mmget(harness.mm));
      const other = new HmmHarness(2, ROOM);
      other.map(HARNESS_PAGE, 1, VM_READ | VM_WRITE, true);
      other.run(mmput(other.machine, other.mm));
      return other.accounting();
    },
    tasks: { first: thread, second: thread },
    check: (accounting, harness) =>
      assert(
        harness.accounting() === accounting,
        `the accounting does not balance: ${harness.accounting()}, not ${accounting}`,
      ),
  });
  return { layer: "mm", scenario, twins: [], runs: { first: runs, second: runs } };
}

const untouched = acts.filter(({ name }) => name !== "discard");

export const sharedSources: readonly Covered[] = [
  ...(["present", "filled"] as const).flatMap((beginning) =>
    acts.flatMap((parentAct) => acts.map((childAct) => together(parentAct, childAct, beginning))),
  ),
  ...untouched.flatMap((parentAct) =>
    untouched.map((childAct) => together(parentAct, childAct, "untouched")),
  ),
  inOneSpace(),
];
