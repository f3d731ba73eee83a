/**
 * @module memory/heap/heap
 * The kernel heap as the layers above use it: objects of structs, blocks for page tables,
 * well-known pointers, and the accounting. The allocators are slab-cache.ts and heap-blocks.ts,
 * over heap-pages.ts.
 *
 *   H1  Memory is zeroed when it is allocated and poisoned when it is freed.
 *   H2  An allocation over the budget returns 0 and changes nothing. The same call may succeed
 *       later.
 *   H3  To free anything but a live object, or to free twice, is an AssertionFailure that names
 *       struct and address, in all builds. A use after free is one in debug builds (S3 of
 *       layout/struct.ts).
 *
 * Every function that is a task takes slabLock or heapLock for a short time, and waits for nothing
 * else.
 */

import { ENOMEM } from "../../sync/errno.ts";
import { HmmError, bug } from "../../sync/errors.ts";
import { addResource, removeResource } from "../../sync/lockdep/resources.ts";
import { EXPLORED, REAL } from "../../sync/shared-memory.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { DONE, type Task, doneNumber } from "../../sync/tasks/task.ts";
import { compareExchangeWord, readWord } from "../../sync/primitives/word-steps.ts";
import { Arenas } from "./arenas.ts";
import type { WordSpan } from "./arenas.ts";
import { allocBlock, classWords, freeBlock, quarantineBlock } from "./heap-blocks.ts";
import { BLOCK_CLASSES, HEAP_PAGE_BYTES, HeapPages } from "./heap-pages.ts";
import type { Shortage } from "./shortage.ts";
import { SlabCache, shrinkCache } from "./slab-cache.ts";
import type { Struct, StructInfo, StructView } from "../layout/struct.ts";

/**
 * The live objects of one cache.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * space.mmapSync(4096);
 * const vmas = space.statsSync().heap.objects.find(({ name }) => name === "vma");
 * console.log(vmas?.live); // 1
 * ```
 */
export interface CacheAccount {
  /** The struct's name, or `words<count>` for blocks of that size. */
  readonly name: string;
  /** Live objects. */
  readonly live: number;
  /** Bytes of the live objects. */
  readonly bytes: number;
}

/** How full the kernel heap is. */
export interface HeapUsage {
  /** Pages in use, in bytes: the heap's own tables, slabs (empty ones included) and blocks. */
  readonly usedBytes: number;
  readonly peakBytes: number;
  readonly budgetBytes: number;
}

export class Heap {
  readonly memory: SharedMemory;
  readonly #pages: HeapPages;
  readonly #caches = new Map<StructInfo, SlabCache>();
  #arenas: Arenas | undefined;

  /** On a heap that `HeapPages.format` has prepared. */
  constructor(memory: SharedMemory) {
    this.memory = memory;
    this.#pages = new HeapPages(memory);
  }

