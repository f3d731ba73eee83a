/**
 * @module A page is in the memory of a device whose buffer has not arrived in this thread: who
 * touches the page, or populates it, is told so, and may come again when the buffer is there. In
 * the twin nobody asks for the buffer.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { BufferNotHere } from "../../../../src/memory/frames/sections.ts";
import { MADV_POPULATE_READ, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  ADDRESS,
  BEFORE,
  type Body,
  type MigrationWorld,
  PAGE,
  migrating,
  requireContents,
} from "./migrate-stage.ts";

/** What this thread gets of the device's buffer meanwhile. */
function* without(
  { memory }: MigrationWorld,
  { machine }: HmmHarness,
  body: () => Task<void>,
): Task<void> {
  const { sections } = machine.ram;
  Reflect.deleteProperty(sections, "of"); // of an execution that was given up
  const sectionOf = sections.of.bind(sections);
  sections.of = (pfn) => {
    if (pfn >= memory.basePfn) throw new BufferNotHere(memory.basePfn);
    return sectionOf(pfn);
  };
  yield* body();
  Reflect.deleteProperty(sections, "of");
}

/** The task says that the buffer is not here. */
function* mustMiss(task: Task<unknown>): Task<void> {
  try {
    yield* task;
  } catch (error) {
    if (error instanceof BufferNotHere) return;
    throw error;
  }
  assert(false, "nobody says that the buffer is not here");
}

const touchesTwice: Body = function* (world, harness) {
  const { machine, mm } = harness;
  const cpu = new HarnessCpu(harness);
  yield* without(world, harness, function* () {
    yield* mustMiss(cpu.load(ADDRESS));
    yield* mustMiss(doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_POPULATE_READ));
  });
  const seen = yield* cpu.load(ADDRESS);
  assert(seen === BEFORE, `the page reads ${seen}`);
};

/** Comes again at once. */
const asksNobody: Body = function* (world, harness) {
  const { machine, mm } = harness;
  yield* without(world, harness, function* () {
    while ((yield* cpuFault(machine, mm, PAGE, false)) !== 0);
  });
};

export const buffersNotHere: readonly Covered[] = [
  migrating({
    name: "buffer-not-here",
    summary: "A page is touched, and populated, before the buffer of its device is here.",
    isThere: true,
    tasks: {
      thread: [
        ["mm/fault/cpu-fault.receiveBuffer", "mm/calls/populate.populateRange"],
        touchesTwice,
      ],
    },
    check: requireContents(BEFORE),
    twins: [["asks-nobody", "Nobody asks for the buffer.", "livelock", { thread: asksNobody }]],
  }),
];
