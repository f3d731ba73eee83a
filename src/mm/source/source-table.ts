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
 *   N2  A claim is a resource of its thread, until it is dropped: first the reference, and with the
 *       count both (`CLAIM`). A source that is being made is one, too.
 */

import { List } from "../../memory/layout/list.ts";
import { Machine } from "../../memory/machine.ts";
import { type Struct, type StructView, embed, struct } from "../../memory/layout/struct.ts";
import {
  findResource,
  kindWord,
  registerHeir,
  reserveResource,
  resourceKind,
} from "../../sync/lockdep/resources.ts";
import { Spinlock } from "../../sync/primitives/spinlock.ts";
import { EFBIG, ENOMEM } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { commitUndo } from "../../sync/words/undo-log.ts";
import { PAGE_BYTES } from "../pte.ts";
import {
  CACHE_PAGES_MAX,
  CACHE_REFERENCE,
  PageCache,
  backingOf,
  cacheCreate,
  cachePut,
  cachePutOwn,
} from "../vma/page-cache.ts";
import {
  type FileIdentity,
  SOURCE_MAKING,
  Source,
  type SourceKind,
  countMapping,
  freeSource,
  isFile,
  makeSource,
} from "../vma/source.ts";
import { getSourceNoted } from "../vma/vma-source.ts";
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

/** A reference of a cache, and a count of the source behind it, which a thread has in hand. */
const CLAIM: number = resourceKind("claim of a source");
registerHeir(CLAIM, (memory, at, slot) => abandonSource(Machine.of(memory), at, slot));

/** One more claim of this thread, by who has one or holds sourcesLock. */
export function* claim(machine: Machine, at: number): Task<void> {
  const { memory } = machine;
  const cache = PageCache.at(memory, at);
  const note = kindWord(memory, reserveResource(memory, at));
  yield* cache.refs.get(note, CACHE_REFERENCE);
  const source = backingOf(machine, at);
  if (source !== undefined) yield* countMapping(cache, source, 1, note, CLAIM);
}

/** Pairs with a claim of this thread. */
export function* dropClaim(machine: Machine, at: number): Task<void> {
  const { memory } = machine;
  const slot = findResource(memory, CLAIM, at);
  const source = backingOf(machine, at);
  const note = kindWord(memory, slot);
  if (source !== undefined)
    yield* countMapping(PageCache.at(memory, at), source, -1, note, CACHE_REFERENCE);
  yield* cachePutOwn(machine, at, slot);
}

/** What a claim that two words note holds: it is got like the source of a vma. */
function claimOf(cache: number): VmaKind {
  return { flags: VM_BACKED, source: cache, offsetPages: 0 };
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
 * The cache of the source, claimed by this thread: that of a file which is listed already, or a new
 * one. ENOMEM; EFBIG past 8 GiB.
 */
export function* openSource(machine: Machine, kind: SourceKind): Task<number> {
  const table = yield* sourceTable(machine);
  const pages = Math.ceil(kind.lengthBytes / PAGE_BYTES);
  if (pages > CACHE_PAGES_MAX) return EFBIG;
  const source = yield* makeSource(machine, kind);
  if (source === 0) return ENOMEM;
  const { memory } = machine;
  const slot = findResource(memory, SOURCE_MAKING, source);
  const fresh = Source.at(memory, source);
  fresh.mappings = 1; // this is the count, and `cacheCreate` makes the reference
  const made = yield* cacheCreate(machine, pages, source, 0, CLAIM, kindWord(memory, slot));
  if (made === 0) {
    yield* freeSource(machine, fresh, slot);
    return ENOMEM;
  }
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
 * it is gone. In one section of sourcesLock, for two threads may give up at the same time. First it
 * leaves the list: a source that is listed has a claim, or is served. `slot`: of the claim among
 * this thread's resources.
 */
export function* abandonSource(
  machine: Machine,
  at: number,
  slot: number = findResource(machine.memory, CLAIM, at),
): Task<void> {
  const { memory } = machine;
  const cache = PageCache.at(memory, at);
  const source = backingOf(machine, at);
  if (source === undefined) return;
  const table = yield* sourceTable(machine);
  yield* table.lock.lock();
  yield* cache.lock.lock();
  const isLast = source.servers === 0 && source.mappings === 1;
  yield* cache.lock.unlock();
  if (isLast) unlistSource(table, source);
  yield* countMapping(cache, source, -1, kindWord(memory, slot), CACHE_REFERENCE);
  yield* table.lock.unlock();
  yield* cachePutOwn(machine, at, slot);
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
