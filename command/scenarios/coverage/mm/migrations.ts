/**
 * @module Pages that move to a device's memory and back, against everything that may meet them:
 * accesses, other migrations, and each call that changes a mapping. At the end the page is in one
 * place, holds what was stored last, and no frame is lost.
 *
 * The twins lack a step of migrate-vma.ts: the flush (Y4), the lock that is held from setup to
 * finalize (Y2), or the last look at the entry (Y3).
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { DEVICE_COHERENT } from "../../../../src/memory/frames/device-frames.ts";
import { endDeviceMemory } from "../../../../src/mm/migrate/device-evict.ts";
import { ptePfn, withoutWrite } from "../../../../src/mm/pte.ts";
import { bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { withoutFlush } from "./left-out.ts";
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
import {
  BEFORE,
  PAGE,
  addTo,
  backToRam,
  backUnasked,
  childOf,
  contents,
  isOnDevice,
  load,
  migrating,
  requireContents,
  store,
  toDevice,
  toDeviceUnasked,
  toDeviceUnlocked,
  toDeviceUnlockedUnasked,
  toDeviceWithOldRights,
  copiesEarly,
} from "./migrate-stage.ts";
import type { Body, MigrationWorld } from "./migrate-stage.ts";

const STEPS = [
  "mm/migrate/migrate-vma.migrateVmaSetup",
  "mm/migrate/migrate-vma.migrateVmaPages",
  "mm/migrate/migrate-vma.migrateVmaFinalize",
] as const;
const ACCESS = ["mm/fault/cpu-fault.fault"] as const;
const TOUCH = ["mm/fault/device-private.devicePrivateFault", ...STEPS] as const;

function without(left: number, body: Body): Body {
  return (world, harness) => withoutFlush(left, body(world, harness));
}

/** A call that holds the mmap lock for writing, against a migration to the device. */
function lockedOut(
  name: string,
  runs: readonly string[],
  body: Body,
  check: (world: MigrationWorld, harness: HmmHarness) => void,
  [twin, about, broken]: readonly [name: string, summary: string, body: Body],
): Covered {
  return migrating({
    name: `to-device-vs-${name}`,
    summary: `A page moves to a device's memory while ${name} changes the mapping.`,
    tasks: { migrate: [STEPS, toDevice], call: [runs, body] },
    check,
    twins: [[twin, about, "assertion", { migrate: broken }]],
  });
}

const UNLOCKED = [
  "without-lock",
  "The mmap lock is dropped between the steps of the migration.",
  toDeviceUnlocked,
] as const;
const UNASKED = [
  "without-lock-and-look",
  "The mmap lock is dropped between the steps, and the entry taken for the migration's own after it.",
  toDeviceUnlockedUnasked,
] as const;
const OLD_RIGHTS = [
  "with-old-rights",
  "The mmap lock is dropped between the steps, and the page gets the rights of before.",
  toDeviceWithOldRights,
] as const;

function requireChild(world: MigrationWorld, harness: HmmHarness): void {
  requireContents(BEFORE)(world, harness);
  const inChild = contents(harness, childOf(world, harness));
  if (inChild !== BEFORE) bug(`The child's page holds ${inChild}`);
}

const withLock: readonly Covered[] = [
  lockedOut("fork", ["mm/lifetime/fork.doFork"], fork, requireChild, UNLOCKED),
  lockedOut("munmap", ["mm/calls/munmap.doMunmap"], munmap, requireGone, UNASKED),
  lockedOut("mprotect", ["mm/calls/mprotect.doMprotect"], protect, requireReadOnly, OLD_RIGHTS),
  lockedOut("mremap", ["mm/calls/mremap.doMremap"], remap, requireMoved, UNLOCKED),
  lockedOut("view", ["mm/view/view-open.viewOpen"], view, requireContents(BEFORE), UNASKED),
];

function requireGone(_world: MigrationWorld, harness: HmmHarness): void {
  if (harness.entryOf(PAGE) !== 0) bug("The page is there after munmap");
}

function requireReadOnly(world: MigrationWorld, harness: HmmHarness): void {
  requireContents(BEFORE)(world, harness);
  const pte = harness.entryOf(PAGE);
  if (withoutWrite(pte) !== pte) bug("The page may be written after mprotect");
}

function requireMoved(_world: MigrationWorld, harness: HmmHarness): void {
  if (harness.entryOf(PAGE) !== 0) bug("The page is at its old place");
  const pfn = ptePfn(harness.entryOf(MOVED));
  const { ram } = harness.machine;
  const value = ram.sections.of(pfn).i32[ram.sections.wordIndex(pfn)];
  if (value !== BEFORE) bug(`At its new place the page holds ${value}`);
}

