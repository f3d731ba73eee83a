/**
 * @module Devices that mirror a page while it moves to a device's memory, and pages that are a
 * device's alone (mm/migrate/exclusive.ts). A device uses a translation under its driver lock only
 * (R4). So whoever moves the page, or takes it back, has what the device stored before, and the
 * device stores nothing after.
 */

import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { DEFAULT_ENCODING, entryIsWritable, entryPfn } from "../../../../src/hmm/entry.ts";
import { registerMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import { hmmRangeAlloc, hmmRangeFree, withHmmRange } from "../../../../src/hmm/range/range.ts";
import { hmmRangeValid, hmmRangeWaitUntilValid } from "../../../../src/hmm/range/valid.ts";
import type { HmmRange } from "../../../../src/hmm/range/range.ts";
import { hmmRangeExclusive } from "../../../../src/hmm/walk/exclusive.ts";
import { dataStep } from "../../../../src/memory/frames/page-data.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { doMremap } from "../../../../src/mm/calls/mremap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { NOBODY, SELECT_ALL_SYSTEM } from "../../../../src/mm/migrate/migrate-vma.ts";
import { evictDeviceFrame } from "../../../../src/mm/migrate/device-evict.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  PAGE_BYTES,
  makeNonPresent,
  pteKind,
  ptePfn,
  withoutWrite,
} from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { VM_READ } from "../../../../src/mm/vma/vma.ts";
import { EVENT_MIGRATE } from "../../../../src/notifier/events.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { EBUSY, EFAULT, ENOMEM, EPERM } from "../../../../src/sync/errno.ts";
import type { Errno } from "../../../../src/sync/errno.ts";
import { bug } from "../../../../src/sync/errors.ts";
import { DONE_TRUE, access } from "../../../../src/sync/tasks/task.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import type { HarnessTwin } from "../on-harness.ts";
import { withoutFlush } from "./left-out.ts";
import {
  ADDRESS,
  BEFORE,
  OWNER,
  PAGE,
  addTo,
  childOf,
  claimEntry,
  contents,
  copiesEarly,
  locked,
  migrating,
  ontoDevice,
  toDevice,
  toDeviceBy,
  toDeviceUnlisted,
  toRamAs,
} from "./migrate-stage.ts";
import type { Body, MigrationWorld } from "./migrate-stage.ts";

/** What the device adds to the page's first word. */
const ADDED = 100;

/** The driver of the device that moves pages: it sees to its own translations itself. */
const SKIPPING_OPS: number = registerMirrorOps("scenario device that skips its own", {
  *invalidate(mirror, range) {
    if (range.event === EVENT_MIGRATE && range.owner === OWNER) return 0;
    yield* sweep(mirror, range.startPage, range.endPage);
    return 0;
  },
});

/** Broken: never lets go. */
const DEAF_OPS: number = registerMirrorOps("scenario device that does not hear", {
  *invalidate() {
    return 0;
  },
});

function* sweep(
  mirror: Parameters<typeof HarnessDevice.recordOf>[0],
  startPage: number,
  endPage: number,
): Task<void> {
  const record = HarnessDevice.recordOf(mirror);
  yield* record.driverLock.lock();
  HarnessDevice.sweep(record, { startPage, endPage });
  yield* record.driverLock.unlock();
}

export function deviceOf({ device }: MigrationWorld): HarnessDevice {
  return device ?? bug("The scenario has no device");
}

/** As `prepare`: a device that mirrors the page, writable if `isWrite`. */
export function mirroring(opsId: number | undefined, isWrite: boolean, isDeafTwin = false) {
  return (world: MigrationWorld, harness: HmmHarness): void => {
    world.device = HarnessDevice.registered(harness, opsId);
    if (isDeafTwin) world.deaf = HarnessDevice.registered(harness, DEAF_OPS);
    if (isWrite) harness.run(world.device.serve(PAGE, 1, { write: true }));
  };
}

/** The device adds to the word, by two accesses, where it may write the page. */
export function* addByDevice(
  world: MigrationWorld,
  { machine }: HmmHarness,
  device: HarnessDevice = deviceOf(world),
): Task<void> {
  yield* device.driverLock.lock();
  const entry = device.entry(PAGE);
  if (entryIsWritable(entry, DEFAULT_ENCODING)) {
    const pfn = entryPfn(entry, DEFAULT_ENCODING);
    const { i32 } = machine.ram.sections.of(pfn);
    const at = machine.ram.sections.wordIndex(pfn);
    yield* dataStep(machine.memory, "read", pfn);
    const value = i32[at]!;
    yield* dataStep(machine.memory, "write", pfn);
    i32[at] = value + ADDED;
    world.added += ADDED;
  }
  yield* device.driverLock.unlock();
}

