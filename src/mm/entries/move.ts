/**
 * @module mm/entries/move
 * What an operation notes of entries that move to another place.
 *
 *   K7  Entries that move to another place (moved-entries.ts) all do, from the change on that
 *       gives their mapping the new place: MOVES becomes 1 in that change. What is at neither place
 *       for a moment is noted.
 */

import type { Machine } from "../../memory/machine.ts";
import { LEAF_WORDS } from "../../mmu/radix-table.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { undoStore } from "../../sync/words/undo-log.ts";
import { Mm } from "../mm-struct.ts";
import { BATCH_FEW, type Batch, fewOf, openBatch } from "./batch.ts";
import { type EntryMove, type MoveNotes, finishMove } from "./moved-entries.ts";
import {
  END_PAGE,
  LEAVES,
  MM,
  MOVED,
  MOVED_TO,
  MOVES,
  START_PAGE,
  TABLE,
  TAKES_LEAVES,
  TARGET,
} from "./words.ts";

/**
 * The entries of the operation's pages are about to move, with their mapping. The words that note
 * what is at neither place; there is a table for leaves, if they are many and there is memory.
 */
export function* openMove(
  machine: Machine,
  operation: number,
  { startPage, endPage, target, takesLeaves }: EntryMove,
): Task<MoveNotes> {
  const isMany = endPage - startPage > BATCH_FEW * LEAF_WORDS;
  if (isMany) yield* openBatch(machine, operation);
  const { words } = machine.memory;
  words[operation + TARGET] = target;
  words[operation + TAKES_LEAVES] = takesLeaves ? 1 : 0;
  return moveNotesOf(words, operation);
}

function moveNotesOf(words: Int32Array, operation: number): MoveNotes {
  const table = words[operation + TABLE]!;
  const { start, end } = table === 0 ? fewOf(operation) : { start: table, end: table + LEAF_WORDS };
  const leaves = { from: operation + MOVED_TO, start, end };
  return { entry: operation + MOVED, place: operation + MOVED_TO, leaves };
}

/** K7: as part of the change of the mapping. Holding the mmap lock for writing. */
export function beginMoveUnder({ memory, mmapLock }: Mm, operation: number): void {
  undoStore(memory, mmapLock.at, operation + MOVES, 1);
}

/**
 * All entries have moved. From here on the operation notes leaves of the old place that become
 * free: where, as {@link openLeaves}.
 */
export function leavesAfterMove({ memory }: Machine, operation: number): Batch {
  const { words } = memory;
  words[operation + LEAVES] = 1;
  words[operation + MOVES] = 0;
  return moveNotesOf(words, operation).leaves;
}

export function* finishMoveOf(machine: Machine, at: number): Task<void> {
  const { memory } = machine;
  const mm = Mm.at(memory, memory.words[at + MM]!);
  const table = memory.words[at + TABLE]!;
  memory.ensure(table + LEAF_WORDS);
  const { words } = memory;
  const move = {
    startPage: words[at + START_PAGE]! >>> 0,
    endPage: words[at + END_PAGE]! >>> 0,
    target: words[at + TARGET]! >>> 0,
    takesLeaves: words[at + TAKES_LEAVES] !== 0,
  };
  yield* finishMove(machine, mm, move, moveNotesOf(words, at));
  memory.words[at + MOVES] = 0;
}
