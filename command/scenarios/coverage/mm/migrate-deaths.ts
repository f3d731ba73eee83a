/**
 * @module A thread that dies at any point of a migration (mm/migration.ts). Whoever needs the page,
 * or changes the mapping, ends the migration: the page is in one place, whole, nothing of RAM is
 * lost, and nobody waits for ever.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MigrationRecord } from "../../../../src/mm/migration-record.ts";
import { emptyDeviceMemory } from "../../../../src/mm/migrate/device-evict.ts";
import { ptePfn, withoutWrite } from "../../../../src/mm/pte.ts";
import { bug } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import type { HarnessTwin } from "../on-harness.ts";
import {
  MOVED,
  discard,
  evict,
  exit,
  fork,
  munmap,
  protect,
  remap,
  view,
} from "./migrate-calls.ts";
import { deviceOf, mirroring, serveAndAdd } from "./migrate-devices.ts";
import {
  BEFORE,
  PAGE,
  backToRam,
  backUnlisted,
  childOf,
  contents,
  isOnDevice,
  load,
  migrating,
  requireContents,
  store,
  toDevice,
  toDeviceUnasked,
  toDeviceUnlisted,
} from "./migrate-stage.ts";
import type { Body, MigrationWorld } from "./migrate-stage.ts";
import { pinning } from "./pins.ts";

const DYING = { engine: "bounded", preemptions: 1, deaths: 1 } as const;
const STEPS = [
  "mm/migrate/migrate-vma.migrateVmaSetup",
  "mm/migrate/migrate-vma.migrateVmaFinalize",
  "sync/death/death.giveUpPlaces",
] as const;
const ENDS = ["mm/migration.endDeadMigrations"] as const;
const WAITS = ["mm/fault/migration-entry.migrationEntryWait", ...ENDS] as const;

function dying(
  name: string,
  summary: string,
  [runs, body]: readonly [runs: readonly string[], body: Body],
  check: (world: MigrationWorld, harness: HmmHarness) => void,
  twins: readonly HarnessTwin<MigrationWorld>[],
  migrate: Body = toDevice,
): Covered {
  return migrating({
    name: `death-vs-${name}`,
    summary: `A thread dies at any point of moving a page to a device, while ${summary}.`,
    exploration: DYING,
    killable: "migrate",
    tasks: { migrate: [STEPS, migrate], other: [runs, body] },
    check,
    twins,
  });
}

const UNASKED = "The entry is taken for the migration's own at the end.";
const UNLISTED = "The migration is not listed: nobody knows how to end it.";
const unlisted = (
  expects: "lost-wakeup" | "assertion" | "deadlock",
): HarnessTwin<MigrationWorld> => ["unlisted", UNLISTED, expects, { migrate: toDeviceUnlisted }];

const empty: Body = ({ memory }, { machine }) => emptyDeviceMemory(machine, memory);

/** Of the frames that the migration took none is lost. */
function requireFrames(world: MigrationWorld, harness: HmmHarness, onDevice: number): void {
  const { usedPages } = world.memory;
  if (usedPages > onDevice) bug(`${usedPages} frames of the device are used`);
  if (!world.hasEnded && isOnDevice(harness) && usedPages === 0) bug("A used frame is free");
}

/** `toDevice`, with a reference of the page's frame that nobody knows of. */
const toDeviceUnnoted: Body = function* (world, harness) {
  const { refs } = harness.machine.ram;
  const pfn = ptePfn(harness.entryOf(PAGE));
  const isHeld = pfn !== 0 && (yield* refs.pageGetNotZero(pfn));
  yield* toDevice(world, harness);
  if (isHeld) yield* refs.pagePut(pfn);
};

/** `toDevice`, with a record that is no resource of the thread. */
const toDeviceUnowned: Body = function* (world, harness) {
  const { heap } = harness.machine;
  const at = yield* heap.alloc(MigrationRecord);
  yield* toDevice(world, harness);
  yield* heap.free(MigrationRecord, at);
};

/** No frame of RAM is used whose entry is gone (Q4 of mm/migration.ts), and no record is left. */
function requireRam({ framesBefore, memory }: MigrationWorld, { machine }: HmmHarness): void {
  const { references } = machine.ram.refs.total();
  const left = references - memory.usedPages - (framesBefore - 1);
  if (left > 0) bug("The old frame is used, and nobody has it");
  if (machine.heap.accounting().some(({ name }) => name === MigrationRecord.name))
    bug("A migration's record is left");
}

