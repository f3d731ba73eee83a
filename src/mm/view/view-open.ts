/**
 * @module mm/view/view-open
 * Opens and closes views (view-hold.ts says what they are). Follows Linux `pin_user_pages` in
 * `mm/gup.c`. Where the frames are not in a row, they are migrated to some that are.
 */

import { Machine } from "../../memory/machine.ts";
import { LEAF_WORDS, leafOf, nextLeafPage, pteAt, pteIndex } from "../../mmu/radix-table.ts";
import { atomicStore } from "../../sync/atomics.ts";
import {
  findResource,
  kindWord,
  registerHeir,
  reserveResource,
  resourceKind,
} from "../../sync/lockdep/resources.ts";
import { EBUSY, EFAULT, EINVAL, EMFILE, ENOMEM, type Errno } from "../../sync/errno.ts";
import { HmmError } from "../../sync/errors.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { commitUndo } from "../../sync/words/undo-log.ts";
import { mmput } from "../lifetime/mm.ts";
import { clearHuge, isHugeAt, splitIfDead } from "../huge.ts";
import { bringToRam } from "../migrate/bring-to-ram.ts";
import { migrateToRun } from "../migrate/migrate-to-run.ts";
import { unpinEachInHand, unpinInHand } from "../entries/hand.ts";
import { beginHand, endInvalidation } from "../entries/invalidation.ts";
import { mmapWriteLock } from "../migration.ts";
import { MM_USER, Mm } from "../mm-struct.ts";
import { PTE_PRESENT, ZERO_PFN, isOfFrame, isWritten, ptePfn, withWrite } from "../pte.ts";
import { claimNoted, dropNotedClaim } from "../source/source-table.ts";
import { isBeyondSource, oneSourceOf } from "../vma/vma-source.ts";
import {
  type PageRange,
  VM_BACKED,
  VM_BUFFER,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
  type VmaPart,
  isFullyMapped,
  offsetOf,
  partsIn,
} from "../vma/vma.ts";
import {
  NOT_PINNED,
  VIEW_ABSENT,
  bringRangeIn,
  absentPages,
  markDirty,
  pinCached,
  wholeBacked,
} from "./view-backed.ts";
import { pinEach } from "./pin-each.ts";
import {
  HOLD_VIEW,
  ViewHold,
  beginHold,
  beginPin,
  endHold,
  frameTableWords,
  framesOf,
} from "./view-hold.ts";
import { populateRow } from "./view-populate.ts";
import { closeWatch } from "./view-watch.ts";

const { cache: CACHE, isClaimed: IS_CLAIMED, pinned: PINNED } = ViewHold.offset;

/** How often pages may leave their cache again before the view is opened. */
const BRING_IN_TRIES_MAX = 100;

/** A view, a pin, or one that is being opened: from the step on that gets its user (W6). */
const VIEW_RESOURCE: number = resourceKind("view");
/** The struct alone. */
const HOLD_RESOURCE: number = resourceKind("view that is not open");
registerHeir(HOLD_RESOURCE, (memory, at, slot) =>
  freeHold(Machine.of(memory), ViewHold.at(memory, at), slot),
);

/**
 * Opens a view of [startPage, endPage): the hold's pointer, or EFAULT (a page is not mapped, or not
 * with that right), EBUSY (frames must migrate, and one of them is pinned or shared with another
 * space), EINVAL (a user's buffer and other memory in one view), EMFILE (the thread has too many
 * resources), ENOMEM. Takes the mmap lock; the caller holds an mm user.
 */
export function viewOpen(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  isWrite: boolean,
): Task<number> {
  return openHold(machine, mm, { startPage, endPage, isWrite, kind: HOLD_VIEW });
}

/** What is to be opened. */
interface HoldRequest extends PageRange {
  readonly isWrite: boolean;
  /** HOLD_VIEW, or a pin (pin.ts). */
  readonly kind: number;
}

/** As `viewOpen`, of any kind. */
export function* openHold(machine: Machine, mm: Mm, request: HoldRequest): Task<number> {
  const { heap, memory } = machine;
  const at = yield* heap.alloc(ViewHold, HOLD_RESOURCE);
  if (at === 0) return ENOMEM;
  const hold = ViewHold.at(memory, at);
  hold.slot = findResource(memory, HOLD_RESOURCE, at);
  hold.mm = mm.at;
  hold.startPage = request.startPage;
  hold.endPage = request.endPage;
  hold.isWrite = request.isWrite ? 1 : 0;
  hold.kind = request.kind;
  let result: Errno = (yield* makeFrameTable(machine, hold)) ? VIEW_ABSENT : ENOMEM;
  for (let tries = 0; result === VIEW_ABSENT && tries < BRING_IN_TRIES_MAX; tries++) {
    yield* mmapWriteLock(machine, mm);
    result = hold.slot < 0 ? EMFILE : yield* openLocked(machine, mm, hold, tries > 0);
    yield* mm.mmapLock.upWrite();
    const brought = result === VIEW_ABSENT ? yield* bringOrFree(machine, mm, hold) : 0;
    if (brought !== 0) result = brought;
  }
  if (result === 0) return at;
  yield* freeHold(machine, hold, hold.slot);
  return result === VIEW_ABSENT ? EBUSY : result;
}

