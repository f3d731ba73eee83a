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
import { Machine } from "../../memory/machine.ts";
import {
  findResource,
  kindWord,
  registerHeir,
  removeResource,
  reserveResource,
  resourceKind,
} from "../../sync/lockdep/resources.ts";
import { assertNoLockHeld } from "../../sync/lockdep/held-locks.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { MM_COUNT, MM_EXITING, MM_USER, Mm } from "../mm-struct.ts";
import { PGD_WORDS, TASK_SIZE_PAGES, freeTables } from "../../mmu/radix-table.ts";
import { leaveDeviceSpaces } from "../device-spaces.ts";
import { HUGE_MADVISE } from "../vma/huge-vma.ts";
import { freeAllVmas } from "../vma/vma-link.ts";
import { endLeftMigrations } from "../migration.ts";
import { zapEverything } from "../entries/zap.ts";

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

registerHeir(MM_USER, (memory, at, slot) => mmput(Machine.of(memory), Mm.at(memory, at), slot));

registerHeir(MM_COUNT, (memory, at, slot) => mmdrop(Machine.of(memory), Mm.at(memory, at), slot));

/** A space that has no user yet: its struct, and perhaps its top table. */
const MM_MAKING: number = resourceKind("address space being made");
registerHeir(MM_MAKING, (memory, at, slot) => unmake(Machine.of(memory), at, slot));

registerHeir(MM_EXITING, function* (memory, at, slot) {
  const machine = Machine.of(memory);
  const mm = Mm.at(memory, at);
  // 0: the thread has died between its last put and the free.
  if (mm.count.read() === 0) yield* machine.heap.free(Mm, at, slot);
  else yield* mmExit(machine, mm, slot);
});

/** A new, empty address space with one user. 0 = ENOMEM. */
export function* mmCreate(machine: Machine, limits: MmLimits = {}): Task<number> {
  const at = yield* mmCreateListed(machine, limits);
  const slot = at === 0 ? -1 : findResource(machine.memory, MM_USER, at);
  if (slot >= 0) removeResource(machine.memory, slot);
  return at;
}

/** As `mmCreate`; the user is a resource of this thread, of kind MM_USER, if the list has room. */
export function* mmCreateListed(machine: Machine, limits: MmLimits): Task<number> {
  const { heap, memory } = machine;
  const at = yield* heap.alloc(Mm, MM_MAKING);
  if (at === 0) return 0;
  const slot = findResource(memory, MM_MAKING, at);
  if ((yield* heap.allocWords(PGD_WORDS, at + Mm.offset.pgd)) === 0) {
    yield* unmake(machine, at, slot);
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
  mm.limitPages = Math.min(limits.pages ?? TASK_SIZE_PAGES, TASK_SIZE_PAGES);
  mm.limitVmas = limits.vmas ?? DEFAULT_LIMIT_VMAS;
  mm.hugeMode = limits.hugeMode ?? HUGE_MADVISE;
  // Made now, while no lock is held: the first walk of the notifiers must not fail for lack of
  // memory.
  yield* notifierSrcu(machine);
  if (slot >= 0) memory.words[kindWord(memory, slot)] = MM_USER;
  return at;
}

function* unmake({ heap, memory }: Machine, at: number, slot: number): Task<void> {
  const note = at + Mm.offset.pgd;
  const pgd = memory.words[note]!;
  if (pgd !== 0) yield* heap.freeWords(pgd, PGD_WORDS, note);
  yield* heap.free(Mm, at, slot);
}

/** One more user. The caller has one already (M2). Pairs with `mmput`. */
export function mmget(mm: Mm): Task<void> {
  return mm.users.get();
}

/**
 * A user, unless exit has begun; then false, for ever. The caller has a count. In the same step the
 * word `note` becomes `noted`, if there is such a word. Pairs with `mmput`.
 */
export function mmgetNotZero(mm: Mm, note: number = 0, noted: number = 0): Task<boolean> {
  return mm.users.getNotZero(note, noted);
}

/**
 * Drops a user. The last one runs the whole exit here, so the caller holds no lock and is in no
 * call-back. `slot`: of the user among this thread's resources, or -1. A thread that dies in the
 * exit leaves a space that whoever finds it dead takes down.
 */
export function* mmput(machine: Machine, mm: Mm, slot: number = -1): Task<void> {
  assertNoLockHeld(
    mm.memory,
    "mmput",
    "dropping the last user takes the address space down, which takes every lock of it",
  );
  const { memory } = machine;
  const own = slot < 0 ? reserveResource(memory, mm.at) : slot;
  if (yield* mm.users.put(kindWord(memory, own), MM_EXITING)) yield* mmExit(machine, mm, own);
}

/**
 * Keeps the struct's memory (not the address space) until `mmdrop`. In the same step the word
 * `note` becomes `noted`, if there is such a word.
 */
export function mmgrab(mm: Mm, note: number = 0, noted: number = 0): Task<void> {
  return mm.count.get(note, noted);
}

/**
 * Drops a count. The last one frees the struct and does nothing else, so an SRCU call-back may do
 * it. `slot`: of the count among this thread's resources, or -1.
 */
export function* mmdrop(machine: Machine, mm: Mm, slot: number = -1): Task<void> {
  const { memory } = machine;
  const own = slot < 0 ? reserveResource(memory, mm.at) : slot;
  if (yield* mm.count.put(kindWord(memory, own), MM_EXITING))
    yield* machine.heap.free(Mm, mm.at, own);
}

/**
 * M3. Linux: `__mmput` and `exit_mmap`. `slot`: of the space among this thread's resources, of kind
 * MM_EXITING, or -1. Each part may be done again from its beginning, by who finds this thread dead.
 */
function* mmExit(machine: Machine, mm: Mm, slot: number): Task<void> {
  if (mm.pgd !== 0) {
    yield* mmuNotifierRelease(machine, mm.notifiers);
    yield* endLeftMigrations(machine, mm);
    yield* zapEverything(machine, mm);
    yield* leaveDeviceSpaces(machine, mm);
    yield* freeAllVmas(machine, mm);
    yield* freeTables(machine, mm.pgd, mm.at + Mm.offset.pgd);
  }
  const note = kindWord(machine.memory, slot);
  if (yield* mm.count.put(note, MM_EXITING)) yield* machine.heap.free(Mm, mm.at, slot);
}
