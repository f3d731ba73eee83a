/**
 * @module What the exhibits of this folder have in common: a page that can move to a device's
 * memory, and its entry.
 */

import { harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness, HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { DEVICE_PRIVATE } from "../../../src/memory/frames/device-frames.ts";
import { KIND_DEVICE_PRIVATE, pteKind } from "../../../src/mm/pte.ts";
import type { VmFault } from "../../../src/mm/fault/vm-fault.ts";
import { vmaOf } from "../../../src/mm/vma/vma.ts";
import { leafOf, pteIndex } from "../../../src/mmu/radix-table.ts";
import { atomicLoad } from "../../../src/sync/atomics.ts";
import { type Task, access } from "../../../src/sync/tasks/task.ts";
import {
  MIGRATION_HARNESS,
  type MigrationWorld,
  PAGE,
  forgetRun,
  makeWorld,
} from "../coverage/mm/migrate-stage.ts";

type Own = Pick<
  HarnessScenario<MigrationWorld>,
  "name" | "summary" | "expects" | "exploration" | "tasks" | "check"
>;

interface Parts extends Own {
  /** The page is on the device at the beginning. Default false. */
  readonly isThere?: boolean;
  readonly prepare?: (harness: HmmHarness) => void;
  /** After the page was put where it is. */
  readonly prepareLast?: (harness: HmmHarness) => void;
}

/** A scenario about one page that is in RAM, or in a device's private memory. */
export function moving({ isThere = false, prepare, prepareLast, ...own }: Parts): AnyScenario {
  return harnessScenario<MigrationWorld>({
    ...own,
    harness: MIGRATION_HARNESS,
    setup(harness) {
      prepare?.(harness);
      const world = makeWorld(harness, DEVICE_PRIVATE, isThere);
      prepareLast?.(harness);
      return world;
    },
    reopen: forgetRun,
  });
}

/** Word index of the page's entry. The set-up has made its table. */
export function entryIndex({ machine, mm }: HmmHarness): number {
  return pteIndex(leafOf(machine.memory, mm.pgd, PAGE), PAGE);
}

/** The fault of a page in private memory, or undefined: it is not there. */
export function devicePageFault(harness: HmmHarness): Task<VmFault | undefined> {
  return pageFaultOf(harness, KIND_DEVICE_PRIVATE);
}

/**
 * Reads the page's entry as a fault does: the fault, or undefined if it is not of that kind.
 * Holding the mmap lock.
 */
export function* pageFaultOf(harness: HmmHarness, kind: number): Task<VmFault | undefined> {
  const { machine, mm } = harness;
  const vma = vmaOf(machine.memory, mm, PAGE);
  const index = entryIndex(harness);
  yield* access(machine.memory, "read", index, 1, "pte");
  const pte = atomicLoad(machine.memory.words, index);
  if (vma === undefined || pteKind(pte) !== kind) return undefined;
  return { machine, mm, vma, page: PAGE, isWrite: false, index, pte };
}