/** If it throws EDEADLK, the hold is freed (`thenCleanUp` of source/io.ts). */
function* bringOrFree(machine: Machine, mm: Mm, hold: ViewHold): Task<Errno> {
  try {
    return yield* bringRangeIn(machine, mm, hold);
  } catch (error) {
    if (error instanceof HmmError && error.code === "EDEADLK")
      yield* freeHold(machine, hold, hold.slot);
    throw error;
  }
}

/** False: no memory. */
function* makeFrameTable({ heap }: Machine, hold: ViewHold): Task<boolean> {
  if (hold.kind === HOLD_VIEW) return true;
  const words = frameTableWords(hold.endPage - hold.startPage);
  return (yield* heap.allocWords(words, hold.at + ViewHold.offset.frames)) !== 0;
}

function* freeHold({ heap }: Machine, hold: ViewHold, slot: number): Task<void> {
  const { at, frames, startPage, endPage } = hold;
  const note = at + ViewHold.offset.frames;
  if (frames !== 0) yield* heap.freeWords(frames, frameTableWords(endPage - startPage), note);
  yield* heap.free(ViewHold, at, slot);
}

/**
 * Closes a view of this thread. Its frames may be reused from here on. Takes the mmap lock, and may
 * drop the last user of the address space.
 */
export function viewClose(machine: Machine, at: number): Task<void> {
  return closeHold(machine, at, ViewHold.at(machine.memory, at).slot);
}

/** `slot`: of the view among this thread's resources. What is left to do is in the hold (W6). */
function* closeHold(machine: Machine, at: number, slot: number): Task<void> {
  const { memory } = machine;
  const hold = ViewHold.at(memory, at);
  const mm = Mm.at(memory, hold.mm);
  yield* closeWatch(machine, hold);
  if (hold.isWrite !== 0) {
    yield* mm.mmapLock.downWrite();
    if (hold.kind === HOLD_VIEW) yield* endHold(machine, mm, hold);
    else if (hold.node.isListed()) hold.node.del(mm.mmapLock.at);
    yield* mm.mmapLock.upWrite();
  }
  yield* markHoldDirty(machine, hold);
  yield* unpinHold(machine, mm, hold);
  yield* dropNotedClaim(machine, at + CACHE, at + IS_CLAIMED);
  const freed = splitView(memory, slot, at, mm.at);
  yield* freeHold(machine, hold, freed);
  yield* mmput(machine, mm, slot);
}

/**
 * Of a view that is closed the struct and the user are left: two resources, where it was one. No
 * function is entered between the stores (H1 of sync/lockdep/held-locks.ts). Returns the slot of
 * the struct.
 */
function splitView(memory: SharedMemory, slot: number, hold: number, mm: number): number {
  const freed = reserveResource(memory, hold);
  const [struct, user] = [kindWord(memory, freed), kindWord(memory, slot)];
  const { words } = memory;
  if (struct !== 0) words[struct] = HOLD_RESOURCE;
  if (user !== 0) {
    words[user + 1] = mm;
    words[user] = MM_USER;
  }
  return freed;
}

/** Of all frames that are pinned: some, if this thread, or an earlier one, did not come further. */
function* unpinHold(machine: Machine, mm: Mm, hold: ViewHold): Task<void> {
  const { at, pfn, kind, frames } = hold;
  const operation = yield* beginHand(mm);
  if (kind === HOLD_VIEW) yield* unpinInHand(machine, operation, pfn, at + PINNED);
  else yield* unpinEachInHand(machine, operation, frames, at + PINNED);
  endInvalidation(mm, operation);
}

/** W4 of view-hold.ts. */
function* markHoldDirty(machine: Machine, hold: ViewHold): Task<void> {
  const { cache, offsetPages, pfn, startPage, endPage } = hold;
  const isWhole = hold.pinned === endPage - startPage;
  if (cache === 0 || !isWhole) return; // else another thread has marked them, and died
  if (hold.kind === HOLD_VIEW) {
    yield* markDirty(machine, cache, offsetPages, pfn, endPage - startPage);
    return;
  }
  for (const [i, frame] of framesOf(hold).entries())
    yield* markDirty(machine, cache, offsetPages + i, frame, 1);
}

/** For the reaper: the thread that had opened the view has died. */
registerHeir(VIEW_RESOURCE, (memory, at, slot) => closeHold(Machine.of(memory), at, slot));

