/**
 * @module mm/migrate/fill-pages
 * Between setup and pages of a migration (migrate-vma.ts): new frames for its pages, and their
 * contents. Pages in a row are filled together where the maker of frames can do that: one turn of a
 * lock takes all frames, and frames that follow each other on both sides are copied at once. Frame
 * by frame that took as long as the copy itself.
 */

import { startsHuge } from "../huge-migration.ts";
import { HUGE_PAGES, splitHuge } from "../huge.ts";
import type { FrameNotes } from "../../memory/ram.ts";
import { MIGRATE_PFN_MIGRATE, MIGRATE_PFN_SHIFT } from "../migration.ts";
import { type MovingPages, frameNotesOf } from "../migration-record.ts";
import { ZERO_PFN } from "../pte.ts";
import type { Task } from "../../sync/tasks/task.ts";

/** Who makes new frames for pages, and fills them. */
export interface PageFiller {
  /** A frame with one reference for a page, whose old frame is `from` (ZERO_PFN: none); or 0. */
  readonly alloc: (page: number, from: number) => Task<number>;
  /** Copies the page's contents; `from` ZERO_PFN: clears `to`. */
  readonly copy: (from: number, to: number) => Task<void>;
  /**
   * As `alloc`, for all pages of a row: sets `frames`, which is all 0, as far as there are frames.
   * If the thread dies, none is lost of those that are in `frames`, or noted, in the step that
   * takes them, as by `takeDeviceFrames` and `Ram.allocFrames`. Left out: one by one.
   */
  readonly allocPages?: (frames: Uint32Array, notes: FrameNotes) => Task<void>;
  /** As `copy`, of frames in a row. Left out: one by one. */
  readonly copyPages?: (from: number, to: number, pages: number) => Task<void>;
  /**
   * The first of HUGE_PAGES frames in a row for a huge page, each with one reference; or 0. As
   * `allocPages`, it may set `frames`, which is all 0 and stays so with the answer 0. Left out, or
   * 0: its pages are moved one by one.
   */
  readonly allocHuge?: (page: number, frames: Uint32Array, notes: FrameNotes) => Task<number>;
  /** Copies all of a huge page; `from` ZERO_PFN: clears it. */
  readonly copyHuge?: (from: number, to: number) => Task<void>;
}

/** New frames for the marked pages, with their contents. Returns how many got none. */
export function* fillPages(moving: MovingPages, filler: PageFiller): Task<number> {
  const { machine, mm, src, startPage } = moving;
  let lacking = 0;
  for (let i = 0; i < src.length;) {
    if (!isMarked(moving, i)) {
      i++;
      continue;
    }
    if (startsHuge(moving, i)) {
      if (yield* fillHuge(moving, filler, i)) {
        i += HUGE_PAGES;
        continue;
      }
      yield* splitHuge(machine, mm, startPage + i);
    }
    // A huge page begins a row.
    const stop = Math.min(src.length, i + HUGE_PAGES - ((startPage + i) % HUGE_PAGES));
    let end = i + 1;
    while (end < stop && isMarked(moving, end)) end++;
    lacking += yield* fillRow(moving, filler, i, end);
    i = end;
  }
  return lacking;
}

function isMarked({ src }: MovingPages, i: number): boolean {
  return (src[i]! & MIGRATE_PFN_MIGRATE) !== 0;
}

function fromOf({ src }: MovingPages, i: number): number {
  return src[i]! >>> MIGRATE_PFN_SHIFT;
}

/** False: there are no frames in a row, and the pages are to be filled one by one. */
function* fillHuge(
  moving: MovingPages,
  { allocHuge: alloc, copyHuge: copy }: PageFiller,
  i: number,
): Task<boolean> {
  const { dst, startPage } = moving;
  if (alloc === undefined || copy === undefined) return false;
  const frames = dst.subarray(i, i + HUGE_PAGES);
  const to = yield* alloc(startPage + i, frames, frameNotesOf(moving));
  if (to === 0) return false;
  if (frames[HUGE_PAGES - 1] === 0) for (let k = 0; k < HUGE_PAGES; k++) frames[k] = to + k;
  yield* copy(fromOf(moving, i), to);
  return true;
}

/** Pages [first, end), all of them marked. Returns how many got no frame. */
function* fillRow(
  moving: MovingPages,
  filler: PageFiller,
  first: number,
  end: number,
): Task<number> {
  const { dst, startPage } = moving;
  const { allocPages, copyPages = copyEach(filler) } = filler;
  if (allocPages === undefined) {
    for (let i = first; i < end; i++)
      dst[i] = yield* filler.alloc(startPage + i, fromOf(moving, i));
  } else {
    yield* allocPages(dst.subarray(first, end), frameNotesOf(moving));
  }
  let lacking = 0;
  for (let i = first, next = first; i < end; i = next) {
    next = i + 1;
    const to = dst[i]!;
    const from = fromOf(moving, i);
    if (to === 0) {
      lacking++;
    } else if (from === ZERO_PFN) {
      yield* filler.copy(from, to);
    } else {
      while (next < end && dst[next] === to + next - i && fromOf(moving, next) === from + next - i)
        next++;
      yield* copyPages(from, to, next - i);
    }
  }
  return lacking;
}

function copyEach({ copy }: PageFiller): Required<PageFiller>["copyPages"] {
  return function* (from, to, pages) {
    for (let k = 0; k < pages; k++) yield* copy(from + k, to + k);
  };
}
