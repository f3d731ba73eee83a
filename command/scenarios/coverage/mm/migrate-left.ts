/**
 * @module Migrations that a thread has left which died long ago (mm/migration.ts): one that brings
 * the page back from a device, before its new frame was the page's. Whoever empties the device ends
 * it, and puts the new frames that its record notes. Where the thread dies is in migrate-deaths.ts;
 * here nobody does, so more threads can be explored beside it.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MigrationRecord } from "../../../../src/mm/migration-record.ts";
import { emptyDeviceMemory } from "../../../../src/mm/migrate/device-evict.ts";
import { SELECT_DEVICE, migrateVmaSetup } from "../../../../src/mm/migrate/migrate-vma.ts";
import { KIND_MIGRATION, pteKind } from "../../../../src/mm/pte.ts";
import { atomicAdd } from "../../../../src/sync/atomics.ts";
import { AGENT_LIMIT, DEATHS } from "../../../../src/sync/control-block.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { evict, munmap } from "./migrate-calls.ts";
import {
  BEFORE,
  PAGE,
  argumentsOf,
  contents,
  isOnDevice,
  locked,
  migrating,
} from "./migrate-stage.ts";
import type { Body, MigrationWorld } from "./migrate-stage.ts";

/** The name of a thread that is no more: of the last agent, which no task is. */
const DEAD: number = AGENT_LIMIT;

/** New frames in a row that the dead thread had taken, besides one. */
const RUN_PAGES = 4;

/** As `prepare`. `isNoted`: the record notes new frames (Q6 of mm/migration.ts). */
function leave(isNoted: boolean): (world: MigrationWorld, harness: HmmHarness) => void {
  return (world, harness) => {
    const { memory } = harness.machine;
    harness.run(locked(harness, () => begin(harness, isNoted)));
    atomicAdd(memory.words, DEATHS, 1);
    assert(pteKind(harness.entryOf(PAGE)) === KIND_MIGRATION, "the page is not being moved");
    // Of the page alone, wherever it is.
    world.framesBefore = 1;
  };
}

function* begin(harness: HmmHarness, isNoted: boolean): Task<void> {
  const { machine } = harness;
  const args = argumentsOf(harness, SELECT_DEVICE) ?? bug("nothing is mapped");
  const migration = yield* migrateVmaSetup(args);
  if (typeof migration === "number") bug(`the setup answered ${migration}`);
  const record = MigrationRecord.at(machine.memory, migration.recordAt);
  record.owner = DEAD;
  if (!isNoted) return;
  const { run, fresh } = MigrationRecord.offset;
  yield* machine.ram.allocFrame(false, record.at + fresh);
  record.runPages = RUN_PAGES;
  yield* machine.ram.allocRun(RUN_PAGES, false, false, record.at + run);
}

/** The device is empty, and its page in RAM, in the only frame that is used. */
function requireBack({ memory }: MigrationWorld, harness: HmmHarness): void {
  const now = contents(harness);
  assert(now === BEFORE, `the page holds ${now}`);
  assert(!isOnDevice(harness) && memory.usedPages === 0, "the page is still on the device");
  const { usedPages } = harness.machine.ram.usage();
  assert(usedPages === 1, `${usedPages} frames of RAM are used for one page`);
}

const empties: Body = function* (world, { machine }) {
  const left = yield* emptyDeviceMemory(machine, world.memory);
  assert(left === 0, `${left} frames are left in a device that was emptied`);
};

const EMPTY = ["mm/migrate/device-evict.emptyDeviceMemory", "mm/migration.endDeadMigrations"];
const EVICT = ["mm/migrate/device-evict.evictDeviceFrame", "mm/migration.endDeadMigrations"];

export const leftMigrations: readonly Covered[] = [
  migrating({
    name: "left/emptied",
    summary: "A device is emptied whose page a dead thread was about to bring back.",
    isThere: true,
    prepare: leave(true),
    tasks: { thread: [[...EMPTY, "mm/migration.giveUnnamed"], empties] },
    check: requireBack,
    twins: [],
  }),
  migrating({
    name: "left/evict-vs-munmap",
    summary:
      "A frame is evicted whose page a dead thread was about to bring back, and another thread unmaps the page.",
    isThere: true,
    prepare: leave(false),
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: {
      evict: [EVICT, evict],
      munmap: [["mm/calls/munmap.doMunmap", "mm/migration.endLeftMigrations"], munmap],
    },
    check({ memory }, harness) {
      assert(harness.entryOf(PAGE) === 0, "the page is there after munmap");
      assert(memory.usedPages === 0, "the device has a frame that nobody uses");
      const { usedPages } = harness.machine.ram.usage();
      assert(usedPages === 0, `${usedPages} frames of RAM are used for no page`);
    },
    twins: [],
  }),
];
