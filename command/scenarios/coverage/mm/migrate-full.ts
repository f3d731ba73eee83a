/**
 * @module Pages that move while there is no room for them: a device has one frame left and two
 * pages want it, or no frame of RAM is free. What cannot move stays where it is, whole, and what
 * was asked for is refused.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { takeDeviceFrame } from "../../../../src/memory/frames/device-frames.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { evictDeviceFrame } from "../../../../src/mm/migrate/device-evict.ts";
import type { PageMover } from "../../../../src/mm/migrate/migrate-vma.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { HmmError, bug } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  ADDRESS,
  BEFORE,
  FAULTED,
  PAGE,
  contents,
  isOnDevice,
  migrating,
  ontoDevice,
  requireContents,
  toDevice,
  toDeviceBy,
  toDeviceUnasked,
} from "./migrate-stage.ts";
import type { Body, MigrationWorld } from "./migrate-stage.ts";
import { discard } from "./migrate-calls.ts";

const MOVE = ["mm/migrate/migrate-vma.migrateRange"] as const;
const TOUCH = ["mm/fault/device-private.devicePrivateFault", ...MOVE] as const;
const EVICT = ["mm/migrate/device-evict.evictDeviceFrame", ...MOVE] as const;
const PAGES = 2;

/** What page number `index` of the mapping holds at the beginning. */
const valueOf = (index: number): number => BEFORE + index;
const addressOf = (index: number): number => ADDRESS + index * PAGE_BYTES;

function fillSecond(_world: MigrationWorld, harness: HmmHarness): void {
  harness.run(new HarnessCpu(harness).store(addressOf(1), valueOf(1)));
}

/** Both pages are on the device. */
function bothThere(world: MigrationWorld, harness: HmmHarness): void {
  fillSecond(world, harness);
  harness.run(toDeviceBy(harness, ontoDevice(world, harness), PAGE + 1));
}

/** The same, and no memory is free. */
function withoutRam(world: MigrationWorld, harness: HmmHarness): void {
  bothThere(world, harness);
  harness.run(harness.shortage.begin());
}

const moves =
  (index: number, moverOf: typeof ontoDevice = ontoDevice): Body =>
  (world, harness) =>
    toDeviceBy(harness, moverOf(world, harness), PAGE + index);

/** Broken: looks for the free frame, and takes one a step later, whichever that is. */
function takingLater(world: MigrationWorld, harness: HmmHarness): PageMover {
  const { memory } = world;
  return {
    ...ontoDevice(world, harness),
    *allocPages(frames) {
      yield* access(memory.memory, "read", memory.at, 1, "device memory");
      const pfn = memory.firstFree;
      if (pfn !== 0) yield* takeDeviceFrame(memory);
      frames[0] = pfn;
    },
  };
}

/** Every page holds what it held, and the device's frames are those of its pages. */
function requireWhole({ memory, seen }: MigrationWorld, harness: HmmHarness): void {
  let there = 0;
  for (let index = 0; index < PAGES; index++) {
    const page = PAGE + index;
    const now = contents(harness, harness.mm, 0, page);
    if (now !== valueOf(index)) bug(`Page ${index} holds ${now}`);
    if (isOnDevice(harness, harness.mm, page)) there++;
  }
  if (memory.usedPages !== there) bug(`${there} pages are in ${memory.usedPages} frames`);
  for (const value of seen)
    if (value !== FAULTED && value !== valueOf(0) && value !== valueOf(1))
      bug(`A load gave ${value}`);
}

/** Loads from a page; FAULTED: there is no frame for it. */
function* loadFrom(world: MigrationWorld, harness: HmmHarness, index: number): Task<void> {
  try {
    world.seen.push(yield* new HarnessCpu(harness).load(addressOf(index)));
  } catch (error) {
    if (!(error instanceof HmmError) || error.code !== "ENOMEM") throw error;
    world.seen.push(FAULTED);
  }
}

const loads =
  (index: number): Body =>
  (world, harness) =>
    loadFrom(world, harness, index);

