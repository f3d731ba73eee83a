/**
 * @module mm/source/source-table The machine's files that are mapped somewhere, so that every
 * mapping of one file shares its pages, whichever thread mapped it and by whichever path. Plays the
 * part of Linux's inode cache.
 *
 *   N1  A source of a file is listed from its birth until its last server lets it go. It is found,
 *       and claimed (a reference of the cache and a count of `mappings`), in one section of
 *       sourcesLock. A server ends in such a section, too, if nothing is claimed (V2 of serve.ts).
 *       So a source that was found does not end before the claim is dropped. One that nobody has
 *       begun to serve leaves the list with its last claim (`abandonSource`).
 */

import { List } from "../../memory/layout/list.ts";
import type { Machine } from "../../memory/machine.ts";
import { type Struct, type StructView, embed, struct } from "../../memory/layout/struct.ts";
import { Spinlock } from "../../sync/primitives/spinlock.ts";
import { EFBIG, ENOMEM } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { commitUndo } from "../../sync/words/undo-log.ts";
import { PAGE_BYTES } from "../pte.ts";
import { CACHE_PAGES_MAX, PageCache, backingOf, cacheCreate, cachePut } from "../vma/page-cache.ts";
import {
  type FileIdentity,
  Source,
  type SourceKind,
  countMapping,
  freeSource,
  isFile,
  makeSource,
} from "../vma/source.ts";
import { dropSource, getSource, getSourceNoted } from "../vma/vma-source.ts";
import { VM_BACKED, type VmaKind } from "../vma/vma.ts";

export interface SourceTable extends StructView {
  readonly lock: Spinlock;
  readonly files: List;
}

const SourceTable: Struct<SourceTable> = struct<SourceTable>("sourceTable", {
  lock: embed(Spinlock, "the list; that a source is claimed, or ends (N1)", "sourcesLock"),
  files: embed(List, "head of the sources that are files; guarded by sourcesLock"),
});

/** Throws HmmError ENOMEM. */
export function* sourceTable(machine: Machine): Task<SourceTable> {
  return yield* machine.heap.singleton(SourceTable, (table) => {
    table.lock.init();
    table.files.init();
  });
}

/** What a claim holds: it is given back like the source of a vma. */
function claimOf(cache: number): VmaKind {
  return { flags: VM_BACKED, source: cache, offsetPages: 0 };
}

/** One more claim, by who has one or holds sourcesLock. */
export function claim(machine: Machine, cache: number): Task<void> {
  return getSource(machine, claimOf(cache));
}

/** Pairs with a claim. */
export function dropClaim(machine: Machine, cache: number): Task<void> {
  return dropSource(machine, claimOf(cache));
}

/**
 * As `claim`. The word `source` names the cache, and `counted` is 1, as far as it has come if the
 * thread dies; for `dropNotedClaim`. Both are 0 before.
 */
export function claimNoted(
  machine: Machine,
  cache: number,
  source: number,
  counted: number,
): Task<void> {
  return getSourceNoted(machine, claimOf(cache), { source, counted, isCounted: 1 });
}

/** Gives back what the two words note. May be done again, for a thread that died in it. */
export function* dropNotedClaim(machine: Machine, source: number, counted: number): Task<void> {
  const { memory } = machine;
  const at = memory.words[source]!;
  if (at === 0) return;
  const backing = memory.words[counted] === 0 ? undefined : backingOf(machine, at);
  if (backing !== undefined) yield* countMapping(PageCache.at(memory, at), backing, -1, counted, 0);
  yield* cachePut(machine, at, source);
}

/**
 * The cache of the source, claimed: that of a file which is listed already, or a new one. ENOMEM;
 * EFBIG past 8 GiB.
 */
export function* openSource(machine: Machine, kind: SourceKind): Task<number> {
  const table = yield* sourceTable(machine);
  const pages = Math.ceil(kind.lengthBytes / PAGE_BYTES);
  if (pages > CACHE_PAGES_MAX) return EFBIG;
  const source = yield* makeSource(machine, kind);
  if (source === 0) return ENOMEM;
  const made = yield* cacheCreate(machine, pages, source);
  if (made === 0) {
    yield* freeSource(machine, Source.at(machine.memory, source));
    return ENOMEM;
  }
  const fresh = Source.at(machine.memory, source);
  // `cacheCreate` has made the reference; this is the count.
  fresh.mappings = 1;
  fresh.cache = made;
  if (kind.file === undefined) return made;
  yield* table.lock.lock();
  const known = findFile(table, kind.file);
  if (known === 0) table.files.addTail(fresh.node, table.lock.at);
  else yield* claim(machine, known);
  yield* table.lock.unlock();
  if (known === 0) return made;
  yield* dropClaim(machine, made);
  return known;
}

/** The cache of a listed file, or 0. Holding sourcesLock. */
function findFile(table: SourceTable, file: FileIdentity): number {
  for (const node of table.files.nodes()) {
    const source = Source.at(table.memory, Source.containerOf(node, "node"));
    if (isFile(source, file)) return source.cache;
  }
  return 0;
}

/**
 * Drops a claim from `openSource` by a thread that cannot serve the source: nobody may find it when
 * it is gone. In one section of sourcesLock, for two threads may give up at the same time.
 */
export function* abandonSource(machine: Machine, at: number): Task<void> {
  const cache = PageCache.at(machine.memory, at);
  const source = backingOf(machine, at);
  if (source === undefined) return;
  const table = yield* sourceTable(machine);
  yield* table.lock.lock();
  yield* countMapping(cache, source, -1);
  yield* cache.lock.lock();
  if (source.servers === 0 && source.mappings === 0) unlistSource(table, source);
  yield* cache.lock.unlock();
  yield* table.lock.unlock();
  yield* cachePut(machine, at);
}

/**
 * Holding sourcesLock. Not undone from here on: what else says that the source ends is in another
 * lock's log.
 */
export function unlistSource({ memory, lock }: SourceTable, source: Source): void {
  if (!source.node.isListed()) return;
  source.node.del(lock.at);
  commitUndo(memory, lock.at);
}
