/**
 * @module mm/source/serve
 * A thread that has the code of a source, and what it does for others: it answers their requests,
 * and when nothing maps the source any more it writes back what is dirty and lets the source go.
 *
 *   V1  A server holds a reference of the cache, and is a resource of its thread. `servers` counts
 *       them. When the last one dies, requests are answered EIO, and pages that are in the cache
 *       stay there, until another thread begins to serve (N3 of source-table.ts).
 *   V2  A server ends only when nothing is claimed and no page is dirty. A write-back that fails
 *       keeps the source, with its data: who maps it again finds them, and msync tries once more.
 *       It is tried again when a mapping has come since the end began, even if it has gone by the
 *       time that the server looks.
 *   V3  A request that a dead server had taken is QUEUED again for another one, before its record
 *       is freed. So the record says who has taken a request, and no later server is meant.
 *   V4  Nor does a server end while another task of its thread answers a request, which would be
 *       answered twice:
 *
 *         who asks                a task that serves          another task of that thread
 *         asks, and unmaps
 *                                 TAKEN, reads the page
 *                                                             ends: answered EIO
 *         frees the request
 *                                 has read it: answers what
 *                                 is freed
 */

import { Machine } from "../../memory/machine.ts";
import { type Struct, type StructView, pointer, struct, u32 } from "../../memory/layout/struct.ts";
import { findResource, registerHeir, resourceKind } from "../../sync/lockdep/resources.ts";
import { EAGAIN, EIO, EMFILE, ENOMEM, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import type { Task } from "../../sync/tasks/task.ts";
import {
  CACHE_PAGES_MAX,
  PageCache,
  backingOf,
  cacheGet,
  cachePutOwn,
  takeReference,
} from "../vma/page-cache.ts";
import { sourceTable } from "../vma/source-list.ts";
import { Source, addWork, noteStore, workOf } from "../vma/source.ts";
import { bringPageIn } from "./bring-in.ts";
import {
  IO_ABANDONED,
  IO_DONE,
  IO_QUEUED,
  IO_READ,
  IO_SIZE,
  IO_TAKEN,
  SourceIo,
  freeIo,
  inheritIo,
  ioBegin,
  ioEnd,
  setIoStateUnder,
  thenCleanUp,
} from "./io.ts";
import { type Pager, dropPager, setPager } from "./pager.ts";
import { dropUnmapped } from "./reclaim.ts";
import { refreshSize } from "./size.ts";
import { syncPages } from "./write-back.ts";

interface ServerRecord extends StructView {
  cache: number;
  isCounted: number;
}

const ServerRecord: Struct<ServerRecord> = struct<ServerRecord>("sourceServer", {
  cache: pointer("const", "holds one reference (V1)"),
  isCounted: u32("pageCacheLock", "1: the source counts it"),
});

const SERVER_RESOURCE: number = resourceKind("source");

function sourceOf(machine: Machine, cache: number): Source {
  return backingOf(machine, cache) ?? bug(`cache ${cache} has no source`);
}

/** One thread's service of one source. */
export class SourceServer {
  readonly machine: Machine;
  readonly cacheAt: number;
  readonly #record: number;
  readonly #slot: number;
  #isEnded = false;
  /** `maps` of the source when `end` was called last (V2). */
  #mapsSeen = 0;

  private constructor(machine: Machine, cacheAt: number, record: number, slot: number) {
    this.machine = machine;
    this.cacheAt = cacheAt;
    this.#record = record;
    this.#slot = slot;
  }

  /**
   * This thread serves the source from now on, with `pager`. ENOMEM, EMFILE. The caller has claimed
   * the source, and runs `serve` as a task that lasts.
   */
  static *begin(machine: Machine, cacheAt: number, pager: Pager): Task<SourceServer | Errno> {
    const { memory } = machine;
    const at = yield* machine.heap.alloc(ServerRecord, SERVER_RESOURCE);
    if (at === 0) return ENOMEM;
    const slot = findResource(memory, SERVER_RESOURCE, at);
    if (slot < 0) {
      yield* machine.heap.free(ServerRecord, at);
      return EMFILE;
    }
    const record = ServerRecord.at(memory, at);
    const cache = PageCache.at(memory, cacheAt);
    yield* cache.refs.get(at + ServerRecord.offset.cache, cacheAt);
    yield* cache.lock.lock();
    countServer(sourceOf(machine, cacheAt), record, 1);
    yield* cache.lock.unlock();
    setPager(machine, cacheAt, pager);
    return new SourceServer(machine, cacheAt, at, slot);
  }

  /** It has let the source go. For good, and not while sourcesLock is held. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Answers requests until nothing is claimed, or `end` was called and has succeeded. */
  *serve(): Task<void> {
    if (this.#isEnded) return;
    // `end` may be called by another task of this thread, and this one may still wait then.
    const own = yield* cacheGet(this.machine, this.cacheAt);
    yield* this.#serveHeld(PageCache.at(this.machine.memory, this.cacheAt));
    yield* cachePutOwn(this.machine, this.cacheAt, own);
  }

  *#serveHeld(cache: PageCache): Task<void> {
    const { machine, cacheAt } = this;
    const source = sourceOf(machine, cacheAt);
    while (!this.#isEnded) {
      const work = workOf(source);
      const { request, mappings } = yield* takeRequest(cache, source, this.#record);
      if (request !== 0) {
        yield* answer(machine, cache, source, request);
        continue;
      }
      if (mappings === 0) return;
      const workAt = source.at + Source.offset.work;
      const hasWork = (): boolean => this.#isEnded || workOf(source) !== work;
      const reads = { at: workAt, words: 1 };
      yield* source.serveQueue.waitEvent(hasWork, Infinity, undefined, reads);
    }
  }

  /**
   * After an `end` that failed: waits until something has been mapped since it was called, or an
   * `end` has succeeded.
   */
  *waitUntilMapped(): Task<void> {
    if (this.#isEnded) return;
    const { machine, cacheAt } = this;
    const own = yield* cacheGet(machine, cacheAt);
    const cache = PageCache.at(machine.memory, cacheAt);
    const source = sourceOf(machine, cacheAt);
    for (;;) {
      const work = workOf(source);
      const { mappings, maps } = yield* mappingsOf(cache, source);
      if (this.#isEnded || mappings > 0 || maps !== this.#mapsSeen) break;
      yield* source.serveQueue.waitEvent(() => this.#isEnded || workOf(source) !== work);
    }
    yield* cachePutOwn(machine, cacheAt, own);
  }

  /**
   * Writes back what is dirty if nothing is claimed, waits for what others write, and lets the
   * source go (V2): 0. EAGAIN: it is mapped, a transfer is under way, or an answer (V4): `serve`
   * returns when it is over. Else why the write-back failed.
   */
  *end(): Task<Errno> {
    if (this.#isEnded) return 0;
    const { machine, cacheAt } = this;
    // Another task of this thread may end the service meanwhile.
    const own = yield* cacheGet(machine, cacheAt);
    const cache = PageCache.at(machine.memory, cacheAt);
    return yield* thenCleanUp(this.#endHeld(cache), () => cachePutOwn(machine, cacheAt, own));
  }

  *#endHeld(cache: PageCache): Task<Errno> {
    const { machine, cacheAt } = this;
    const source = sourceOf(machine, cacheAt);
    const { mappings, transfers, maps } = yield* mappingsOf(cache, source);
    // What others are writing is waited for, not left to them: after the last unmap it is written.
    if (mappings > transfers) return EAGAIN;
    this.#mapsSeen = maps;
    const answered = yield* syncPages(machine, cacheAt, 0, CACHE_PAGES_MAX);
    if (answered !== 0) return answered;
    const table = yield* sourceTable(machine);
    yield* table.lock.lock();
    yield* cache.lock.lock();
    const isUnused = source.mappings === 0 && source.dirtyPages === 0;
    const isFree = !this.#isEnded && isUnused && !isAnswering(source, this.#record);
    if (isFree) {
      this.#isEnded = true;
      if (source.servers === 1) answerAll(cache.lock.at, source, EIO);
      // If this thread dies before the record is off its list, nothing is to be counted once more.
      countServer(source, ServerRecord.at(machine.memory, this.#record), -1);
      addWork(source);
    }
    yield* cache.lock.unlock();
    yield* table.lock.unlock();
    if (!isFree) return this.#isEnded ? 0 : EAGAIN;
    dropPager(machine, cacheAt);
    // Now, for a task that still waits may keep the cache for a while.
    yield* dropRest(machine, cache);
    yield* source.serveQueue.wakeAll();
    yield* source.doneQueue.wakeAll();
    yield* freeServer(machine, this.#record, this.#slot);
    return 0;
  }
}

function* mappingsOf(
  cache: PageCache,
  source: Source,
): Task<Pick<Source, "mappings" | "transfers" | "maps">> {
  yield* cache.lock.lock();
  const { mappings, transfers, maps } = source;
  yield* cache.lock.unlock();
  return { mappings, transfers, maps };
}

/** One server more, or one less. Holding pageCacheLock. */
function countServer(source: Source, record: ServerRecord, change: 1 | -1): void {
  const { words } = source.memory;
  const servers = source.servers + change;
  const serversAt = source.at + Source.offset.servers;
  const countedAt = record.at + ServerRecord.offset.isCounted;
  noteStore(source, Source.offset.servers);
  words[serversAt] = servers; // in a row (H1 of sync/lockdep/held-locks.ts)
  words[countedAt] = change === 1 ? 1 : 0;
}

/**
 * Nobody serves any more: what waits is answered. Holding pageCacheLock, whose word is `lock`.
 *
 * @stepped source io
 */
function answerAll(lock: number, source: Source, errno: Errno): void {
  for (const node of source.requests.nodes()) {
    const io = SourceIo.at(source.memory, SourceIo.containerOf(node, "node"));
    endRequest(lock, io, errno);
  }
}

/** V4. Holding pageCacheLock. @stepped source io */
function isAnswering(source: Source, record: number): boolean {
  for (const node of source.requests.nodes()) {
    const { server, state } = SourceIo.at(source.memory, SourceIo.containerOf(node, "node"));
    if (server === record && (state === IO_TAKEN || state === IO_ABANDONED)) return true;
  }
  return false;
}

/** Holding pageCacheLock. @stepped source io */
function endRequest(lock: number, io: SourceIo, errno: Errno): void {
  io.node.del(lock);
  io.errno = errno;
  setIoStateUnder(lock, io, IO_DONE);
}

interface Taken {
  /** 0: there is none. */
  readonly request: number;
  readonly mappings: number;
}

function* takeRequest(cache: PageCache, source: Source, server: number): Task<Taken> {
  let request = 0;
  yield* cache.lock.lock();
  for (const node of source.requests.nodes()) {
    const io = SourceIo.at(source.memory, SourceIo.containerOf(node, "node"));
    if (io.state !== IO_QUEUED) continue;
    io.server = server;
    setIoStateUnder(cache.lock.at, io, IO_TAKEN);
    request = io.at;
    break;
  }
  const { mappings } = source;
  yield* cache.lock.unlock();
  return { request, mappings };
}

/** Does what is asked, and answers; of a request whose thread has died it frees the record. */
function* answer(machine: Machine, cache: PageCache, source: Source, request: number): Task<void> {
  const io = SourceIo.at(machine.memory, request);
  const { kind, startPage, endPage } = io;
  const errno =
    kind === IO_READ
      ? yield* bringPageIn(machine, cache.at, startPage)
      : kind === IO_SIZE
        ? yield* refreshSize(machine, cache.at)
        : yield* syncPages(machine, cache.at, startPage, endPage);
  yield* cache.lock.lock();
  const isAbandoned = io.state === IO_ABANDONED;
  endRequest(cache.lock.at, io, errno);
  const slot = isAbandoned ? inheritIo(io, cache.lock.at) : -1;
  yield* cache.lock.unlock();
  if (isAbandoned) yield* freeIo(machine, request, slot);
  else yield* source.doneQueue.wakeAll();
}

/**
 * For the reaper: the thread that served has died (V1, V3). May be done again, for a reaper that
 * dies in it. `slot`: of the record among this thread's resources, or -1.
 */
function* releaseServer(machine: Machine, at: number, slot: number): Task<void> {
  const record = ServerRecord.at(machine.memory, at);
  const { cache: cacheAt } = record;
  if (cacheAt === 0) {
    yield* machine.heap.free(ServerRecord, at, slot);
    return;
  }
  const cache = PageCache.at(machine.memory, cacheAt);
  const source = sourceOf(machine, cacheAt);
  const orphans: SourceIo[] = [];
  yield* cache.lock.lock();
  const lock = cache.lock.at;
  if (record.isCounted !== 0) countServer(source, record, -1);
  for (const node of source.requests.nodes()) {
    const io = SourceIo.at(source.memory, SourceIo.containerOf(node, "node"));
    if (io.server !== at || io.state === IO_QUEUED) continue;
    if (io.state === IO_TAKEN) setIoStateUnder(lock, io, IO_QUEUED);
    else orphans.push(io);
  }
  for (const { node } of orphans) node.del(lock);
  const slots = orphans.map((io) => inheritIo(io, lock));
  if (source.servers === 0) answerAll(lock, source, EIO);
  addWork(source);
  yield* cache.lock.unlock();
  yield* source.serveQueue.wakeAll();
  yield* source.doneQueue.wakeAll();
  for (const [i, { at: orphan }] of orphans.entries()) yield* freeIo(machine, orphan, slots[i]);
  yield* freeServer(machine, at, slot);
}

/** With its reference of the cache. */
function* freeServer(machine: Machine, at: number, slot: number): Task<void> {
  const { memory } = machine;
  const { cache } = ServerRecord.at(memory, at);
  const own = takeReference(memory, at + ServerRecord.offset.cache);
  yield* machine.heap.free(ServerRecord, at, slot);
  yield* cachePutOwn(machine, cache, own);
}

registerHeir(SERVER_RESOURCE, (memory, at, slot) => releaseServer(Machine.of(memory), at, slot));

/** Pages that nobody maps. Without memory for a record they stay as long as the cache. */
function* dropRest(machine: Machine, cache: PageCache): Task<void> {
  const at = yield* ioBegin(machine, cache.at, IO_READ, 0, 0);
  if (at < 0) return;
  yield* dropUnmapped(machine, cache, SourceIo.at(machine.memory, at));
  yield* ioEnd(machine, at);
}
