/**
 * @module mm/vma/source What is behind a page cache: the record of a mapping source, and which
 * address spaces map it. Follows the part of Linux `struct address_space` that is not its pages:
 * `host`, `i_mmap`, `wb_err`. The pages are page-cache.ts. The code that reads and writes the
 * backing store is not here but in a thread: mm/source/pager.ts.
 *
 *   B1  A source lives as long as its cache. It is found through the cache, or through the table of
 *       sources while it is listed (mm/source/source-table.ts).
 *   B2  `mappings` counts the vmas, and calls of mmap and transfers under way. Each thread that
 *       serves the source holds a reference of the cache besides, until nothing is mapped and
 *       nothing is dirty.
 *   B3  A space is in `mappers` before it gets its first vma over the source, and stays there until
 *       the source is freed, or the space has exited and another one is listed. A mapper holds a
 *       count of the mm, no user (R2): whoever walks the list takes a user, or passes over it.
 */

import { List } from "../../memory/layout/list.ts";
import {
  type Struct,
  type StructView,
  embed,
  i32,
  pointer,
  struct,
  u32,
} from "../../memory/layout/struct.ts";
import type { Machine } from "../../memory/machine.ts";
import { atomicAdd, atomicLoad } from "../../sync/atomics.ts";
import { ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Spinlock } from "../../sync/primitives/spinlock.ts";
import { WaitQueue } from "../../sync/primitives/wait-queue.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { Mm } from "../mm-struct.ts";

export interface Source extends StructView {
  readonly node: List;
  readonly mappers: List;
  readonly requests: List;
  readonly serveQueue: WaitQueue;
  readonly doneQueue: WaitQueue;
  cache: number;
  isWritable: number;
  isFile: number;
  deviceLow: number;
  deviceHigh: number;
  inodeLow: number;
  inodeHigh: number;
  sizeLow: number;
  sizeHigh: number;
  work: number;
  mappings: number;
  maps: number;
  servers: number;
  dirtyPages: number;
  writeErrno: number;
  readErrno: number;
  lastMapper: number;
  readNext: number;
  readWindow: number;
}

export const Source: Struct<Source> = struct<Source>("source", {
  node: embed(List, "in the machine's table of sources, if it is a file; guarded by sourcesLock"),
  mappers: embed(List, "head of the spaces that map it (B3); guarded by pageCacheLock"),
  requests: embed(List, "head of what threads without the code ask for; guarded by pageCacheLock"),
  serveQueue: embed(WaitQueue, "the threads that serve it: a request, or nothing is mapped"),
  doneQueue: embed(WaitQueue, "who waits for a page or an answer"),
  cache: pointer("const", "its page cache, which owns it (B1)"),
  isWritable: u32("const", "1: dirty pages can be written back"),
  isFile: u32("const", "1: the four words below say which file"),
  deviceLow: u32("const", "the file's device"),
  deviceHigh: u32("const", "the other half"),
  inodeLow: u32("const", "its inode"),
  inodeHigh: u32("const", "the other half"),
  sizeLow: u32("pageCacheLock", "bytes; PageCache.pages follows it"),
  sizeHigh: u32("pageCacheLock", "the other half"),
  work: u32("atomic", "counts requests, and when mappings become none or some"),
  mappings: u32("pageCacheLock", "vmas, and calls of mmap and transfers under way (B2)"),
  maps: u32("pageCacheLock", "counts the calls that map it: mmap and fork"),
  servers: u32("pageCacheLock", "threads that can read and write it"),
  dirtyPages: u32("pageCacheLock", "entries that are DIRTY"),
  writeErrno: i32("pageCacheLock", "of the last write-back that failed, until one succeeds"),
  readErrno: i32("pageCacheLock", "of the last read that failed, until one succeeds"),
  lastMapper: u32("pageCacheLock", "number given to a mapper last"),
  readNext: u32("pageCacheLock", "where a sequential reader will go on"),
  readWindow: u32("pageCacheLock", "pages that it was given last"),
});

/** The page cache, of which this module needs pageCacheLock alone. */
interface Locked {
  readonly lock: Spinlock;
}

/** A space in `mappers` (B3). */
export interface Mapper extends StructView {
  readonly node: List;
  mm: number;
  number: number;
}

export const Mapper: Struct<Mapper> = struct<Mapper>("mapper", {
  node: embed(List, "in the source's mappers; guarded by pageCacheLock"),
  mm: pointer("const", "holds a count of it"),
  number: u32("const", "mappers added later have larger numbers"),
});

/** What a new source is. */
export interface SourceKind {
  readonly lengthBytes: number;
  readonly isWritable: boolean;
  readonly file?: FileIdentity;
}

/** Which file it is, whatever its path is now. */
export interface FileIdentity {
  readonly device: bigint;
  readonly inode: bigint;
}

/** A source that nobody knows yet. 0 = ENOMEM. */
export function* makeSource(machine: Machine, kind: SourceKind): Task<number> {
  const at = yield* machine.heap.alloc(Source);
  if (at === 0) return 0;
  const source = Source.at(machine.memory, at);
  source.mappers.init();
  source.requests.init();
  source.serveQueue.init();
  source.doneQueue.init();
  source.isWritable = kind.isWritable ? 1 : 0;
  setSourceSize(source, kind.lengthBytes);
  if (kind.file !== undefined) {
    const { device, inode } = kind.file;
    source.isFile = 1;
    source.deviceLow = Number(device & 0xffffffffn);
    source.deviceHigh = Number((device >> 32n) & 0xffffffffn);
    source.inodeLow = Number(inode & 0xffffffffn);
    source.inodeHigh = Number((inode >> 32n) & 0xffffffffn);
  }
  return at;
}

