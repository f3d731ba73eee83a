/**
 * @module notifier/events
 * What an invalidation is: its range, its reason, and whether notifiers may wait in it. Follows
 * Linux `enum mmu_notifier_event` and `struct mmu_notifier_range`. The object belongs to one
 * thread, and lives no longer than the invalidation. A notifier that must remember it copies the
 * numbers.
 */

import type { SpaceCounters } from "../memory/space-counters.ts";
import type { NotifierSubscriptions } from "./subscriptions.ts";

/** The mapping goes: munmap, the old place of mremap. */
export const EVENT_UNMAP = 0;
/**
 * Translations go and the mapping stays: madvise(DONTNEED), a frame replaced by copy-on-write, a
 * write view.
 */
export const EVENT_CLEAR = 1;
/** The protection of a whole vma changes. */
export const EVENT_PROTECTION_VMA = 2;
/**
 * The protection of single pages changes: fork's write protection, a CPU write to a page that a
 * device had copied.
 */
export const EVENT_PROTECTION_PAGE = 3;
/** The address space dies, and all its mappings with it. */
export const EVENT_RELEASE = 4;
/** Pages move to or from a device, which is the `owner`: its own notifier may skip the call. */
export const EVENT_MIGRATE = 5;
/** Pages become exclusive to a device, the `owner` as well. */
export const EVENT_EXCLUSIVE = 6;

const EVENT_NAMES = [
  "unmap",
  "clear",
  "protection of a vma",
  "protection of pages",
  "release",
  "migrate",
  "exclusive",
];

/** The name of an event, for messages and reports. */
export function eventName(event: number): string {
  return EVENT_NAMES[event] ?? `event ${event}`;
}

/**
 * One invalidation, from before its start to after its end. `startPage` and `endPage` (exclusive)
 * are virtual page numbers. If `blockable` is false, notifiers may not wait: one that would have to
 * wait changes nothing and answers EAGAIN (R3).
 */
export interface InvalidateRange {
  /** The notifiers of the address space. */
  readonly subscriptions: NotifierSubscriptions;
  /** The counters of the address space. */
  readonly counters: SpaceCounters;
  /** Word index of the address space's mmap lock. */
  readonly lock: number;
  /** The first virtual page number. */
  readonly startPage: number;
  /** The virtual page number after the last. */
  readonly endPage: number;
  /** Why: an MMU_NOTIFY_ constant. */
  readonly event: number;
  /** Whether notifiers may wait. */
  readonly blockable: boolean;
  /** A device's id, or 0. The notifier of that device may skip MIGRATE and EXCLUSIVE. */
  readonly owner: number;
  /** The range of hmm whose user makes the change, and may go on after the end; or 0. */
  readonly exceptRange: number;
  /** Where this thread has noted how far it is (notice.ts), or 0. */
  notice: number;
}

/**
 * The object that the start and the end of one invalidation share. `space` is the mm whose pages
 * they are.
 */
export function invalidateRange(
  space: {
    readonly notifiers: NotifierSubscriptions;
    readonly counters: SpaceCounters;
    readonly mmapLock: { readonly at: number };
  },
  startPage: number,
  endPage: number,
  event: number,
  options: {
    readonly blockable?: boolean;
    readonly owner?: number;
    readonly exceptRange?: number;
  } = {},
): InvalidateRange {
  const { blockable = true, owner = 0, exceptRange = 0 } = options;
  const { notifiers: subscriptions, counters, mmapLock } = space;
  return {
    subscriptions,
    counters,
    lock: mmapLock.at,
    startPage,
    endPage,
    event,
    blockable,
    owner,
    exceptRange,
    notice: 0,
  };
}