export function requireSum(byCpu: number): (world: MigrationWorld, harness: HmmHarness) => void {
  return (world, harness) => {
    const now = contents(harness);
    const expected = BEFORE + byCpu + world.added;
    if (now !== expected) bug(`The word holds ${now}; what was added makes ${expected}`);
  };
}

/** What a device may write is its alone. */
export function requireAlone({ device, deaf }: MigrationWorld, harness: HmmHarness): void {
  const pte = harness.entryOf(PAGE);
  for (const { record } of [device, deaf].filter((one) => one !== undefined)) {
    const entry = record.table.get(0);
    if (!entryIsWritable(entry, DEFAULT_ENCODING)) continue;
    const isIts = ptePfn(pte) === entryPfn(entry, DEFAULT_ENCODING);
    if (pteKind(pte) !== KIND_DEVICE_EXCLUSIVE || !isIts)
      bug("The device may write a page that is not its alone");
  }
}

export function* serve(world: MigrationWorld): Task<void> {
  yield* requireAnswer(deviceOf(world).serve(PAGE, 1), [0, EBUSY]);
}

/** The device reaches the page, which brings it back; then its thread adds. */
export function* serveAndAdd(world: MigrationWorld, harness: HmmHarness): Task<void> {
  yield* serve(world);
  yield* addTo(0)(world, harness);
}

const evict: Body = ({ memory }, { machine }) => evictDeviceFrame(machine, memory, memory.basePfn);

export function* serveUnchecked(world: MigrationWorld): Task<void> {
  const isValid = (): Task<boolean> => DONE_TRUE;
  yield* requireAnswer(deviceOf(world).serve(PAGE, 1, { isValid }), [0, EBUSY]);
}

function* requireAnswer(task: Task<Errno>, allowed: readonly Errno[]): Task<void> {
  const answer = yield* task;
  if (!allowed.includes(answer)) bug(`The device answered ${answer}`);
}

/** Moves the page; the driver drops its own translation before the copy, or, broken, after it. */
function moveOwn(isLate: boolean): Body {
  return (world, harness) => {
    const { mirror } = deviceOf(world);
    const mover = ontoDevice(world, harness);
    return toDeviceBy(harness, {
      ...mover,
      *copy(from, to) {
        if (!isLate) yield* sweep(mirror, PAGE, PAGE + 1);
        yield* mover.copy(from, to);
        if (isLate) yield* sweep(mirror, PAGE, PAGE + 1);
      },
    });
  };
}

/** The device takes the page for itself, and adds. */
export function exclusively(choose: (world: MigrationWorld) => HarnessDevice = deviceOf): Body {
  return function* (world, harness) {
    const device = choose(world);
    if (yield* takePage(harness, device)) yield* addByDevice(world, harness, device);
  };
}

/** False: it does not get it. */
export function* takePage(harness: HmmHarness, device: HarnessDevice): Task<boolean> {
  const range = yield* hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) });
  if (typeof range === "number") bug(`Cannot allocate a range: ${range}`);
  const answer = yield* withHmmRange(range, device.mirror, ADDRESS, ADDRESS + PAGE_BYTES, () =>
    take(harness, device, range),
  );
  yield* hmmRangeFree(range);
  if (![0, EBUSY, EFAULT, EPERM, ENOMEM].includes(answer))
    bug(`Exclusive access answered ${answer}`);
  return answer === 0;
}

function* take({ mm }: HmmHarness, device: HarnessDevice, range: HmmRange): Task<Errno> {
  if (!(yield* hmmRangeWaitUntilValid(range, Infinity))) return EBUSY;
  yield* mm.mmapLock.downRead();
  const pages = yield* hmmRangeExclusive(range, OWNER);
  yield* mm.mmapLock.upRead();
  if (pages < 0) return pages;
  yield* device.driverLock.lock();
  const isGood = yield* hmmRangeValid(range);
  if (isGood) device.program(range);
  yield* device.driverLock.unlock();
  return isGood ? 0 : EBUSY;
}

/** Broken: for a moment the page is nobody's, and no migration is listed. */
const takesInTwo: Body = (_world, harness) =>
  locked(harness, function* () {
    const { machine, mm } = harness;
    const { memory } = machine;
    const pfn = ptePfn(harness.entryOf(PAGE));
    const index = pteIndex(leafOf(memory, mm.pgd, PAGE), PAGE);
    yield* access(memory, "write", index, 1, "pte");
    claimEntry(harness, pfn);
    yield* mm.shootdown.flush(PAGE, PAGE + 1);
    yield* access(memory, "write", index, 1, "pte");
    atomicStore(memory.words, index, makeNonPresent(KIND_DEVICE_EXCLUSIVE, pfn));
    yield* mm.migrations.wakeAll();
  });

