/**
 * @module A view opens over a page that nobody has touched, while another thread touches it. In
 * every order the page has one frame in the end, with one reference.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { populateRow } from "../../../../src/mm/view/view-populate.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

const RANGE = { startPage: HARNESS_PAGE, endPage: HARNESS_PAGE + 1 };

/** References of all frames, before somebody touches the page. */
interface World {
  readonly references: number;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

function* open(_world: World, { machine, mm }: HmmHarness): Task<void> {
  const at = yield* viewOpen(machine, mm, RANGE.startPage, RANGE.endPage, true);
  assert(at > 0, `opening answered ${at}`);
  yield* viewClose(machine, at);
}

/** U1 of mm/view/view-populate.ts broken: a fault may come between the look and the store. */
function* openForReading(_world: World, { machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  const pfn = yield* populateRow(machine, mm, RANGE);
  yield* mm.mmapLock.upRead();
  if (pfn > 0) yield* machine.ram.refs.unpinRun(pfn, 1);
}

const NAME = "coverage/mm/untouched-view";

function make(name: string, summary: string, view: Body, isTwin: boolean): AnyScenario {
  return harnessScenario<World>({
    name,
    summary,
    ...(isTwin ? { expects: "assertion" } : {}),
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 2 },
    setup(harness) {
      harness.run(harness.discard(HARNESS_PAGE, 1));
      return { references: harness.machine.ram.refs.total().references };
    },
    tasks: { view, touch: (_world, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, true) },
    check({ references }, { machine }) {
      const { references: now, pins } = machine.ram.refs.total();
      assert(
        now === references + 1 && pins === 0,
        `${now - references} references and ${pins} pins for one page`,
      );
    },
  });
}

export const untouchedView: readonly Covered[] = [
  {
    layer: "mm",
    scenario: make(NAME, "A view opens over an untouched page that a fault fills.", open, false),
    twins: [
      make(
        `${NAME}/lock-for-reading`,
        "The frames are put in holding the mmap lock for reading only.",
        openForReading,
        true,
      ),
    ],
    runs: {
      view: ["mm/view/view-open.viewOpen", "mm/view/view-populate.populateRow"],
      touch: ["mm/fault/cpu-fault.cpuFault"],
    },
  },
];