/**
 * Holding the mmap lock for writing. A view becomes a resource with its user, before it gets
 * frames: the reaper finds it, whenever this thread dies (W6).
 */
function* openLocked(machine: Machine, mm: Mm, hold: ViewHold, wasBroughtIn: boolean): Task<Errno> {
  const { memory } = machine;
  const { startPage, endPage } = hold;
  const note = kindWord(memory, hold.slot);
  // The caller has a user (R2). This one is the view's own (W1 of view-hold.ts).
  yield* mm.users.get(note, VIEW_RESOURCE);
  const result = yield* findAndPin(machine, mm, hold, wasBroughtIn);
  if (result !== 0) {
    yield* mm.users.put(note); // not the last one
    memory.words[note] = HOLD_RESOURCE;
    return result;
  }
  if (hold.isWrite === 0) return 0;
  if (hold.kind === HOLD_VIEW) {
    yield* beginHold(machine, mm, hold);
    allowWrites(machine, mm, startPage, endPage);
  } else {
    yield* beginPin(machine, mm, hold, () => allowWrites(machine, mm, startPage, endPage));
  }
  yield* markHoldDirty(machine, hold);
  return 0;
}

/**
 * Pins the frames: a view's are in a row then, and `pfn` is the first. 0, or what `viewOpen`
 * answers; then none is pinned.
 */
function* findAndPin(machine: Machine, mm: Mm, hold: ViewHold, wasBroughtIn: boolean): Task<Errno> {
  const { startPage } = hold;
  const isWrite = hold.isWrite !== 0;
  const refused = checkRange(machine, mm, hold);
  if (refused !== 0) return refused;
  const absent = judgeAbsent(machine, mm, hold, wasBroughtIn);
  if (absent !== 0) return absent;
  const backed = wholeBacked(machine, mm, hold);
  if (backed === undefined && isWrite && hasSharedSource(machine, mm, hold)) return EINVAL;
  const result = yield* hold.kind === HOLD_VIEW
    ? pinForView(machine, mm, hold, backed)
    : pinForPin(machine, mm, hold);
  if (result < 0) return result;
  if (backed !== undefined && isWrite && (backed.vma.flags & VM_SHARED) !== 0) {
    hold.offsetPages = offsetOf(backed.vma, startPage);
    yield* claimNoted(machine, backed.vma.source, hold.at + CACHE, hold.at + IS_CLAIMED);
  }
  return 0;
}

/**
 * 0: all pages are there. VIEW_ABSENT: they are to be brought in. ENOMEM: there is no room for them
 * all: a read makes room by what it has read before, so it would never come to an end.
 */
function judgeAbsent(machine: Machine, mm: Mm, hold: ViewHold, wasBroughtIn: boolean): Errno {
  const absent = absentPages(machine, mm, hold, wasBroughtIn ? Infinity : 1);
  if (absent === 0) return 0;
  const { freePages, totalPages } = machine.ram.usage();
  const hasRoom = wasBroughtIn ? absent <= freePages : hold.endPage - hold.startPage <= totalPages;
  return hasRoom ? VIEW_ABSENT : ENOMEM;
}

function* pinForView(
  machine: Machine,
  mm: Mm,
  hold: ViewHold,
  backed: VmaPart | undefined,
): Task<number> {
  if (backed !== undefined) {
    const pfn = yield* pinCached(machine, mm, backed, hold);
    if (pfn !== NOT_PINNED) return pfn;
    yield* unpinHold(machine, mm, hold);
  }
  const fresh = yield* populateRow(machine, mm, hold);
  return fresh === NOT_PINNED ? yield* pinRow(machine, mm, hold) : fresh;
}

function* pinForPin(machine: Machine, mm: Mm, hold: ViewHold): Task<number> {
  const result = yield* pinEach(machine, mm, hold);
  if (result !== 0) yield* unpinHold(machine, mm, hold);
  return result;
}

/** Whether part of the range is a shared mapping of a source: its pages have to be marked. */
function hasSharedSource({ memory }: Machine, mm: Mm, range: PageRange): boolean {
  const shared = VM_SHARED | VM_BACKED;
  for (const { vma } of partsIn(memory, mm, range))
    if ((vma.flags & shared) === shared) return true;
  return false;
}

/** 0, or EFAULT: a page is not mapped, not with that right, or beyond the end of its source. */
function checkRange(machine: Machine, mm: Mm, hold: ViewHold): Errno {
  const right = hold.isWrite === 0 ? VM_READ : VM_READ | VM_WRITE;
  if (!isFullyMapped(machine.memory, mm, hold)) return EFAULT;
  for (const { vma, endPage } of partsIn(machine.memory, mm, hold))
    if ((vma.flags & right) !== right || isBeyondSource(machine, vma, endPage - 1)) return EFAULT;
  return 0;
}