const againstAccesses: readonly Covered[] = [
  migrating({
    name: "coherent-vs-touch-vs-touch",
    summary: "Two threads wait for a page that moves to coherent memory, and both hear of its end.",
    type: DEVICE_COHERENT,
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: {
      migrate: [STEPS, toDevice],
      touch: [ACCESS, addTo(1)],
      "touch 2": [ACCESS, addTo(2)],
    },
    check: requireContents(BEFORE),
    twins: [],
  }),
  migrating({
    name: "to-device-vs-store",
    summary: "A CPU thread stores while its page moves to a device's private memory.",
    tasks: { migrate: [STEPS, toDevice], store: [ACCESS, store] },
    check: requireContents(1),
    twins: [
      [
        "without-flush",
        "The entry is taken away without a flush.",
        "assertion",
        {
          migrate: without(1, toDevice),
        },
      ],
    ],
  }),
  migrating({
    name: "to-device-vs-load",
    summary: "A CPU thread loads while its page moves to a device's private memory.",
    tasks: { migrate: [STEPS, toDevice], load: [ACCESS, load] },
    check: requireContents(BEFORE),
    twins: [
      [
        "without-flush",
        "The entry is taken away without a flush.",
        "assertion",
        {
          migrate: without(1, toDevice),
        },
      ],
    ],
  }),
  migrating({
    name: "coherent-vs-store",
    summary: "A CPU thread stores while its page moves to a device's coherent memory.",
    type: DEVICE_COHERENT,
    tasks: { migrate: [STEPS, toDevice], store: [ACCESS, store] },
    check: requireContents(1),
    twins: [
      [
        "without-flush",
        "The entry is taken away without a flush.",
        "assertion",
        {
          migrate: without(1, toDevice),
        },
      ],
    ],
  }),
  migrating({
    name: "coherent-back-vs-store",
    summary: "A CPU thread stores in place while its page comes back from coherent memory.",
    type: DEVICE_COHERENT,
    isThere: true,
    tasks: { migrate: [STEPS, backToRam], store: [ACCESS, store] },
    check: requireContents(1),
    twins: [
      [
        "without-flush",
        "The entry is taken away without a flush.",
        "use-after-free",
        {
          migrate: without(1, backToRam),
        },
      ],
    ],
  }),
  migrating({
    name: "touch-vs-touch",
    summary: "Two CPU threads touch a page in private memory: it comes back once, and both add.",
    isThere: true,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: { one: [TOUCH, addTo(0)], other: [TOUCH, addTo(0)] },
    check: requireContents(BEFORE + 2),
    twins: [
      [
        "copied-early",
        "One keeps the contents from before its touch, and adds to those.",
        "assertion",
        { one: copiesEarly(load, 1) },
      ],
    ],
  }),
];

/** A broken copy loses what the other thread has added meanwhile. */
function addingMeanwhile(
  name: string,
  summary: string,
  isThere: boolean,
  move: readonly [runs: readonly string[], body: Body],
  add: readonly [runs: readonly string[], body: Body],
): Covered {
  const [runs, body] = move;
  return migrating({
    name,
    summary,
    isThere,
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: { move: [runs, body], add: [...add] },
    check: requireContents(BEFORE + 1),
    twins: [
      [
        "copied-early",
        "The contents are copied before the entry is taken.",
        "assertion",
        { move: copiesEarly(body) },
      ],
    ],
  });
}

const addedMeanwhile: readonly Covered[] = [
  addingMeanwhile(
    "touch-vs-add",
    "A CPU thread touches a page in private memory, another touches it and adds.",
    true,
    [TOUCH, load],
    [TOUCH, addTo(0)],
  ),
  addingMeanwhile(
    "to-device-vs-back-and-add",
    "A page moves to a device; another thread brings it back, and adds.",
    false,
    [STEPS, toDevice],
    [STEPS, backAndAdd],
  ),
  addingMeanwhile(
    "end-of-device-vs-add",
    "A device ends while a CPU thread adds to a page in its memory.",
    true,
    [["mm/migrate/device-evict.endDeviceMemory", ...STEPS], endDevice],
    [ACCESS, addTo(0)],
  ),
];

