/**
 * @module mm/vma/source What is behind a page cache: the record of a mapping source, and which
 * address spaces map it. Follows the part of Linux `struct address_space` that is not its pages:
 * `host`, `i_mmap`, `wb_err`. The pages are page-cache.ts. The code that reads and writes the
 * backing store is not here but in a thread: mm/source/pager.ts.
 *
 *   B1  A source lives as long as its cache. It is found through the cache, or through the list of
 *       files (source-list.ts).
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
import { Machine } from "../../memory/machine.ts";
import { atomicAdd, atomicLoad } from "../../sync/atomics.ts";
import {
  addResourceUnder,
  findResource,
  kindWord,
  registerHeir,
  removeResourceUnder,
  reserveResource,
  resourceKind,
} from "../../sync/lockdep/resources.ts";
import { ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Spinlock } from "../../sync/primitives/spinlock.ts";
import { WaitQueue } from "../../sync/primitives/wait-queue.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { undoStore } from "../../sync/words/undo-log.ts";
import { MM_COUNT, MM_EXITING, MM_USER, Mm } from "../mm-struct.ts";

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
  bornLow: number;
  bornHigh: number;
  sizeLow: number;
  sizeHigh: number;
  answers: number;
  sizes: number;
  cutEndPage: number;
  stalePage: number;
  work: number;
  mappings: number;
  transfers: number;
  maps: number;
  servers: number;
  dirtyPages: number;
  writeErrno: number;
  writeFailures: number;
  readErrno: number;
  failedPage: number;
  failedEndPage: number;
  lastMapper: number;
  readStart: number;
  readNext: number;
  readWindow: number;
}

export const Source: Struct<Source> = struct<Source>("source", {
  node: embed(List, "in the machine's list of files, if it is one; guarded by sourcesLock"),
  mappers: embed(List, "head of the spaces that map it (B3); guarded by pageCacheLock"),
  requests: embed(List, "head of what threads without the code ask for; guarded by pageCacheLock"),
  serveQueue: embed(WaitQueue, "the threads that serve it: a request, or nothing is mapped"),
  doneQueue: embed(WaitQueue, "who waits for a page or an answer"),
  cache: pointer("const", "its page cache, which owns it (B1)"),
  isWritable: u32("const", "1: dirty pages can be written back"),
  isFile: u32("const", "1: the six words below say which file"),
  deviceLow: u32("const", "the file's device"),
  deviceHigh: u32("const", "the other half"),
  inodeLow: u32("const", "its inode"),
  inodeHigh: u32("const", "the other half"),
  bornLow: u32("const", "when it was made"),
  bornHigh: u32("const", "the other half"),
  sizeLow: u32("pageCacheLock", "bytes; PageCache.pages follows it"),
  sizeHigh: u32("pageCacheLock", "the other half"),
  answers: u32("pageCacheLock", "counts the answers to what the size is"),
  sizes: u32("pageCacheLock", "counts its changes"),
  cutEndPage: u32(
    "pageCacheLock",
    "pages before it may be past the end; 0: none (mm/source/cut.ts)",
  ),
  stalePage: u32("pageCacheLock", "1 + the page that is to be read again, or 0 (the same)"),
  work: u32("atomic", "counts requests, and when mappings become none or some"),
  mappings: u32("pageCacheLock", "vmas, and calls of mmap and transfers under way (B2)"),
  transfers: u32("pageCacheLock", "of these, transfers under way"),
  maps: u32("pageCacheLock", "counts the calls that map it: mmap and fork"),
  servers: u32("pageCacheLock", "threads that can read and write it"),
  dirtyPages: u32("pageCacheLock", "entries that are DIRTY"),
  writeErrno: i32("pageCacheLock", "of the last write-back that failed; 1: its thread died"),
  writeFailures: u32("pageCacheLock", "counts them"),
  readErrno: i32("pageCacheLock", "of the last read that failed, until one succeeds"),
  failedPage: u32("pageCacheLock", "the first page of that read"),
  failedEndPage: u32("pageCacheLock", "one past its last"),
  lastMapper: u32("pageCacheLock", "number given to a mapper last"),
  readStart: u32("pageCacheLock", "where the last read began: a reader goes backwards from there"),
  readNext: u32("pageCacheLock", "where a sequential reader will go on"),
  readWindow: u32("pageCacheLock", "pages that it was given last"),
});

/** Words of a source whose changes are parts of others, in a row or in the undo log. */
export const MAPPINGS: number = Source.offset.mappings;
export const TRANSFERS: number = Source.offset.transfers;
export const DIRTY_PAGES: number = Source.offset.dirtyPages;

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
  mm: pointer("const", "holds a count of it; 0: not yet, or not any more"),
  number: u32("const", "mappers added later have larger numbers"),
});

