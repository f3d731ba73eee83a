/**
 * @module mm/mm-struct
 * The struct of an address space in the kernel heap. Follows Linux `struct mm_struct`. The meaning
 * of its counts, its birth and its end are in lifetime/mm.ts.
 */

import { NotifierSubscriptions } from "../notifier/subscriptions.ts";
import { SpaceCounters } from "../memory/space-counters.ts";
import { List } from "../memory/layout/list.ts";
import {
  type Struct,
  type StructView,
  embed,
  pointer,
  struct,
  u32,
} from "../memory/layout/struct.ts";
import { RefCount } from "../sync/primitives/refcount.ts";
import { RwSem } from "../sync/primitives/rwsem.ts";
import { Shootdown } from "../sync/primitives/shootdown.ts";
import { Spinlock } from "../sync/primitives/spinlock.ts";
import { WaitQueue } from "../sync/primitives/wait-queue.ts";
import { resourceKind } from "../sync/lockdep/resources.ts";

/** An address space: its locks, its counts, its mappings and its page table. */
export interface Mm extends StructView {
  readonly users: RefCount;
  readonly count: RefCount;
  readonly mmapLock: RwSem;
  readonly pageTableLock: Spinlock;
  readonly notifiers: NotifierSubscriptions;
  readonly shootdown: Shootdown;
  /** Open write views: invalidations that last longer than any lock is held (view-hold.ts). */
  readonly holds: List;
  /** Open pins for writing that are no views (view/pin.ts). */
  readonly pins: List;
  /** Who meets a page that is being moved waits here (mm/fault/migration-entry.ts). */
  readonly migrations: WaitQueue;
  /** Migrations under way (mm/migration.ts). */
  readonly moving: List;
  readonly migrationsLock: Spinlock;
  /** In the machine's list of spaces that may have pages in a device's memory. */
  readonly deviceNode: List;
  /** What has happened in the space. */
  readonly counters: SpaceCounters;
  isDeviceSpace: number;
  pgd: number;
  vmaRoot: number;
  vmaFirst: number;
  vmaCount: number;
  mappedPages: number;
  limitPages: number;
  limitVmas: number;
  hugeMode: number;
  hmm: number;
}

/** A count of a space (M1 of lifetime/mm.ts) that a thread has in hand. */
export const MM_COUNT: number = resourceKind("count of an address space");
/** A space that has no user any more, and the count that the users had. */
export const MM_EXITING: number = resourceKind("address space being taken down");
/** A user of a space that a thread has in hand. */
export const MM_USER: number = resourceKind("user of an address space");

export const Mm: Struct<Mm> = struct<Mm>("mm", {
  users: embed(RefCount, "users of the address space (M1); 0 means that exit has begun"),
  count: embed(RefCount, "holders of this memory; the users together hold one"),
  mmapLock: embed(RwSem, "vmas and the shape of the page table", "mmapLock"),
  pageTableLock: embed(
    Spinlock,
    "`hmm`; exclusive frames (C2, C3 of mm/fault/copy-on-write.ts); huge pages (mm/huge.ts)",
    "pageTableLock",
  ),
  notifiers: embed(NotifierSubscriptions, "mmu notifiers", "notifierLock"),
  shootdown: embed(Shootdown, "generations of the CPU's cached translations"),
  holds: embed(List, "head of the open write views; guarded by mmapLock (write)"),
  pins: embed(List, "head of the open pins for writing; guarded by mmapLock (write)"),
  migrations: embed(WaitQueue, "those who wait for the end of a page's migration"),
  moving: embed(List, "head of the migrations under way; guarded by migrationsLock"),
  migrationsLock: embed(Spinlock, "the migrations under way", "migrationsLock"),
  deviceNode: embed(List, "in the list of deviceSpaces; guarded by deviceSpacesLock"),
  counters: embed(SpaceCounters, "what has happened in the space"),
  isDeviceSpace: u32("deviceSpacesLock", "1 while `deviceNode` is listed"),
  pgd: pointer("const", "top table; freed by exit"),
  vmaRoot: pointer("mmapLock", "root of the tree of vmas, by address"),
  vmaFirst: pointer("mmapLock", "lowest vma; the others follow by `next`"),
  vmaCount: u32("mmapLock", "vmas, at most `limitVmas`"),
  mappedPages: u32("mmapLock", "pages of all vmas, at most `limitPages`"),
  limitPages: u32("const", "RLIMIT_AS in pages"),
  limitVmas: u32("const", "sysctl max_map_count"),
  hugeMode: u32("const", "which mappings have huge pages (vma/huge-vma.ts)"),
  hmm: pointer("pageTableLock", "weak pointer: 0, the live hmm, or for a moment a dying one"),
});
