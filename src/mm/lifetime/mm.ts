/**
 * @module mm/lifetime/mm
 * The two counts of an address space, its birth and its end. Follows Linux `kernel/fork.c`
 * (mm_init, mmput, __mmdrop) and `exit_mmap` in `mm/mmap.c`.
 *
 *   M1  `users` counts the users of the address space (R2), `count` the holders of the struct's
 *       memory. All users together own one count.
 *   M2  `users` never rises from 0. A holder of a count gets a user by `mmgetNotZero` only.
 *   M3  Exit runs once, in the thread that dropped the last user, which holds no lock. First every
 *       notifier is released, so no device uses the pages any more. Then frames, tables and vmas
 *       are freed, and last the users' count is dropped.
 *   M4  To hold the mmap lock is to hold a user. Only `mmExit` has neither: it is alone.
 */

import { notifierSrcu, mmuNotifierRelease } from "../../notifier/mmu-notifier.ts";
import type { Machine } from "../../memory/machine.ts";
import { assertNoLockHeld } from "../../sync/lockdep/held-locks.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { Mm } from "../mm-struct.ts";
import { PGD_WORDS, TASK_SIZE_PAGES, freeTables } from "../../mmu/radix-table.ts";
import { leaveDeviceSpaces } from "../device-spaces.ts";
import { HUGE_MADVISE } from "../vma/huge-vma.ts";
import { freeAllVmas } from "../vma/vma-map.ts";
import { endLeftMigrations } from "../migration.ts";
import { zapEverything } from "../zap.ts";

/** Linux's default for `vm.max_map_count`. */
const DEFAULT_LIMIT_VMAS = 65_530;

export interface MmLimits {
  /** Pages that all mappings together may span. Default: the whole address range. */
  readonly pages?: number;
  /** Number of vmas. Default 65,530. */
  readonly vmas?: number;
  /** Which mappings have huge pages (vma/huge-vma.ts). Default HUGE_MADVISE. */
  readonly hugeMode?: number;
}

/** A new, empty address space with one user. 0 = ENOMEM. */
export function* mmCreate(machine: Machine, limits: MmLimits = {}): Task<number> {
  const { heap, memory } = machine;
  const at = yield* heap.alloc(Mm);
  if (at === 0) return 0;
  const pgd = yield* heap.allocWords(PGD_WORDS);
  if (pgd === 0) {
    yield* heap.free(Mm, at);
    return 0;
  }
  const mm = Mm.at(memory, at);
  mm.users.init(1);
  mm.count.init(1);
  mm.mmapLock.init();
  mm.pageTableLock.init();
  mm.notifiers.init();
  mm.shootdown.init();
  mm.holds.init();
  mm.pins.init();
  mm.migrations.init();
  mm.moving.init();
  mm.migrationsLock.init();
  mm.pgd = pgd;
  mm.limitPages = Math.min(limits.pages ?? TASK_SIZE_PAGES, TASK_SIZE_PAGES);
  mm.limitVmas = limits.vmas ?? DEFAULT_LIMIT_VMAS;
  mm.hugeMode = limits.hugeMode ?? HUGE_MADVISE;
  // Made now, while no lock is held: the first walk of the notifiers must not fail for lack of
  // memory.
  yield* notifierSrcu(machine);
  return at;
}

/** One more user. The caller has one already (M2). Pairs with `mmput`. */
export function mmget(mm: Mm): Task<void> {
  return mm.users.get();
}

/**
 * A user, unless exit has begun; then false, for ever. The caller has a count. Pairs with `mmput`.
 */
export function mmgetNotZero(mm: Mm): Task<boolean> {
  return mm.users.getNotZero();
}

/**
 * Drops a user. The last one runs the whole exit here, so the caller holds no lock and is in no
 * call-back.
 */
export function* mmput(machine: Machine, mm: Mm): Task<void> {
  assertNoLockHeld(
    mm.memory,
    "mmput",
    "dropping the last user takes the address space down, which takes every lock of it",
  );
  if (yield* mm.users.put()) yield* mmExit(machine, mm);
}

/** Keeps the struct's memory (not the address space) until `mmdrop`. */
export function mmgrab(mm: Mm): Task<void> {
  return mm.count.get();
}

/**
 * Drops a count. The last one frees the struct and does nothing else, so an SRCU call-back may do
 * it.
 */
export function* mmdrop(machine: Machine, mm: Mm): Task<void> {
  if (yield* mm.count.put()) yield* machine.heap.free(Mm, mm.at);
}

/** M3. Linux: `__mmput` and `exit_mmap`. */
function* mmExit(machine: Machine, mm: Mm): Task<void> {
  yield* mmuNotifierRelease(machine, mm.notifiers);
  yield* endLeftMigrations(machine, mm);
  yield* zapEverything(machine, mm);
  yield* leaveDeviceSpaces(machine, mm);
  yield* freeAllVmas(machine, mm);
  yield* freeTables(machine, mm.pgd);
  mm.pgd = 0;
  yield* mmdrop(machine, mm);
}
