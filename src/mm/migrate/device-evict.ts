/**
 * @module mm/migrate/device-evict
 * Empties a device's memory, or a part of it: whatever spaces have pages there get them back in
 * RAM. Follows Linux `migrate_device_range` and what drivers do with it when they close. For a
 * device that runs out of memory, loses it, or ends.
 *
 * Here a frame does not know its entries. The spaces that may have one are listed
 * (mm/device-spaces.ts), and each frame has a hint of the page where it was put last.
 */

import {
  type DeviceMemory,
  closeDeviceMemory,
  devicePageHint,
  isDeviceFrameUsed,
  usedDeviceFrames,
  waitUntilUnused,
} from "../../memory/frames/device-frames.ts";
import { removeDeviceMemory } from "../../memory/device-memory.ts";
import type { Machine } from "../../memory/machine.ts";
import { TASK_SIZE_PAGES, forEachLeaf, pteAt, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import { notifierSrcu } from "../../notifier/mmu-notifier.ts";
import { EBUSY, type Errno } from "../../sync/errno.ts";
import { deathsSoFar } from "../../sync/tasks/identity.ts";
import { assertNoLockHeld } from "../../sync/lockdep/held-locks.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { type HeldSpace, getDeviceSpaces } from "../device-spaces.ts";
import { mmput } from "../lifetime/mm.ts";
import { endDeadMigrations } from "../migration.ts";
import type { Mm } from "../mm-struct.ts";
import { holdsFrame, ptePfn } from "../pte.ts";
import { type PageRange, partsIn, vmaOf } from "../vma/vma.ts";
import { type MoveResult, SELECT_DEVICE, migrateRange, toRam } from "./migrate-vma.ts";

/** Frames from `startPfn` up to `endPfn`, which is exclusive; of them those in `only`, if given. */
interface DeviceFrameRange {
  /** A memory of the owner of all of them. */
  readonly device: DeviceMemory;
  readonly startPfn: number;
  readonly endPfn: number;
  readonly only?: ReadonlySet<number>;
}

/** Walks over all spaces before EBUSY. Each finds what a fork has copied during the one before. */
const ROUNDS_MAX = 4;

/**
 * Brings all pages of a device memory back that can be had. Returns how many frames are used all
 * the same. Holding no lock.
 */
export function* emptyDeviceMemory(machine: Machine, device: DeviceMemory): Task<number> {
  let isRamFull = false;
  for (let round = 0; round < ROUNDS_MAX && !isRamFull; round++) {
    if ((yield* usedDeviceFrames(device)) === 0) return 0;
    isRamFull = (yield* migrateDeviceRange(machine, allFrames(device))) > 0;
  }
  return yield* usedDeviceFrames(device);
}

/** All frames of a device memory. */
function allFrames(device: DeviceMemory): DeviceFrameRange {
  const { basePfn, pages } = device;
  return { device, startPfn: basePfn, endPfn: basePfn + pages };
}

/**
 * Moves the pages in the frames to RAM, in every space. Returns how many pages found no frame
 * there. A frame may have several pages, or be used by a thread that is about to drop it. Holding
 * no lock. Linux: `migrate_device_range`.
 */
function* migrateDeviceRange(machine: Machine, frames: DeviceFrameRange): Task<number> {
  assertNoLockHeld(machine.memory, "migrateDeviceRange", "it drops users of address spaces");
  let lacking = 0;
  yield* inDeviceSpaces(machine, function* (mm) {
    for (const pages of yield* pagesIn(machine, mm, frames))
      lacking += (yield* bringBack(machine, mm, pages, frames.device)).lacking;
  });
  return lacking;
}

/**
 * Runs `visit` in each space that may have pages of a device, holding its mmap lock for reading.
 */
function* inDeviceSpaces(machine: Machine, visit: (mm: Mm) => Task<void>): Task<void> {
  const { memory } = machine;
  const held: HeldSpace[] = [];
  yield* getDeviceSpaces(machine, held);
  for (const { mm, slot } of held) {
    yield* mm.mmapLock.downRead();
    if (deathsSoFar(memory) !== 0) yield* endDeadMigrations(machine, mm);
    yield* visit(mm);
    yield* mm.mmapLock.upRead();
    yield* mmput(machine, mm, slot);
  }
}

/** A frame of a device memory, for eviction. */
export interface DeviceFrame {
  /** The memory that it is in. */
  readonly device: DeviceMemory;
  /** Its frame number. */
  readonly pfn: number;
}

interface HintedFrame extends DeviceFrame {
  readonly page: number;
}

/**
 * Frees one frame, by its hint if that is right. False: it is used all the same, because RAM is
 * used up or a thread is at it. Holding no lock.
 */
export function* evictDeviceFrame(
  machine: Machine,
  device: DeviceMemory,
  pfn: number,
): Task<boolean> {
  yield* evictDeviceFrames(machine, [{ device, pfn }]);
  return !isDeviceFrameUsed(device, pfn);
}

/**
 * Frees frames of one owner's memories, by their hints where those are right: pages that follow
 * each other move as one migration, which costs as much as twenty pages beside them. Where a frame
 * is used then, all spaces are walked, once for all such frames; not if RAM is used up. Some may be
 * used all the same, as of `evictDeviceFrame`. Returns how many pages found no frame in RAM: where
 * there are some, no other frame can be freed either. Holding no lock.
 */
export function* evictDeviceFrames(machine: Machine, frames: readonly DeviceFrame[]): Task<number> {
  assertNoLockHeld(machine.memory, "evictDeviceFrames", "it drops users of address spaces");
  if (frames.length === 0) return 0;
  const hinted = frames
    .map(({ device, pfn }) => ({ device, pfn, page: devicePageHint(device, pfn) }))
    .toSorted((a, b) => a.page - b.page);
  let lacking = 0;
  yield* inDeviceSpaces(machine, function* (mm) {
    for (let i = 0, pages = 0; i < hinted.length; i += Math.max(pages, 1)) {
      const { page: startPage, device } = hinted[i]!; // in bounds
      pages = pagesInRow(machine, mm, hinted, i);
      if (pages === 0) continue;
      const range = { startPage, endPage: startPage + pages };
      lacking += (yield* bringBack(machine, mm, range, device)).lacking;
    }
  });
  if (lacking > 0) return lacking;
  const left = frames.filter(({ device, pfn }) => isDeviceFrameUsed(device, pfn));
  return left.length === 0 ? 0 : yield* migrateDeviceRange(machine, rangeOf(left));
}

/** What a walk looks for: all of the frames, of which there is one at least. */
function rangeOf(frames: readonly DeviceFrame[]): DeviceFrameRange {
  const { device } = frames[0]!; // see above
  const pfns = frames.map(({ pfn }) => pfn);
  const startPfn = pfns.reduce((a, b) => Math.min(a, b));
  const endPfn = pfns.reduce((a, b) => Math.max(a, b)) + 1;
  return { device, startPfn, endPfn, only: new Set(pfns) };
}

/** Pages that are moved together, at most: others wait no longer for one of them. */
const MOVED_MAX = 512;

/** How many frames from `first` on have pages that follow each other, in one vma. */
function pagesInRow(
  { memory }: Machine,
  mm: Mm,
  frames: readonly HintedFrame[],
  first: number,
): number {
  const startPage = frames[first]!.page; // in bounds
  const vma = vmaOf(memory, mm, startPage);
  if (vma === undefined) return 0;
  const most = Math.min(frames.length - first, vma.endPage - startPage, MOVED_MAX);
  for (let i = 0; i < most; i++) {
    const { page, pfn } = frames[first + i]!; // in bounds
    const pte = pteAt(memory, mm.pgd, page);
    if (page !== startPage + i || !holdsFrame(pte) || ptePfn(pte) !== pfn) return i;
  }
  return most;
}

/**
 * Ends a device memory: gives out no frame any more, brings all pages back, and removes it. EBUSY:
 * some frame is still used after `timeoutMs`, since RAM is used up; the pages in it stay what they
 * are, and the call may be repeated. A word `note` that names it becomes 0 when it is removed.
 * Holding no lock, nor in a call-back.
 */
export function* endDeviceMemory(
  machine: Machine,
  device: DeviceMemory,
  timeoutMs: number,
  note: number = 0,
): Task<Errno> {
  yield* closeDeviceMemory(device);
  yield* emptyDeviceMemory(machine, device);
  // Others may be about to drop references: an exit, a fault that was overtaken.
  if (!(yield* waitUntilUnused(device, timeoutMs))) return EBUSY;
  const srcu = yield* notifierSrcu(machine);
  return yield* removeDeviceMemory(machine, device, () => srcu.synchronize(), note);
}

function names(pte: number, { startPfn, endPfn, only }: DeviceFrameRange): boolean {
  if (!holdsFrame(pte)) return false;
  const pfn = ptePfn(pte);
  return pfn >= startPfn && pfn < endPfn && (only === undefined || only.has(pfn));
}

/** The pages whose entries name one of the frames, as runs that lie in one vma each. */
function* pagesIn(machine: Machine, mm: Mm, frames: DeviceFrameRange): Task<PageRange[]> {
  const { memory } = machine;
  const runs: { startPage: number; endPage: number }[] = [];
  for (const part of partsIn(memory, mm, { startPage: 0, endPage: TASK_SIZE_PAGES })) {
    yield* forEachLeaf(memory, mm.pgd, part.startPage, part.endPage, function* (leaf, from, to) {
      for (const page of pagesOfLeaf(memory.words, leaf, from, to, frames)) {
        const last = runs.at(-1);
        if (last?.endPage === page && page > part.startPage) last.endPage = page + 1;
        else runs.push({ startPage: page, endPage: page + 1 });
      }
      return 0;
    });
  }
  return runs;
}

/** @stepped pte */
function pagesOfLeaf(
  words: Int32Array,
  leaf: number,
  startPage: number,
  endPage: number,
  frames: DeviceFrameRange,
): number[] {
  const pages: number[] = [];
  for (let page = startPage; page < endPage; page++)
    if (names(wordAt(words, pteIndex(leaf, page)), frames)) pages.push(page);
  return pages;
}

/** Holding the mmap lock. `pages` lie in one vma. */
function* bringBack(
  machine: Machine,
  mm: Mm,
  pages: PageRange,
  { owner }: DeviceMemory,
): Task<MoveResult> {
  const vma = vmaOf(machine.memory, mm, pages.startPage);
  if (vma === undefined) return NOTHING_MOVED;
  const args = { machine, mm, vma, ...pages, select: SELECT_DEVICE, owner, isByOwner: false };
  const result = yield* migrateRange(args, toRam(machine));
  return typeof result === "number" ? NOTHING_MOVED : result;
}

const NOTHING_MOVED: MoveResult = { moved: 0, lacking: 0 };