function* fork(world: MigrationWorld, { machine, mm }: HmmHarness): Task<void> {
  world.child = yield* doFork(machine, mm);
}

/** Moves the page to another frame of RAM, also if it is a device's alone. */
function moveAnyway(_world: MigrationWorld, harness: HmmHarness): Task<void> {
  return toRamAs(harness, SELECT_ALL_SYSTEM, NOBODY);
}

export const EXCLUSIVE: readonly string[] = [
  "hmm/walk/exclusive.hmmRangeExclusive",
  "mm/migrate/exclusive.makeDeviceExclusive",
];
const STEPS = ["mm/migrate/migrate-vma.migrateRange"] as const;
const ACCESS = ["mm/fault/cpu-fault.fault"] as const;
const DYING = { engine: "bounded", preemptions: 0, deaths: 1 } as const;
const BOUNDED = { engine: "bounded", preemptions: 2 } as const;

const DEAF: HarnessTwin<MigrationWorld> = [
  "deaf",
  "The device's driver does not end the access when it is notified.",
  "assertion",
  { device: exclusively(({ deaf }) => deaf ?? bug("no such device")) },
];

/** An exclusive page is not moved, so the device need not hear of it. */
const MOVED_DEAF: HarnessTwin<MigrationWorld> = [
  "moved",
  "The page moves all the same, and the driver does not end the access when it is notified.",
  "assertion",
  { device: exclusively(({ deaf }) => deaf ?? bug("no such device")), call: moveAnyway },
];

/** What ends the access of a device, and what the page holds then. */
const exclusiveCalls: readonly (readonly [
  name: string,
  runs: readonly string[],
  body: Body,
  check: (world: MigrationWorld, harness: HmmHarness) => void,
])[] = [
  [
    "mprotect",
    ["mm/calls/mprotect.doMprotect"],
    (_world, { machine, mm }) => doMprotect(machine, mm, ADDRESS, PAGE_BYTES, VM_READ),
    (world, harness) => {
      requireSum(0)(world, harness);
      const pte = harness.entryOf(PAGE);
      if (withoutWrite(pte) !== pte) bug("The page may be written after mprotect");
    },
  ],
  [
    "munmap",
    ["mm/calls/munmap.doMunmap"],
    (_world, { machine, mm }) => doMunmap(machine, mm, ADDRESS, PAGE_BYTES),
    (_world, harness) => {
      if (harness.entryOf(PAGE) !== 0) bug("The page is there after munmap");
    },
  ],
  [
    "discard",
    ["mm/entries/zap.zapRange"],
    (_world, { machine, mm }) => doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED),
    () => {},
  ],
  ["migration", STEPS, toDevice, requireSum(0)],
  [
    "mremap",
    ["mm/calls/mremap.doMremap"],
    (_world, { machine, mm }) =>
      doMremap(machine, mm, {
        address: ADDRESS,
        oldLengthBytes: PAGE_BYTES,
        newLengthBytes: PAGE_BYTES,
        mayMove: true,
        to: ADDRESS + 4 * PAGE_BYTES,
      }),
    ({ added }, harness) => {
      if (harness.entryOf(PAGE) !== 0) bug("The page is at its old place");
      const pfn = ptePfn(harness.entryOf(PAGE + 4));
      const { sections } = harness.machine.ram;
      const now = sections.of(pfn).i32[sections.wordIndex(pfn)]!;
      if (now !== BEFORE + added) bug(`At its new place the page holds ${now}`);
    },
  ],
  [
    "view",
    ["mm/view/view-open.viewOpen"],
    function* (_world, { machine, mm }) {
      const at = yield* viewOpen(machine, mm, PAGE, PAGE + 1, true);
      if (at < 0) bug(`A view of a page that can be had answered ${at}`);
      yield* viewClose(machine, at);
    },
    requireSum(0),
  ],
];

