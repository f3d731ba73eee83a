/**
 * @module A touch of a page in a device's memory that brings the page behind it as well, for the
 * one before it lies in RAM (mm/migrate/stream-to-ram.ts): beside a thread that touches or gives up
 * that page. Each page stays whole, and no frame of the device stays used.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  ADDRESS,
  BEFORE,
  PAGE,
  STREAM_OPS,
  contents,
  isOnDevice,
  migrating,
  ontoDevice,
  toDeviceBy,
} from "./migrate-stage.ts";
import type { Body, MigrationWorld } from "./migrate-stage.ts";

/** The first lies in RAM, the others are on the device. */
const PAGES = 3;
const TOUCH = [
  "mm/migrate/stream-to-ram.migrateStreamToRam",
  "mm/migrate/migrate-vma.migrateRange",
];

const valueOf = (index: number): number => BEFORE + index;
const addressOf = (index: number): number => ADDRESS + index * PAGE_BYTES;

function othersThere(world: MigrationWorld, harness: HmmHarness): void {
  for (let index = 1; index < PAGES; index++) {
    harness.run(new HarnessCpu(harness).store(addressOf(index), valueOf(index)));
    harness.run(toDeviceBy(harness, ontoDevice(world, harness), PAGE + index));
  }
}

const touches: Body = function* (world, harness) {
  world.seen.push(yield* new HarnessCpu(harness).load(addressOf(1)));
};

/** Broken: writes to the page behind what it held before. */
const touchesOld: Body = function* (world, harness) {
  const kept = contents(harness, harness.mm, 0, PAGE + 2);
  yield* access(harness.machine.memory, "read", world.memory.at, 1, "between");
  yield* touches(world, harness);
  yield* new HarnessCpu(harness).store(addressOf(2), kept);
};

const stores: Body = (_world, harness) => new HarnessCpu(harness).store(addressOf(2), 1);

const discards: Body = (_world, { machine, mm }) =>
  doMadvise(machine, mm, addressOf(2), PAGE_BYTES, MADV_DONTNEED);

/** `last`: what the last page holds. */
const requireBack =
  (last: number) =>
  ({ memory, seen }: MigrationWorld, harness: HmmHarness): void => {
    for (const value of seen) assert(value === valueOf(1), `a load gave ${value}`);
    for (const [index, value] of [valueOf(0), valueOf(1), last].entries()) {
      const now = contents(harness, harness.mm, 0, PAGE + index);
      assert(now === value, `page ${index} holds ${now}`);
      assert(!isOnDevice(harness, harness.mm, PAGE + index), `page ${index} is on the device`);
    }
    assert(memory.usedPages === 0, `${memory.usedPages} frames are used yet`);
  };

const common = {
  pages: PAGES,
  opsId: STREAM_OPS,
  exploration: { engine: "bounded", preemptions: 1 },
  prepare: othersThere,
} as const;

export const migrationsOfStreams: readonly Covered[] = [
  migrating({
    ...common,
    name: "stream/touch-vs-store",
    summary: "A thread touches a page, which brings the next one as well; another stores to that.",
    tasks: {
      touch: [TOUCH, touches],
      store: [["mm/fault/device-private.devicePrivateFault"], stores],
    },
    check: requireBack(1),
    twins: [
      [
        "old",
        "What the next page held before is written to it afterwards.",
        "assertion",
        { touch: touchesOld },
      ],
    ],
  }),
  migrating({
    ...common,
    name: "stream/touch-vs-discard",
    summary: "A thread touches a page, which brings the next one as well; another gives that up.",
    tasks: { touch: [TOUCH, touches], discard: [["mm/entries/zap.zapRange"], discards] },
    check: requireBack(0),
    twins: [],
  }),
];
