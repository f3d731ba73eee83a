/**
 * @module A thread that dies while a page's frame is replaced by one of a row in hand (K8 of
 * mm/entries/row.ts): the old frame is free only after the flush, for another thread may be about
 * to store to it. The row has one frame here. In the twin the operation names no page.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { beginInvalidation, endInvalidation } from "../../../../src/mm/entries/invalidation.ts";
import { putRow } from "../../../../src/mm/entries/row.ts";
import { ROW, ROW_END, ROW_OLD, ROW_SET } from "../../../../src/mm/entries/words.ts";
import { mmapWriteLock } from "../../../../src/mm/migration.ts";
import { PAGE_BYTES, WRITTEN_RIGHTS, makePte, ptePfn } from "../../../../src/mm/pte.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";

interface World {
  /** The other frame. */
  readonly pfn: number;
}

type Body = HarnessBody<World>;

/** Gives the page another frame, inside an invalidation of `pages` pages from it on. */
const replacing = (pages: number): Body =>
  function* ({ pfn }, { machine, mm }) {
    const { memory } = machine;
    const { words } = memory;
    yield* mm.mmapLock.downRead();
    const operation = yield* beginInvalidation(mm, HARNESS_PAGE, HARNESS_PAGE + pages);
    const index = pteIndex(leafOf(memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
    yield* access(memory, "write", index, 1, "pte");
    words[operation + ROW] = pfn;
    words[operation + ROW_OLD] = ptePfn(words[index]!);
    atomicStore(words, index, makePte(pfn, WRITTEN_RIGHTS));
    words[operation + ROW_SET] = 1;
    words[operation + ROW_END] = 1;
    yield* mm.shootdown.flush(HARNESS_PAGE, HARNESS_PAGE + 1);
    yield* putRow(machine, operation);
    endInvalidation(mm, operation);
    yield* mm.mmapLock.upRead();
  };

const store: Body = (_world, harness) =>
  new HarnessCpu(harness).store(HARNESS_PAGE * PAGE_BYTES, 1);

/** Whoever takes the lock for writing finishes what the dead thread has begun. */
const finish: Body = function* (_world, { machine, mm }) {
  yield* mmapWriteLock(machine, mm);
  yield* mm.mmapLock.upWrite();
};

/** Of the two frames one is the page's, and the other one free, or not replaced. */
function check({ pfn }: World, harness: HmmHarness): void {
  const { ram } = harness.machine;
  const isReplaced = ptePfn(harness.entryOf(HARNESS_PAGE)) === pfn;
  const frames = isReplaced ? 1 : 2;
  const { usedPages } = ram.usage();
  const { references } = ram.refs.total();
  assert(usedPages === frames, `${usedPages} frames are in use`);
  assert(references === frames, `${references} references of ${frames} frames`);
}

export const deathsWithRows: readonly Covered[] = [
  coveringOnHarness<World>({
    layer: "mm",
    name: "death/row-vs-store",
    summary:
      "A thread dies at any step of giving a page another frame, while another is about to store to the old one.",
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 1, deaths: 1 },
    killable: ["dies"],
    mustSurvive: true,
    mayRemain: "anything",
    setup(harness) {
      return { pfn: harness.run(harness.machine.ram.allocFrame(true)) };
    },
    tasks: {
      dies: [["mm/entries/row.putRow"], replacing(1)],
      stores: [["mmu/widths/u32-access.store"], store],
      next: [["mm/migration.mmapWriteLock"], finish],
    },
    check,
    twins: [["no-page", "The operation names no page.", "use-after-free", { dies: replacing(0) }]],
  }),
];