export const migrationsBesideDevices: readonly Covered[] = [
  migrating({
    name: "to-device-vs-serve",
    summary: "A page moves to one device's private memory while another device faults on it.",
    exploration: BOUNDED,
    prepare: mirroring(undefined, false),
    tasks: { migrate: [STEPS, toDevice], serve: [["hmm/walk/fault.hmmRangeFault"], serve] },
    check(world, harness): void {
      deviceOf(world).requireCoherent();
      requireSum(0)(world, harness);
    },
    twins: [
      [
        "without-check",
        "The device programs what it has read without asking whether the range is valid.",
        "assertion",
        { serve: serveUnchecked },
      ],
    ],
  }),
  migrating({
    name: "evict-vs-serve",
    summary: "A page's frame is evicted from one device while another device faults on the page.",
    isThere: true,
    exploration: { engine: "bounded", preemptions: 1 },
    prepare: mirroring(undefined, false),
    tasks: {
      evict: [["mm/migrate/device-evict.evictDeviceFrame", ...STEPS], evict],
      serve: [["hmm/walk/fault.hmmRangeFault"], serveAndAdd],
    },
    check(world, harness): void {
      deviceOf(world).requireCoherent();
      requireSum(1)(world, harness);
      if (world.memory.usedPages !== 0) bug("A frame of the device is used");
    },
    twins: [
      [
        "copied-early",
        "The contents are copied before the entry is taken.",
        "assertion",
        { evict: copiesEarly(evict) },
      ],
    ],
  }),
  migrating({
    name: "own-event-skipped-vs-device",
    summary:
      "A device skips the event of its own migration: it drops its translation itself, before it copies.",
    prepare: mirroring(SKIPPING_OPS, true),
    tasks: { migrate: [STEPS, moveOwn(false)], device: [[], addByDevice] },
    check: requireSum(0),
    twins: [
      [
        "dropped-late",
        "It drops the translation after the copy.",
        "assertion",
        { migrate: moveOwn(true) },
      ],
    ],
  }),
  migrating({
    name: "exclusive-vs-add",
    summary:
      "A device has a page for itself, and adds by two accesses, while a CPU thread adds atomically.",
    exploration: BOUNDED,
    prepare: mirroring(undefined, false, true),
    tasks: {
      device: [EXCLUSIVE, exclusively()],
      cpu: [[...ACCESS, "mm/fault/device-exclusive.deviceExclusiveFault"], addTo(0)],
    },
    check: requireSum(1),
    twins: [
      [
        "without-flush",
        "The entry is taken from the CPU without a flush.",
        "assertion",
        { device: (world, harness) => withoutFlush(1, exclusively()(world, harness)) },
      ],
      [
        "deaf",
        "The device's driver does not end the access when it is notified.",
        "assertion",
        { device: exclusively(({ deaf }) => deaf ?? bug("no such device")) },
      ],
    ],
  }),
  migrating({
    name: "exclusive-vs-fork",
    summary: "A device has a page for itself while a fork shares it.",
    exploration: BOUNDED,
    prepare: mirroring(undefined, false, true),
    tasks: { device: [EXCLUSIVE, exclusively()], fork: [["mm/lifetime/fork.doFork"], fork] },
    check(world, harness): void {
      requireSum(0)(world, harness);
      const inChild = contents(harness, childOf(world, harness));
      if (inChild !== BEFORE && inChild !== BEFORE + ADDED)
        bug(`The child's word holds ${inChild}`);
      requireAlone(world, harness);
    },
    twins: [DEAF],
  }),
  ...exclusiveCalls.map(([name, runs, body, check]) =>
    migrating({
      name: `exclusive-vs-${name}`,
      summary: `A device has a page for itself while another thread calls ${name}.`,
      exploration: { engine: "bounded", preemptions: 1 },
      prepare: mirroring(undefined, false, true),
      tasks: { device: [EXCLUSIVE, exclusively()], call: [runs, body] },
      check(world, harness): void {
        check(world, harness);
        requireAlone(world, harness);
      },
      twins: [name === "migration" ? MOVED_DEAF : DEAF],
    }),
  ),
  migrating({
    name: "death-vs-exclusive",
    summary:
      "A thread dies at any point of moving a page to a device, while a device takes it for itself.",
    exploration: DYING,
    killable: "migrate",
    prepare: mirroring(undefined, false),
    tasks: { migrate: [STEPS, toDevice], device: [EXCLUSIVE, exclusively()] },
    check: requireSum(0),
    twins: [
      [
        "unlisted",
        "The migration is not listed: nobody knows how to end it.",
        "lost-wakeup",
        { migrate: toDeviceUnlisted },
      ],
    ],
  }),
  migrating({
    name: "death-of-exclusive",
    summary: "A thread dies at any point of taking a page for a device, while a CPU thread adds.",
    exploration: DYING,
    killable: "device",
    prepare: mirroring(undefined, false),
    tasks: { device: [EXCLUSIVE, exclusively()], cpu: [ACCESS, addTo(0)] },
    check: requireSum(1),
    twins: [
      [
        "in-two",
        "The entry is taken from the CPU, and says only a step later whose the page is.",
        "lost-wakeup",
        { device: takesInTwo },
      ],
    ],
  }),
];
