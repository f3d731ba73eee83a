/**
 * @module mm/source/backed-parts What a range of an address space has of sources with a backing
 * store, for calls that read or write their pages without the mmap lock. Follows the loop of Linux
 * `msync`, which keeps one file at a time.
 *
 * One mapping comes after the other, and each is looked for when its turn has come: a range may
 * have more mappings than a thread may own records (O1 of io.ts).
 */

import type { Machine } from "../../memory/machine.ts";
import { ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { type PageRange, VM_BACKED, offsetOf, partsIn } from "../vma/vma.ts";
import { type IoKind, SourceIo, ioBegin, ioEnd, thenCleanUp } from "./io.ts";

/** For which mappings, and what for. */
interface Wanted {
  readonly kind: IoKind;
  /** Flags that a mapping must have. */
  readonly flags: number;
}

/** How a walk has ended. */
export interface BackedWalk {
  /** All of the range was mapped. */
  readonly isWhole: boolean;
  /** 0, or of a mapping that was left out: ENOMEM, EMFILE. */
  readonly errno: Errno;
}

/**
 * Calls `visit` for each mapping, with a record that keeps its cache and names its pages. False
 * from `visit`: enough. Takes the mmap lock, which is not held while `visit` runs; the caller holds
 * an mm user, and no lock.
 */
export function* forEachBacked(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  wanted: Wanted,
  visit: (io: SourceIo) => Task<boolean>,
): Task<BackedWalk> {
  let isWhole = true;
  let errno: Errno = 0;
  const { endPage } = range;
  for (let page = range.startPage, goesOn = true; goesOn && page < endPage;) {
    const found = yield* findBacked(machine, mm, { startPage: page, endPage }, wanted);
    isWhole &&= found.isWhole;
    page = found.endPage;
    if (found.io < 0) errno = found.io;
    if (found.io <= 0) continue;
    const visited = visit(SourceIo.at(machine.memory, found.io));
    goesOn = yield* thenCleanUp(visited, () => ioEnd(machine, found.io));
  }
  return { isWhole, errno };
}

/** For a call that answers ENOMEM where there is a hole. */
export function answerOf({ isWhole, errno }: BackedWalk): Errno {
  return isWhole ? errno : ENOMEM;
}

/** The first such mapping of a range. */
interface Found {
  /** Its record; 0: there is none; ENOMEM, EMFILE. */
  readonly io: number;
  /** Where it ends, or the range. */
  readonly endPage: number;
  /** All up to there is mapped. */
  readonly isWhole: boolean;
}

function* findBacked(machine: Machine, mm: Mm, range: PageRange, wanted: Wanted): Task<Found> {
  const flags = wanted.flags | VM_BACKED;
  let found: Found | undefined;
  let isWhole = true;
  let page = range.startPage;
  yield* mm.mmapLock.downRead();
  for (const { vma, startPage, endPage } of partsIn(machine.memory, mm, range)) {
    if (startPage > page) isWhole = false;
    page = endPage;
    if ((vma.flags & flags) !== flags) continue;
    const [first, end] = [offsetOf(vma, startPage), offsetOf(vma, endPage)];
    const io = yield* ioBegin(machine, vma.source, wanted.kind, first, end);
    found = { io, endPage, isWhole };
    break;
  }
  yield* mm.mmapLock.upRead();
  const isToTheEnd = isWhole && page >= range.endPage;
  return found ?? { io: 0, endPage: range.endPage, isWhole: isToTheEnd };
}
