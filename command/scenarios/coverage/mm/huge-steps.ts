/**
 * @module One thread alone that moves a huge page to a device (mm/migrate/migrate-huge.ts). One of
 * its pages gets a frame and the others none, or the block is given up between two steps, or only
 * one page of it is to move. What does not move as a whole is split before one of its entries is
 * not like the others, and frames that were not needed are given back.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { takeDeviceFrame, takeDeviceRun } from "../../../../src/memory/frames/device-frames.ts";
import { zapRange } from "../../../../src/mm/entries/zap.ts";
import { HUGE_PAGES, isHugeAt } from "../../../../src/mm/huge.ts";
import {
  type Migration,
  SELECT_SYSTEM,
  migrateRange,
  migrateVmaFinalize,
  migrateVmaPages,
  pageCopiers,
  sourcePfn,
} from "../../../../src/mm/migrate/migrate-vma.ts";
import { KIND_DEVICE_PRIVATE, pteKind } from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { vmaOf } from "../../../../src/mm/vma/vma.ts";
import { EVENT_CLEAR, invalidateRange } from "../../../../src/notifier/events.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import type { HarnessBody } from "../on-harness.ts";
import {
  BEFORE,
  type HugeWorld,
  OWNER,
  START,
  contentsOf,
  huge,
  isolateBlock,
  requireWhole,
} from "./huge-stage.ts";

type Body = HarnessBody<HugeWorld>;

/** The page with contents. */
const PAGE = 5;

/** Pages of the block that are on the device now, and whether they are a huge page. */
function requireState(
  world: HugeWorld,
  harness: HmmHarness,
  { onDevice, isHuge }: { readonly onDevice: number; readonly isHuge: boolean },
): void {
  const { machine, mm } = harness;
  requireWhole(world, harness);
  assert(isHugeAt(machine.memory, mm, START) === isHuge, `a huge page: ${!isHuge}`);
  let there = 0;
  for (let page = START; page < START + HUGE_PAGES; page++)
    if (pteKind(harness.entryOf(page)) === KIND_DEVICE_PRIVATE) there++;
  const { usedPages } = world.memory;
  assert(there === onDevice, `${there} pages are on the device`);
  assert(usedPages === onDevice, `${usedPages} frames of the device are used`);
}

function* locked({ mm }: HmmHarness, task: () => Task<void>): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* task();
  yield* mm.mmapLock.upRead();
}

/** The last two steps, after which so many pages have moved. `between`: what comes between them. */
function* endAs(migration: Migration, wanted: number, between?: () => Task<unknown>): Task<void> {
  const pages = yield* migrateVmaPages(migration);
  const isLater = between !== undefined;
  if (isLater) yield* between();
  else assert(pages === wanted, `${pages} pages are to move`);
  const moved = yield* migrateVmaFinalize(migration);
  assert(moved === wanted, `${moved} pages have moved`);
}

/** There is a frame for one page alone. */
const movesOne: Body = (world, harness) =>
  locked(harness, function* () {
    const { machine, mm } = harness;
    const migration = yield* isolateBlock(machine, mm);
    const to = yield* takeDeviceFrame(world.memory);
    migration.dst[PAGE] = to;
    yield* machine.ram.copyFrame(sourcePfn(migration, PAGE), to);
    yield* endAs(migration, 1);
    requireState(world, harness, { onDevice: 1, isHuge: false });
    assert(contentsOf(harness, PAGE) === BEFORE, "the page that has moved is another");
  });

function giveUp({ machine, mm }: HmmHarness): Task<number> {
  return zapRange(machine, mm, invalidateRange(mm, START, START + HUGE_PAGES, EVENT_CLEAR));
}

/** The block is given up before, or after, it is settled that it moves: it does not. */
const isGivenUp =
  (isLate: boolean): Body =>
  (world, harness) =>
    locked(harness, function* () {
      const { machine, mm } = harness;
      const migration = yield* isolateBlock(machine, mm);
      const first = yield* takeDeviceRun(world.memory);
      for (let k = 0; k < HUGE_PAGES; k++) migration.dst[k] = first + k;
      if (isLate) {
        yield* endAs(migration, 0, () => giveUp(harness));
      } else {
        yield* giveUp(harness);
        yield* endAs(migration, 0);
      }
      requireState(world, harness, { onDevice: 0, isHuge: true });
      assert(harness.entryOf(START + PAGE) === 0, "the page that was given up is back");
    });

/** By a mover that knows no huge pages. */
function* move(
  world: HugeWorld,
  { machine, mm }: HmmHarness,
  startPage: number,
  endPage: number,
): Task<number> {
  const vma = vmaOf(machine.memory, mm, startPage) ?? bug("nothing is mapped");
  const args = { machine, mm, vma, startPage, endPage, select: SELECT_SYSTEM, owner: OWNER };
  const { copy } = pageCopiers(machine);
  const result = yield* migrateRange(args, { alloc: () => takeDeviceFrame(world.memory), copy });
  return typeof result === "number" ? bug(`the move answered ${result}`) : result.moved;
}

/** One page of the block is to move, and the others are not. */
const movesPage: Body = (world, harness) =>
  locked(harness, function* () {
    const moved = yield* move(world, harness, START + PAGE, START + PAGE + 1);
    assert(moved === 1, `${moved} pages have moved`);
    requireState(world, harness, { onDevice: 1, isHuge: false });
    assert(contentsOf(harness, PAGE) === BEFORE, "the page that has moved is another");
  });

/** One page of the block is pinned: it stays, and the others move. */
const movesRest: Body = function* (world, harness) {
  const { machine, mm } = harness;
  const view = yield* viewOpen(machine, mm, START + PAGE, START + PAGE + 1, false);
  assert(view > 0, `opening answered ${view}`);
  yield* locked(harness, function* () {
    const moved = yield* move(world, harness, START, START + HUGE_PAGES);
    assert(moved === HUGE_PAGES - 1, `${moved} pages have moved`);
  });
  yield* viewClose(machine, view);
  requireState(world, harness, { onDevice: HUGE_PAGES - 1, isHuge: false });
  assert(contentsOf(harness, PAGE) === BEFORE, "the page that was pinned is another");
};

const STEPS = [
  "mm/migrate/migrate-huge.isolateHuge",
  "mm/migrate/migrate-vma.migrateVmaPages",
  "mm/migration.endMigration",
] as const;
const MOVE = ["mm/migrate/migrate-vma.migrateRange", "mm/huge.splitHuge"] as const;

function alone(name: string, summary: string, runs: readonly string[], body: Body): Covered {
  const tasks = { thread: [runs, body] } as const;
  return huge({ name: `steps/${name}`, summary, state: "written", tasks, twins: [] });
}

export const hugeSteps: readonly Covered[] = [
  alone(
    "one-frame",
    "A huge page is to move, and there is a frame for one page of it.",
    STEPS,
    movesOne,
  ),
  alone(
    "given-up",
    "A huge page is given up before it is settled that it moves.",
    STEPS,
    isGivenUp(false),
  ),
  alone(
    "given-up-late",
    "A huge page is given up after it is settled that it moves.",
    STEPS,
    isGivenUp(true),
  ),
  alone("one-page", "One page of a huge page moves.", MOVE, movesPage),
  alone(
    "pinned-page",
    "A huge page moves but for one page of it, which is pinned.",
    MOVE,
    movesRest,
  ),
];
