/**
 * @module mm/vma/vma-link
 * One vma as it is allocated, joins the set, leaves it, and is freed (V3 and V4 of vma-map.ts).
 */

import { Machine } from "../../memory/machine.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import {
  addResourceUnder,
  findResource,
  kindWord,
  registerHeir,
  removeResourceUnder,
  reserveResource,
  resourceKind,
} from "../../sync/lockdep/resources.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { undoField } from "../../memory/layout/undo-field.ts";
import type { PlainField } from "../../memory/layout/struct.ts";
import { Mm } from "../mm-struct.ts";
import { treeInsert, treeRemove } from "./vma-tree.ts";
import { END_PAGE, START_PAGE, Vma, vmaAt, type PageRange, type VmaKind } from "./vma.ts";
import { dropSourceOf } from "./vma-source.ts";

const VMA_COUNT: PlainField = undoField(Mm, "vmaCount");
export const MAPPED_PAGES: PlainField = undoField(Mm, "mappedPages");
const SOURCE: PlainField = Vma.plain("source");

/**
 * A vma that is not linked: its pointer, or 0, and its slot among the thread's resources (V4 of
 * vma-map.ts).
 */
export interface SpareVma {
  readonly at: number;
  readonly slot: number;
}

const NO_VMA: SpareVma = { at: 0, slot: -1 };

const VMA_RESOURCE: number = resourceKind("vma that is not linked");
registerHeir(VMA_RESOURCE, (memory, at, slot) => freeVma(Machine.of(memory), { at, slot }));

/** For `spareOf`, at once. 0 if there is no memory. */
export function allocVma({ heap }: Machine): Task<number> {
  return heap.alloc(Vma, VMA_RESOURCE);
}

/** What {@link allocVma} has given: a vma for `linkVma` or `freeVma`. `at` may be 0. */
export function spareOf({ memory }: Machine, at: number): SpareVma {
  return at === 0 ? NO_VMA : { at, slot: findResource(memory, VMA_RESOURCE, at) };
}

/**
 * Makes a mapping of a vma. Does not merge (the caller restores V2 of vma-map.ts) and checks no
 * limit. Owns the caller's reference of the source.
 */
export function linkVma(
  machine: Machine,
  mm: Mm,
  { at, slot }: SpareVma,
  range: PageRange,
  kind: VmaKind,
): void {
  const { startPage, endPage } = range;
  if (slot >= 0) removeResourceUnder(machine.memory, mm.mmapLock.at, slot);
  const vma = Vma.at(machine.memory, at);
  vma.startPage = startPage;
  vma.endPage = endPage;
  vma.flags = kind.flags;
  vma.source = kind.source;
  vma.offsetPages = kind.offsetPages;
  treeInsert(machine.memory, mm, at);
  VMA_COUNT.store(machine.memory, mm.at, mm.vmaCount + 1);
  MAPPED_PAGES.store(machine.memory, mm.at, mm.mappedPages + endPage - startPage);
}

/** The caller frees it, after `endVmaChange`. */
export function unlinkVma(memory: SharedMemory, mm: Mm, at: number): SpareVma {
  treeRemove(memory, mm, at);
  VMA_COUNT.store(memory, mm.at, mm.vmaCount - 1);
  return { at, slot: addResourceUnder(memory, mm.mmapLock.at, VMA_RESOURCE, at) };
}

/** With its reference of its source, if it has one. May be done again, for a dead thread. */
export function freeVma(machine: Machine, spare: SpareVma): Task<void> {
  return SOURCE.load(machine.memory, spare.at) === 0
    ? machine.heap.free(Vma, spare.at, spare.slot)
    : freeSourced(machine, spare);
}

function* freeSourced(machine: Machine, { at, slot }: SpareVma): Task<void> {
  yield* dropSourceOf(machine, at);
  yield* machine.heap.free(Vma, at, slot);
}

/**
 * Moves a whole vma to a range, and leaves its source and offset as they are. The caller moves the
 * entries. The place is free, apart from the vma itself. Does not merge (V2 of vma-map.ts).
 * Holding the mmap lock for writing.
 */
export function relocateVma(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  { startPage, endPage }: PageRange,
): void {
  const { memory } = machine;
  treeRemove(memory, mm, vma.at);
  const more = endPage - startPage - (vma.endPage - vma.startPage);
  MAPPED_PAGES.store(memory, mm.at, mm.mappedPages + more);
  START_PAGE.store(memory, vma.at, startPage);
  END_PAGE.store(memory, vma.at, endPage);
  treeInsert(memory, mm, vma.at);
}

/** Exit: frees every vma and its reference of its source. Alone. */
export function* freeAllVmas(machine: Machine, mm: Mm): Task<void> {
  const { memory } = machine;
  for (let vma = vmaAt(memory, mm.vmaFirst); vma !== undefined;) {
    const { at, next } = vma;
    // V4 of vma-map.ts: a resource in the step that takes it off, unless the list is full.
    const slot = reserveResource(memory, at);
    const [listed, first] = [kindWord(memory, slot), mm.at + Mm.offset.vmaFirst];
    if (listed !== 0) memory.words[listed] = VMA_RESOURCE;
    memory.words[first] = next;
    yield* freeVma(machine, { at, slot });
    vma = vmaAt(memory, next);
  }
  mm.vmaRoot = 0;
  mm.vmaCount = 0;
  mm.mappedPages = 0;
}