/** A source without a cache. */
export const SOURCE_MAKING: number = resourceKind("source being made");
registerHeir(SOURCE_MAKING, (memory, at, slot) =>
  freeSource(Machine.of(memory), Source.at(memory, at), slot),
);

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
  /** When it was made, in nanoseconds; 0, or any other time, where the host does not know. */
  readonly bornNs: bigint;
}

function halvesOf(value: bigint): [low: number, high: number] {
  return [Number(value & 0xffffffffn), Number((value >> 32n) & 0xffffffffn)];
}

/** A source that nobody knows yet: a resource of this thread, SOURCE_MAKING. 0 = ENOMEM. */
export function* makeSource(machine: Machine, kind: SourceKind): Task<number> {
  const at = yield* machine.heap.alloc(Source, SOURCE_MAKING);
  if (at === 0) return 0;
  const source = Source.at(machine.memory, at);
  source.mappers.init();
  source.requests.init();
  source.serveQueue.init();
  source.doneQueue.init();
  source.isWritable = kind.isWritable ? 1 : 0;
  setSourceSize(source, kind.lengthBytes);
  if (kind.file !== undefined) {
    const { device, inode, bornNs } = kind.file;
    source.isFile = 1;
    [source.deviceLow, source.deviceHigh] = halvesOf(device);
    [source.inodeLow, source.inodeHigh] = halvesOf(inode);
    [source.bornLow, source.bornHigh] = halvesOf(bornNs);
  }
  return at;
}

export function isFile(source: Source, { device, inode }: FileIdentity): boolean {
  if (source.isFile === 0) return false;
  const [deviceLow, deviceHigh] = halvesOf(device);
  const [inodeLow, inodeHigh] = halvesOf(inode);
  return (
    source.inodeLow === inodeLow &&
    source.inodeHigh === inodeHigh &&
    source.deviceLow === deviceLow &&
    source.deviceHigh === deviceHigh
  );
}

/**
 * Of the same device and inode. A thread that serves the source has the file open, so no other one
 * has its inode. When all of them have died the file may be deleted, and its inode given to
 * another. Holding pageCacheLock.
 */
export function isSameFile(source: Source, { bornNs }: FileIdentity): boolean {
  const [low, high] = halvesOf(bornNs);
  return source.servers > 0 || (source.bornLow === low && source.bornHigh === high);
}

/** Bytes. Holding pageCacheLock. */
export function sourceSize(source: Source): number {
  return source.sizeHigh * 2 ** 32 + source.sizeLow;
}

/**
 * The word at `offset` of a source is about to be stored, holding pageCacheLock: in a row or by the
 * undo log, past the field's accessor. So the watch for races is told here.
 */
export function noteStore({ memory, at }: Source, offset: number): void {
  memory.plainWatch?.note(at + offset, true, "source");
}

/** As the errno of a write-back: its thread has died, and another one may write the pages. */
export const WRITE_LOST = 1;

/** Pages were not written, and are DIRTY again. Holding pageCacheLock. Linux: `wb_err`. */
export function noteWriteFailure(source: Source, errno: Errno): void {
  source.writeErrno = errno;
  source.writeFailures++;
}

/** Undone if this thread dies with pageCacheLock, whose word is `lock`. */
function storeUnder(lock: number, source: Source, offset: number, value: number): void {
  noteStore(source, offset);
  undoStore(source.memory, lock, source.at + offset, value);
}

