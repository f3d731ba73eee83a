/**
 * @module Memory runs out while an address space is made or forked, or the thread owns too many
 * resources: a space that cannot be listed is freed completely.
 */

import { type HmmHarness, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import { createTask, forkTask } from "../../../../src/space/operations.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { mmCreate } from "../../../../src/mm/lifetime/mm.ts";
import { SpaceRecord, createSpaceTable } from "../../../../src/space/space-table.ts";
import { SpaceHold, enlistSpace, releaseSpace } from "../../../../src/space/space-hold.ts";
import type { Seat } from "../../../../src/space/machine-seat.ts";
import { EMFILE, ENOMEM } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import {
  addResource,
  listedResources,
  removeResource,
  resourceKind,
} from "../../../../src/sync/lockdep/resources.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { attempted, crowded } from "../attempts.ts";
import type { Attempt } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import { ONE_DIES, coveringOnHarness } from "../on-harness.ts";
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

const FILLER: number = resourceKind("filler of spaces");
const fill = (memory: SharedMemory): number => addResource(memory, FILLER, 0);

/** The new space takes the last place, its record none, and the hold takes that of the space. */
const lastPlace: Covered = {
  layer: "space",
  scenario: harnessScenario<Shared>({
    name: "coverage/space/last-place",
    summary: "A thread whose list has room for one thing more makes a space, and disposes of it.",
    harness: { pages: 0, arenaWords: 16_384 },
    balanced: true,
    setup,
    tasks: {
      *thread({ seat }, { machine: { memory } }) {
        const filler: number[] = [];
        for (let slot = fill(memory); slot >= 0; slot = fill(memory)) filler.push(slot);
        removeResource(memory, filler.pop() ?? bug("the list has no room at all"));
        yield* releaseSpace(yield* createTask(seat, {}));
        for (const slot of filler) removeResource(memory, slot);
        const left = listedResources(memory, memory.record);
        assert(left.length === 0, `the thread still owns ${left.join(", ")}`);
      },
    },
  }),
  twins: [],
  runs: { thread: ["space/space-hold.enlistSpace", "space/space-hold.dropHolder"] },
};

/** From its first step on a new space is its thread's. */
const dies: Covered = coveringOnHarness<Shared>({
  layer: "space",
  name: "death/create",
  summary: "A thread dies at any step while it makes a space, or disposes of it: nothing is left.",
  harness: { pages: 0, arenaWords: 16_384 },
  ...ONE_DIES,
  mayRemain: "anything",
  setup,
  tasks: {
    dies: [
      ["space/operations.createTask", "space/space-hold.enlistSpace"],
      function* ({ seat }) {
        yield* releaseSpace(yield* createTask(seat, {}));
      },
    ],
  },
  check: ({ seat: { table } }, { machine }) => {
    assert(table.live.first() === 0, "the table lists a space that nobody holds");
    const spaces = machine.heap.accounting().find(({ name }) => name === Mm.name)?.live;
    assert(spaces === 1, `there are ${spaces} spaces, and the harness has one`);
    const records = machine.heap.accounting().some(({ name }) => name === SpaceRecord.name);
    assert(!records, "a record of the table is left");
  },
  twins: [
    [
      "unlisted",
      "The space is nobody's until it is in the table.",
      "assertion",
      {
        *dies({ seat }) {
          const hold = yield* enlistSpace(seat, yield* mmCreate(seat.machine));
          if (typeof hold !== "number") yield* releaseSpace(hold);
        },
      },
    ],
  ],
});

export const spacesWithoutMemory: readonly Covered[] = [
  lastPlace,
  dies,
  attempted(create),
  attempted(fork),
  crowded(create),
  crowded({ ...fork, harness: { pages: 1, present: 0 } }),
];
