/**
 * @module mm/view/view-hold
 * Frames that a typed array looks at: pinned, in a row, until the view is closed. The role of Linux
 * `pin_user_pages` (`mm/gup.c`), with two additions that typed arrays need: the frames must be
 * contiguous, so they are gathered into one run when they are not; and a write view keeps devices
 * out, since its stores go by no entry: it is an invalidation that lasts from open to close.
 *
 *   W1  The view's struct holds an mm user, and a pin (with a count) of each frame. It is listed
 *       among what its thread owns: when that dies, the reaper closes it.
 *   W2  A write view is in `mm.holds` exactly while its start has been told and its end has not;
 *       both happen holding the mmap lock for writing.
 *   W3  munmap and madvise may take the mapping away; the frames stay the view's own until it is
 *       closed, as with Linux's pins.
 */

import { EVENT_CLEAR, type InvalidateRange, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  mmuNotifierReplayStart,
} from "../../notifier/mmu-notifier.ts";
import type { MmuNotifier } from "../../notifier/subscriptions.ts";
import { List } from "../../memory/layout/list.ts";
import type { Machine } from "../../memory/machine.ts";
import {
  type Struct,
  type StructView,
  embed,
  i32,
  pointer,
  struct,
  u32,
} from "../../memory/layout/struct.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";

export interface ViewHold extends StructView {
  readonly node: List;
  mm: number;
  startPage: number;
  endPage: number;
  pfn: number;
  isWrite: number;
  slot: number;
  watch: number;
}

export const ViewHold: Struct<ViewHold> = struct<ViewHold>("viewHold", {
  node: embed(List, "in the mm's `holds` (write views); guarded by mmapLock (write)"),
  mm: pointer("const", "holds one user (W1)"),
  startPage: u32("const", "first page when it was opened"),
  endPage: u32("const", "one past the last"),
  pfn: u32("const", "first of endPage - startPage frames, each pinned"),
  isWrite: u32("const", "1 keeps devices out (W2)"),
  slot: i32("const", "in the resource list of the thread that opened it"),
  watch: pointer(
    "const",
    "of a read view in a debug build: what finds stray stores (view-watch.ts), or 0",
  ),
});

function* holdsOf(memory: SharedMemory, mm: Mm): Generator<ViewHold, void, void> {
  const head = mm.holds;
  for (let at = head.next; at !== head.at;) {
    const hold = ViewHold.at(memory, ViewHold.containerOf(at, "node"));
    at = hold.node.next;
    yield hold;
  }
}

/** True when an open write view covers a page of the range. Holding the mmap lock. */
export function overlapsHold(
  memory: SharedMemory,
  mm: Mm,
  startPage: number,
  endPage: number,
): boolean {
  for (const hold of holdsOf(memory, mm)) {
    if (hold.startPage < endPage && startPage < hold.endPage) return true;
  }
  return false;
}

function holdRange(mm: Mm, startPage: number, endPage: number): InvalidateRange {
  return invalidateRange(mm, startPage, endPage, EVENT_CLEAR);
}

/** Begins the lasting invalidation. Holding the mmap lock for writing (W2). */
export function* beginHold(machine: Machine, mm: Mm, hold: ViewHold): Task<void> {
  yield* mmuNotifierInvalidateRangeStart(machine, holdRange(mm, hold.startPage, hold.endPage));
  mm.holds.addTail(hold.node);
}

/** Ends it. Holding the mmap lock for writing. */
export function* endHold(machine: Machine, mm: Mm, hold: ViewHold): Task<void> {
  hold.node.del();
  yield* mmuNotifierInvalidateRangeEnd(machine, holdRange(mm, hold.startPage, hold.endPage));
}

/**
 * Tells a listener that has just been registered of the write views that are open, whose start it
 * missed (N3 of notifier/mmu-notifier.ts). Holding the mmap lock for writing, since before the
 * registration.
 */
export function* replayHolds(machine: Machine, mm: Mm, node: MmuNotifier): Task<void> {
  mm.mmapLock.assertHeldWrite();
  for (const hold of holdsOf(machine.memory, mm)) {
    yield* mmuNotifierReplayStart(machine, node, holdRange(mm, hold.startPage, hold.endPage));
  }
}
