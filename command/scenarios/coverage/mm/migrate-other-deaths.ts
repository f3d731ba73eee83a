/**
 * @module A page moves, to a device's memory or back, and the thread that meets the migration dies
 * at any point of what it does: a touch, a call that changes the mapping, an eviction, a pin. Who
 * moves the page goes on, and the page is whole, unless the death stops the machine. That the
 * migrating thread dies is in migrate-deaths.ts.
 *
 * Some twins break what the dying thread does, so that a death in the middle does harm: it takes
 * something away a step before it has put something else in its place.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { mmapWriteLock } from "../../../../src/mm/migration.ts";
import { holdsFrame, isResident, ptePfn, withoutWrite } from "../../../../src/mm/pte.ts";
import { VM_WRITE, Vma, vmaOf } from "../../../../src/mm/vma/vma.ts";
import { leafAlloc, leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicExchange, atomicStore } from "../../../../src/sync/atomics.ts";
import { bug } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import type { HarnessTwin } from "../on-harness.ts";
import { BOTH, type Fault, UNASKED, UNLOCKED, broken } from "./migrate-back.ts";
import {
  MOVED,
  afterPut,
  discard,
  evict,
  evictUnnamed,
  exit,
  fork,
  getUser,
  munmap,
  protect,
  remap,
  thenPut,
  view,
} from "./migrate-calls.ts";
import { deviceOf, mirroring, serve, serveUnchecked } from "./migrate-devices.ts";
import {
  BEFORE,
  PAGE,
  backToRam,
  childOf,
  contents,
  isOnDevice,
  locked,
  migrating,
  store,
  toDevice,
  toDeviceUnasked,
  toDeviceUnlocked,
  toDeviceUnlockedUnasked,
} from "./migrate-stage.ts";
import type { Body, MigrationWorld } from "./migrate-stage.ts";
import { REFERENCE, pinning, referring } from "./pins.ts";

const STEPS = ["mm/migrate/migrate-vma.migrateRange"] as const;
const DYING = { engine: "bounded", preemptions: 1, deaths: 1 } as const;

interface Direction {
  readonly name: string;
  readonly moves: string;
  readonly body: Body;
  readonly isThere: boolean;
}

const there: Direction = {
  name: "to-device",
  moves: "A page moves to a device",
  body: toDevice,
  isThere: false,
};
const back: Direction = {
  name: "back",
  moves: "A page comes back from a device",
  body: backToRam,
  isThere: true,
};

type Check = (world: MigrationWorld, harness: HmmHarness) => void;

interface Twin {
  readonly name: string;
  readonly summary: string;
  readonly expects?: "use-after-free";
  /** Default: that of the sound one. */
  readonly exploration?: ScenarioExploration;
  readonly migrate?: Body;
  readonly other?: Body;
}

interface Dying {
  readonly name: string;
  /** What the thread does. */
  readonly does: string;
  readonly runs: readonly string[];
  readonly body: Body;
  readonly check: Check;
  /** Default: the world as it is. */
  readonly prepare?: (world: MigrationWorld, harness: HmmHarness) => void;
  /** What the migrating thread does round its move. Default: nothing. */
  readonly around?: (move: Body) => Body;
  readonly exploration?: ScenarioExploration;
  /** Frames of the device that the dead thread may leave. Default 0. */
  readonly loses?: number;
  readonly twins: readonly [there: Twin, back: Twin | undefined];
}

/** `body`, and a note that it has ended. */
function noted(body: Body): Body {
  return function* (world, harness) {
    yield* body(world, harness);
    world.added = 1;
  };
}

/** Each entry names a frame that is counted. */
function requireCounted(harness: HmmHarness): void {
  for (const page of [PAGE, MOVED]) {
    const pte = harness.entryOf(page);
    if (isResident(pte) && harness.machine.ram.refs.pageCount(ptePfn(pte)) === 0)
      bug(`Page ${page} has a frame that is free`);
  }
}

function requireHeld(harness: HmmHarness, ...allowed: readonly number[]): void {
  const now = contents(harness);
  if (!allowed.includes(now)) bug(`The page holds ${now}; it may hold ${allowed.join(", ")}`);
}

/** It holds what it held; once the thread has ended, what that has left. */
function heldOr(after: number): Check {
  return ({ added }, harness) => {
    if (added === 0) requireHeld(harness, BEFORE, after);
    else requireHeld(harness, after);
  };
}

const unchanged: Check = (_world, harness) => requireHeld(harness, BEFORE);

/** Takes the entry away, and puts it back a step later. */
const takesAway: Body = (_world, harness) =>
  locked(harness, function* () {
    const { memory } = harness.machine;
    const index = pteIndex(leafOf(memory, harness.mm.pgd, PAGE), PAGE);
    const pte = yield* takeEntry(harness);
    yield* access(memory, "write", index, 1, "pte");
    atomicStore(memory.words, index, pte);
  });

