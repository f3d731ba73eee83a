/**
 * @module notifier/events
 * What an invalidation is: the range, why it happens, and whether its listeners may sleep. Follows
 * Linux's `enum mmu_notifier_event` and `struct mmu_notifier_range`. No locks here; the object
 * lives on the invalidator's stack (a plain JS object of one thread), so a listener that must
 * remember it copies the numbers.
 */

import type { NotifierSubscriptions } from "./subscriptions.ts";

/** The mapping goes away: munmap, mremap's old place, exit of a part. */
export const EVENT_UNMAP = 0;
/**
 * Translations are dropped but the mapping stays: madvise(DONTNEED), copy-on-write replacing a
 * frame, a write view opening.
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
/**
 * Pages move to or from a device; carries the device as owner, so that it may skip its own call.
 */
export const EVENT_MIGRATE = 5;
/** Pages become exclusive to a device; carries the owner likewise. */
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

/** The word for an event, for messages and reports. */
export function eventName(event: number): string {
  return EVENT_NAMES[event] ?? `event ${event}`;
}

/**
 * One invalidation, from before its start to after its end. `startPage` and `endPage` (exclusive)
 * are virtual page numbers. `blockable` false means that the listeners may not wait: one that would
 * have to answers EAGAIN and touches nothing (R3).
 */
export interface InvalidateRange {
  readonly subscriptions: NotifierSubscriptions;
  readonly startPage: number;
  readonly endPage: number;
  readonly event: number;
  readonly blockable: boolean;
  /**
   * A device's id, or 0. A listener with the same id may skip its own MIGRATE and EXCLUSIVE calls.
   */
  readonly owner: number;
}

/**
 * The object that the start and the end of one invalidation share. `space` is the mm whose pages
 * they are.
 */
export function invalidateRange(
  space: { readonly notifiers: NotifierSubscriptions },
  startPage: number,
  endPage: number,
  event: number,
  options: { readonly blockable?: boolean; readonly owner?: number } = {},
): InvalidateRange {
  const { blockable = true, owner = 0 } = options;
  return { subscriptions: space.notifiers, startPage, endPage, event, blockable, owner };
}
