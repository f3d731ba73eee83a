/**
 * @module A view opens over a page that nobody has touched, while another thread touches it. In
 * every order the page has one frame in the end, with one reference. Also where the page table has
 * no leaf for it yet: one is filled aside then, and linked (U3 of mm/view/view-populate.ts).
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { ViewHold } from "../../../../src/mm/view/view-hold.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { populateRow } from "../../../../src/mm/view/view-populate.ts";
import { LEAF_WORDS } from "../../../../src/mmu/radix-table.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

/** Of a block of which no page is touched before. */
const FAR_PAGE: number = 2 * LEAF_WORDS;

/** References of all frames, before somebody touches the page. */
interface World {
  readonly page: number;
  readonly references: number;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

function* open({ page }: World, { machine, mm }: HmmHarness): Task<void> {
  const at = yield* viewOpen(machine, mm, page, page + 1, true);
  assert(at > 0, `opening answered ${at}`);
  yield* viewClose(machine, at);
}

/** U1 of mm/view/view-populate.ts broken: a fault may come between the look and the store. */
function* openForReading({ page }: World, { machine, mm }: HmmHarness): Task<void> {
  const at = yield* machine.heap.alloc(ViewHold);
  yield* mm.mmapLock.downRead();
  const pfn = yield* populateRow(machine, mm, { at, startPage: page, endPage: page + 1 });
  yield* mm.mmapLock.upRead();
  const { pinned, frames, cache } = ViewHold.offset;
  if (pfn > 0) yield* machine.ram.refs.unpinNoted(pfn, at + pinned, at + frames, at + cache);
  yield* machine.heap.free(ViewHold, at);
}

const NAME = "coverage/mm/untouched-view";

function make(
  name: string,
  summary: string,
  page: number,
  view: Body,
  isTwin: boolean,
): AnyScenario {
  return harnessScenario<World>({
    name,
    summary,
    ...(isTwin ? { expects: "assertion" } : {}),
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 2 },
    setup(harness) {
      if (page === HARNESS_PAGE) harness.run(harness.discard(page, 1));
      else harness.map(page, 1);
      return { page, references: harness.machine.ram.refs.total().references };
    },
    tasks: { view, touch: (_world, { machine, mm }) => cpuFault(machine, mm, page, true) },
    check({ references }, { machine }) {
      const { references: now, pins } = machine.ram.refs.total();
      assert(
        now === references + 1 && pins === 0,
        `${now - references} references and ${pins} pins for one page`,
      );
    },
  });
}

/** Of a page, with its twin. */
function covered(name: string, where: string, page: number): Covered {
  return {
    layer: "mm",
    scenario: make(name, `A view opens over an untouched page${where}.`, page, open, false),
    twins: [
      make(
        `${name}/lock-for-reading`,
        `The frames are put in holding the mmap lock for reading only${where}.`,
        page,
        openForReading,
        true,
      ),
    ],
    runs: {
      view: ["mm/view/view-open.viewOpen", "mm/view/view-populate.populateRow"],
      touch: ["mm/fault/cpu-fault.cpuFault"],
    },
  };
}

export const untouchedView: readonly Covered[] = [
  covered(NAME, " that a fault fills", HARNESS_PAGE),
  covered(`${NAME}-without-leaf`, " of a block without a leaf", FAR_PAGE),
];
