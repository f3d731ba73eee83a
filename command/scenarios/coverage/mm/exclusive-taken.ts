/**
 * @module A device has a page for itself, and CPU threads touch it: the device has lost the page
 * before the entry lets anybody in, and gets it again only after that (X2 of
 * mm/migrate/exclusive.ts). In the twins the entry changes before the device is told, or after the
 * invalidation. And a driver that looks at its device late, when it is called for a page of it.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { registerDeviceMemoryOps } from "../../../../src/mm/fault/device-private.ts";
import { endDeviceMemory } from "../../../../src/mm/migrate/device-evict.ts";
import { migrateFaultToRam } from "../../../../src/mm/migrate/migrate-vma.ts";
import { KIND_DEVICE_EXCLUSIVE, endExclusive, pteKind } from "../../../../src/mm/pte.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { EVENT_CLEAR, invalidateRange } from "../../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../../../src/notifier/mmu-notifier.ts";
import { atomicCompareExchange } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  EXCLUSIVE,
  addByDevice,
  deviceOf,
  exclusively,
  mirroring,
  requireAlone,
  requireSum,
  takePage,
} from "./migrate-devices.ts";
import {
  type Body,
  type MigrationWorld,
  PAGE,
  addTo,
  locked,
  migrating,
  requireContents,
  store,
} from "./migrate-stage.ts";

const ONE = { engine: "bounded", preemptions: 1 } as const;
const FAULT = ["mm/fault/device-exclusive.deviceExclusiveFault"] as const;

/** The device has the page at the beginning. */
function taken(world: MigrationWorld, harness: HmmHarness): void {
  mirroring(undefined, false)(world, harness);
  assert(harness.run(takePage(harness, deviceOf(world))), "the device does not get the page");
}

const check =
  (byCpu: number) =>
  (world: MigrationWorld, harness: HmmHarness): void => {
    requireAlone(world, harness);
    requireSum(byCpu)(world, harness);
  };

/** A touch that changes the entry before the invalidation, or after it. Then the thread adds. */
function addInOrder(when: "early" | "late"): Body {
  return function* (world, harness) {
    const { machine, mm } = harness;
    const { memory } = machine;
    yield* locked(harness, function* () {
      const index = pteIndex(leafOf(memory, mm.pgd, PAGE), PAGE);
      yield* access(memory, "read", index, 1, "pte");
      const pte = memory.words[index]!;
      if (pteKind(pte) !== KIND_DEVICE_EXCLUSIVE) return;
      const change = function* (): Task<void> {
        yield* access(memory, "update", index, 1, "pte");
        atomicCompareExchange(memory.words, index, pte, endExclusive(pte));
      };
      if (when === "early") yield* change();
      const range = invalidateRange(mm, PAGE, PAGE + 1, EVENT_CLEAR);
      yield* mmuNotifierInvalidateRangeStart(machine, range);
      yield* mmuNotifierInvalidateRangeEnd(machine, range);
      if (when === "late") yield* change();
    });
    yield* addTo(0)(world, harness);
  };
}

/** A driver that has something to do before it moves the page. */
const SLOW_OPS: number = registerDeviceMemoryOps("scenario slow driver", {
  *migrateToRam(fault, device) {
    yield* access(fault.machine.memory, "read", device.at, 1, "the driver's device");
    return yield* migrateFaultToRam(fault, device);
  },
});

const endDevice: Body = ({ memory }, { machine }) => endDeviceMemory(machine, memory, Infinity);

export const exclusiveTaken: readonly Covered[] = [
  migrating({
    name: "exclusive-vs-two-adds",
    summary: "A device adds to a page that it has for itself, and so do two CPU threads.",
    exploration: ONE,
    prepare: taken,
    tasks: {
      device: [[], addByDevice],
      one: [FAULT, addTo(0)],
      other: [FAULT, addTo(0)],
    },
    check: check(2),
    twins: [
      [
        "early",
        "The entry changes before the device is told.",
        "assertion",
        { one: addInOrder("early") },
      ],
    ],
  }),
  migrating({
    name: "exclusive-again-vs-add",
    summary: "A device takes a page once more that it has for itself, while a CPU thread adds.",
    exploration: ONE,
    prepare: taken,
    tasks: {
      device: [EXCLUSIVE, exclusively()],
      cpu: [FAULT, addTo(0)],
    },
    check: check(1),
    twins: [
      [
        "late",
        "The entry changes after the invalidation.",
        "assertion",
        { cpu: addInOrder("late") },
      ],
    ],
  }),
  migrating({
    name: "end-of-device-vs-slow-driver",
    summary: "A device ends while its driver is called for a page of it, which is in no hurry.",
    isThere: true,
    exploration: ONE,
    prepare(world) {
      world.memory.opsId = SLOW_OPS;
    },
    tasks: {
      end: [["mm/migrate/device-evict.endDeviceMemory"], endDevice],
      store: [["mm/fault/device-private.devicePrivateFault"], store],
    },
    check: requireContents(1),
    twins: [],
  }),
];