/** Holding pageCacheLock, whose word is `lock`; or while nobody else knows the source. */
export function setSourceSize(source: Source, bytes: number, lock: number = 0): void {
  storeUnder(lock, source, Source.offset.sizeLow, bytes >>> 0);
  storeUnder(lock, source, Source.offset.sizeHigh, Math.floor(bytes / 2 ** 32));
}

/** Something in the cache does not fit the size (mm/source/cut.ts). Holding pageCacheLock. */
export function isUnsettled(source: Source): boolean {
  return source.cutEndPage !== 0 || source.stalePage !== 0;
}

/** An answer counts. Holding pageCacheLock, whose word is `lock`. */
export function countAnswer(source: Source, lock: number): void {
  storeUnder(lock, source, Source.offset.answers, source.answers + 1);
}

/**
 * The size is another one, and pages before `cutEndPage` may be past it, or `stalePage - 1` was
 * read when it was the last one. Holding pageCacheLock, whose word is `lock`.
 */
export function changeSourceSize(
  source: Source,
  lock: number,
  bytes: number,
  cutEndPage: number,
  stalePage: number,
): void {
  const { sizes, cutEndPage: endAt, stalePage: staleAt } = Source.offset;
  storeUnder(lock, source, sizes, source.sizes + 1);
  setSourceSize(source, bytes, lock);
  storeUnder(lock, source, endAt, cutEndPage);
  storeUnder(lock, source, staleAt, stalePage);
}

/** Everything in the cache fits the size. Holding pageCacheLock, whose word is `lock`. */
export function noteSettled(source: Source, lock: number): void {
  storeUnder(lock, source, Source.offset.cutEndPage, 0);
  storeUnder(lock, source, Source.offset.stalePage, 0);
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
  const isEdge = yield* countUnder(source, change, note, noted);
  yield* cache.lock.unlock();
  if (isEdge) yield* source.serveQueue.wakeAll();
}

/** `countMapping`, holding pageCacheLock. True: the caller wakes the threads that serve. */
export function* countUnder(
  source: Source,
  change: 1 | -1,
  note: number,
  noted: number,
): Task<boolean> {
  const before = source.mappings;
  const isEdge = before + change === 0 || (change === 1 && before === 0);
  if (isEdge) addWork(source); // once too often does no harm
  noteStore(source, MAPPINGS);
  const { words } = source.memory;
  const mappingsAt = source.at + MAPPINGS;
  words[mappingsAt] = before + change; // in a row (H1 of sync/lockdep/held-locks.ts)
  if (note !== 0) words[note] = noted;
  return isEdge;
}

/**
 * Somebody serves the source, maps it, or has claimed it: so there is a reference of its cache for
 * as long as pageCacheLock is held, and its pages are the file's. One that is dead stays so, for
 * only who has claimed a source begins to serve or to map it. A read may be under way still, which
 * is a mapping, too (O2 of mm/source/io.ts). Holding pageCacheLock.
 */
export function isAlive({ servers, mappings, transfers }: Source): boolean {
  return servers > 0 || mappings > transfers;
}

/** The threads that serve have something to look at. The caller wakes them. @stepped source */
export function addWork({ memory, at }: Source): void {
  atomicAdd(memory.words, at + Source.offset.work, 1);
}

/** A number that changes with `addWork`. @stepped source */
export function workOf({ memory, at }: Source): number {
  return atomicLoad(memory.words, at + Source.offset.work);
}

/** A mapper that is not listed, and the count of the mm that it may hold. */
const MAPPER: number = resourceKind("mapper of a source");
registerHeir(MAPPER, (memory, at, slot) => freeMapper(Machine.of(memory), at, slot));

/**
 * A call maps the source: lists `mm` among the spaces that do, if it is not there yet (B3). 0 or
 * ENOMEM. The caller has a user of the mm, or is alone with it.
 */
