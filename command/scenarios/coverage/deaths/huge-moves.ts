/**
 * @module A thread that dies at any point of the end of a migration of a huge page: its entries are
 * those of the new frames, or of the migration still, and whoever comes next gives back of the old
 * frames what the dead thread has not (Q4 of mm/migration.ts). With the lock of the page table it
 * stops the machine. The twin says first that all are to be given back, and then gives them back
 * without a note of each.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { takeDeviceRun } from "../../../../src/memory/frames/device-frames.ts";
import { HUGE_PAGES } from "../../../../src/mm/huge.ts";
import { NO_NOTES, replaceHuge } from "../../../../src/mm/huge-migration.ts";
import { mmapWriteLock } from "../../../../src/mm/migration.ts";
import { ENDING, MigrationRecord } from "../../../../src/mm/migration-record.ts";
import {
  type Migration,
  migrateVmaFinalize,
  migrateVmaPages,
  sourcePfn,
} from "../../../../src/mm/migrate/migrate-vma.ts";
import { KIND_DEVICE_PRIVATE, NON_PRESENT_WRITE, makeNonPresent } from "../../../../src/mm/pte.ts";
import { liveAgent } from "../../../../src/sync/tasks/identity.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HugeWorld, isolateBlock, requireWhole, setUp } from "../mm/huge-stage.ts";
import { coveringOnHarness } from "../on-harness.ts";

export interface EndedWorld extends HugeWorld {
  /** Of the block, to a device, up to `pages`. */
  readonly migration: Migration;
}

/** A huge page of a migration that is up to `pages`. */
export function* begin(world: HugeWorld, { machine, mm }: HmmHarness): Task<Migration> {
  yield* mm.mmapLock.downRead();
  const migration = yield* isolateBlock(machine, mm);
  const first = yield* takeDeviceRun(world.memory);
  for (let k = 0; k < HUGE_PAGES; k++) migration.dst[k] = first + k;
  yield* machine.ram.copyRun(sourcePfn(migration, 0), first, HUGE_PAGES);
  yield* migrateVmaPages(migration);
  yield* mm.mmapLock.upRead();
  return migration;
}

/** The migration becomes this thread's. */
function* adopt({ migration }: EndedWorld, { machine, mm }: HmmHarness): Task<MigrationRecord> {
  const record = MigrationRecord.at(machine.memory, migration.recordAt);
  yield* mm.migrationsLock.lock();
  record.owner = liveAgent(machine.memory);
  yield* mm.migrationsLock.unlock();
  return record;
}

/** The rest of it. */
export function* end(world: EndedWorld, harness: HmmHarness): Task<void> {
  const { mm } = harness;
  yield* mm.mmapLock.downRead();
  yield* adopt(world, harness);
  yield* migrateVmaFinalize(world.migration);
  yield* mm.mmapLock.upRead();
}

function* endUnnoted(world: EndedWorld, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  const { migration } = world;
  const { src, dst, old } = migration;
  yield* mm.mmapLock.downRead();
  const record = yield* adopt(world, harness);
  const from = sourcePfn(migration, 0);
  const head = makeNonPresent(KIND_DEVICE_PRIVATE, dst[0]!, NON_PRESENT_WRITE);
  record.step = ENDING;
  yield* replaceHuge(migration, 0, head, NO_NOTES);
  src.fill(0);
  dst.fill(0);
  record.next = HUGE_PAGES;
  const frames = Array.from({ length: HUGE_PAGES }, (_, i) => from + i);
  yield* machine.ram.refs.pagePutAll([...frames, ...frames]);
  old.fill(0);
  yield* migrateVmaFinalize(migration);
  yield* mm.mmapLock.upRead();
}

/** Whoever takes the lock for writing ends what is left. */
function* endLeft(world: EndedWorld, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  yield* mmapWriteLock(machine, mm);
  yield* mm.mmapLock.upWrite();
  const isBegun = mm.moving.isEmpty(); // else the thread died before the migration was its own
  if (isBegun) requireWhole(world, harness);
}

export const deathsInHugeMoves: readonly Covered[] = [
  coveringOnHarness<EndedWorld>({
    layer: "mm",
    name: "death/end-of-huge-move",
    summary: "A thread dies at any step of the end of a huge page's migration.",
    harness: { pages: 0, hugePages: 3, arenaWords: 16_384 },
    exploration: { engine: "bounded", preemptions: 0, deaths: 1, maxSteps: 40_000 },
    killable: ["ends"],
    mayRemain: "anything",
    setup(harness) {
      const world = setUp(harness, "written");
      return { ...world, migration: harness.run(begin(world, harness)) };
    },
    tasks: { ends: [["mm/migration.endMigration", "mm/huge-migration.replaceHuge"], end] },
    check: (world, harness) => harness.runAfterwards(endLeft(world, harness)),
    twins: [
      [
        "unnoted",
        "The old frames are given back without a note of each.",
        "assertion",
        { ends: endUnnoted },
      ],
    ],
  }),
];
