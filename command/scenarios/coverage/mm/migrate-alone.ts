/**
 * @module One thread alone that moves pages: a mover that throws, one that is told when its device
 * may use the new frames, a thread that owns as much as it can, a pin of a page that may stay in a
 * device's memory, the end of a device. After each call it is checked where the page is.
 */

import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { Hmm } from "../../../../src/hmm/hmm-struct.ts";
import { registerMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import {
  DEVICE_COHERENT,
  DeviceMemory,
  takeDeviceFrame,
} from "../../../../src/memory/frames/device-frames.ts";
import { doMmap } from "../../../../src/mm/calls/mmap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { mmCreate, mmput } from "../../../../src/mm/lifetime/mm.ts";
import { emptyDeviceMemory, endDeviceMemory } from "../../../../src/mm/migrate/device-evict.ts";
import {
  type Migration,
  NOBODY,
  SELECT_ALL_SYSTEM,
  SELECT_SYSTEM,
  isMarked,
  migrateRange,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from "../../../../src/mm/migrate/migrate-vma.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { isResident, ptePfn } from "../../../../src/mm/pte.ts";
import { type PinnedPages, pinUserPages, unpinUserPages } from "../../../../src/mm/view/pin.ts";
import { vmaOf } from "../../../../src/mm/vma/vma.ts";
import { pteAt } from "../../../../src/mmu/radix-table.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import {
  addResource,
  removeResource,
  resourceKind,
} from "../../../../src/sync/lockdep/resources.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { type Attempt, attempted } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import {
  BEFORE,
  OWNER,
  PAGE,
  isOnDevice,
  locked,
  migrating,
  move,
  ontoDevice,
  requireContents,
  toDevice,
  toDeviceBy,
} from "./migrate-stage.ts";
import type { Body, MigrationWorld } from "./migrate-stage.ts";
import { mapping, stamp } from "./mixed-stage.ts";

const MOVE = ["mm/migrate/migrate-vma.migrateRange"] as const;
const PIN = ["mm/view/pin.pinUserPages", "mm/view/pin.unpinUserPages"] as const;
const END = ["mm/migrate/device-evict.endDeviceMemory"] as const;

function requirePlace({ memory }: MigrationWorld, harness: HmmHarness, isThere: boolean): void {
  assert(
    isOnDevice(harness) === isThere,
    isThere ? "the page has not moved" : "the page has moved",
  );
  const { usedPages } = memory;
  assert(usedPages === (isThere ? 1 : 0), `${usedPages} frames of the device are used`);
}

class Refusal extends Error {}

/** The copy throws; then another mover is told, once, that the page is in its new frame. */
const refusesAndCommits: Body = function* (world, harness) {
  const mover = ontoDevice(world, harness);
  function copy(): Task<void> {
    throw new Refusal();
  }
  let isThrown = false;
  yield* locked(harness, function* () {
    try {
      yield* move(harness, SELECT_SYSTEM, { ...mover, copy, copyPages: copy });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      isThrown = true;
    }
  });
  assert(isThrown, "what the mover throws is not thrown on");
  requireContents(BEFORE)(world, harness);
  requirePlace(world, harness, false);
  let commits = 0;
  yield* toDeviceBy(harness, {
    ...mover,
    *commit(migration) {
      assert(isMarked(migration, 0), "the device is told of a page that does not move");
      commits++;
    },
  });
  assert(commits === 1, `the device was told ${commits} times`);
  requirePlace(world, harness, true);
};

/** Of something that is nobody's to release. */
const FILLER: number = resourceKind("filler beside a migration");

/** It owns as much as a thread can: the migration's record is in no list of what it owns. */
const movesCrowded: Body = function* (world, harness) {
  const { memory } = harness.machine;
  const filler: number[] = [];
  const fill = (): number => addResource(memory, FILLER, 0);
  for (let slot = fill(); slot >= 0; slot = fill()) filler.push(slot);
  yield* toDevice(world, harness);
  requirePlace(world, harness, true);
  for (const slot of filler) removeResource(memory, slot);
};

/** A short pin leaves the page where it is, and so does another one. */
const pinsTwice: Body = function* (_world, harness) {
  const { machine, mm } = harness;
  const before = ptePfn(harness.entryOf(PAGE));
  const pin = function* (): Task<PinnedPages> {
    const result = yield* pinUserPages(machine, mm, PAGE, PAGE + 1, { write: true });
    return typeof result === "number" ? bug(`the pin answered ${result}`) : result;
  };
  const first = yield* pin();
  const second = yield* pin();
  for (const { pfns } of [first, second])
    assert(pfns[0] === before, `frame ${pfns[0]} is pinned, and the page was in ${before}`);
  assert(ptePfn(harness.entryOf(PAGE)) === before, "the page has moved");
  yield* unpinUserPages(machine, first);
  yield* unpinUserPages(machine, second);
};

