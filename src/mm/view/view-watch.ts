/**
 * @module mm/view/view-watch
 * For debug builds: finds stray stores, which change bytes through a read view. Such a store uses
 * the view's typed array and no entry, so no protection stops it and no device is notified.
 * JavaScript has no read-only typed array.
 *
 *   V1  Watched pages were write-protected, flushed and TRACKED first (track.ts). So a CPU thread,
 *       a device or a write view that may store there afterwards has called the notifiers before.
 *       The watch is a notifier and marks the pages: its copy of them goes stale, like a device's.
 *   V2  The watch is set up holding the mmap lock for writing. No fault adds rights then and nobody
 *       else tracks. After the flush no store is under way, so the copy has what the mapping holds.
 *   V3  The bytes are compared under the same lock. A page without a mark has not been writable
 *       since V2, so bytes that differ were changed without an entry. There is no false alarm.
 *   V4  A page with a mark may have changed in any way, and is not compared. Some pages are never
 *       watched: shared mappings and users' buffers, which are written through other spaces'
 *       entries or without any, and pages under a write view.
 *
 * Every thread on a machine loads this module, because it may change a watched mapping.
 */

import {
  type MmuNotifierOps,
  mmuNotifierRegister,
  mmuNotifierUnregister,
  registerNotifierOps,
} from "../../notifier/mmu-notifier.ts";
import type { InvalidateRange } from "../../notifier/events.ts";
import { MmuNotifier } from "../../notifier/subscriptions.ts";
import { Machine } from "../../memory/machine.ts";
import { dataStep } from "../../memory/frames/page-data.ts";
import { PAGE_BYTES } from "../../memory/ram.ts";
import {
  type Struct,
  type StructView,
  type WordArray,
  array,
  embed,
  struct,
  u32,
} from "../../memory/layout/struct.ts";
import { atomicLoad, atomicOr } from "../../sync/atomics.ts";
import {
  findResource,
  kindWord,
  registerHeir,
  reserveResource,
  resourceKind,
} from "../../sync/lockdep/resources.ts";
import type { Errno } from "../../sync/errno.ts";
import { type Task, access } from "../../sync/tasks/task.ts";
import { Mm } from "../mm-struct.ts";
import { pteAt } from "../../mmu/radix-table.ts";
import { PTE_PRESENT, ptePfn } from "../pte.ts";
import { trackRange } from "../fault/track.ts";
import { ViewHold, replayHolds } from "./view-hold.ts";

/** In a view of up to so many pages each has a mark. In a larger one several pages share a mark. */
const MARKS = 1024;
const MARK_WORDS: number = MARKS / 32;

interface ViewWatch extends StructView {
  readonly node: MmuNotifier;
  startPage: number;
  endPage: number;
  pagesPerMark: number;
  readonly marks: WordArray;
}

const ViewWatch: Struct<ViewWatch> = struct<ViewWatch>("viewWatch", {
  node: embed(MmuNotifier, "on the mm from its making until the view is closed"),
  startPage: u32("const", "first page of the view"),
  endPage: u32("const", "one past the last"),
  pagesPerMark: u32("const", "pages that share a mark"),
  marks: array(MARK_WORDS, "atomic: only ever set", "a bit for pages that may have changed"),
});

const MARKS_AT: number = ViewWatch.offset.marks;

/** V1. Runs in the thread that changes the mapping, before the change. */
function* mark(
  { memory }: Machine,
  at: number,
  { startPage, endPage }: InvalidateRange,
): Task<Errno> {
  const watch = ViewWatch.at(memory, at);
  const first = Math.max(startPage, watch.startPage);
  const end = Math.min(endPage, watch.endPage);
  if (first >= end) return 0;
  const firstMark = Math.floor((first - watch.startPage) / watch.pagesPerMark);
  const lastMark = Math.floor((end - 1 - watch.startPage) / watch.pagesPerMark);
  yield* access(memory, "update", at + MARKS_AT, MARK_WORDS, "view watch");
  for (let i = firstMark; i <= lastMark; i++)
    atomicOr(memory.words, at + MARKS_AT + (i >>> 5), 1 << (i & 31));
  return 0;
}

/** The call-backs of a watch. A test registers broken ones for a while. */
export const READ_VIEW_NOTIFIER: MmuNotifierOps = {
  invalidateRangeStart: mark,
  isRepeatable: true,
};
const WATCH_OPS: number = registerNotifierOps("read view", READ_VIEW_NOTIFIER);

/** What the thread that opened a view has of its watch. */
export interface WatchedView {
  /** 1 for each page of the view that is watched. */
  readonly watched: Uint8Array;
  /** The view's bytes when it was opened; meaningless where they are not watched. */
  readonly before: Uint8Array;
}

/**
 * Watches a read view that this thread has just opened. Its `bytes` begin at `offsetBytes` of its
 * first page. Undefined: no page of it can be watched, or there is no memory for the watch or the
 * copy. Takes the mmap lock; the view holds an mm user. The watch belongs to the hold and ends with
 * it.
 */
export function* watchView(
  machine: Machine,
  hold: ViewHold,
  bytes: Uint8Array,
  offsetBytes: number,
): Task<WatchedView | undefined> {
  const before = makeCopy(bytes.length);
  if (before === undefined) return undefined;
  const mm = Mm.at(machine.memory, hold.mm);
  const watched = new Uint8Array(hold.endPage - hold.startPage);
  yield* mm.mmapLock.downWrite();
  yield* trackRange(machine, mm, hold.startPage, hold.endPage, watched);
  yield* dropOthers(machine, mm, hold, watched);
  const isWatched = watched.includes(1) && (yield* openWatch(machine, mm, hold));
  if (isWatched) {
    for (const part of partsOf(bytes, offsetBytes, watched)) before.set(part.bytes, part.at);
  }
  yield* mm.mmapLock.upWrite();
  return isWatched ? { watched, before } : undefined;
}

