/**
 * @module What the scenarios of migration have in common: a space with one page, a device's memory,
 * the steps of a migration with one of them broken, and what the page must hold at the end.
 */

import type { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { makeDeviceMemory } from "../../../../src/memory/device-memory.ts";
import {
  DEVICE_PRIVATE,
  takeDeviceFrame,
  takeDeviceFrames,
} from "../../../../src/memory/frames/device-frames.ts";
import { dataStep } from "../../../../src/memory/frames/page-data.ts";
import type {
  DeviceMemory,
  DeviceMemoryType,
} from "../../../../src/memory/frames/device-frames.ts";
import { List } from "../../../../src/memory/layout/list.ts";
import { registerDeviceMemoryOps } from "../../../../src/mm/fault/device-private.ts";
import {
  SELECT_DEVICE,
  SELECT_SYSTEM,
  isMarked,
  migrateFaultToRam,
  migrateRange,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
  sourcePfn,
  toRam,
} from "../../../../src/mm/migrate/migrate-vma.ts";
import type { MigrateArguments, PageMover } from "../../../../src/mm/migrate/migrate-vma.ts";
import { migrateStreamToRam } from "../../../../src/mm/migrate/stream-to-ram.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import {
  KIND_MIGRATION,
  PAGE_BYTES,
  isResident,
  makeNonPresent,
  pteKind,
  ptePfn,
} from "../../../../src/mm/pte.ts";
import { type Vma, vmaOf } from "../../../../src/mm/vma/vma.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { SegmentationFault, assert, bug } from "../../../../src/sync/errors.ts";
import { DONE, type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";
import type { HarnessTasks, HarnessTwin } from "../on-harness.ts";

export const PAGE: number = HARNESS_PAGE;
export const ADDRESS: number = PAGE * PAGE_BYTES;
/** What the page holds at the beginning. */
export const BEFORE = 7;
/** The result of an access that no mapping allows. */
export const FAULTED = -1;
/** Number of the device that moves pages. */
export const OWNER = 5;

const OPS: number = registerDeviceMemoryOps("scenario device memory", {
  migrateToRam: migrateFaultToRam,
});
/** What the CPU touches in order comes in rows. */
export const STREAM_OPS: number = registerDeviceMemoryOps("scenario device memory, in rows", {
  migrateToRam: migrateStreamToRam,
});

export interface MigrationWorld {
  readonly memory: DeviceMemory;
  /** What each thread has seen, in order. */
  readonly seen: number[];
  child: number;
  /** The space is gone. */
  hasEnded: boolean;
  /**
   * A device that mirrors the page, and another whose driver is broken, if `prepare` makes them.
   */
  device: HarnessDevice | undefined;
  deaf: HarnessDevice | undefined;
  /** What devices have added to the page's first word. */
  added: number;
  /** References of frames when the threads begin. */
  framesBefore: number;
  /** Users of the space then. */
  usersBefore: number;
}

export type Body = (world: MigrationWorld, harness: HmmHarness) => Task<unknown>;

/** Frames of the device, unless a scenario says otherwise. */
const DEVICE_PAGES = 4;

/** The device's memory, in which the page is at the beginning if `isThere`. */
export function makeWorld(
  harness: HmmHarness,
  type: DeviceMemoryType,
  isThere: boolean,
  devicePages: number = DEVICE_PAGES,
  opsId: number = OPS,
): MigrationWorld {
  const options = { pages: devicePages, type, owner: OWNER, opsId };
  const memory = harness.run(makeDeviceMemory(harness.machine, options));
  if (typeof memory === "number") bug(`Cannot make the device's memory: ${memory}`);
  const world: MigrationWorld = {
    memory,
    seen: [],
    child: 0,
    hasEnded: false,
    device: undefined,
    deaf: undefined,
    added: 0,
    framesBefore: 0,
    usersBefore: 0,
  };
  harness.run(new HarnessCpu(harness).store(ADDRESS, BEFORE));
  // There and back: what is made once per machine is made here.
  harness.run(toDevice(world, harness));
  if (!isThere) harness.run(backToRam(world, harness));
  return world;
}

/** The sizes for `makeWorld`. */
export const MIGRATION_HARNESS = { pages: 1, present: 0, arenaWords: 8192 } as const;

/** For `reopen`. */
export function forgetRun(world: MigrationWorld): void {
  world.seen.length = 0;
  world.child = 0;
  world.hasEnded = false;
  world.added = 0;
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly type?: DeviceMemoryType;
  /** The page is on the device at the beginning. Default false. */
  readonly isThere?: boolean;
  /** Mapped pages. Default 1; only the first of them has contents. */
  readonly pages?: number;
  readonly devicePages?: number;
  /** Of the device's memory. Default: a touch brings its page alone. */
  readonly opsId?: number;
  /** Memory may run out. */
  readonly shortage?: boolean;
  readonly exploration?: ScenarioExploration;
  readonly prepare?: (world: MigrationWorld, harness: HmmHarness) => void;
  readonly tasks: HarnessTasks<MigrationWorld>;
  readonly check: (world: MigrationWorld, harness: HmmHarness) => void;
  readonly twins: readonly HarnessTwin<MigrationWorld>[];
  readonly balanced?: boolean;
  /**
   * The task that may die, with `deaths` of `exploration`. Without `prepare`, which may make a
   * device whose lock nobody repairs, it does not stop the machine.
   */
  readonly killable?: string;
}

/** Who looks into a space to evict its pages holds a user meanwhile, and no longer. */
function requireSameUsers({ usersBefore }: MigrationWorld, { mm }: HmmHarness): void {
  const users = mm.users.read();
  assert(users === usersBefore, `the space has ${users} users, and had ${usersBefore}`);
}

/** `coverage/mm/migrate/<name>`. */
export function migrating(parts: Parts): Covered {
  const { name, summary, type = DEVICE_PRIVATE, isThere = false, prepare, exploration } = parts;
  const { pages = 1, devicePages = DEVICE_PAGES, shortage = false } = parts;
  const { tasks, check, twins, balanced = false, killable, opsId = OPS } = parts;
  return coveringOnHarness<MigrationWorld>({
    layer: "mm",
    name: `migrate/${name}`,
    summary,
    harness: { ...MIGRATION_HARNESS, pages, shortage },
    ...(exploration === undefined ? {} : { exploration }),
    ...(killable === undefined
      ? {}
      : { killable: [killable], mayRemain: "anything", mustSurvive: prepare === undefined }),
    setup(harness: HmmHarness): MigrationWorld {
      const world = makeWorld(harness, type, isThere, devicePages, opsId);
      prepare?.(world, harness);
      world.framesBefore = harness.machine.ram.refs.total().references;
      world.usersBefore = harness.mm.users.read();
      return world;
    },
    reopen: forgetRun,
    tasks,
    check(world, harness): void {
      check(world, harness);
      if (!world.hasEnded && killable === undefined) requireSameUsers(world, harness);
      // One of a dead thread stays until somebody meets it.
      const isLeft = killable !== undefined && !world.hasEnded && !harness.mm.moving.isEmpty();
      if (!world.hasEnded && !isLeft) requireNoMigration(world, harness);
    },
    twins,
    balanced,
  });
}

/** Copies into frames of the device. */
export function ontoDevice({ memory }: MigrationWorld, { machine }: HmmHarness): PageMover {
  return {
    alloc: () => takeDeviceFrame(memory),
    *allocPages(frames) {
      yield* takeDeviceFrames(memory, frames, 0);
    },
    copy: (from, to) => machine.ram.copyFrame(from, to),
  };
}

/** The arguments for a page, or undefined: it is not mapped. Holding the mmap lock. */
export function argumentsOf(
  { machine, mm }: HmmHarness,
  select: number,
  page: number = PAGE,
): MigrateArguments | undefined {
  const vma = vmaOf(machine.memory, mm, page);
  if (vma === undefined) return undefined;
  return { machine, mm, vma, startPage: page, endPage: page + 1, select, owner: OWNER };
}

export function* locked({ mm }: HmmHarness, task: () => Task<unknown>): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* task();
  yield* mm.mmapLock.upRead();
}

