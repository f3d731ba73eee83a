/**
 * @module mm/calls/advise-source
 * Advice about pages of sources: to read them ahead, to give up their place in RAM. Follows
 * `madvise_willneed`, `madvise_cold` and `madvise_pageout` in `mm/madvise.c`. It is about pages
 * that a source can give again; memory without one stays as it is, since nothing is swapped.
 *
 *     advice     entries of this space     page cache
 *     willneed   -                         pages are read, half of the free RAM at most
 *     cold       of the cache: cleared     stays; whoever needs RAM takes first what nobody maps
 *     pageout    of the cache: cleared     dirty pages are written, then pages that nobody maps go
 *
 * Devices give up what they have of pages that are cold, also of memory without a source: so their
 * frames are free for others. Linux leaves that to each driver's own advice.
 *
 * What other spaces map they keep. Holding no lock; the caller holds an mm user.
 */

import type { Machine } from "../../memory/machine.ts";
import { EVENT_CLEAR, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import { EINVAL, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { mmapWriteLock } from "../migration.ts";
import type { Mm } from "../mm-struct.ts";
import { answerOf, forEachBacked } from "../source/backed-parts.ts";
import { readAheadRange } from "../source/bring-in.ts";
import { IO_READ, IO_WRITE } from "../source/io.ts";
import { unmapCached } from "../source/mappings.ts";
import { dropUnmapped } from "../source/reclaim.ts";
import { syncPages } from "../source/write-back.ts";
import { PageCache } from "../vma/page-cache.ts";
import { type PageRange, VM_BACKED, VM_SPECIAL, isFullyMapped, partsIn } from "../vma/vma.ts";

/** MADV_WILLNEED. That a page cannot be read is found out by who touches it. */
export function* readAhead(machine: Machine, mm: Mm, range: PageRange): Task<Errno> {
  const wanted = { kind: IO_READ, flags: 0 } as const;
  const walk = yield* forEachBacked(machine, mm, range, wanted, function* (io) {
    const { cache, startPage, endPage } = io;
    const pages = Math.floor(machine.ram.usage().freePages / 2);
    yield* readAheadRange(machine, cache, startPage, Math.min(endPage, startPage + pages));
    return true;
  });
  return answerOf(walk);
}

/** MADV_COLD. */
export function* deactivate(machine: Machine, mm: Mm, range: PageRange): Task<Errno> {
  yield* mmapWriteLock(machine, mm);
  const result = yield* unmapSources(machine, mm, range);
  yield* mm.mmapLock.upWrite();
  return result;
}

/** MADV_PAGEOUT. What could not be written stays, and is dirty still. */
export function* pageOut(machine: Machine, mm: Mm, range: PageRange): Task<Errno> {
  const result = yield* deactivate(machine, mm, range);
  if (result !== 0 && result !== ENOMEM) return result;
  const wanted = { kind: IO_WRITE, flags: 0 } as const;
  const walk = yield* forEachBacked(machine, mm, range, wanted, function* (io) {
    const { cache, startPage, endPage } = io;
    yield* syncPages(machine, cache, startPage, endPage);
    yield* dropUnmapped(machine, PageCache.at(machine.memory, cache), io, startPage, endPage);
    return true;
  });
  return answerOf(walk);
}

/** Holding the mmap lock for writing. EINVAL at frames without a count; ENOMEM: there is a hole. */
function* unmapSources(machine: Machine, mm: Mm, range: PageRange): Task<Errno> {
  for (const part of partsIn(machine.memory, mm, range)) {
    if ((part.vma.flags & VM_SPECIAL) !== 0) return EINVAL;
    if ((part.vma.flags & VM_BACKED) === 0) yield* tellDevices(machine, mm, part);
    else yield* unmapCached(machine, mm, part.vma.source, part);
  }
  return isFullyMapped(machine.memory, mm, range) ? 0 : ENOMEM;
}

/** An invalidation in which no entry changes. Holding the mmap lock. */
function* tellDevices(machine: Machine, mm: Mm, part: PageRange): Task<void> {
  const range = invalidateRange(mm, part.startPage, part.endPage, EVENT_CLEAR);
  yield* mmuNotifierInvalidateRangeStart(machine, range); // it may wait, so it is not refused
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}