function* takeEntry({ machine, mm }: HmmHarness): Task<number> {
  const { memory } = machine;
  const index = pteIndex(leafOf(memory, mm.pgd, PAGE), PAGE);
  yield* access(memory, "update", index, 1, "pte");
  const pte = atomicExchange(memory.words, index, 0);
  yield* mm.shootdown.flush(PAGE, PAGE + 1);
  return pte;
}

function* alone({ machine, mm }: HmmHarness, change: () => Task<unknown>): Task<void> {
  yield* mmapWriteLock(machine, mm);
  yield* change();
  yield* mm.mmapLock.upWrite();
}

/** Puts the frame, and takes its entry away a step later. */
const putsFirst: Body = (_world, harness) =>
  alone(harness, function* () {
    const pte = harness.entryOf(PAGE);
    if (!holdsFrame(pte)) return;
    yield* harness.machine.ram.refs.pagePut(ptePfn(pte));
    yield* takeEntry(harness);
  });

/** Takes the entry away, and stores it at its new place a step later. */
const movesInTwo: Body = (_world, harness) =>
  alone(harness, function* () {
    const { machine, mm } = harness;
    const leaf = yield* leafAlloc(machine, mm.pgd, MOVED);
    const pte = yield* takeEntry(harness);
    yield* access(machine.memory, "write", pteIndex(leaf, MOVED), 1, "pte");
    atomicStore(machine.memory.words, pteIndex(leaf, MOVED), pte);
  });

/** Takes the right from the mapping for good, and from the entry a step later. */
const protectsInTwo: Body = (_world, harness) =>
  alone(harness, function* () {
    const { machine, mm } = harness;
    const { memory } = machine;
    const vma = vmaOf(memory, mm, PAGE) ?? bug("nothing is mapped");
    memory.words[vma.at + Vma.offset.flags]! &= ~VM_WRITE;
    const index = pteIndex(leafOf(memory, mm.pgd, PAGE), PAGE);
    yield* access(memory, "update", index, 1, "pte");
    atomicStore(memory.words, index, withoutWrite(harness.entryOf(PAGE)));
    yield* mm.shootdown.flush(PAGE, PAGE + 1);
  });

/** What the mapping forbids, its entry does. */
const requireRights: Check = ({ added }, harness) => {
  requireHeld(harness, BEFORE);
  const vma = vmaOf(harness.machine.memory, harness.mm, PAGE) ?? bug("nothing is mapped");
  const mayWrite = (vma.flags & VM_WRITE) !== 0;
  if (mayWrite && added === 1) bug("The mapping may be written after mprotect");
  const pte = harness.entryOf(PAGE);
  if (!mayWrite && withoutWrite(pte) !== pte) bug("The page may be written, and its mapping not");
};

/** Of the migrating thread. */
function migrateTwins(fault: Fault, migrate: Body): readonly [Twin, Twin] {
  const { name, summary } = fault;
  return [
    { name, summary, migrate },
    { name, summary, migrate: broken(fault, backToRam) },
  ];
}

/** Of the dying thread, whichever way the page moves. */
function twice(twin: Twin): readonly [Twin, Twin] {
  return [twin, twin];
}

