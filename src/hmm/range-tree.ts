/**
 * @module hmm/range-tree
 * The registered ranges of a hmm as an interval tree, as Linux's interval notifiers have one
 * (`mm/mmu_notifier.c`, `interval_tree_iter_first`). With a list, an invalidation of one page cost
 * as much as there were ranges anywhere in the address space.
 *
 *   N1  Nodes are in the order of `startPage`; ranges that start at the same page, in that of their
 *       pointers. Both are const while a range is registered.
 *   N2  `lastEndPage` is the highest `endPage` of the subtree. So a subtree in which all ranges end
 *       at or below a page is skipped by a search from that page on.
 *   N3  A change is in the undo log of rangesLock (H6 of hmm-struct.ts).
 *
 * Everything here holds rangesLock and waits for nothing. A walk collects pointers first: its
 * caller yields between two ranges. The ranges stay, for who removes one takes rangesLock.
 */

import { AvlTree } from "../memory/layout/avl-tree.ts";
import { undoField } from "../memory/layout/undo-field.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { Hmm } from "./hmm-struct.ts";
import { HmmRangeRecord } from "./range-record.ts";

const START = HmmRangeRecord.plain("startPage");
const END = HmmRangeRecord.plain("endPage");
const LEFT = undoField(HmmRangeRecord, "left");
const RIGHT = undoField(HmmRangeRecord, "right");
const ROOT = undoField(Hmm, "ranges");

const tree: AvlTree = new AvlTree({
  left: LEFT,
  right: RIGHT,
  height: undoField(HmmRangeRecord, "height"),
  highest: undoField(HmmRangeRecord, "lastEndPage"),
  isBefore(memory, a, b) {
    const [startPage, otherStartPage] = [START.load(memory, a), START.load(memory, b)];
    return startPage === otherStartPage ? a < b : startPage < otherStartPage;
  },
  ownNumber: (memory, at) => END.load(memory, at),
});

/** Adds a range that is not registered; its pages are set. */
export function addRange(hmm: Hmm, { at }: HmmRangeRecord): void {
  const { memory } = hmm;
  memory.undoLock = hmm.rangesLock.at;
  ROOT.store(memory, hmm.at, tree.insert(memory, hmm.ranges, at));
}

export function removeRange(hmm: Hmm, { at }: HmmRangeRecord): void {
  const { memory } = hmm;
  memory.undoLock = hmm.rangesLock.at;
  ROOT.store(memory, hmm.at, tree.remove(memory, hmm.ranges, at));
}

/** Pointers of all registered ranges, by address. */
export function rangesOf(hmm: Hmm): number[] {
  return overlappingRanges(hmm, 0, Infinity);
}

/** Pointers of the registered ranges with a page of [startPage, endPage), by address. */
export function overlappingRanges(hmm: Hmm, startPage: number, endPage: number): number[] {
  const found: number[] = [];
  collect(hmm.memory, hmm.ranges, startPage, endPage, found);
  return found;
}

/** Only where ranges on both sides of a node may have such pages does it call itself. */
function collect(
  memory: SharedMemory,
  root: number,
  startPage: number,
  endPage: number,
  found: number[],
): void {
  for (let at = root; tree.highestOf(memory, at) > startPage;) {
    const left = LEFT.load(memory, at);
    if (START.load(memory, at) >= endPage) {
      at = left;
      continue;
    }
    if (tree.highestOf(memory, left) > startPage) collect(memory, left, startPage, endPage, found);
    if (END.load(memory, at) > startPage) found.push(at);
    at = RIGHT.load(memory, at);
  }
}
