/**
 * @module A thread that dies while it gives up so many pages at once that a table notes their
 * frames (K3 of mm/entries/batch.ts): each page is there, or its frame is free. In the twin nothing
 * notes them.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { BATCH_FEW } from "../../../../src/mm/entries/batch.ts";
import { mmapWriteLock } from "../../../../src/mm/migration.ts";
import { holdsFrame, ptePfn } from "../../../../src/mm/pte.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicExchange } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, ONE_DIES, coveringOnHarness } from "../on-harness.ts";

const PAGES: number = BATCH_FEW + 1;
/** Those that are present: few, for each is some steps in which the thread may die. */
const PRESENT = 2;

type Body = HarnessBody<undefined>;

const discard: Body = (_none, harness) => harness.discard(HARNESS_PAGE, PAGES);

const discardUnnoted: Body = function* (_none, { machine, mm }) {
  const { memory } = machine;
  yield* mm.mmapLock.downRead();
  for (let page = HARNESS_PAGE; page < HARNESS_PAGE + PRESENT; page++) {
    const index = pteIndex(leafOf(memory, mm.pgd, page), page);
    yield* access(memory, "update", index, 1, "pte");
    const pte = atomicExchange(memory.words, index, 0);
    yield* mm.shootdown.flush(page, page + 1);
    yield* machine.ram.refs.pagePut(ptePfn(pte));
  }
  yield* mm.mmapLock.upRead();
};

const takeLock: Body = function* (_none, { machine, mm }) {
  yield* mmapWriteLock(machine, mm);
  yield* mm.mmapLock.upWrite();
};

export const deathsInDiscards: readonly Covered[] = [
  coveringOnHarness<undefined>({
    layer: "mm",
    name: "death/discard-of-many",
    summary: "A thread dies at any step of giving up more pages than its operation has words for.",
    ...ONE_DIES,
    exploration: { engine: "bounded", preemptions: 0, deaths: 1 },
    harness: { pages: PAGES, present: PRESENT },
    mayRemain: "anything",
    setup: () => undefined,
    tasks: {
      dies: [["mm/entries/batch.openBatch", "mm/entries/batch.putBatch"], discard],
      next: [["mm/migration.mmapWriteLock"], takeLock],
    },
    check(_none, harness) {
      const { ram, heap } = harness.machine;
      let mapped = 0;
      for (let page = HARNESS_PAGE; page < HARNESS_PAGE + PAGES; page++)
        if (holdsFrame(harness.entryOf(page))) mapped++;
      const { usedPages } = ram.usage();
      assert(usedPages === mapped, `${usedPages} frames are in use, and ${mapped} are mapped`);
      const { references } = ram.refs.total();
      assert(references === mapped, `${references} references of ${mapped} frames`);
      const tables = heap.accounting().find(({ name }) => name === "words512")?.live ?? 0;
      assert(tables === 1, `${tables} tables are allocated, and 1 is linked`);
    },
    twins: [["unnoted", "Nothing notes the frames.", "assertion", { dies: discardUnnoted }]],
  }),
];