const others: readonly Dying[] = [
  {
    name: "store",
    does: "a store to it",
    runs: ["mm/fault/cpu-fault.fault"],
    body: store,
    check: heldOr(1),
    exploration: { ...DYING, preemptions: 0 },
    loses: 1,
    twins: twice({
      name: "in-two",
      summary: "The fault takes the entry away, and puts it back a step later.",
      other: takesAway,
    }),
  },
  {
    name: "fork",
    does: "a fork",
    runs: ["mm/lifetime/fork.doFork"],
    body: fork,
    check(world, harness) {
      requireHeld(harness, BEFORE);
      if (world.child <= 0) return;
      const inChild = contents(harness, childOf(world, harness));
      if (inChild !== BEFORE) bug(`The child's page holds ${inChild}`);
    },
    twins: migrateTwins(UNLOCKED, toDeviceUnlocked),
  },
  {
    name: "munmap",
    does: "munmap",
    runs: ["mm/calls/munmap.doMunmap"],
    body: munmap,
    check({ added }, harness) {
      if (harness.entryOf(PAGE) === 0) return;
      if (added === 1) bug("The page is there after munmap");
      // What the death leaves of the mapping may have lost its page.
      requireHeld(harness, BEFORE, 0);
    },
    loses: 1,
    twins: twice({
      name: "put-first",
      summary: "The frame is put, and its entry taken away a step later.",
      other: putsFirst,
    }),
  },
  {
    name: "mprotect",
    does: "mprotect",
    runs: ["mm/calls/mprotect.doMprotect"],
    body: protect,
    check: requireRights,
    twins: twice({
      name: "in-two",
      summary: "The mapping loses its right for good, and the entry a step later.",
      other: protectsInTwo,
    }),
  },
  {
    name: "mremap",
    does: "mremap",
    runs: ["mm/calls/mremap.doMremap"],
    body: remap,
    check({ added }, harness) {
      const isMoved = harness.entryOf(MOVED) !== 0;
      if (!isMoved && added === 1) bug("The page is not at its new place");
      const now = contents(harness, harness.mm, 0, isMoved ? MOVED : PAGE);
      if (now !== BEFORE) bug(`The page holds ${now}`);
    },
    twins: twice({
      name: "in-two",
      summary: "The entry is taken away, and stored at its new place a step later.",
      other: movesInTwo,
    }),
  },
  {
    name: "discard",
    does: "madvise, which gives it up",
    runs: ["mm/entries/zap.zapRange"],
    body: discard,
    check: heldOr(0),
    loses: 1,
    twins: migrateTwins(UNASKED, toDeviceUnasked),
  },
  {
    name: "view",
    does: "the opening of a view",
    runs: ["mm/view/view-open.viewOpen"],
    body: view,
    check: unchanged,
    loses: 1,
    twins: migrateTwins(BOTH, toDeviceUnlockedUnasked),
  },
  {
    name: "pin",
    does: "a pin, through which it stores",
    runs: ["mm/view/pin.pinUserPages"],
    body: pinning(false),
    check({ added }, harness) {
      if (added === 1) requireHeld(harness, 1);
      else requireHeld(harness, BEFORE, 1);
    },
    loses: 1,
    twins: twice({ name: "reference", summary: REFERENCE, other: referring }),
  },
  {
    name: "evict",
    does: "an eviction of its frame",
    runs: ["mm/migrate/device-evict.evictDeviceFrame"],
    body: evict,
    check: unchanged,
    loses: 1,
    twins: twice({
      name: "gives-up-unnamed",
      summary: "A used frame that no entry names is given back.",
      other: evictUnnamed,
    }),
  },
  {
    name: "serve",
    does: "a fault of another device",
    runs: ["hmm/walk/fault.hmmRangeFault"],
    prepare: mirroring(undefined, false),
    exploration: { ...DYING, preemptions: 0 },
    body: serve,
    check(world, harness) {
      deviceOf(world).requireCoherent();
      requireHeld(harness, BEFORE);
    },
    loses: 1,
    twins: [
      {
        name: "without-check",
        summary: "The device programs what it has read without asking whether the range is valid.",
        exploration: DYING,
        other: serveUnchecked,
      },
      // A page that has come back stays: what the device has read of it is right without a check.
      undefined,
    ],
  },
  {
    name: "exit",
    does: "the exit of the last other user of its space",
    runs: ["mm/lifetime/mm.mmput"],
    prepare: getUser,
    around: thenPut,
    body: exit,
    check: () => {},
    twins: [
      {
        name: "put-first",
        summary: "The thread that moves the page has put its user before.",
        expects: "use-after-free",
        migrate: afterPut(toDevice),
      },
      {
        name: "put-first",
        summary: "The thread that moves the page has put its user before.",
        expects: "use-after-free",
        migrate: afterPut(backToRam),
      },
    ],
  },
];

function besideDeath(direction: Direction, dying: Dying, twin: Twin | undefined): Covered {
  const { name, moves, body, isThere } = direction;
  const { around = (move: Body) => move, exploration = DYING, loses = 0, prepare } = dying;
  return migrating({
    name: `${name}-vs-death-of-${dying.name}`,
    summary: `${moves} while another thread dies at any point of ${dying.does}.`,
    isThere,
    exploration,
    killable: "other",
    ...(prepare === undefined ? {} : { prepare }),
    tasks: {
      migrate: [STEPS, around(body)],
      other: [dying.runs, noted(dying.body)],
    },
    check(world, harness) {
      if (!world.hasEnded) {
        requireCounted(harness);
        requireFrames(world, harness, loses);
      }
      dying.check(world, harness);
    },
    twins: twin === undefined ? [] : [brokenBy(twin, exploration)],
  });
}

function brokenBy(twin: Twin, exploration: ScenarioExploration): HarnessTwin<MigrationWorld> {
  const { name, summary, migrate, other, expects = "assertion" } = twin;
  const tasks = {
    ...(migrate === undefined ? {} : { migrate }),
    ...(other === undefined ? {} : { other: noted(other) }),
  };
  return [name, summary, expects, tasks, twin.exploration ?? exploration];
}

/** The device's frames are those of its pages, and those that a dead thread has left. */
function requireFrames(world: MigrationWorld, harness: HmmHarness, loses: number): void {
  const { usedPages } = world.memory;
  const isUsed = isOnDevice(harness) || isOnDevice(harness, harness.mm, MOVED);
  const isUsedByChild = world.child > 0 && isOnDevice(harness, childOf(world, harness));
  const named = isUsed || isUsedByChild ? 1 : 0;
  if (usedPages < named || usedPages > named + loses)
    bug(`${usedPages} frames of the device are used, and ${named} named`);
}

export const besideDeaths: readonly Covered[] = [there, back].flatMap((direction, i) =>
  others.map((dying) => besideDeath(direction, dying, dying.twins[i])),
);
