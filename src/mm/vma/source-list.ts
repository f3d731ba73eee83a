/**
 * @module mm/vma/source-list The machine's list of sources that are files: those that are mapped
 * somewhere, and some that are about to be freed. Plays the part of Linux's inode hash.
 *
 *   N1  A source of a file is listed from its birth until its cache is freed: who ends the cache
 *       takes it off first. So what is found under sourcesLock is allocated, and so is its cache.
 *       Who has found one looks whether it is alive before it gets a reference
 *       (mm/source/source-table.ts).
 */

import { List } from "../../memory/layout/list.ts";
import { type Struct, type StructView, embed, struct } from "../../memory/layout/struct.ts";
import type { Machine } from "../../memory/machine.ts";
import { Spinlock } from "../../sync/primitives/spinlock.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Source } from "./source.ts";

export interface SourceTable extends StructView {
  readonly lock: Spinlock;
  readonly files: List;
}

const SourceTable: Struct<SourceTable> = struct<SourceTable>("sourceTable", {
  lock: embed(Spinlock, "the list; that a source is claimed, or its service ends", "sourcesLock"),
  files: embed(List, "head of the sources that are files; guarded by sourcesLock"),
});

/** Throws HmmError ENOMEM; not if a source has been made. */
export function* sourceTable(machine: Machine): Task<SourceTable> {
  return yield* machine.heap.singleton(SourceTable, (table) => {
    table.lock.init();
    table.files.init();
  });
}

/**
 * Nobody has a reference of the cache any more, or gets one. May be done again, for a thread that
 * died in it.
 */
export function* unlistSource(machine: Machine, source: Source): Task<void> {
  if (source.isFile === 0) return;
  const { lock } = yield* sourceTable(machine);
  yield* lock.lock();
  if (source.node.isListed()) source.node.del(lock.at);
  yield* lock.unlock();
}
