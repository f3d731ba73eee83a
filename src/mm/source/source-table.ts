/**
 * @module mm/source/source-table Which source a file has, so that every mapping of one file shares
 * its pages, whichever thread mapped it and by whichever path. Plays the part of Linux's `iget` and
 * `igrab`. The list of files is vma/source-list.ts.
 *
 *   N2  A file has one source that is alive: one that somebody serves, maps or has claimed
 *       (`isAlive`). It is found, and claimed (a reference of the cache and a count of `mappings`),
 *       in one section of sourcesLock, or else a new one is listed there. One that is dead stays
 *       so, and whoever looks passes over it. So it does not matter that it is listed until its
 *       last reference is dropped (N1 of vma/source-list.ts), which may be that of a wait, or of a
 *       thread that died.
 *   N3  When the threads that serve a file have died it is alive as long as it is mapped. Who maps
 *       it again finds what is in its cache, dirty pages, too, and serves it from then on: what
 *       others ask is answered again. Nobody has the file open meanwhile: it may be deleted, and
 *       another one have its inode, but not the time at which it was made (`isSameFile`).
 *
 *         thread that serves      one that maps it      this one
 *         dies
 *                                                       finds it: claimed
 *                                 unmaps it
 *                                                       serves it; what is dirty is written
 *
 *         dies
 *                                 unmaps it: dead,
 *                                 what was dirty is lost
 *                                                       finds none: a new source, read anew
 *                                 last reference: off
 *                                 the list, freed
 *
 *   N4  A thread that serves ends in a section of sourcesLock, if nothing is claimed (V2 of
 *       serve.ts). So who serves a source himself may claim it there.
 *   N5  A claim is a resource of its thread, until it is dropped: first the reference, and with the
 *       count both (`CLAIM`). A source that is being made is one, too.
 */

import { Machine } from "../../memory/machine.ts";
import {
  findResource,
  kindWord,
  registerHeir,
  reserveResource,
  resourceKind,
} from "../../sync/lockdep/resources.ts";
import { EFBIG, ENOMEM } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
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
import { type SourceTable, sourceTable } from "../vma/source-list.ts";
import {
  type FileIdentity,
  SOURCE_MAKING,
  Source,
  type SourceKind,
  countMapping,
  countUnder,
  freeSource,
  isAlive,
  isFile,
  isSameFile,
  makeSource,
} from "../vma/source.ts";
import { getSourceNoted } from "../vma/vma-source.ts";
import { VM_BACKED, type VmaKind } from "../vma/vma.ts";

/** A reference of a cache, and a count of the source behind it, which a thread has in hand. */
const CLAIM: number = resourceKind("claim of a source");
registerHeir(CLAIM, (memory, at, slot) => dropClaim(Machine.of(memory), at, slot));

/** One more claim of this thread, which has one, or serves the source and holds sourcesLock. */
export function* claim(machine: Machine, at: number): Task<void> {
  const { memory } = machine;
  const cache = PageCache.at(memory, at);
  const note = kindWord(memory, reserveResource(memory, at));
  yield* cache.refs.get(note, CACHE_REFERENCE);
  const source = backingOf(machine, at);
  if (source !== undefined) yield* countMapping(cache, source, 1, note, CLAIM);
}

/** Pairs with a claim of this thread. `ownSlot`: of the claim among its resources, if known. */
export function* dropClaim(machine: Machine, at: number, ownSlot?: number): Task<void> {
  const { memory } = machine;
  const slot = ownSlot ?? findResource(memory, CLAIM, at);
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
 * The cache of the source, claimed by this thread: that of a file which has one already, or a new
 * one (N2). ENOMEM; EFBIG past 8 GiB.
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
  const known = yield* claimFile(machine, table, kind.file);
  if (known === 0) table.files.addTail(fresh.node, table.lock.at);
  yield* table.lock.unlock();
  if (known === 0) return made;
  yield* dropClaim(machine, made);
  return known;
}

/**
 * The cache of a file, claimed by this thread, or 0: one that is listed and alive. The reference is
 * got in the section of pageCacheLock that finds it alive, as Linux's `igrab` gets one of an inode
 * that is not being freed. Holding sourcesLock (N1 of vma/source-list.ts).
 */
function* claimFile(machine: Machine, table: SourceTable, file: FileIdentity): Task<number> {
  for (const node of table.files.nodes()) {
    const source = Source.at(table.memory, Source.containerOf(node, "node"));
    if (isFile(source, file) && (yield* claimAlive(machine, source, file))) return source.cache;
  }
  return 0;
}

/** False: it is dead, or another file's. Holding sourcesLock, so that it is not freed meanwhile. */
function* claimAlive({ memory }: Machine, source: Source, file: FileIdentity): Task<boolean> {
  const cache = PageCache.at(memory, source.cache);
  let isEdge = false;
  yield* cache.lock.lock();
  const isFound = isAlive(source) && isSameFile(source, file);
  if (isFound) {
    const note = kindWord(memory, reserveResource(memory, cache.at));
    yield* cache.refs.get(note, CACHE_REFERENCE);
    isEdge = yield* countUnder(source, 1, note, CLAIM);
  }
  yield* cache.lock.unlock();
  if (isEdge) yield* source.serveQueue.wakeAll();
  return isFound;
}
