/**
 * @module Two address spaces over one shared source: views that move its frames, faults that find
 * them, forks and exits of either.
 */

import { HmmRig, RIG_PAGE, rigScenario } from "../../../../src/checker/rig/hmm-rig.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { cpuFault } from "../../../../src/mm/cpu-fault.ts";
import { doFork } from "../../../../src/mm/fork.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/madvise.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { mmget, mmput } from "../../../../src/mm/mm.ts";
import { PAGE_BYTES, ptePfn } from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view-open.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma.ts";
import { EBUSY } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/task.ts";
import type { Covered } from "../covered.ts";

const ADDRESS: number = RIG_PAGE * PAGE_BYTES;
const STAMP = 7;

interface Family {
  readonly child: Mm;
  readonly books: string;
}

const ROOM = { pages: 0, arenaWords: 8192, frames: 8 } as const;

/**
 * What there is of the page at the beginning: a frame that the parent has filled, and its entry;
 * the frame alone; or nothing, not even a table of the source.
 */
type Beginning = "present" | "filled" | "untouched";

/** A page that parent and child share. */
function makeFamily(rig: HmmRig, beginning: Beginning): Mm {
  const { machine, mm } = rig;
  rig.map(RIG_PAGE, 1, VM_READ | VM_WRITE, true);
  if (beginning !== "untouched") {
    rig.run(cpuFault(machine, mm, RIG_PAGE, true));
    const { words, at } = wordOf(rig, mm);
    words[at] = STAMP;
  }
  const child = rig.run(doFork(machine, mm));
  if (beginning === "filled") rig.run(doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED));
  return Mm.at(machine.memory, child);
}

/** The first word of the page, as `mm` sees it. */
function wordOf(rig: HmmRig, mm: Mm): { readonly words: Int32Array; readonly at: number } {
  const pfn = ptePfn(rig.entryOf(RIG_PAGE, mm));
  return { words: rig.machine.ram.section(pfn).i32, at: rig.machine.ram.wordIndex(pfn) };
}

/** What is left when both spaces are gone. */
function booksOfNone(tasks: number): string {
  const rig = new HmmRig(tasks, ROOM);
  const child = makeFamily(rig, "present");
  rig.run(mmput(rig.machine, child));
  rig.run(mmput(rig.machine, rig.mm));
  return rig.books();
}

/** Opens and closes a write view: where the space has no entry for the page, its frame is moved. */
function* viewPage({ machine }: HmmRig, mm: Mm): Task<void> {
  const at = yield* viewOpen(machine, mm, RIG_PAGE, RIG_PAGE + 1, true);
  assert(at > 0 || at === EBUSY, `the view answered ${at}`);
  if (at > 0) yield* viewClose(machine, at);
}

/** Reads what the parent wrote before the fork, if it did. */
function* readPage(rig: HmmRig, mm: Mm, stamp: number): Task<void> {
  const errno = yield* cpuFault(rig.machine, mm, RIG_PAGE, false);
  assert(errno === 0, `the fault answered ${errno}`);
  // Nobody takes a space's page while it only uses it itself, so what it says now is what a load
  // would read.
  const { words, at } = wordOf(rig, mm);
  assert(words[at] === stamp, `the page holds ${words[at]}; before the fork it held ${stamp}`);
}

function* discard({ machine }: HmmRig, mm: Mm): Task<void> {
  yield* doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED);
}

interface Act {
  readonly name: string;
  readonly runs: readonly string[];
  /** And this, where the space has no entry for the page. */
  readonly fills?: readonly string[];
  readonly body: (rig: HmmRig, mm: Mm, stamp: number) => Task<void>;
}

const acts: readonly Act[] = [
  {
    name: "view",
    runs: ["mm/view-open.viewOpen", "mm/view-open.viewClose"],
    fills: ["mm/shmem.shmemMove"],
    body: viewPage,
  },
  {
    name: "fault",
    runs: ["mm/cpu-fault.cpuFault"],
    fills: ["mm/shmem.shmemFrame"],
    body: readPage,
  },
  { name: "discard", runs: ["mm/madvise.doMadvise"], body: discard },
];

/**
 * The parent does one thing and the child another, then both go: whoever is last takes the source
 * with it.
 */
function together(parentAct: Act, childAct: Act, beginning: Beginning): Covered {
  const stamp = beginning === "untouched" ? 0 : STAMP;
  const parent = `parent's ${parentAct.name}`;
  const child = `child's ${childAct.name}`;
  const scenario: AnyScenario = rigScenario<Family>({
    name: `coverage/mm/source/${parentAct.name}-vs-${childAct.name}${beginning === "filled" ? "" : `/${beginning}`}`,
    summary: `A parent and a child over one shared source: ${parentAct.name} here and ${childAct.name} there, then both exit.`,
    rig: ROOM,
    setup: (rig) => ({ child: makeFamily(rig, beginning), books: booksOfNone(2) }),
    tasks: {
      *[parent](_family: Family, rig: HmmRig) {
        yield* parentAct.body(rig, rig.mm, stamp);
        yield* mmput(rig.machine, rig.mm);
      },
      *[child](family: Family, rig: HmmRig) {
        yield* childAct.body(rig, family.child, stamp);
        yield* mmput(rig.machine, family.child);
      },
    },
    check: ({ books }, rig) =>
      assert(rig.books() === books, `the books do not balance: ${rig.books()}, not ${books}`),
  });
  const filled = (act: Act): readonly string[] =>
    beginning === "present" ? act.runs : [...act.runs, ...(act.fills ?? [])];
  const exit = ["mm/mm.mmput", "mm/shmem.shmemPut"];
  return {
    layer: "mm",
    scenario,
    twins: [],
    runs: { [parent]: [...filled(parentAct), ...exit], [child]: [...filled(childAct), ...exit] },
  };
}

/**
 * Two threads of one space: who is second finds what the first has made, and gives its own back.
 */
function inOneSpace(): Covered {
  const thread = function* (_books: string, rig: HmmRig): Task<void> {
    yield* readPage(rig, rig.mm, 0);
    yield* mmput(rig.machine, rig.mm);
  };
  const runs = ["mm/cpu-fault.cpuFault", "mm/shmem.shmemFrame", "mm/mm.mmput"];
  const scenario = rigScenario<string>({
    name: "coverage/mm/source/fault-vs-fault/one-space",
    summary: "Two threads of one space touch a shared page first, then both leave.",
    rig: ROOM,
    exploration: { engine: "bounded", preemptions: 2 },
    setup: (rig) => {
      rig.map(RIG_PAGE, 1, VM_READ | VM_WRITE, true);
      rig.run(mmget(rig.mm));
      const other = new HmmRig(2, ROOM);
      other.map(RIG_PAGE, 1, VM_READ | VM_WRITE, true);
      other.run(mmput(other.machine, other.mm));
      return other.books();
    },
    tasks: { first: thread, second: thread },
    check: (books, rig) =>
      assert(rig.books() === books, `the books do not balance: ${rig.books()}, not ${books}`),
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
