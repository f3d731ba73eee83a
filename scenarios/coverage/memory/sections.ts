/**
 * @module A user's buffer, whose frames are counted all together: the thread that added it takes it off the machine when nobody counts any more, while another one, which has it mapped too, lets go.
 */

import { Cell } from "../../../src/checker/pieces/program.ts";
import { rigScenario } from "../../../src/checker/rig/hmm-rig.ts";
import type { HmmRig } from "../../../src/checker/rig/hmm-rig.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { EBUSY } from "../../../src/sync/errno.ts";
import { assert, bug } from "../../../src/sync/errors.ts";
import type { Task } from "../../../src/sync/task.ts";
import type { Covered } from "../covered.ts";

interface World {
  /** First frame of the section; two threads count it. */
  readonly pfn: number;
  readonly removed: Cell;
}

type Body = (world: World, rig: HmmRig) => Task<unknown>;

const PAGE_BYTES = 4096;

function makeWorld(rig: HmmRig): World {
  const { machine } = rig;
  const pfn = rig.run(machine.ram.addSection(new SharedArrayBuffer(PAGE_BYTES)));
  if (pfn < 0) bug(`Cannot add a section: ${pfn}`);
  rig.run(machine.ram.pageGet(pfn));
  rig.run(machine.ram.pageGet(pfn));
  return { pfn, removed: new Cell(machine.memory, rig.run(machine.heap.allocWords(512)), "removed") };
}

function* remove({ pfn, removed }: World, { machine }: HmmRig): Task<void> {
  yield* machine.ram.pagePut(pfn);
  const errno = yield* machine.ram.removeSection(pfn);
  assert(errno === 0 || errno === EBUSY, `removing the section answered ${errno}`);
  if (errno === 0) yield* removed.store(1);
}

/** Looks at its mapping's buffer while it counts it. */
function* use({ pfn }: World, { machine }: HmmRig): Task<void> {
  yield* machine.ram.pageHas(pfn, 1);
  assert(machine.ram.sectionPages(pfn) === 1, "the section has one page");
  yield* machine.ram.pagePut(pfn);
}

function* useLate({ pfn }: World, { machine }: HmmRig): Task<void> {
  yield* machine.ram.pagePut(pfn);
  yield* machine.ram.pageHas(pfn, 1);
  assert(machine.ram.sectionPages(pfn) === 1, "the section has one page");
}

function make(name: string, summary: string, user: Body, isTwin: boolean): AnyScenario {
  return rigScenario<World>({
    name,
    summary,
    ...(isTwin ? { expects: "error" } : {}),
    rig: { pages: 0 },
    setup: makeWorld,
    tasks: { remove, use: user },
    check({ pfn, removed }, { machine }) {
      if (removed.peek() === 0) assert(machine.ram.pageCount(pfn) === 0, "the section is counted, and nobody has it");
    },
  });
}

const NAME = "coverage/memory/section-vs-use";

export const sections: readonly Covered[] = [
  {
    layer: "memory",
    scenario: make(
      NAME,
      "A user's buffer is taken off the machine when its last count goes, and not before.",
      use,
      false,
    ),
    twins: [make(`${NAME}/late`, "A thread looks at the buffer after it has given its count back.", useLate, true)],
    runs: {
      remove: ["memory/ram.removeSection", "memory/sections.remove"],
      use: ["memory/ram.sectionPages", "memory/ram.pagePut"],
    },
  },
];