/**
 * First of the range's frames, which are in a row then, and pinned, after a migration where they
 * were not; or what `viewOpen` answers.
 */
function* pinRow(machine: Machine, mm: Mm, hold: ViewHold): Task<number> {
  const { startPage, endPage } = hold;
  const { memory, ram } = machine;
  for (const { vma: buffer } of partsIn(memory, mm, { startPage, endPage })) {
    if ((buffer.flags & VM_BUFFER) === 0) continue;
    const whole = oneSourceOf(memory, mm, hold);
    if (whole === undefined) return EINVAL;
    const first = whole.source + offsetOf(whole, startPage);
    hold.pfn = first;
    ram.refs.pinRunNoted(first, endPage - startPage, hold.at + PINNED, 0);
    return first;
  }
  const failed = yield* bringToRam(machine, mm, { startPage, endPage });
  if (failed !== 0) return failed;
  const inPlace = yield* pinInPlace(machine, mm, hold);
  if (inPlace !== NOT_PINNED) return inPlace;
  // A thread that dies leaves pages that have moved, or migrations that whoever comes next ends.
  const pfn = yield* migrateToRun(machine, mm, { startPage, endPage });
  const pinned = pfn < 0 ? pfn : yield* pinInPlace(machine, mm, hold);
  if (pinned !== NOT_PINNED) return pinned;
  hold.pfn = pfn;
  ram.refs.pinRunNoted(pfn, endPage - startPage, hold.at + PINNED, 0);
  return pfn;
}

/**
 * Pins the range's frames when they exist, are in a row in one section, and belong to this space
 * alone: the first of them, else NOT_PINNED. Holding the mmap lock for writing: entries stay, so
 * they hold the frames that are judged.
 */
function* pinInPlace(machine: Machine, mm: Mm, hold: ViewHold): Task<number> {
  const { memory, ram } = machine;
  const { startPage, endPage } = hold;
  const range = { startPage, endPage };
  const note = hold.at + PINNED;
  const pfn = ptePfn(pteAt(memory, mm.pgd, startPage));
  if (pfn === ZERO_PFN) return NOT_PINNED;
  const section = ram.sections.of(pfn);
  if (pfn + (endPage - startPage) > section.basePfn + section.pages) return NOT_PINNED;
  if (!areInRow(memory, mm.pgd, range, pfn)) return NOT_PINNED;
  hold.pfn = pfn;
  for (const part of partsIn(memory, mm, range)) {
    const first = pfn + (part.startPage - startPage);
    const pages = part.endPage - part.startPage;
    if ((part.vma.flags & VM_SHARED) !== 0) {
      ram.refs.pinRunNoted(first, pages, note, hold.pinned);
    } else if (!(yield* ram.refs.pinRunIfExclusive(first, pages, note))) {
      yield* unpinHold(machine, mm, hold);
      return NOT_PINNED;
    }
  }
  return pfn;
}

/**
 * Whether the entries of the range are present and have the frames from `pfn` on.
 *
 * @stepped pte
 */
function areInRow(
  memory: SharedMemory,
  pgd: number,
  { startPage, endPage }: PageRange,
  pfn: number,
): boolean {
  for (let page = startPage; page < endPage;) {
    const end = Math.min(nextLeafPage(page), endPage);
    const leaf = leafOf(memory, pgd, page);
    if (leaf === 0) return false;
    const { words } = memory;
    const index = pteIndex(leaf, page);
    const firstPfn = pfn + (page - startPage);
    for (let i = 0; i < end - page; i++)
      if (!isOfFrame(words[index + i]!, firstPfn + i)) return false;
    page = end;
  }
  return true;
}

/**
 * The view's frames will be written now, so their entries need not be read-only or tracked any
 * more.
 *
 * @stepped pte
 */
function allowWrites(machine: Machine, mm: Mm, startPage: number, endPage: number): void {
  const { memory } = machine;
  for (let page = startPage; page < endPage;) {
    const end = Math.min(nextLeafPage(page), endPage);
    const leaf = leafOf(memory, mm.pgd, page);
    const index = pteIndex(leaf, page);
    const pages = leaf === 0 ? 0 : end - page;
    if (pages < LEAF_WORDS) clearHuge(memory, mm, page);
    // Else it stays one: all change alike.
    else if (isHugeAt(memory, mm, page)) splitIfDead(memory, mm, page, mm.mmapLock.at);
    const { words } = memory;
    for (let i = 0; i < pages; i++) {
      const pte = words[index + i]!;
      if (isWritten(pte) || (pte & PTE_PRESENT) === 0) continue;
      atomicStore(words, index + i, withWrite(pte));
    }
    commitUndo(memory, mm.mmapLock.at); // else the log would be full one day
    page = end;
  }
}