/** The page, if it is mapped. Holding the mmap lock. */
export function* move(
  harness: HmmHarness,
  select: number,
  mover: PageMover,
  page: number = PAGE,
): Task<void> {
  const args = argumentsOf(harness, select, page);
  if (args !== undefined) yield* migrateRange(args, mover);
}

/** A page, by this mover. */
export function toDeviceBy(harness: HmmHarness, mover: PageMover, page?: number): Task<void> {
  return locked(harness, () => move(harness, SELECT_SYSTEM, mover, page));
}

export const toDevice: Body = (world, harness) =>
  locked(harness, () => move(harness, SELECT_SYSTEM, ontoDevice(world, harness)));

export const backToRam: Body = (_world, harness) =>
  locked(harness, () => move(harness, SELECT_DEVICE, toRam(harness.machine)));

/** To other frames of RAM: the pages that `select` says, for `owner`. */
export function toRamAs(harness: HmmHarness, select: number, owner: number): Task<void> {
  return locked(harness, function* () {
    const args = argumentsOf(harness, select);
    if (args !== undefined) yield* migrateRange({ ...args, owner }, toRam(harness.machine));
  });
}

/** The steps of `toDevice`, with `between` before the last. */
export function* inSteps(
  world: MigrationWorld,
  harness: HmmHarness,
  between: () => Task<void>,
  args: MigrateArguments | undefined = argumentsOf(harness, SELECT_SYSTEM),
  alloc: () => Task<number> = () => takeDeviceFrame(world.memory),
): Task<void> {
  const { machine } = harness;
  const migration = args === undefined ? 0 : yield* migrateVmaSetup(args);
  if (typeof migration === "number") return;
  if (isMarked(migration, 0)) {
    const to = yield* alloc();
    migration.dst[0] = to;
    if (to !== 0) yield* machine.ram.copyFrame(sourcePfn(migration, 0), to);
  }
  yield* migrateVmaPages(migration);
  yield* between();
  yield* migrateVmaFinalize(migration);
}

