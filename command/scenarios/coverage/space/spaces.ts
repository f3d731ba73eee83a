/** @module The table of spaces: threads attach by a number that may be old, while holds end. */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { mmdrop, mmget, mmgetNotZero, mmgrab, mmput } from "../../../../src/mm/lifetime/mm.ts";
import { enlistSpace, holdSpace, releaseSpace } from "../../../../src/space/space-hold.ts";
import type { SpaceHold } from "../../../../src/space/space-hold.ts";
import { createSpaceTable } from "../../../../src/space/space-table.ts";
import { ESTALE } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { holdAs, makeSeat } from "./stage.ts";

/** The holds of two threads, by task. */
interface TwoHolds {
  readonly holds: readonly [SpaceHold, SpaceHold];
}

function makeTwoHolds(harness: HmmHarness): TwoHolds {
  const { machine, mm } = harness;
  const table = harness.run(createSpaceTable(machine, Uint32Array.of(1, 2)));
  const seat = makeSeat(machine, table);
  const first = holdAs(harness, 1, enlistSpace(seat, mm.at));
  return { holds: [first, holdAs(harness, 2, holdSpace(seat, first.place.number))] };
}

const ADDRESS: number = HARNESS_PAGE * 4096;

/**
 * As an AddressSpace object does: no access through it once it has been disposed of (L5 of
 * space/space-hold.ts).
 */
function loadThenRelease(which: 0 | 1): (world: TwoHolds, harness: HmmHarness) => Task<void> {
  return function* ({ holds }, harness) {
    yield* new HarnessCpu(harness).load(ADDRESS);
    yield* releaseSpace(holds[which]);
  };
}

function* releaseThenLoad({ holds }: TwoHolds, harness: HmmHarness): Task<void> {
  yield* releaseSpace(holds[1]);
  yield* new HarnessCpu(harness).load(ADDRESS);
}

/** The first task's hold. */
interface World {
  readonly hold: SpaceHold;
}

function makeWorld(harness: HmmHarness): World {
  const { machine, mm } = harness;
  const table = harness.run(createSpaceTable(machine, Uint32Array.of(1, 2)));
  return { hold: holdAs(harness, 1, enlistSpace(makeSeat(machine, table), mm.at)) };
}

function* attach({ hold: { seat, place } }: World): Task<void> {
  const mine = yield* holdSpace(seat, place.number);
  if (typeof mine === "number") assert(mine === ESTALE, `attaching answered ${mine}`);
  else yield* releaseSpace(mine);
}

function* dispose({ hold }: World): Task<void> {
  yield* releaseSpace(hold);
}

/** Has a reference to the mm from the set-up, and gets a user from it if there are any. */
function* enlistAnother({ hold: { seat } }: World, { machine, mm }: HmmHarness): Task<void> {
  const isAlive = yield* mmgetNotZero(mm);
  yield* mmdrop(machine, mm);
  if (!isAlive) return;
  const hold = yield* enlistSpace(seat, mm.at);
  if (typeof hold === "number") throw new Error(`Cannot list the space once more: ${hold}`);
  yield* releaseSpace(hold);
}

const ATTACH = ["space/space-hold.holdSpace", "space/space-hold.releaseSpace"] as const;
const DISPOSE = ["space/space-hold.releaseSpace", "mm/lifetime/mm.mmput"] as const;

function checkGone({ hold: { seat } }: World, harness: HmmHarness): void {
  assert(!harness.accounting().includes(" mm"), "the space is still there");
  assert(seat.table.live.first() === 0, "the table lists a space that is gone");
  assert(!harness.accounting().includes("spaceRecord"), "a record of the table was not freed");
}

const LOAD = [
  "mmu/soft-tlb.find",
  "mm/fault/cpu-fault.root",
  "space/space-hold.releaseSpace",
] as const;

export const spaces: readonly Covered[] = [
  {
    layer: "space",
    scenario: harnessScenario<TwoHolds>({
      name: "coverage/space/load-vs-exit",
      summary:
        "Two threads load from a space and end their holds: the last one destroys the space with its page table.",
      exploration: { engine: "bounded", preemptions: 2 },
      harness: { pages: 1 },
      setup: makeTwoHolds,
      tasks: { first: loadThenRelease(0), second: loadThenRelease(1) },
      check: (_world, harness) =>
        assert(!harness.accounting().includes(" mm"), "the space is still there"),
    }),
    twins: [
      harnessScenario<TwoHolds>({
        name: "coverage/space/load-vs-exit/late",
        summary: "A thread loads after its hold has ended.",
        expects: "use-after-free",
        exploration: { engine: "bounded", preemptions: 2 },
        harness: { pages: 1 },
        setup: makeTwoHolds,
        tasks: { first: loadThenRelease(0), second: releaseThenLoad },
      }),
    ],
    runs: { first: [...LOAD, "mmu/radix-table.freeTables"], second: LOAD },
  },
  {
    layer: "space",
    scenario: harnessScenario<World>({
      name: "coverage/space/attach-vs-dispose",
      summary:
        "Two threads attach to a space whose owner disposes of it: each gets a user of it, or ESTALE.",
      harness: { pages: 1 },
      setup: makeWorld,
      tasks: { dispose, attach, "attach 2": attach },
      check: checkGone,
    }),
    twins: [
      harnessScenario<World>({
        name: "coverage/space/attach-vs-dispose/without-table",
        summary: "The thread that attaches takes a user of the mm without a look at the table.",
        expects: "refcount",
        harness: { pages: 1 },
        setup: makeWorld,
        tasks: {
          dispose,
          *attach(_world, { machine, mm }) {
            yield* mmget(mm);
            yield* mmput(machine, mm);
          },
        },
      }),
    ],
    runs: { dispose: DISPOSE, attach: ATTACH, "attach 2": ATTACH },
  },
  {
    layer: "space",
    scenario: harnessScenario<World>({
      name: "coverage/space/enlist-vs-dispose",
      summary: "A space is listed under a second number while its first hold ends.",
      harness: { pages: 1 },
      setup: (harness) => {
        harness.run(mmgrab(harness.mm));
        return makeWorld(harness);
      },
      tasks: { dispose, enlist: enlistAnother },
      check: checkGone,
    }),
    twins: [],
    runs: {
      dispose: DISPOSE,
      enlist: [
        "space/space-hold.enlistSpace",
        "mm/lifetime/mm.mmgetNotZero",
        "mm/lifetime/mm.mmdrop",
      ],
    },
  },
  {
    layer: "space",
    scenario: harnessScenario<World>({
      name: "coverage/space/death/attached-vs-dispose",
      summary:
        "A thread attaches and dies at any point; the owner disposes of the space, which ends when the dead thread's hold has been released.",
      exploration: { deaths: 1, engine: "bounded", preemptions: 2 },
      killable: ["attach"],
      harness: { pages: 1 },
      setup: makeWorld,
      tasks: { dispose, attach },
      check: ({ hold: { seat } }) => {
        assert(seat.table.live.first() === 0, "the table lists a space that nobody holds");
      },
    }),
    twins: [],
    runs: { dispose: DISPOSE, attach: [...ATTACH, "sync/death/reaper.reapTask"] },
  },
];