function makeCopy(lengthBytes: number): Uint8Array | undefined {
  try {
    return new Uint8Array(lengthBytes);
  } catch (error) {
    if (error instanceof RangeError) return undefined; // the host has no room
    throw error;
  }
}

/**
 * Since the view was opened, other frames may have been mapped there. Their pages are not watched.
 */
function* dropOthers({ memory }: Machine, mm: Mm, hold: ViewHold, watched: Uint8Array): Task<void> {
  for (let i = 0; i < watched.length; i++) {
    if (watched[i] === 0) continue;
    const pte = pteAt(memory, mm.pgd, hold.startPage + i);
    if ((pte & PTE_PRESENT) === 0 || ptePfn(pte) !== hold.pfn + i) watched[i] = 0;
  }
}

/** One that no view has yet, or any more. */
const MAKING: number = resourceKind("view watch being made");
registerHeir(MAKING, (memory, at, slot) => Machine.of(memory).heap.free(ViewWatch, at, slot));

/** Registers the notifier. Open write views mark their pages at once (V4). False: no memory. */
function* openWatch(machine: Machine, mm: Mm, hold: ViewHold): Task<boolean> {
  const { memory } = machine;
  const at = yield* machine.heap.alloc(ViewWatch, MAKING);
  if (at === 0) return false;
  const slot = findResource(memory, MAKING, at);
  const watch = ViewWatch.at(memory, at);
  watch.node.init();
  watch.startPage = hold.startPage;
  watch.endPage = hold.endPage;
  watch.pagesPerMark = Math.ceil((hold.endPage - hold.startPage) / MARKS);
  const [kindAt, watchAt] = [kindWord(memory, slot), hold.at + ViewHold.offset.watch];
  const { words } = memory;
  words[watchAt] = at; // in a row (H1 of sync/lockdep/held-locks.ts)
  if (kindAt !== 0) words[kindAt] = 0;
  yield* mmuNotifierRegister(machine, mm.notifiers, watch.node, WATCH_OPS);
  yield* replayHolds(machine, mm, watch.node);
  return true;
}

/**
 * Index in `bytes` of the first byte that a stray store has changed since `watchView`, or -1. Takes
 * the mmap lock. V3.
 */
export function* findStrayStore(
  machine: Machine,
  hold: ViewHold,
  bytes: Uint8Array,
  offsetBytes: number,
  { watched, before }: WatchedView,
): Task<number> {
  const mm = Mm.at(machine.memory, hold.mm);
  yield* mm.mmapLock.downWrite();
  const unmarked = new Uint8Array(watched.length);
  for (let i = 0; i < watched.length; i++)
    unmarked[i] = watched[i] === 1 && !isMarked(machine, hold, i) ? 1 : 0;
  let found = -1;
  for (const part of partsOf(bytes, offsetBytes, unmarked)) {
    yield* dataStep(machine.memory, "read", hold.pfn + part.page);
    const difference = part.bytes.findIndex((byte, i) => byte !== before[part.at + i]);
    if (difference < 0) continue;
    found = part.at + difference;
    break;
  }
  yield* mm.mmapLock.upWrite();
  return found;
}

/** @stepped view watch */
function isMarked({ memory }: Machine, hold: ViewHold, page: number): boolean {
  const { at, pagesPerMark } = ViewWatch.at(memory, hold.watch);
  const index = Math.floor(page / pagesPerMark);
  return (atomicLoad(memory.words, at + MARKS_AT + (index >>> 5)) & (1 << (index & 31))) !== 0;
}

interface Part {
  /** Of the view, from 0 on. */
  readonly page: number;
  /** Where in the view's bytes it begins. */
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** The view's bytes of the pages that are `chosen`, page by page. */
function* partsOf(
  bytes: Uint8Array,
  offsetBytes: number,
  chosen: Uint8Array,
): Generator<Part, void, void> {
  for (let i = 0; i < chosen.length; i++) {
    if (chosen[i] === 0) continue;
    const at = Math.max(0, i * PAGE_BYTES - offsetBytes);
    const end = Math.min(bytes.length, (i + 1) * PAGE_BYTES - offsetBytes);
    yield { page: i, at, bytes: bytes.subarray(at, end) };
  }
}

/**
 * Ends the watch of a hold, if it has one. Holding no lock. A reaper may do it again if this thread
 * dies in here.
 */
export function* closeWatch(machine: Machine, hold: ViewHold): Task<void> {
  const at = hold.watch;
  if (at === 0) return;
  const { node } = ViewWatch.at(machine.memory, at);
  yield* mmuNotifierUnregister(machine, Mm.at(machine.memory, hold.mm).notifiers, node);
  const { memory } = machine;
  const slot = reserveResource(memory, at);
  const [kindAt, watchAt] = [kindWord(memory, slot), hold.at + ViewHold.offset.watch];
  const { words } = memory;
  if (kindAt !== 0) words[kindAt] = MAKING; // in a row (H1 of sync/lockdep/held-locks.ts)
  words[watchAt] = 0;
  yield* machine.heap.free(ViewWatch, at, slot);
}