/** While its memory is emptied, the device gives out no frame. */
const ASKING_OPS: number = registerMirrorOps("scenario device that asks for a frame at its end", {
  *invalidate({ machine, record }, { startPage }) {
    const { memory, ram } = machine;
    const pte = pteAt(memory, Mm.at(memory, Hmm.at(memory, record.hmm).mm).pgd, startPage);
    if (!isResident(pte) || ptePfn(pte) < ram.ownEndPfn) return 0;
    const device = DeviceMemory.at(memory, ram.sections.deviceOf(ptePfn(pte)));
    const pfn = yield* takeDeviceFrame(device);
    assert(pfn === 0, `a device that ends has given out frame ${pfn}`);
    return 0;
  },
});

const endsDevice: Body = function* (world, { machine }) {
  const answer = yield* endDeviceMemory(machine, world.memory, Infinity);
  assert(answer === 0, `the end of the device answered ${answer}`);
};

/** The first page of a space on a device: whoever empties the device looks into that space, too. */
const emptiesNewSpace: Body = function* (world, harness) {
  const { machine } = harness;
  const mm = Mm.at(machine.memory, yield* mmCreate(machine));
  yield* doMmap(machine, mm, mapping(0, 1));
  yield* cpuFault(machine, mm, PAGE, true);
  yield* mm.mmapLock.downRead();
  const vma = vmaOf(machine.memory, mm, PAGE) ?? bug("nothing is mapped");
  const args = { machine, mm, vma, startPage: PAGE, endPage: PAGE + 1, select: SELECT_SYSTEM };
  yield* migrateRange({ ...args, owner: OWNER }, ontoDevice(world, harness));
  yield* mm.mmapLock.upRead();
  assert(isOnDevice(harness, mm), "the page has not moved");
  const left = yield* emptyDeviceMemory(machine, world.memory);
  assert(left === 0, `${left} frames are left in a device that was emptied`);
  yield* mmput(machine, mm);
};

/** More pages than the struct of a migration has room for; and a page behind them, by itself. */
const MANY = 5;

/** Two migrations of one thread at once. Without memory one of them, or both, are unlisted. */
const movesMany: Attempt<undefined> = {
  layer: "mm",
  name: "migrate",
  summary: "Five pages are about to move, and then another one; all stay where they are.",
  runs: ["mm/migrate/migrate-vma.migrateVmaSetup", "mm/migrate/migrate-vma.migrateVmaFinalize"],
  setup(harness) {
    harness.map(HARNESS_PAGE, MANY + 1);
    for (let page = 0; page <= MANY; page++) {
      harness.run(cpuFault(harness.machine, harness.mm, HARNESS_PAGE + page, true));
      stamp(harness, page);
    }
    return undefined;
  },
  *act(harness) {
    const { mm } = harness;
    yield* mm.mmapLock.downRead();
    const first = yield* setUp(harness, HARNESS_PAGE, MANY);
    const second = yield* setUp(harness, HARNESS_PAGE + MANY, 1);
    for (const migration of [second, first]) {
      yield* migrateVmaPages(migration);
      yield* migrateVmaFinalize(migration);
    }
    yield* mm.mmapLock.upRead();
    return 0;
  },
};

/** All of these pages become the migration's. */
function* setUp({ machine, mm }: HmmHarness, startPage: number, pages: number): Task<Migration> {
  const vma = vmaOf(machine.memory, mm, startPage) ?? bug("nothing is mapped");
  const range = { startPage, endPage: startPage + pages };
  const kind = { select: SELECT_ALL_SYSTEM, owner: NOBODY };
  const migration = yield* migrateVmaSetup({ machine, mm, vma, ...range, ...kind });
  if (typeof migration === "number") bug(`the setup answered ${migration}`);
  for (let i = 0; i < pages; i++) assert(isMarked(migration, i), `page ${i} is not to move`);
  return migration;
}

export const migrationsAlone: readonly Covered[] = [
  migrating({
    name: "alone/mover",
    summary: "The copy of a page throws; then the page moves, and the device is told.",
    tasks: { thread: [MOVE, refusesAndCommits] },
    check: requireContents(BEFORE),
    twins: [],
  }),
  migrating({
    name: "alone/new-space",
    summary: "A new space has a page on a device, whose memory is emptied.",
    tasks: { thread: [[...MOVE, "mm/device-spaces.joinDeviceSpaces"], emptiesNewSpace] },
    check: requireContents(BEFORE),
    twins: [],
  }),
  migrating({
    name: "alone/crowded",
    summary: "A thread that owns as much as a thread can moves a page.",
    tasks: { thread: [MOVE, movesCrowded] },
    check: requireContents(BEFORE),
    twins: [],
  }),
  migrating({
    name: "alone/short-pins",
    summary: "A page in coherent memory is pinned twice where it is.",
    type: DEVICE_COHERENT,
    isThere: true,
    tasks: { thread: [PIN, pinsTwice] },
    check: requireContents(BEFORE),
    twins: [],
  }),
  migrating({
    name: "alone/end-of-device",
    summary: "A device ends: it gives out no frame while its memory is emptied.",
    isThere: true,
    prepare(world, harness) {
      world.device = HarnessDevice.registered(harness, ASKING_OPS);
    },
    tasks: { thread: [END, endsDevice] },
    check: requireContents(BEFORE),
    twins: [],
  }),
  attempted(movesMany),
];