  /**
   * From now on explored tasks 1 to `count` allocate from arenas of `arenaWords` words each
   * (arenas.ts), at most 16,384. For the set-up of an exploration. False when the budget is spent.
   */
  *useArenas(count: number, arenaWords: number): Task<boolean> {
    const blocks: number[] = [];
    for (let i = 0; i < count; i++) blocks.push(yield* allocBlock(this.#pages, arenaWords));
    if (blocks.includes(0)) return false;
    this.#arenas = new Arenas(this.memory, blocks, arenaWords);
    return true;
  }

  /** On a heap with arenas: explored tasks get nothing while `shortage` is on. */
  useShortage(shortage: Shortage): void {
    if (this.#arenas === undefined)
      bug("Cannot use a shortage: the heap has no arenas; call useArenas first");
    this.#arenas.shortage = shortage;
  }

  /**
   * For an explorer, on a heap with arenas, once the set-up is over: a function that returns the
   * spans of words that its tasks have not written since the last call, in order. They write what
   * is allocated, so neither the free pages, nor what nobody has taken of an arena.
   */
  watchUntouched(): () => readonly WordSpan[] {
    const free = this.#pages.freeSpans();
    this.#arenas?.takeTails();
    return () =>
      [...free, ...(this.#arenas?.takeTails() ?? [])].toSorted((a, b) => a.start - b.start);
  }

  /**
   * For an explorer, on a heap with arenas: pointer of an object that a task has allocated and
   * freed, and that was written after that; or 0. Plain stores are no steps, so no step tells.
   */
  writtenAfterFree(): number {
    return this.#arenas?.writtenAfterFree() ?? 0;
  }

  /** The arenas, where the running task allocates from one; undefined: from caches and blocks. */
  get #arena(): Arenas | undefined {
    return this.memory.mode === EXPLORED ? this.#arenas : undefined;
  }

  /**
   * A zeroed object, or 0 (H2). With a `kind` it is a resource of this thread
   * (sync/lockdep/resources.ts), without an instruction in between; `findResource` has its slot.
   */
  alloc(info: StructInfo, kind: number = 0): Task<number> {
    const cache = this.memory.mode === REAL ? this.#caches.get(info) : undefined;
    const at = cache?.allocNow(kind) ?? 0;
    return at === 0 ? this.#allocSlow(info, kind) : doneNumber(at);
  }

  *#allocSlow(info: StructInfo, kind: number): Task<number> {
    const arena = this.#arena;
    if (arena !== undefined) {
      const at = yield* arena.alloc(info);
      if (at !== 0 && kind !== 0) addResource(this.memory, kind, at);
      return at;
    }
    const cache = this.#caches.get(info) ?? (yield* this.#openCache(info));
    const at = yield* cache.alloc(kind);
    if (at !== 0 || !(yield* this.#shrink())) return at;
    return yield* cache.alloc(kind);
  }

  /**
   * Frees an object. Nobody else may reach it any more. `slot`: of a resource of this thread, which
   * it is until it is free.
   */
  free(info: StructInfo, at: number, slot: number = -1): Task<void> {
    const cache = this.memory.mode === REAL ? this.#caches.get(info) : undefined;
    return cache?.freeNow(at, slot) === true ? DONE : this.#freeSlow(info, at, slot);
  }

  *#freeSlow(info: StructInfo, at: number, slot: number): Task<void> {
    const arena = this.#arena;
    if (arena === undefined) {
      const cache = this.#caches.get(info) ?? (yield* this.#openCache(info));
      yield* cache.free(at, slot);
      return;
    }
    if (arena.has(at)) yield* arena.free(info, at);
    else yield* (this.#caches.get(info) ?? (yield* this.#openCache(info))).quarantine(at);
    if (slot >= 0) removeResource(this.memory, slot);
  }

  /**
   * `count` zeroed words that start at an even word, or 0 (H2). `count` is 512 times a power of
   * two, up to 16,384. With a `note`, a word of the heap, that names the block from the change on
   * that takes it: a thread that dies leaves both or neither.
   */
  *allocWords(count: number, note: number = 0): Task<number> {
    const arena = this.#arena;
    if (arena !== undefined) {
      const at = yield* arena.allocWords(count);
      if (note !== 0) this.memory.words[note] = at;
      return at;
    }
    const at = yield* allocBlock(this.#pages, count, note);
    if (at !== 0 || !(yield* this.#shrink())) return at;
    return yield* allocBlock(this.#pages, count, note);
  }

  /** Frees a block that came from `allocWords(count)`. A `note` that names it becomes 0. */
  freeWords(at: number, count: number, note: number = 0): Task<void> {
    const arena = this.#arena;
    return arena === undefined
      ? freeBlock(this.#pages, at, count, note)
      : this.#freeExplored(arena, at, count, note);
  }

  *#freeExplored(arena: Arenas, at: number, count: number, note: number): Task<void> {
    if (arena.has(at)) yield* arena.freeWords(at, count);
    else yield* quarantineBlock(this.#pages, at, count);
    if (note !== 0) this.memory.words[note] = 0;
  }

  /**
   * Word index of the well-known slot `name`: one word, 0 until some thread stores a pointer there
   * (atomically). The first call makes it.
   */
  root(name: string): Task<number> {
    return this.#pages.named(this.#pages.roots, name);
  }

  /**
   * The machine's one object of a struct, kept in the root slot of its name. The first thread
   * allocates it and runs `init`; a thread that loses the race frees its own object. Throws
   * HmmError ENOMEM.
   */
  *singleton<T extends StructView>(info: Struct<T>, init: (view: T) => void): Task<T> {
    const { memory } = this;
    const slot = yield* this.root(info.name);
    const known = yield* readWord(memory, slot, info.name);
    if (known !== 0) return info.at(memory, known);
    const at = yield* this.alloc(info);
    if (at === 0) {
      throw new HmmError(
        ENOMEM,
        "singleton",
        `Cannot make the machine's ${info.name}: the kernel heap is full; raise heapBytes`,
      );
    }
    init(info.at(memory, at));
    const winner = yield* compareExchangeWord(memory, slot, 0, at, info.name);
    if (winner === 0) return info.at(memory, at);
    yield* this.free(info, at);
    return info.at(memory, winner);
  }

  /**
   * Everything alive, by cache: only what lives is listed, in order of name. Exact while nobody
   * allocates.
   */
  accounting(): CacheAccount[] {
    const { caches, header } = this.#pages;
    const accounts: CacheAccount[] = caches.entries().map(({ name, at }) => {
      const { live, sizeWords } = SlabCache.liveOf(this.memory, at);
      return { name, live, bytes: live * sizeWords * 4 };
    });
    for (let sizeClass = 0; sizeClass < BLOCK_CLASSES; sizeClass++) {
      const live = header.blocksLive.get(sizeClass);
      accounts.push({
        name: `words${classWords(sizeClass)}`,
        live,
        bytes: live * classWords(sizeClass) * 4,
      });
    }
    for (const { name, words } of this.#arenas?.live() ?? [])
      accounts.push({ name, live: 1, bytes: words * 4 });
    return addUp(accounts.filter(({ live }) => live !== 0)).toSorted((a, b) =>
      a.name < b.name ? -1 : 1,
    );
  }

  usage(): HeapUsage {
    const { header, usedPages } = this.#pages;
    return {
      usedBytes: usedPages * HEAP_PAGE_BYTES,
      peakBytes: header.peakPages * HEAP_PAGE_BYTES,
      budgetBytes: header.maxPages * HEAP_PAGE_BYTES,
    };
  }

  *#openCache(info: StructInfo): Task<SlabCache> {
    const record = yield* this.#pages.named(this.#pages.caches, info.name, (at) =>
      SlabCache.format(this.memory, info, at),
    );
    const cache = new SlabCache(this.#pages, info, record);
    this.#caches.set(info, cache);
    return cache;
  }

  /** Takes back the pages that caches keep in reserve. */
  *#shrink(): Task<boolean> {
    let found = false;
    for (const { at } of this.#pages.caches.entries())
      if (yield* shrinkCache(this.#pages, at)) found = true;
    return found;
  }
}

/** One account for each name. */
function addUp(accounts: readonly CacheAccount[]): CacheAccount[] {
  const byName = new Map<string, CacheAccount>();
  for (const { name, live, bytes } of accounts) {
    const known = byName.get(name);
    byName.set(name, { name, live: live + (known?.live ?? 0), bytes: bytes + (known?.bytes ?? 0) });
  }
  return [...byName.values()];
}
