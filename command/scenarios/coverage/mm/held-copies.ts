/**
 * @module C3 of mm/fault/copy-on-write.ts by two threads: a frame is held by a reference when one
 * fault judges it, so it is to be copied. The other thread drops that reference, finds the frame
 * exclusive, stores to it, and a device tracks the page, so that its entry is as it was. The copy
 * must not take the place of what was stored: who copies has its own reference before anybody can
 * find the frame exclusive.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { trackRange } from "../../../../src/mm/fault/track.ts";
import { PAGE_BYTES, PTE_WRITE, WRITTEN_RIGHTS, makePte, ptePfn } from "../../../../src/mm/pte.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicCompareExchange } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";

const STORED = 8;

interface World {
  /** The page's frame at the beginning, with a reference beside the entry's. */
  readonly pfn: number;
}

type Body = HarnessBody<World>;

function* track({ machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* trackRange(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, new Uint8Array(1));
  yield* mm.mmapLock.upRead();
}

const copies: Body = (_world, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, true);

const reuses: Body = function* ({ pfn }, harness) {
  yield* harness.machine.ram.refs.pagePut(pfn);
  yield* new HarnessCpu(harness).store(HARNESS_PAGE * PAGE_BYTES, STORED);
  yield* track(harness);
};

/** Judges the frame, and copies it without holding it. */
const copiesUnheld: Body = function* (_world, { machine, mm }) {
  const { memory, ram } = machine;
  yield* mm.mmapLock.downRead();
  const index = pteIndex(leafOf(memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
  yield* access(memory, "read", index, 1, "pte");
  const pte = memory.words[index]!;
  if ((pte & PTE_WRITE) === 0 && !(yield* ram.refs.pageAnonExclusive(ptePfn(pte)))) {
    const copy = yield* ram.allocFrame(false);
    yield* ram.copyFrame(ptePfn(pte), copy);
    yield* access(memory, "update", index, 1, "pte");
    atomicCompareExchange(memory.words, index, pte, makePte(copy, WRITTEN_RIGHTS));
  }
  yield* mm.mmapLock.upRead();
};

export const heldCopies: readonly Covered[] = [
  coveringOnHarness<World>({
    layer: "mm",
    name: "copy-vs-reuse",
    summary:
      "A thread copies a tracked page whose frame is held, while another gives the hold up, stores, and the page is tracked again.",
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 3 },
    setup(harness) {
      const pfn = ptePfn(harness.entryOf(HARNESS_PAGE));
      harness.run(harness.machine.ram.refs.pageGet(pfn));
      harness.run(track(harness));
      return { pfn };
    },
    tasks: {
      copies: [["mm/fault/copy-on-write.judgeUsers"], copies],
      reuses: [["mm/fault/copy-on-write.reuseIfExclusive", "mm/fault/track.trackRange"], reuses],
    },
    check(_world, harness) {
      const { sections } = harness.machine.ram;
      const now = ptePfn(harness.entryOf(HARNESS_PAGE));
      const word = sections.of(now).i32[sections.wordIndex(now)];
      assert(word === STORED, `the store is lost: the page says ${word}`);
    },
    twins: [
      ["unheld", "The frame is copied without a hold.", "assertion", { copies: copiesUnheld }],
    ],
  }),
];