export function* dropLock({ mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.upRead();
  yield* mm.mmapLock.downRead();
}

/** Makes the entry a migration entry whatever it is. */
export function claimEntry(harness: HmmHarness, pfn: number): void {
  const { memory } = harness.machine;
  const leaf = leafOf(memory, harness.mm.pgd, PAGE);
  if (leaf === 0 || pfn === 0) return;
  atomicStore(memory.words, pteIndex(leaf, PAGE), makeNonPresent(KIND_MIGRATION, pfn));
}

/** Broken: drops the mmap lock between the steps (Y2 of migrate-vma.ts). */
export const toDeviceUnlocked: Body = (world, harness) =>
  locked(harness, () => inSteps(world, harness, () => dropLock(harness)));

/** Broken: takes for granted that the entry is still the migration's (Y3 of migrate-vma.ts). */
export const toDeviceUnasked: Body = (world, harness) =>
  locked(harness, () => {
    const pfn = ptePfn(harness.entryOf(PAGE));
    return inSteps(world, harness, function* () {
      claimEntry(harness, pfn);
    });
  });

/** Broken: the same of a page that comes back, whose entry was read before the first step. */
export const backUnasked: Body = (world, harness) =>
  locked(harness, function* () {
    const { memory } = harness.machine;
    yield* access(memory, "read", pteIndex(leafOf(memory, harness.mm.pgd, PAGE), PAGE), 1, "pte");
    const pfn = ptePfn(harness.entryOf(PAGE));
    const args = argumentsOf(harness, SELECT_DEVICE);
    const alloc = (): Task<number> => harness.machine.ram.allocFrame(false);
    function* claim(): Task<void> {
      if (pteKind(harness.entryOf(PAGE)) === KIND_MIGRATION) claimEntry(harness, pfn);
    }
    yield* inSteps(world, harness, claim, args, alloc);
  });

/** Broken: both. */
export const toDeviceUnlockedUnasked: Body = (world, harness) =>
  locked(harness, () => {
    const pfn = ptePfn(harness.entryOf(PAGE));
    return inSteps(world, harness, function* () {
      yield* dropLock(harness);
      claimEntry(harness, pfn);
    });
  });

/** Broken: nobody finds the migration between its steps. */
export const toDeviceUnlisted: Body = (world, harness) =>
  locked(harness, () => inSteps(world, harness, () => unlisted(harness)));

/** Broken: the same of a page that comes back. */
export const backUnlisted: Body = (world, harness) =>
  locked(harness, () => {
    const args = argumentsOf(harness, SELECT_DEVICE);
    const alloc = (): Task<number> => harness.machine.ram.allocFrame(false);
    return inSteps(world, harness, () => unlisted(harness), args, alloc);
  });

function unlisted(harness: HmmHarness): Task<void> {
  const { moving } = harness.mm;
  if (moving.isEmpty()) return DONE;
  const node = new List(moving.memory, moving.first());
  node.del();
  return relist(harness, node);
}

/** At the next step, so that a death may come in between. */
function* relist({ mm }: HmmHarness, node: List): Task<void> {
  yield* mm.migrationsLock.lock();
  node.memory.words.fill(0, node.at, node.at + List.WORDS);
  mm.moving.addTail(node);
  yield* mm.migrationsLock.unlock();
}

/** Broken: drops the lock, and installs the rights of before. */
export const toDeviceWithOldRights: Body = (world, harness) =>
  locked(harness, () => {
    const args = argumentsOf(harness, SELECT_SYSTEM);
    if (args === undefined) return inSteps(world, harness, () => dropLock(harness));
    const { flags } = args.vma;
    const vma: Vma = Object.create(args.vma, { flags: { value: flags } });
    return inSteps(world, harness, () => dropLock(harness), { ...args, vma });
  });

function* orFaulted<T>(task: Task<T>): Task<T | typeof FAULTED> {
  try {
    return yield* task;
  } catch (error) {
    if (error instanceof SegmentationFault) return FAULTED;
    throw error;
  }
}

export function* load(world: MigrationWorld, harness: HmmHarness): Task<void> {
  world.seen.push(yield* orFaulted(new HarnessCpu(harness).load(ADDRESS)));
}

/** Stores 1. */
export function* store(_world: MigrationWorld, harness: HmmHarness): Task<void> {
  yield* orFaulted(new HarnessCpu(harness).store(ADDRESS, 1));
}

/** Adds 1 to the word `index`. */
export function addTo(index: number): Body {
  return (_world, harness) => orFaulted(new HarnessCpu(harness).add(ADDRESS + index * 4, 1));
}

/** What the page of `mm` holds, wherever it is. A plain read after all tasks have ended. */
export function contents(
  harness: HmmHarness,
  mm: Mm = harness.mm,
  word: number = 0,
  page: number = PAGE,
): number {
  const pte = harness.entryOf(page, mm);
  if (!isResident(pte)) return 0;
  const { ram } = harness.machine;
  return ram.sections.of(ptePfn(pte)).i32[ram.sections.wordIndex(ptePfn(pte)) + word]!;
}

/**
 * Broken: keeps the contents from before `body`, and writes them to the page after it, as a copy
 * that is made before the entry is taken would. `added`: to the first word.
 */
export function copiesEarly(body: Body, added: number = 0): Body {
  return function* (world, harness) {
    const { ram, memory } = harness.machine;
    const kept = contents(harness);
    yield* body(world, harness);
    const pte = harness.entryOf(PAGE);
    if (!isResident(pte)) return;
    const pfn = ptePfn(pte);
    yield* dataStep(memory, "write", pfn);
    ram.sections.of(pfn).i32[ram.sections.wordIndex(pfn)] = kept + added;
  };
}

/** Where the page is: its frame is the device's. */
export function isOnDevice(harness: HmmHarness, mm: Mm = harness.mm, page: number = PAGE): boolean {
  const pte = harness.entryOf(page, mm);
  return isResident(pte) && ptePfn(pte) >= harness.machine.ram.ownEndPfn;
}

export function requireContents(...allowed: readonly number[]): Body2 {
  return ({ seen }, harness) => {
    const now = contents(harness);
    if (!allowed.includes(now)) bug(`The page holds ${now}; it may hold ${allowed.join(", ")}`);
    for (const value of seen)
      if (value !== BEFORE && !allowed.includes(value)) bug(`A load gave ${value}`);
  };
}

type Body2 = (world: MigrationWorld, harness: HmmHarness) => void;

/** Of the page, its place after mremap, and the child's page. */
function requireNoMigration(world: MigrationWorld, harness: HmmHarness): void {
  const entries = [harness.entryOf(PAGE), harness.entryOf(PAGE + 4)];
  if (world.child > 0) entries.push(harness.entryOf(PAGE, childOf(world, harness)));
  if (entries.some((pte) => pteKind(pte) === KIND_MIGRATION))
    bug("Nobody moves the page any more, and an entry says that it is being moved");
}

export function childOf(world: MigrationWorld, { machine }: HmmHarness): Mm {
  return Mm.at(machine.memory, world.child);
}
