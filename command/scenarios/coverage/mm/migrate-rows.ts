/**
 * @module Pages that leave a device's memory together, because it needs room: two that follow each
 * other, as one migration, beside a thread that touches, gives up or forks one of them. Each stays
 * whole, and no frame stays used.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { isDeviceFrameUsed } from "../../../../src/memory/frames/device-frames.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { type DeviceFrame, evictDeviceFrames } from "../../../../src/mm/migrate/device-evict.ts";
import { SELECT_DEVICE, migrateRange, toRam } from "../../../../src/mm/migrate/migrate-vma.ts";
import type { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { vmaOf } from "../../../../src/mm/vma/vma.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import type { HarnessTasks, HarnessTwin } from "../on-harness.ts";
import { fork } from "./migrate-calls.ts";
import {
  ADDRESS,
  BEFORE,
  OWNER,
  PAGE,
  childOf,
  contents,
  load,
  locked,
  migrating,
  ontoDevice,
  store,
  toDeviceBy,
} from "./migrate-stage.ts";
import type { Body, MigrationWorld } from "./migrate-stage.ts";

const PAGES = 2;
const EVICT = ["mm/migrate/device-evict.evictDeviceFrames", "mm/migrate/migrate-vma.migrateRange"];

/** What page number `index` holds at the beginning. */
const valueOf = (index: number): number => BEFORE + index;

/** Both pages are on the device. */
function bothThere(world: MigrationWorld, harness: HmmHarness): void {
  harness.run(new HarnessCpu(harness).store(ADDRESS + PAGE_BYTES, valueOf(1)));
  harness.run(toDeviceBy(harness, ontoDevice(world, harness), PAGE + 1));
}

/** All frames that are used, as the hand finds them. */
const evicts: Body = ({ memory }, { machine }) => {
  const frames: DeviceFrame[] = [];
  for (let pfn = memory.basePfn; pfn < memory.basePfn + memory.pages; pfn++)
    if (isDeviceFrameUsed(memory, pfn)) frames.push({ device: memory, pfn });
  return evictDeviceFrames(machine, frames);
};

/** Broken: looks into one space only. */
const evictsHere: Body = (_world, harness) =>
  locked(harness, function* () {
    const { machine, mm } = harness;
    const vma = vmaOf(machine.memory, mm, PAGE);
    if (vma === undefined) return;
    const pages = { startPage: PAGE, endPage: PAGE + PAGES };
    const args = { machine, mm, vma, ...pages, select: SELECT_DEVICE, owner: OWNER };
    yield* migrateRange({ ...args, isByOwner: false }, toRam(machine));
  });

/** Broken: writes to the page in RAM what it held on the device before. */
const evictsOld: Body = function* (world, harness) {
  const kept = contents(harness);
  yield* access(harness.machine.memory, "read", world.memory.at, 1, "between");
  yield* evicts(world, harness);
  yield* new HarnessCpu(harness).store(ADDRESS, kept);
};

const discards: Body = (_world, { machine, mm }) =>
  doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED);

function requireValues(harness: HmmHarness, mm: Mm, first: readonly number[]): void {
  const [here, next] = [contents(harness, mm), contents(harness, mm, 0, PAGE + 1)];
  assert(first.includes(here), `the first page holds ${here}`);
  assert(next === valueOf(1), `the second page holds ${next}`);
}

/** `first`: what the first page may hold. */
const requireBack =
  (...first: readonly number[]) =>
  (world: MigrationWorld, harness: HmmHarness): void => {
    requireValues(harness, harness.mm, first);
    if (world.child > 0) requireValues(harness, childOf(world, harness), [BEFORE]);
    assert(world.memory.usedPages === 0, `${world.memory.usedPages} frames are used yet`);
  };

interface Beside {
  readonly name: string;
  readonly summary: string;
  readonly tasks: HarnessTasks<MigrationWorld>;
  readonly check: ReturnType<typeof requireBack>;
  readonly twins: readonly HarnessTwin<MigrationWorld>[];
}

const beside = ({ name, ...parts }: Beside): Covered =>
  migrating({
    ...parts,
    name: `rows/${name}`,
    pages: PAGES,
    isThere: true,
    exploration: { engine: "bounded", preemptions: 1 },
    prepare: bothThere,
  });

function* storesAndLoads(world: MigrationWorld, harness: HmmHarness): Task<void> {
  yield* store(world, harness);
  yield* load(world, harness);
}

export const migrationsOfRows: readonly Covered[] = [
  beside({
    name: "evict-vs-touch",
    summary: "Two pages leave a device together, and another thread stores to the first.",
    tasks: {
      evict: [EVICT, evicts],
      touch: [["mm/fault/device-private.devicePrivateFault"], storesAndLoads],
    },
    check: requireBack(1),
    twins: [
      [
        "old",
        "What the page held before is written to it afterwards.",
        "assertion",
        { evict: evictsOld },
      ],
    ],
  }),
  beside({
    name: "evict-vs-discard",
    summary: "Two pages leave a device together, and another thread gives up the first.",
    tasks: { evict: [EVICT, evicts], discard: [["mm/entries/zap.zapRange"], discards] },
    check: requireBack(0),
    twins: [],
  }),
  beside({
    name: "evict-vs-fork",
    summary: "Two pages leave a device together while their space is forked.",
    tasks: { evict: [EVICT, evicts], fork: [["mm/lifetime/fork.doFork"], fork] },
    check: requireBack(BEFORE),
    twins: [["here", "One space is looked into.", "assertion", { evict: evictsHere }]],
  }),
];
