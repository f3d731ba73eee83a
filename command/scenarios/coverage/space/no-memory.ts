/**
 * @module Memory runs out while an address space is made or forked, or the thread owns too many
 * resources: a space that cannot be listed is freed completely.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { createTask, forkTask } from "../../../../src/space/operations.ts";
import { createSpaceTable } from "../../../../src/space/space-table.ts";
import { SpaceHold, releaseSpace } from "../../../../src/space/space-hold.ts";
import type { Seat } from "../../../../src/space/machine-seat.ts";
import { EMFILE, ENOMEM } from "../../../../src/sync/errno.ts";
import { bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { attempted, crowded } from "../attempts.ts";
import type { Attempt } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import { codeOf, makeSeat } from "./stage.ts";

interface Shared {
  readonly seat: Seat;
  /** The hold of the space that was made. */
  hold: SpaceHold | undefined;
}

function setup(harness: HmmHarness): Shared {
  const { machine } = harness;
  const table = harness.run(createSpaceTable(machine, Uint32Array.of(1, 2)));
  return { seat: makeSeat(machine, table), hold: undefined };
}

/** As the core returns: 0, or the errno of the error. */
function* answerOf(shared: Shared, task: Task<SpaceHold>): Task<number> {
  shared.hold = undefined;
  const code = yield* codeOf(keep(shared, task));
  if (code === "") return 0;
  if (code === "ENOMEM") return ENOMEM;
  return code === "EMFILE" ? EMFILE : bug(`making a space answered ${code}`);
}

function* keep(shared: Shared, task: Task<SpaceHold>): Task<void> {
  shared.hold = yield* task;
}

function* dispose(_harness: HmmHarness, { hold }: Shared): Task<void> {
  if (hold !== undefined) yield* releaseSpace(hold);
}

const create: Attempt<Shared> = {
  layer: "space",
  name: "create",
  summary: "An address space is made and listed.",
  runs: ["space/operations.createTask", "space/space-hold.enlistSpace"],
  harness: { pages: 1 },
  setup,
  act: (_harness, shared) => answerOf(shared, createTask(shared.seat, {})),
  also: (_harness, { seat: { table } }) => `${[...table.live.nodes()].length} spaces listed`,
  undo: dispose,
};

/** The harness's space, which is not listed: `fork` needs of a hold only its mm. */
const fork: Attempt<Shared> = {
  ...create,
  name: "fork",
  summary: "An address space is forked and its copy listed.",
  runs: ["space/operations.forkTask", "space/space-hold.enlistSpace"],
  // Its pages stay write-protected for a child that was not made: the next store repairs that.
  telling: { withoutEntries: true },
  act: ({ mm }, shared) =>
    answerOf(shared, forkTask(new SpaceHold(shared.seat, { record: 0, slot: 0, mm, number: 0 }))),
};

export const spacesWithoutMemory: readonly Covered[] = [
  attempted(create),
  attempted(fork),
  crowded(create),
  crowded({ ...fork, harness: { pages: 1, present: 0 } }),
];
