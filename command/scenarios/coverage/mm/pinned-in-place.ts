/**
 * @module Two views open over one page that has a frame: its counts are plain words for who holds
 * the mmap lock for writing (P2 of memory/frames/frame-pins.ts). The twin holds it for reading.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { ptePfn } from "../../../../src/mm/pte.ts";
import { ViewHold } from "../../../../src/mm/view/view-hold.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { pteAt } from "../../../../src/mmu/radix-table.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

/** References of all frames before. */
interface World {
  readonly references: number;
}

type Body = (world: World, harness: HmmHarness) => Task<void>;

function* open(_world: World, { machine, mm }: HmmHarness): Task<void> {
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
  assert(at > 0, `opening answered ${at}`);
  yield* viewClose(machine, at);
}

/** P2 broken: another thread, which holds the lock for reading too, pins the frame as well. */
function* pinForReading(_world: World, { machine, mm }: HmmHarness): Task<void> {
  const { heap, memory, ram } = machine;
  const pfn = ptePfn(pteAt(memory, mm.pgd, HARNESS_PAGE));
  const at = yield* heap.alloc(ViewHold);
  const note = at + ViewHold.offset.pinned;
  yield* mm.mmapLock.downRead();
  yield* ram.refs.pinRunIfExclusive(pfn, 1, note);
  yield* mm.mmapLock.upRead();
  yield* ram.refs.unpinNoted(pfn, note, at + ViewHold.offset.frames, at + ViewHold.offset.cache);
  yield* heap.free(ViewHold, at);
}

const NAME = "coverage/mm/pinned-in-place";

function make(name: string, summary: string, body: Body, isTwin: boolean): AnyScenario {
  return harnessScenario<World>({
    name,
    summary,
    ...(isTwin ? { expects: "assertion" } : {}),
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 2 },
    setup(harness) {
      harness.run(cpuFault(harness.machine, harness.mm, HARNESS_PAGE, true));
      return { references: harness.machine.ram.refs.total().references };
    },
    tasks: { one: body, other: body },
    check({ references }, { machine }) {
      const { references: now, pins } = machine.ram.refs.total();
      assert(
        now === references && pins === 0,
        `${now - references} references and ${pins} pins are left`,
      );
    },
  });
}

export const pinnedInPlace: readonly Covered[] = [
  {
    layer: "mm",
    scenario: make(NAME, "Two write views of one page open and close.", open, false),
    twins: [
      make(
        `${NAME}/lock-for-reading`,
        "The frame is pinned holding the mmap lock for reading only.",
        pinForReading,
        true,
      ),
    ],
    runs: {
      one: ["mm/view/view-open.viewOpen", "memory/frames/frame-pins.pinRunIfExclusive"],
      other: ["mm/view/view-open.viewClose"],
    },
  },
];