/** Broken: where there is no frame, the page is begun anew. */
const loadsOrBegins = (index: number): Body =>
  function* (world, harness) {
    const { machine, mm } = harness;
    yield* loadFrom(world, harness, index);
    if (world.seen.at(-1) === FAULTED)
      yield* doMadvise(machine, mm, addressOf(index), PAGE_BYTES, MADV_DONTNEED);
  };

const evicts: Body = ({ memory }, { machine }) => evictDeviceFrame(machine, memory, memory.basePfn);

/** Broken: the frame is free afterwards, whatever becomes of the page. */
const evictsAnyway: Body = function* ({ memory }, { machine, mm }) {
  if (!(yield* evictDeviceFrame(machine, memory, memory.basePfn)))
    yield* doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED);
};

/** Memory becomes free, and then the page can be had. */
function* freesAndLoads(world: MigrationWorld, harness: HmmHarness): Task<void> {
  yield* harness.shortage.end();
  yield* loadFrom(world, harness, 0);
  if (world.seen[0] !== BEFORE) bug("There is memory, and the page did not come back");
}

/** A migration of which the heap has no room to know, beside a thread that gives up the page. */
const besideDiscard: Covered = migrating({
  name: "full/unlisted-vs-discard",
  summary: "A page moves while no memory is free, and another thread gives it up.",
  shortage: true,
  exploration: { engine: "bounded", preemptions: 1 },
  prepare: (_world, harness) => harness.run(harness.shortage.begin()),
  tasks: { migrate: [MOVE, toDevice], discard: [["mm/entries/zap.zapRange"], discard] },
  check(world, harness) {
    requireContents(BEFORE, 0)(world, harness);
    const { usedPages } = world.memory;
    if (usedPages !== (isOnDevice(harness) ? 1 : 0)) bug(`${usedPages} device frames are used`);
    const { references } = harness.machine.ram.refs.total();
    const wanted = world.framesBefore - (harness.entryOf(PAGE) === 0 ? 1 : 0);
    if (references !== wanted) bug(`${references} references are left, not ${wanted}`);
  },
  twins: [
    [
      "without-look",
      "The entry is taken for the migration's own at the end.",
      "assertion",
      { migrate: toDeviceUnasked },
    ],
  ],
});

export const migrationsWithoutRoom: readonly Covered[] = [
  besideDiscard,
  migrating({
    name: "full/to-device-vs-to-device",
    summary: "Two pages move to a device that has room for one.",
    pages: PAGES,
    devicePages: 1,
    exploration: { engine: "bounded", preemptions: 2 },
    prepare: fillSecond,
    tasks: { one: [MOVE, moves(0)], other: [MOVE, moves(1)] },
    check(world, harness) {
      requireWhole(world, harness);
      if (world.memory.usedPages !== 1) bug("No page has moved");
    },
    twins: [
      [
        "taken-later",
        "A thread looks for the free frame, and takes it a step later.",
        "assertion",
        { one: moves(0, takingLater), other: moves(1, takingLater) },
      ],
    ],
  }),
  migrating({
    name: "full/touch-vs-touch",
    summary: "Two threads touch two pages of a device, and memory runs out at any moment.",
    pages: PAGES,
    shortage: true,
    isThere: true,
    exploration: { engine: "bounded", preemptions: 1 },
    prepare: bothThere,
    tasks: {
      one: [TOUCH, loads(0)],
      other: [TOUCH, loads(1)],
      shortage: [[], (_world, harness) => harness.shortage.begin()],
    },
    check: requireWhole,
    twins: [
      [
        "begun-anew",
        "Where there is no frame, the page is given up.",
        "assertion",
        { one: loadsOrBegins(0), other: loadsOrBegins(1) },
      ],
    ],
  }),
  migrating({
    name: "full/evict-vs-touch",
    summary:
      "A frame is evicted while memory is used up; another thread frees some, and touches the page.",
    pages: PAGES,
    shortage: true,
    isThere: true,
    exploration: { engine: "bounded", preemptions: 1 },
    prepare: withoutRam,
    tasks: { evict: [EVICT, evicts], touch: [TOUCH, freesAndLoads] },
    check: requireWhole,
    twins: [
      [
        "anyway",
        "An eviction that cannot move the page gives it up.",
        "assertion",
        { evict: evictsAnyway },
      ],
    ],
  }),
];
