/**
 * @module The beginning of a migration of a huge page, or of one page of it
 * (mm/migrate/migrate-huge.ts). Its entries become the migration's in one section of pageTableLock,
 * whoever gives up one of them meanwhile. To take one of them alone, the huge page is split first:
 * who changes all entries alike finds them all alike (U4 of mm/huge.ts).
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { HUGE_PAGES, isHugeAt } from "../../../../src/mm/huge.ts";
import {
  NOBODY,
  SELECT_ALL_SYSTEM,
  migrateRange,
  toRam,
} from "../../../../src/mm/migrate/migrate-vma.ts";
import { PAGE_BYTES, ZERO_PFN, ptePfn } from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE, vmaOf } from "../../../../src/mm/vma/vma.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";
import {
  AFTER,
  BEFORE,
  type HugeWorld,
  START,
  changeAlone,
  contentsOf,
  discard,
  huge,
  isolateBlock,
  setUp,
  store,
} from "./huge-stage.ts";

const GIVEN_UP = 7;
/** The page with contents. */
const PAGE = 5;
const UNSPLIT = "The bit stays.";

/** What it takes it keeps. */
function* isolate(_world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* isolateBlock(machine, mm);
  yield* mm.mmapLock.upRead();
}

/** The block may be written, and none of its entries says so. */
export function* protectBlock(_world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  for (const protection of [VM_READ, VM_READ | VM_WRITE])
    yield* doMprotect(machine, mm, START * PAGE_BYTES, HUGE_PAGES * PAGE_BYTES, protection);
  assert(isHugeAt(machine.memory, mm, START), "the huge page is split");
}

/** The page goes to another frame of RAM. */
function* movePage(_world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  const vma = vmaOf(machine.memory, mm, START) ?? bug("nothing is mapped");
  const range = { startPage: START + PAGE, endPage: START + PAGE + 1 };
  const kind = { select: SELECT_ALL_SYSTEM, owner: NOBODY };
  yield* migrateRange({ machine, mm, vma, ...range, ...kind }, toRam(machine));
  yield* mm.mmapLock.upRead();
}

export const hugeIsolation: readonly Covered[] = [
  coveringOnHarness<HugeWorld>({
    layer: "mm",
    name: "huge/isolation-vs-discard",
    summary: "A migration takes a huge page while a page of it is given up.",
    harness: { pages: 0, hugePages: 3, arenaWords: 16_384 },
    exploration: { engine: "bounded", preemptions: 1, maxSteps: 40_000 },
    setup: (harness) => setUp(harness, "written"),
    tasks: {
      mover: [["mm/migrate/migrate-huge.isolateHuge"], isolate],
      discarder: [["mm/calls/madvise.doMadvise", "mm/huge.clearHuge"], discard(GIVEN_UP, 1)],
    },
    check(_world, harness) {
      const pfn = ptePfn(harness.entryOf(START + GIVEN_UP));
      assert(pfn === ZERO_PFN, `the page that was given up is in frame ${pfn}`);
    },
    twins: [["unsplit", UNSPLIT, "assertion", { discarder: changeAlone(GIVEN_UP, () => 0) }]],
  }),
  huge({
    name: "page-vs-store",
    summary:
      "A page of a huge page moves, while a store gives all entries of the huge page the right to write.",
    state: "written",
    isComplete: true,
    prepare: protectBlock,
    tasks: {
      mover: [["mm/migrate/migrate-vma.migrateRange", "mm/huge.splitHuge"], movePage],
      storer: [["mm/fault/huge-fault.reuseOrSplit"], store(GIVEN_UP)],
    },
    check(_world, harness) {
      assert(contentsOf(harness, PAGE) === BEFORE, "the page has other contents");
      assert(contentsOf(harness, GIVEN_UP) === AFTER, "the store is lost");
    },
    twins: [["unsplit", UNSPLIT, "assertion", { mover: changeAlone(PAGE, () => 0) }]],
  }),
];
