/**
 * @module The end of a migration of a huge page (mm/huge-migration.ts): the look at the huge page
 * and the change of its entries are one section of pageTableLock (U4 of mm/huge.ts), whoever gives
 * up a page of it meanwhile. In the twin the bit stays. And a migration for which there is
 * no memory.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { isHugeAt } from "../../../../src/mm/huge.ts";
import { type Migration, migrateVmaPages } from "../../../../src/mm/migrate/migrate-vma.ts";
import { KIND_DEVICE_PRIVATE, pteKind } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type EndedWorld, begin, end } from "../deaths/huge-moves.ts";
import { coveringOnHarness } from "../on-harness.ts";
import { protectBlock } from "./huge-isolation.ts";
import {
  AFTER,
  type HugeWorld,
  START,
  changeAlone,
  contentsOf,
  discard,
  isolateBlock,
  moveToDevice,
  requireWhole,
  setUp,
  store,
} from "./huge-stage.ts";

const GIVEN_UP = 7;
const STAGE = { layer: "mm", harness: { pages: 0, hugePages: 3, arenaWords: 16_384 } } as const;

/** The page is on the device as a huge one, whole. */
function requireMoved(world: HugeWorld, harness: HmmHarness): void {
  const { machine, mm } = harness;
  requireWhole(world, harness);
  assert(isHugeAt(machine.memory, mm, START), "the huge page is split");
  const kind = pteKind(harness.entryOf(START + GIVEN_UP));
  assert(kind === KIND_DEVICE_PRIVATE, `an entry is of kind ${kind}`);
}

/** A migration of the block for which there are no frames: all pages stay where they are. */
function* beginInVain(world: HugeWorld, harness: HmmHarness): Task<Migration> {
  const { machine, mm } = harness;
  yield* protectBlock(world, harness);
  yield* mm.mmapLock.downRead();
  const migration = yield* isolateBlock(machine, mm);
  const pages = yield* migrateVmaPages(migration);
  assert(pages === 0, `${pages} pages are to move`);
  yield* mm.mmapLock.upRead();
  return migration;
}

const STORED = 9;

export const hugeEnds: readonly Covered[] = [
  coveringOnHarness<EndedWorld>({
    ...STAGE,
    name: "huge/end-in-vain-vs-store",
    summary:
      "The migration of a huge page ends for which there are no frames, while a store gives all its entries the right to write.",
    exploration: { maxSteps: 40_000 },
    setup(harness) {
      const world = setUp(harness, "written");
      return { ...world, migration: harness.run(beginInVain(world, harness)) };
    },
    tasks: {
      mover: [["mm/migration.endPages"], end],
      storer: [["mm/fault/huge-fault.hugeFault"], store(STORED)],
    },
    check(world, harness) {
      requireWhole(world, harness);
      assert(isHugeAt(harness.machine.memory, harness.mm, START), "the huge page is split");
      assert(contentsOf(harness, STORED) === AFTER, "the store is lost");
    },
    twins: [["unsplit", "The bit stays.", "assertion", { storer: changeAlone(STORED, () => 0) }]],
  }),
  coveringOnHarness<EndedWorld>({
    ...STAGE,
    name: "huge/end-of-migration-vs-discard",
    summary: "The migration of a huge page ends while a page of it is given up.",
    exploration: { engine: "bounded", preemptions: 1, maxSteps: 40_000 },
    setup(harness) {
      const world = setUp(harness, "written");
      return { ...world, migration: harness.run(begin(world, harness)) };
    },
    tasks: {
      mover: [["mm/migration.endMigration", "mm/huge-migration.replaceHuge"], end],
      discarder: [["mm/calls/madvise.doMadvise", "mm/huge.clearHuge"], discard(GIVEN_UP, 1)],
    },
    check(world, harness) {
      requireWhole(world, harness);
      assert(harness.entryOf(START + GIVEN_UP) === 0, "the page that was given up is back");
    },
    twins: [
      ["unsplit", "The bit stays.", "assertion", { discarder: changeAlone(GIVEN_UP, () => 0) }],
    ],
  }),
  coveringOnHarness<HugeWorld>({
    ...STAGE,
    harness: { ...STAGE.harness, shortage: true },
    name: "alone/huge/migration-in-shortage",
    summary: "A huge page moves to a device while memory runs out: it moves as one all the same.",
    exploration: { maxSteps: 40_000 },
    setup: (harness) => setUp(harness, "written"),
    tasks: {
      shortage: [[], (_world, harness) => harness.shortage.begin()],
      mover: [["mm/migration.endMigration", "mm/huge-migration.replaceHuge"], moveToDevice],
    },
    check: requireMoved,
    twins: [],
  }),
];
