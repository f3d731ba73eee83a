/**
 * @module mm/view/view-hold
 * The frames under a typed array: pinned and contiguous until the view is closed. The role of Linux
 * `pin_user_pages` (`mm/gup.c`), with two additions for typed arrays. Frames that are not
 * contiguous are migrated into a run. And a write view keeps devices out, because its stores use no
 * entry: it is an invalidation that lasts from open to close.
 *
 *   W1  The view's struct holds an mm user, and a pin (with a count) of each frame. It is a
 *       resource of its thread: when the thread dies, the reaper closes the view.
 *   W2  A write view is in `mm.holds` exactly from its start to its end. Both are called holding
 *       the mmap lock for writing.
 *   W3  munmap and madvise may remove the mapping. The view keeps its frames until it is closed, as
 *       Linux's pins do.
 *   W4  The frames of a write view of a shared source are DIRTY when it is opened and again when it
 *       is closed, for a write-back in between may have had only a part of its stores. Until then
 *       the view has a claim of the source, so that nobody lets it go.
 *   W5  A pin for writing (pin.ts) keeps no device out, but is written without entries, too. So it
 *       is in `mm.pins` from its start to its end, and no pinned page of such a space is copied
 *       (fault/track.ts): devices use the frame itself.
 *   W6  A thread that dies while it opens or closes a view leaves what its reaper closes: the view
 *       is a resource from the step that gets its user, `pinned` counts the frames that it has,
 *       and it is in `mm.holds` or `mm.pins`, or not, for the lists are undone with the mmap lock.
 *       New frames are noted as a run (K6 of mm/entries/run.ts). `cache` and `isClaimed` say what
 *       it has of its claim.
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
import { beginEndUnder, handOverUnder, handedOver } from "../../notifier/notice.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { commitUndo } from "../../sync/words/undo-log.ts";
import type { Mm } from "../mm-struct.ts";
import type { PageRange } from "../vma/vma.ts";

/** The `kind` of a hold: a view, whose frames are in a row; or a pin, short or long (pin.ts). */
export const HOLD_VIEW = 0;
export const HOLD_PIN = 1;
export const HOLD_LONG_PIN = 2;

/** Pages of one pin at most: 64 MiB. */
export const PIN_PAGES_MAX = 16_384;

export interface ViewHold extends StructView {
  readonly node: List;
  mm: number;
  startPage: number;
  endPage: number;
  pfn: number;
  isWrite: number;
  kind: number;
  frames: number;
  slot: number;
  cache: number;
  isClaimed: number;
  offsetPages: number;
  watch: number;
  pinned: number;
}

export const ViewHold: Struct<ViewHold> = struct<ViewHold>("viewHold", {
  node: embed(
    List,
    "in the mm's `holds` (write views) or `pins` (pins to write); guarded by mmapLock (write)",
  ),
  mm: pointer("const", "holds one user (W1)"),
  startPage: u32("const", "first page when it was opened"),
  endPage: u32("const", "one past the last"),
  pfn: u32("const", "first of endPage - startPage frames, each pinned"),
  isWrite: u32("const", "1: the frames are written; a view keeps devices out (W2)"),
  kind: u32("const", "HOLD_VIEW, HOLD_PIN, HOLD_LONG_PIN"),
  frames: pointer("const", "of a pin: the frame of each page; of a view 0"),
  cache: pointer("const", "of a write view of a shared file: its page cache, claimed; else 0"),
  isClaimed: u32("const", "1: the cache's source counts the claim"),
  offsetPages: u32("const", "where in the cache `startPage` lies"),
  slot: i32("const", "in the resource list of the thread that opened it"),
  watch: pointer(
    "const",
    "of a read view in a debug build: what finds stray stores (view-watch.ts), or 0",
  ),
  pinned: i32(
    "owner, or the reaper of a dead one",
    "how many frames: of a view from `pfn` on, of a pin of `frames`; -n while frame n has one of its two counts (W6)",
  ),
});

/** Words of the table of a pin's frames: a size that the heap has. */
export function frameTableWords(pages: number): number {
  let words = 512;
  while (words < pages) words *= 2;
  return words;
}

/** The frames of a pin. */
export function framesOf({ memory, frames, startPage, endPage }: ViewHold): Uint32Array {
  const pages = endPage - startPage;
  memory.ensure(frames + pages);
  const { buffer, byteOffset } = memory.words;
  return new Uint32Array(buffer, byteOffset + frames * 4, pages);
}

/**
 * A pin for writing begins: devices drop their copies of the pages, and make no more of them (W5).
 * `allow` gives the entries the right to write. Holding the mmap lock for writing.
 */
export function* beginPin(machine: Machine, mm: Mm, hold: ViewHold, allow: () => void): Task<void> {
  const range = holdRange(mm, hold.startPage, hold.endPage);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  mm.pins.addTail(hold.node, mm.mmapLock.at);
  allow();
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}

function* holdsOf(memory: SharedMemory, mm: Mm): Generator<ViewHold, void, void> {
  const head = mm.holds;
  for (let at = head.next; at !== head.at;) {
    const hold = ViewHold.at(memory, ViewHold.containerOf(at, "node"));
    at = hold.node.next;
    yield hold;
  }
}

/** True when an open write view covers a page of the range. Holding the mmap lock. */
export function overlapsHold(memory: SharedMemory, mm: Mm, range: PageRange): boolean {
  const { startPage, endPage } = range;
  for (const hold of holdsOf(memory, mm)) {
    if (hold.startPage < endPage && startPage < hold.endPage) return true;
  }
  return false;
}

function holdRange(mm: Mm, startPage: number, endPage: number): InvalidateRange {
  return invalidateRange(mm, startPage, endPage, EVENT_CLEAR);
}

/** Starts the invalidation that lasts. Holding the mmap lock for writing (W2). */
export function* beginHold(machine: Machine, mm: Mm, hold: ViewHold): Task<void> {
  const range = holdRange(mm, hold.startPage, hold.endPage);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  mm.holds.addTail(hold.node, mm.mmapLock.at);
  if (range.notice === 0) return; // undone, if this thread dies with the lock
  handOverUnder(range);
  commitUndo(machine.memory, mm.mmapLock.at);
  handedOver(range);
}

/** Ends it, if it has begun. Holding the mmap lock for writing. */
export function* endHold(machine: Machine, mm: Mm, hold: ViewHold): Task<void> {
  if (!hold.node.isListed()) return;
  const range = holdRange(mm, hold.startPage, hold.endPage);
  const isWatched = mm.notifiers.mayHaveAny();
  if (isWatched) beginEndUnder(range);
  hold.node.del(mm.mmapLock.at);
  if (isWatched) commitUndo(machine.memory, mm.mmapLock.at);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}

/**
 * Starts the open write views at a notifier that has just been registered and missed their start
 * (N3 of notifier/mmu-notifier.ts). Holding the mmap lock for writing, since before the
 * registration.
 */
export function* replayHolds(machine: Machine, mm: Mm, node: MmuNotifier): Task<void> {
  mm.mmapLock.assertHeldWrite();
  for (const hold of holdsOf(machine.memory, mm)) {
    yield* mmuNotifierReplayStart(machine, node, holdRange(mm, hold.startPage, hold.endPage));
  }
}