const againstOthers: readonly Covered[] = [
  migrating({
    name: "to-device-vs-discard",
    summary: "A page is given up while it moves to a device: it is gone, and both frames are free.",
    tasks: { migrate: [STEPS, toDevice], discard: [["mm/entries/zap.zapRange"], discard] },
    check(world, harness): void {
      requireContents(0)(world, harness);
      const { usedPages } = world.memory;
      if (usedPages !== (isOnDevice(harness) ? 1 : 0))
        bug(`${usedPages} frames of the device are used`);
    },
    twins: [
      [
        "without-look",
        "The entry is taken for the migration's own at the end.",
        "assertion",
        {
          migrate: toDeviceUnasked,
        },
      ],
    ],
  }),
  migrating({
    name: "to-device-vs-to-device",
    summary: "Two threads move the same page to a device: it moves once.",
    tasks: { one: [STEPS, toDevice], other: [STEPS, toDevice] },
    check(world, harness): void {
      requireContents(BEFORE)(world, harness);
      if (world.memory.usedPages !== 1) bug(`${world.memory.usedPages} frames are used`);
    },
    twins: [
      [
        "without-look",
        "The entry is taken for the migration's own at the end.",
        "assertion",
        {
          one: toDeviceUnasked,
        },
      ],
    ],
  }),
  migrating({
    name: "to-device-vs-back",
    summary: "One thread moves the page to a device, another brings it back.",
    exploration: { engine: "bounded", preemptions: 3 },
    tasks: { migrate: [STEPS, toDevice], back: [STEPS, backToRam] },
    check: requireContents(BEFORE),
    twins: [
      [
        "without-look",
        "Who brings it back takes for its own the entry that it saw before its first step.",
        "assertion",
        { back: backUnasked },
      ],
    ],
  }),
  migrating({
    name: "end-of-device-vs-store",
    summary: "A device ends while a CPU thread stores to a page in its memory.",
    isThere: true,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: {
      end: [["mm/migrate/device-evict.endDeviceMemory", ...STEPS], endDevice],
      store: [ACCESS, store],
    },
    check: requireContents(1),
    twins: [
      [
        "copied-early",
        "The contents are copied before the entry is taken.",
        "assertion",
        { end: copiesEarly(endDevice) },
      ],
    ],
  }),
  migrating({
    name: "to-device-vs-exit",
    summary: "A page moves to a device while the last other user of the space goes.",
    exploration: { engine: "bounded", preemptions: 1 },
    prepare: getUser,
    tasks: {
      migrate: [[...STEPS, "mm/lifetime/mm.mmput"], thenPut(toDevice)],
      exit: [["mm/lifetime/mm.mmput"], exit],
    },
    check({ memory }): void {
      if (memory.usedPages !== 0) bug("A frame of the device is used");
    },
    twins: [
      [
        "put-first",
        "The thread that moves the page has put its user before.",
        "use-after-free",
        { migrate: afterPut(toDevice) },
      ],
    ],
  }),
  migrating({
    name: "to-device-vs-evict",
    summary: "A page moves to a frame of a device that another thread evicts.",
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: {
      migrate: [STEPS, toDevice],
      evict: [["mm/migrate/device-evict.evictDeviceFrame", ...STEPS], evict],
    },
    check(world, harness): void {
      requireContents(BEFORE)(world, harness);
      if (world.memory.usedPages !== (isOnDevice(harness) ? 1 : 0))
        bug(`${world.memory.usedPages} frames of the device are used`);
    },
    twins: [
      [
        "gives-up-unnamed",
        "A used frame that no entry names is given back.",
        "use-after-free",
        { evict: evictUnnamed },
      ],
    ],
  }),
  migrating({
    name: "end-of-device-vs-fork",
    summary: "A device ends while a fork shares a page in its memory: both spaces get it back.",
    isThere: true,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: {
      end: [["mm/migrate/device-evict.endDeviceMemory"], endDevice],
      fork: [["mm/lifetime/fork.doFork", "mm/device-spaces.joinDeviceSpaces"], fork],
    },
    check(world, harness): void {
      requireChild(world, harness);
      if (isOnDevice(harness)) bug("The page is in the memory of a device that has ended");
      if (isOnDevice(harness, childOf(world, harness))) bug("The child's page is");
    },
    twins: [
      [
        "own-space-only",
        "The device looks into the space that it knows, and not into those that are listed.",
        "assertion",
        { end: backToRam },
      ],
    ],
  }),
  migrating({
    name: "end-of-device-vs-exit",
    summary: "A device ends while the last user of a space with a page in its memory goes.",
    isThere: true,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: {
      end: [["mm/migrate/device-evict.endDeviceMemory"], endDevice],
      exit: [["mm/lifetime/mm.mmput", "mm/device-spaces.leaveDeviceSpaces"], exit],
    },
    check: () => {},
    twins: [
      [
        "without-user",
        "The device looks into a space of which it has no user.",
        "use-after-free",
        { end: backToRam },
      ],
    ],
  }),
];

function* backAndAdd(world: MigrationWorld, harness: HmmHarness): Task<void> {
  yield* backToRam(world, harness);
  yield* addTo(0)(world, harness);
}

function* endDevice({ memory }: MigrationWorld, { machine }: HmmHarness): Task<void> {
  const answer = yield* endDeviceMemory(machine, memory, Infinity);
  if (answer !== 0) bug(`The end of the device answered ${answer}`);
}

export const migrations: readonly Covered[] = [
  ...againstAccesses,
  ...withLock,
  ...addedMeanwhile,
  ...againstOthers,
];
