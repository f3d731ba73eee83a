/**
 * @module mm/calls/munmap
 * munmap, whole and in parts for other calls. Follows Linux `do_vmi_munmap` in `mm/vma.c`.
 */

import type { Machine } from "../../memory/machine.ts";
import { EVENT_UNMAP, invalidateRange } from "../../notifier/events.ts";
import { EINVAL, type Errno } from "../../sync/errno.ts";
import { type Task, doneNumber } from "../../sync/tasks/task.ts";
import { mmapWriteLock } from "../migration.ts";
import type { Mm } from "../mm-struct.ts";
import { cutsHuge } from "../vma/huge-vma.ts";
import { extendsPast, removeVmas, splitVmaAt } from "../vma/vma-map.ts";
import { type PageRange, START_PAGE, findVma } from "../vma/vma.ts";
import { zapRange } from "../entries/zap.ts";
import { pagesOf } from "./page-arguments.ts";

/**
 * Unmaps [address, address + length). 0, EINVAL (also of a part of a page of an explicit huge
 * mapping), or ENOMEM when the range lies inside one mapping,
 * of which two would be left, at the limit or without memory for the second. Holes are no error.
 * Takes the mmap lock; the caller holds an mm user (R2).
 */
export function* doMunmap(
  machine: Machine,
  mm: Mm,
  address: number,
  lengthBytes: number,
): Task<Errno> {
  const range = pagesOf(address, lengthBytes);
  if (range === undefined) return EINVAL;
  yield* mmapWriteLock(machine, mm);
  const result = yield* munmapLocked(machine, mm, range);
  yield* mm.mmapLock.upWrite();
  return result;
}

/** Holding the mmap lock for writing. ENOMEM and EINVAL leave the mappings as they were. */
export function munmapLocked(machine: Machine, mm: Mm, range: PageRange): Task<Errno> {
  const { memory } = machine;
  const { startPage, endPage } = range;
  const first = findVma(memory, mm, startPage);
  if (first === 0 || START_PAGE.load(memory, first) >= endPage) return doneNumber(0);
  if (cutsHuge(memory, mm, range, first)) return doneNumber(EINVAL);
  return extendsPast(memory, first, range)
    ? splitAndUnmap(machine, mm, range)
    : unmapFrom(machine, mm, range, first, false);
}

function* splitAndUnmap(machine: Machine, mm: Mm, range: PageRange): Task<Errno> {
  const result = yield* splitVmaAt(machine, mm, range.endPage);
  return result === 0 ? yield* unmapSplit(machine, mm, range) : result;
}

/**
 * The part of munmap that cannot fail, after `splitAround`; the result is 0. With `keepsTables`,
 * tables stay that are empty then: the caller is about to fill them. Holding the mmap lock for
 * writing.
 */
export function unmapSplit(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  keepsTables: boolean = false,
): Task<Errno> {
  const { memory } = machine;
  const first = findVma(memory, mm, range.startPage);
  return first === 0 || START_PAGE.load(memory, first) >= range.endPage
    ? doneNumber(0)
    : unmapFrom(machine, mm, range, first, keepsTables);
}

/** `unmapSplit` from the first mapping of the range on. */
function* unmapFrom(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  first: number,
  keepsTables: boolean,
): Task<Errno> {
  const invalidated = invalidateRange(mm, range.startPage, range.endPage, EVENT_UNMAP);
  yield* zapRange(machine, mm, invalidated, keepsTables);
  yield* removeVmas(machine, mm, range, first);
  return 0;
}