export function* addMapper(machine: Machine, cache: Locked, source: Source, mm: Mm): Task<Errno> {
  const { memory } = machine;
  const fresh = yield* machine.heap.alloc(Mapper, MAPPER);
  if (fresh === 0) return ENOMEM;
  const slot = findResource(memory, MAPPER, fresh);
  yield* mm.count.get(fresh + Mapper.offset.mm, mm.at);
  yield* cache.lock.lock();
  const lock = cache.lock.at;
  source.maps += 1;
  const { known, dead } = findMapper(source, mm);
  if (known === 0) {
    const mapper = Mapper.at(memory, fresh);
    source.lastMapper += 1;
    mapper.number = source.lastMapper;
    source.mappers.addTail(mapper.node, lock);
    if (slot >= 0) removeResourceUnder(memory, lock, slot);
  }
  if (dead !== 0) Mapper.at(memory, dead).node.del(lock);
  const deadSlot = dead === 0 ? -1 : addResourceUnder(memory, lock, MAPPER, dead);
  yield* cache.lock.unlock();
  if (known !== 0) yield* freeMapper(machine, fresh, slot);
  if (dead !== 0) yield* freeMapper(machine, dead, deadSlot);
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

/** A space that maps a source. */
export interface MappingSpace {
  readonly mm: Mm;
  readonly number: number;
  /** Of its user among this thread's resources, or -1: the list is full. */
  readonly slot: number;
}

/**
 * The first mapper with a number above `after` that is alive, with a user of its mm; undefined at
 * the end of the list. The caller holds a reference of the cache.
 */
export function* nextMapper(
  cache: Locked,
  source: Source,
  after: number,
): Task<MappingSpace | undefined> {
  const { memory } = source;
  let found: MappingSpace | undefined;
  yield* cache.lock.lock();
  for (const node of source.mappers.nodes()) {
    const mapper = Mapper.at(source.memory, Mapper.containerOf(node, "node"));
    if (mapper.number <= after) continue;
    const mm = Mm.at(source.memory, mapper.mm);
    const slot = reserveResource(memory, mm.at);
    if (!(yield* mm.users.getNotZero(kindWord(memory, slot), MM_USER))) continue;
    found = { mm, number: mapper.number, slot };
    break;
  }
  yield* cache.lock.unlock();
  return found;
}

/**
 * With its cache, which nobody knows any more. `slot`: of the source among this thread's resources,
 * or -1. May be done again, for a thread that died in it.
 */
export function* freeSource(machine: Machine, source: Source, slot: number = -1): Task<void> {
  const { memory } = machine;
  for (let first = source.mappers.first(); first !== 0; first = source.mappers.first()) {
    const mapper = Mapper.at(memory, Mapper.containerOf(first, "node"));
    const { at } = mapper;
    const { next } = mapper.node;
    const own = reserveResource(memory, at);
    const [kindAt, head] = [kindWord(memory, own), source.mappers.at];
    const { words } = memory;
    if (kindAt !== 0) words[kindAt] = MAPPER; // in a row (H1 of sync/lockdep/held-locks.ts)
    words[head] = next;
    yield* freeMapper(machine, at, own);
  }
  yield* machine.heap.free(Source, source.at, slot);
}

/** With its count of the mm, which is this thread's when the mapper is free. */
function* freeMapper(machine: Machine, at: number, slot: number): Task<void> {
  const { memory } = machine;
  const mmAt = Mapper.at(memory, at).mm;
  const count = mmAt === 0 ? -1 : reserveResource(memory, mmAt);
  const [kindAt, mmWord] = [kindWord(memory, count), at + Mapper.offset.mm];
  const { words } = memory;
  if (kindAt !== 0) words[kindAt] = MM_COUNT; // in a row (H1 of sync/lockdep/held-locks.ts)
  words[mmWord] = 0;
  yield* machine.heap.free(Mapper, at, slot);
  if (mmAt !== 0) yield* dropMmCount(machine, Mm.at(memory, mmAt), count);
}

/** As `mmdrop` of lifetime/mm.ts, which this room may not import. */
function* dropMmCount(machine: Machine, mm: Mm, slot: number): Task<void> {
  if (yield* mm.count.put(kindWord(machine.memory, slot), MM_EXITING))
    yield* machine.heap.free(Mm, mm.at, slot);
}
