/**
 * @module mm/lifetime/mm
 * The life of an address space: its two counts, its birth and its end. Follows Linux `struct
 * mm_struct`, `kernel/fork.c` (mm_init, mmput, __mmdrop) and `exit_mmap` in `mm/mmap.c`. Not
 * what is mapped in it: see vma.ts, mm/fault/fault.ts and the mmap family.
 *
 *   M1  `users` counts those who use the address space (R2); `count` those who only need the
 *       struct's memory. All users together own one count.
 *   M2  `users` never rises from 0. Going up from a count is `mmgetNotZero`, nothing else.
 *   M3  Exit runs once, in whoever dropped the last user, holding no lock: first every listener is
 *       released (so every device has let go), then frames, tables and vmas are freed, then the
 *       users' count is dropped.
 *   M4  Holding the mmap lock requires a user, but for `mmExit`, which is alone and takes none.
 */

import { notifierSrcu, mmuNotifierRelease } from "../../notifier/mmu-notifier.ts";
import type { Machine } from "../../memory/machine.ts";
import { assertNoLockHeld } from "../../sync/lockdep/held-locks.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { Mm } from "../mm-struct.ts";
import { PGD_WORDS, TASK_SIZE_PAGES, freeTables } from "../../mmu/radix-table.ts";
import { freeAllVmas } from "../vma/vma-map.ts";
import { zapEverything } from "../zap.ts";

/** Linux's default for `vm.max_map_count`. */
const DEFAULT_LIMIT_VMAS = 65_530;

export interface MmLimits {
  /** Pages that all mappings together may span. Default: the whole address range. */
  readonly pages?: number;
  /** Number of vmas. Default 65,530. */
  readonly vmas?: number;
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
  mm.pgd = pgd;
  mm.limitPages = Math.min(limits.pages ?? TASK_SIZE_PAGES, TASK_SIZE_PAGES);
  mm.limitVmas = limits.vmas ?? DEFAULT_LIMIT_VMAS;
  // Made now, while nothing is held: a listener's first walk must not fail for lack of memory.
  yield* notifierSrcu(machine);
  return at;
}

/** One more user. Only for who has one already (M2); pairs with `mmput`. */
export function mmget(mm: Mm): Task<void> {
  return mm.users.get();
}

/**
 * A user, unless exit has begun; then false, for good. Needs no more than a count. Pairs with
 * `mmput`.
 */
export function mmgetNotZero(mm: Mm): Task<boolean> {
  return mm.users.getNotZero();
}

/**
 * Drops a user. The last one runs the whole exit here, so no lock may be held and no call-back may
 * be running in the caller.
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
 * Drops a count; the last one frees the struct. May run in an SRCU call-back: frees memory and
 * nothing else.
 */
export function* mmdrop(machine: Machine, mm: Mm): Task<void> {
  if (yield* mm.count.put()) yield* machine.heap.free(Mm, mm.at);
}

/** M3. Linux: `__mmput` and `exit_mmap`. */
function* mmExit(machine: Machine, mm: Mm): Task<void> {
  yield* mmuNotifierRelease(machine, mm.notifiers);
  yield* zapEverything(machine, mm);
  yield* freeAllVmas(machine, mm);
  yield* freeTables(machine, mm.pgd);
  mm.pgd = 0;
  yield* mmdrop(machine, mm);
}