export const deathsOfMigrations: readonly Covered[] = [
  dying("store", "another one stores to it", [WAITS, store], requireContents(BEFORE, 1), [
    unlisted("lost-wakeup"),
  ]),
  dying(
    "fork",
    "another one forks",
    [["mm/lifetime/fork.doFork", ...ENDS], fork],
    (world, harness) => {
      requireContents(BEFORE)(world, harness);
      const inChild = contents(harness, childOf(world, harness));
      if (inChild !== BEFORE) bug(`The child's page holds ${inChild}`);
    },
    [unlisted("assertion")],
  ),
  dying(
    "munmap",
    "another one unmaps it",
    [["mm/calls/munmap.doMunmap", ...ENDS], munmap],
    (world, harness) => {
      if (harness.entryOf(PAGE) !== 0) bug("The page is there after munmap");
      requireFrames(world, harness, 0);
      requireRam(world, harness);
    },
    [
      unlisted("assertion"),
      [
        "unnoted",
        "A reference of the old frame is noted nowhere.",
        "assertion",
        { migrate: toDeviceUnnoted },
      ],
      [
        "unowned",
        "The record is no resource of the thread.",
        "assertion",
        { migrate: toDeviceUnowned },
      ],
    ],
  ),
  dying(
    "mremap",
    "another one moves the mapping",
    [["mm/calls/mremap.doMremap", ...ENDS], remap],
    (_world, harness) => {
      if (harness.entryOf(PAGE) !== 0) bug("The page is at its old place");
      const pfn = ptePfn(harness.entryOf(MOVED));
      const { ram } = harness.machine;
      const value = ram.sections.of(pfn).i32[ram.sections.wordIndex(pfn)];
      if (value !== BEFORE) bug(`At its new place the page holds ${value}`);
    },
    [unlisted("assertion")],
  ),
  dying(
    "view",
    "another one opens a view of it",
    [["mm/view/view-open.viewOpen", ...ENDS], view],
    requireContents(BEFORE),
    [unlisted("assertion")],
  ),
  dying(
    "evict",
    "the device's memory is emptied",
    [["mm/migrate/device-evict.emptyDeviceMemory", ...ENDS], empty],
    requireContents(BEFORE),
    [unlisted("assertion")],
  ),
  dying(
    "mprotect",
    "another one protects it",
    [["mm/calls/mprotect.doMprotect", ...ENDS], protect],
    (world, harness) => {
      requireContents(BEFORE)(world, harness);
      const pte = harness.entryOf(PAGE);
      if (withoutWrite(pte) !== pte) bug("The page may be written after mprotect");
    },
    [unlisted("assertion")],
  ),
  dying(
    "discard",
    "another one gives it up",
    [["mm/entries/zap.zapRange"], discard],
    (world, harness) => {
      requireContents(0)(world, harness);
      requireFrames(world, harness, 1);
    },
    [["without-look", UNASKED, "assertion", { migrate: toDeviceUnasked }]],
  ),
  dying(
    "to-device",
    "another one moves it, too",
    [STEPS, toDevice],
    (world, harness) => {
      requireContents(BEFORE)(world, harness);
      requireFrames(world, harness, 1);
    },
    [unlisted("assertion")],
  ),
  dying(
    "pin",
    "another one pins it, and stores through the pin",
    [["mm/view/pin.pinUserPages", ...ENDS], pinning(false)],
    requireContents(1),
    [unlisted("assertion")],
  ),
  migrating({
    name: "death-vs-serve",
    summary:
      "A thread dies at any point of moving a page to a device, while another device faults on it.",
    exploration: { ...DYING, preemptions: 0 },
    killable: "migrate",
    prepare: mirroring(undefined, false),
    tasks: {
      migrate: [STEPS, toDevice],
      other: [["hmm/walk/fault.hmmRangeFault", ...WAITS], serveAndAdd],
    },
    check(world, harness) {
      deviceOf(world).requireCoherent();
      requireContents(BEFORE + 1)(world, harness);
    },
    twins: [unlisted("lost-wakeup")],
  }),
  migrating({
    name: "death-of-toucher",
    summary:
      "A thread dies at any point of a touch that brings a page back; another touches it, too.",
    isThere: true,
    exploration: { ...DYING, preemptions: 0 },
    killable: "dies",
    tasks: {
      dies: [["mm/fault/device-private.devicePrivateFault", ...STEPS], load],
      other: [WAITS, load],
    },
    check: requireContents(BEFORE),
    twins: [["unlisted", UNLISTED, "lost-wakeup", { dies: backUnlisted }]],
  }),
  migrating({
    name: "death-of-evictor",
    summary: "A thread dies at any point of an eviction, while another stores to the page.",
    isThere: true,
    exploration: DYING,
    killable: "evict",
    tasks: {
      evict: [["mm/migrate/device-evict.evictDeviceFrame", ...STEPS], evict],
      store: [WAITS, store],
    },
    check: requireContents(BEFORE, 1),
    twins: [
      ["unlisted", UNLISTED, "lost-wakeup", { evict: backUnlisted }, { ...DYING, preemptions: 0 }],
    ],
  }),
  migrating({
    name: "death-of-evictor-vs-exit",
    summary: "A thread dies at any point of an eviction, while the last other user goes.",
    isThere: true,
    exploration: DYING,
    killable: "evict",
    tasks: {
      evict: [["mm/migrate/device-evict.evictDeviceFrame", ...STEPS], evict],
      exit: [["mm/lifetime/mm.mmput", "mm/migration.endLeftMigrations"], exit],
    },
    check: (world, harness) => requireFrames(world, harness, 0),
    twins: [
      [
        "without-user",
        "The evictor has no user of the space.",
        "use-after-free",
        { evict: backToRam },
      ],
    ],
  }),
];