export function isFile(source: Source, { device, inode }: FileIdentity): boolean {
  return (
    source.isFile !== 0 &&
    source.deviceLow === Number(device & 0xffffffffn) &&
    source.deviceHigh === Number((device >> 32n) & 0xffffffffn) &&
    source.inodeLow === Number(inode & 0xffffffffn) &&
    source.inodeHigh === Number((inode >> 32n) & 0xffffffffn)
  );
}

/** Bytes. Holding pageCacheLock. */
export function sourceSize(source: Source): number {
  return source.sizeHigh * 2 ** 32 + source.sizeLow;
}

/** Holding pageCacheLock, or while nobody else knows the source. */
export function setSourceSize(source: Source, bytes: number): void {
  source.sizeLow = bytes >>> 0;
  source.sizeHigh = Math.floor(bytes / 2 ** 32);
}

/**
 * B2. A mapping comes (1) or goes (-1). The first and the last wake the threads that serve. In the
 * same section of the lock the word `note` becomes `noted`, if there is such a word.
 */
export function* countMapping(
  cache: Locked,
  source: Source,
  change: 1 | -1,
  note: number = 0,
  noted: number = 0,
): Task<void> {
  yield* cache.lock.lock();
  source.mappings += change;
  if (note !== 0) source.memory.words[note] = noted;
  const isEdge = source.mappings === 0 || (change === 1 && source.mappings === 1);
  if (isEdge) addWork(source);
  yield* cache.lock.unlock();
  if (isEdge) yield* source.serveQueue.wakeAll();
}

/** The threads that serve have something to look at. The caller wakes them. @stepped source */
export function addWork({ memory, at }: Source): void {
  atomicAdd(memory.words, at + Source.offset.work, 1);
}

/** A number that changes with `addWork`. @stepped source */
export function workOf({ memory, at }: Source): number {
  return atomicLoad(memory.words, at + Source.offset.work);
}

/**
 * A call maps the source: lists `mm` among the spaces that do, if it is not there yet (B3). 0 or
 * ENOMEM. The caller has a user of the mm, or is alone with it.
 */
export function* addMapper(machine: Machine, cache: Locked, source: Source, mm: Mm): Task<Errno> {
  const fresh = yield* machine.heap.alloc(Mapper);
  if (fresh === 0) return ENOMEM;
  yield* mm.count.get();
  yield* cache.lock.lock();
  source.maps += 1;
  const { known, dead } = findMapper(source, mm);
  if (known === 0) {
    const mapper = Mapper.at(machine.memory, fresh);
    source.lastMapper += 1;
    mapper.mm = mm.at;
    mapper.number = source.lastMapper;
    source.mappers.addTail(mapper.node);
  }
  if (dead !== 0) Mapper.at(machine.memory, dead).node.del();
  yield* cache.lock.unlock();
  if (known !== 0) {
    yield* machine.heap.free(Mapper, fresh);
    yield* dropMmCount(machine, mm);
  }
  if (dead !== 0) yield* freeMapper(machine, dead);
  return 0;
}

/** The mapper of `mm`, and one whose space has exited; 0 where there is none. Holding the lock. */
function findMapper(source: Source, mm: Mm): { readonly known: number; readonly dead: number } {
  let dead = 0;
  for (const node of source.mappers.nodes()) {
    const mapper = Mapper.at(source.memory, Mapper.containerOf(node, "node"));
    if (mapper.mm === mm.at) return { known: mapper.at, dead: 0 };
    if (Mm.at(source.memory, mapper.mm).users.read() === 0) dead = mapper.at;
  }
  return { known: 0, dead };
}

/**
 * The first mapper with a number above `after` that is alive, with a user of its mm; undefined at
 * the end of the list. The caller holds a reference of the cache.
 */
export function* nextMapper(
  cache: Locked,
  source: Source,
  after: number,
): Task<{ readonly mm: Mm; readonly number: number } | undefined> {
  let found: { readonly mm: Mm; readonly number: number } | undefined;
  yield* cache.lock.lock();
  for (const node of source.mappers.nodes()) {
    const mapper = Mapper.at(source.memory, Mapper.containerOf(node, "node"));
    if (mapper.number <= after) continue;
    const mm = Mm.at(source.memory, mapper.mm);
    if (!(yield* mm.users.getNotZero())) continue;
    found = { mm, number: mapper.number };
    break;
  }
  yield* cache.lock.unlock();
  return found;
}

/** With its cache, which nobody knows any more. */
export function* freeSource(machine: Machine, source: Source): Task<void> {
  for (;;) {
    const node = source.mappers.first();
    if (node === 0) break;
    const mapper = Mapper.at(source.memory, Mapper.containerOf(node, "node"));
    mapper.node.del();
    yield* freeMapper(machine, mapper.at);
  }
  yield* machine.heap.free(Source, source.at);
}

function* freeMapper(machine: Machine, at: number): Task<void> {
  const mm = Mm.at(machine.memory, Mapper.at(machine.memory, at).mm);
  yield* machine.heap.free(Mapper, at);
  yield* dropMmCount(machine, mm);
}

/** As `mmdrop` of lifetime/mm.ts, which this room may not import. */
function* dropMmCount(machine: Machine, mm: Mm): Task<void> {
  if (yield* mm.count.put()) yield* machine.heap.free(Mm, mm.at);
}
