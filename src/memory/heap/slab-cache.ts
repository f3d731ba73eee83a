/**
 * @module memory/heap/slab-cache
 * The objects of one struct (Bonwick, "The Slab Allocator", 1994; Linux `mm/slub.c`). Pages are cut
 * into equal slots. A free list links the free slots, and their words are poisoned, so that a use
 * after free is noticed.
 *
 *     slab:  Slab header | HEADER object ... | HEADER object ... | slots never used yet
 *
 *   C1  A slot's HEADER word is tag | LIVE while it is allocated and tag | FREE after it was freed
 *       (poison.ts). It changes under slabLock.
 *   C2  All words of a free slot but the first are POISON_FREE. The first is the next free slot,
 *       xor POISON_FREE. So the last slot of a list is all poison, and a stale reader does not find
 *       a valid pointer.
 *   C3  A slab with a free slot is in `partial`, one without is in no list. At most one slab of a
 *       cache is empty; further ones go back to the page allocator. So leak checks count live
 *       objects, not pages.
 *   C4  Memory that was ever part of a slab stays readable, so a check of a stale pointer can read
 *       it.
 *
 *   C5  A thread that dies with slabLock has changed nothing (sync/words/undo-log.ts). A page that
 *       it got for a new slab, or took from an empty one, is lost between the two locks.
 *
 * Lock: slabLock, one for each cache; heapLock is taken inside it.
 */

import { atomicLoad } from "../../sync/atomics.ts";
import { bug } from "../../sync/errors.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { Spinlock } from "../../sync/primitives/spinlock.ts";
import { DONE_TRUE, access } from "../../sync/tasks/task.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { addResourceUnder, removeResourceUnder } from "../../sync/lockdep/resources.ts";
import { commitUndo, undoStore } from "../../sync/words/undo-log.ts";
import type { HeapPages } from "./heap-pages.ts";
import { CACHE_RECORD_WORDS, HEAP_PAGE_WORDS, KIND_SLAB, KIND_TAIL } from "./heap-pages.ts";
import { List } from "../layout/list.ts";
import { undoField } from "../layout/undo-field.ts";
import {
  HEADER_FREE,
  HEADER_LIVE,
  HEADER_WORDS,
  POISON_FREE,
  formatPointer,
} from "../layout/poison.ts";
import type { Struct, StructInfo, StructView } from "../layout/struct.ts";
import { embed, pointer, struct, throwBadObject, u32 } from "../layout/struct.ts";

interface CacheRecord extends StructView {
  readonly lock: Spinlock;
  readonly partial: List;
  sizeWords: number;
  strideWords: number;
  slabOrder: number;
  slotsPerSlab: number;
  slabs: number;
  emptySlabs: number;
  live: number;
}

const CacheRecord: Struct<CacheRecord> = struct<CacheRecord>(
  "slabCache",
  {
    lock: embed(Spinlock, "the cache, its slabs, their free slots", "slabLock"),
    partial: embed(List, "slabs with a free slot; guarded by slabLock"),
    sizeWords: u32("const", "words of an object"),
    strideWords: u32("const", "words from one slot to the next, header included; even"),
    slabOrder: u32("const", "a slab is 2^slabOrder pages"),
    slotsPerSlab: u32("const", "slots of a slab"),
    slabs: u32("slabLock", "slabs held"),
    emptySlabs: u32("slabLock", "of these, without a live object: 0 or 1"),
    live: u32("slabLock", "objects alive"),
  },
  { embedded: true },
);

interface Slab extends StructView {
  readonly node: List;
  cache: number;
  firstFree: number;
  carved: number;
  live: number;
}

/** `node` is the first field, so that a list node's pointer is the slab's. */
const Slab: Struct<Slab> = struct<Slab>(
  "slab",
  {
    node: embed(List, "in the cache's `partial`"),
    cache: pointer("const", "the cache's record"),
    firstFree: pointer("slabLock", "first slot that was freed, 0 for none"),
    carved: u32("slabLock", "slots ever used; those from here on hold anything"),
    live: u32("slabLock", "slots allocated"),
  },
  { embedded: true },
);

/** Fields whose stores are undone if their thread dies with slabLock (C5). */
const SLABS = undoField(CacheRecord, "slabs");
const EMPTY_SLABS = undoField(CacheRecord, "emptySlabs");
const LIVE = undoField(CacheRecord, "live");
const FIRST_FREE = undoField(Slab, "firstFree");
const CARVED = undoField(Slab, "carved");
const SLAB_LIVE = undoField(Slab, "live");
const CACHE = Slab.plain("cache");

/** Where the first object lies in its slab. Even, and so is the stride: so are all objects. */
const FIRST_SLOT: number = Math.ceil((Slab.sizeWords + HEADER_WORDS) / 2) * 2;
const SLAB_ORDER_MAX = 4;
/** A slab should hold this many objects, if SLAB_ORDER_MAX allows it. */
const SLOTS_WANTED = 8;

interface SlabShape {
  readonly strideWords: number;
  readonly slabOrder: number;
  readonly slotsPerSlab: number;
}

function slotsIn(slabOrder: number, strideWords: number): number {
  return Math.floor((HEAP_PAGE_WORDS * 2 ** slabOrder - FIRST_SLOT + HEADER_WORDS) / strideWords);
}

function shapeOf(info: StructInfo): SlabShape {
  const strideWords = Math.ceil((info.sizeWords + HEADER_WORDS) / 2) * 2;
  let slabOrder = 0;
  while (slabOrder < SLAB_ORDER_MAX && slotsIn(slabOrder, strideWords) < SLOTS_WANTED) slabOrder++;
  const slotsPerSlab = slotsIn(slabOrder, strideWords);
  if (slotsPerSlab === 0)
    bug(
      `Cannot make a cache for ${info.name}: ${info.sizeWords} words do not fit a slab; use allocWords`,
    );
  return { strideWords, slabOrder, slotsPerSlab };
}

export class SlabCache {
  readonly memory: SharedMemory;
  readonly info: StructInfo;
  readonly #pages: HeapPages;
  readonly #record: CacheRecord;
  readonly #lock: Spinlock;
  readonly #shape: SlabShape;

  /** On a record that `SlabCache.format` has prepared, here or in another thread. */
  constructor(pages: HeapPages, info: StructInfo, recordAt: number) {
    this.memory = pages.memory;
    this.info = info;
    this.#pages = pages;
    this.#record = CacheRecord.at(pages.memory, recordAt);
    this.#lock = this.#record.lock;
    this.#shape = shapeOf(info);
    if (this.#record.sizeWords !== info.sizeWords) {
      bug(
        `Cannot use the cache of ${info.name}: another thread's objects have another size; run one version in all threads`,
      );
    }
  }

  /** Fills a zeroed record of CACHE_RECORD_WORDS words, before another thread can find it. */
  static format(memory: SharedMemory, info: StructInfo, recordAt: number): void {
    if (info.embedded)
      bug(
        `Cannot make a cache for ${info.name}: it is only ever part of other structs; allocate those`,
      );
    if (CacheRecord.sizeWords > CACHE_RECORD_WORDS)
      bug("Cannot keep a slab cache's record: raise CACHE_RECORD_WORDS");
    const record = CacheRecord.at(memory, recordAt);
    const shape = shapeOf(info);
    record.lock.init();
    record.partial.init();
    record.sizeWords = info.sizeWords;
    record.strideWords = shape.strideWords;
    record.slabOrder = shape.slabOrder;
    record.slotsPerSlab = shape.slotsPerSlab;
  }

  /**
   * Live objects, without a lock: the number may be old. For the record of any cache, also of
   * structs that this thread has not loaded.
   */
  static liveOf(memory: SharedMemory, recordAt: number): { live: number; sizeWords: number } {
    const { live, sizeWords } = CacheRecord.at(memory, recordAt);
    return { live, sizeWords };
  }

  /**
   * As `alloc`, for code that is not a task: from a slab that has a free slot, if the lock is free.
   * Else 0, and nothing has changed. Only in REAL mode: there an operation of sync/ that need not
   * wait is done when it returns.
   */
  allocNow(kind: number = 0): number {
    if (this.#lock.tryLock() !== DONE_TRUE) return 0;
    const slabAt = this.#record.partial.first();
    const at = slabAt === 0 ? 0 : this.#take(slabAt, kind);
    this.#lock.unlock();
    if (at !== 0) this.#clear(at);
    return at;
  }

  /**
   * As `free`, for code that is not a task. False: it has to wait, or has to say what is wrong;
   * nothing has changed. Only in REAL mode, as `allocNow`.
   */
  freeNow(at: number, slot: number = -1): boolean {
    const { memory } = this;
    const slab = this.#slabOf(at);
    if (SLAB_LIVE.load(memory, slab) === 1 || this.#lock.tryLock() !== DONE_TRUE) return false;
    const isPut =
      SLAB_LIVE.load(memory, slab) > 1 &&
      memory.words[at - HEADER_WORDS] === (this.info.tag | HEADER_LIVE);
    if (isPut) this.#put(slab, at, slot);
    this.#lock.unlock();
    return isPut;
  }

  /**
   * A zeroed object, or 0 when there is no page for it. With a `kind` it is a resource of this
   * thread from the step on that takes it.
   */
  *alloc(kind: number = 0): Task<number> {
    const { memory, info } = this;
    yield* this.#lock.lock();
    const slabAt = this.#record.partial.first() || (yield* this.#newSlab());
    const at = slabAt === 0 ? 0 : this.#take(slabAt, kind);
    yield* this.#lock.unlock();
    if (at === 0) return 0;
    yield* access(memory, "alloc", at, info.sizeWords, info.name);
    this.#clear(at);
    return at;
  }

  /** No other thread can reach the object yet, so no lock is needed. */
  #clear(at: number): void {
    const { words } = this.memory;
    for (let i = 0; i < this.info.sizeWords; i++) words[at + i] = 0;
  }

  /**
   * Frees and poisons. Throws AssertionFailure for anything but a live object of this cache.
   * `slot`: of the object among this thread's resources, until the step that frees it; or -1.
   */
  *free(at: number, slot: number = -1): Task<void> {
    const { memory, info } = this;
    yield* access(memory, "free", at, info.sizeWords, info.name);
    const slab = this.#slabOf(at);
    yield* this.#lock.lock();
    const header = memory.words[at - HEADER_WORDS]!;
    const isLive = header === (info.tag | HEADER_LIVE);
    const emptied = isLive && this.#put(slab, at, slot);
    yield* this.#lock.unlock();
    if (!isLive) throwBadObject(info.name, info.tag, at, header, "free");
    if (emptied) yield* this.#pages.free(slab / HEAP_PAGE_WORDS, this.#shape.slabOrder);
  }

  /**
   * Frees an object for a task whose allocations come from arenas (N2 of arenas.ts): it is
   * poisoned, leaves the accounting, and is never allocated again. One step of an exploration, so
   * no lock.
   */
  *quarantine(at: number): Task<void> {
    const { memory, info } = this;
    yield* access(memory, "free", at, info.sizeWords, info.name);
    this.#slabOf(at);
    const header = memory.words[at - HEADER_WORDS]!;
    if (header !== (info.tag | HEADER_LIVE))
      throwBadObject(info.name, info.tag, at, header, "free");
    memory.words[at - HEADER_WORDS] = info.tag | HEADER_FREE;
    memory.words.fill(POISON_FREE, at, at + info.sizeWords);
    // Not reported to the watch over plain accesses: only the explorer's task changes the
    // accounting here, and no other task reads it in this step.
    memory.words[this.#record.at + CacheRecord.offset.live]!--;
  }

  /** A new slab in `partial`, or 0. Holding slabLock. */
  *#newSlab(): Task<number> {
    const page = yield* this.#pages.alloc(this.#shape.slabOrder, KIND_SLAB);
    if (page === 0) return 0;
    const at = page * HEAP_PAGE_WORDS;
    // the page may hold poison of its last owner
    this.memory.words.fill(0, at, at + Slab.sizeWords);
    const slab = Slab.at(this.memory, at);
    slab.cache = this.#record.at;
    const record = this.#record;
    this.#beginChange();
    record.partial.add(slab.node, this.#lock.at);
    SLABS.store(this.memory, record.at, record.slabs + 1);
    EMPTY_SLABS.store(this.memory, record.at, record.emptySlabs + 1);
    return slab.at;
  }

  /** A slot of a slab that has one. Holding slabLock. */
  #take(slab: number, kind: number): number {
    // Another thread may have grown the heap: the slab may reach beyond the end of this thread's
    // view.
    this.memory.ensure(slab + HEAP_PAGE_WORDS * 2 ** this.#shape.slabOrder);
    const { memory } = this;
    const record = this.#record;
    const live = SLAB_LIVE.load(memory, slab);
    let at = FIRST_FREE.load(memory, slab);
    this.#beginChange();
    if (at === 0) {
      const carved = CARVED.load(memory, slab);
      at = slab + FIRST_SLOT + carved * this.#shape.strideWords;
      CARVED.store(memory, slab, carved + 1);
    } else {
      FIRST_FREE.store(memory, slab, memory.words[at]! ^ POISON_FREE);
      if (memory.debug) this.#checkPoison(at);
    }
    undoStore(memory, this.#lock.at, at - HEADER_WORDS, this.info.tag | HEADER_LIVE);
    if (live === 0) EMPTY_SLABS.store(memory, record.at, record.emptySlabs - 1);
    SLAB_LIVE.store(memory, slab, live + 1);
    LIVE.store(memory, record.at, record.live + 1);
    if (live + 1 === this.#shape.slotsPerSlab) Slab.at(memory, slab).node.del(this.#lock.at);
    if (kind !== 0) {
      // Whoever gives back what a dead thread had reads the object: its contents come first.
      undoStore(memory, this.#lock.at, at, 0);
      this.#fill(at, 0);
      addResourceUnder(memory, this.#lock.at, kind, at);
    }
    return at;
  }

  /**
   * Returns true when the slab became empty and was removed from the cache: the caller frees its
   * pages. Holding slabLock.
   */
  #put(slab: number, at: number, slot: number): boolean {
    const { memory } = this;
    const record = this.#record;
    const lock = this.#lock.at;
    const live = SLAB_LIVE.load(memory, slab);
    this.#beginChange();
    if (slot >= 0) removeResourceUnder(memory, lock, slot);
    undoStore(memory, lock, at - HEADER_WORDS, this.info.tag | HEADER_FREE);
    undoStore(memory, lock, at, FIRST_FREE.load(memory, slab) ^ POISON_FREE);
    FIRST_FREE.store(memory, slab, at);
    if (live === this.#shape.slotsPerSlab) record.partial.add(Slab.at(memory, slab).node, lock);
    SLAB_LIVE.store(memory, slab, live - 1);
    LIVE.store(memory, record.at, record.live - 1);
    let isEmpty = false;
    if (live === 1) {
      EMPTY_SLABS.store(memory, record.at, record.emptySlabs + 1);
      isEmpty = record.emptySlabs > 1;
      if (isEmpty) dropSlab(record, Slab.at(memory, slab));
    }
    this.#poison(at);
    return isEmpty;
  }

  /**
   * C2. Whoever gives back what a dead thread had may read an object of which the free was undone.
   * So the object is poisoned after the commit: the poison that a thread leaves out when it dies
   * then is missed in debug builds only. There it is undone with the rest.
   */
  #poison(at: number): void {
    if (!this.memory.debug) commitUndo(this.memory, this.#lock.at);
    this.#fill(at, POISON_FREE);
  }

  /** All words but the first. Undone in debug builds, which look at the poison. */
  #fill(at: number, value: number): void {
    const { memory } = this;
    for (let i = 1; i < this.info.sizeWords; i++) {
      if (memory.debug) undoStore(memory, this.#lock.at, at + i, value);
      else memory.words[at + i] = value;
    }
  }

  /** C5. Until the lock is released. */
  #beginChange(): void {
    this.memory.undoLock = this.#lock.at;
  }

  /** C2. A word that is not poison was written after the object was freed. Holding slabLock. */
  #checkPoison(at: number): void {
    for (let i = 1; i < this.info.sizeWords; i++) {
      if (this.memory.words[at + i] === POISON_FREE) continue;
      const name =
        this.info.fields.find((field) => i >= field.offset && i < field.offset + field.words)
          ?.name ?? `word ${i}`;
      bug(
        `Cannot reuse ${this.info.name} at ${formatPointer(at)}: "${name}" was written after it was freed; keep a reference while using it`,
      );
    }
  }

  /**
   * The slab of a pointer that was passed to `free`, as a pointer. Throws when that lies in no
   * slab of this cache, or not at the start of a slot.
   */
  #slabOf(at: number): number {
    const page = Math.floor(at / HEAP_PAGE_WORDS);
    const kind = this.#pages.kindOf(page);
    if (kind === KIND_SLAB || kind === KIND_TAIL) {
      this.memory.ensure(at + this.info.sizeWords);
      const slabAt = this.#pages.ownerOf(page) * HEAP_PAGE_WORDS;
      const offset = at - slabAt - FIRST_SLOT;
      // Without slabLock: it only rises, so every slot that was ever allocated is below it.
      const carved = atomicLoad(this.memory.words, slabAt + Slab.offset.carved);
      const isSlot =
        offset >= 0 &&
        offset % this.#shape.strideWords === 0 &&
        offset / this.#shape.strideWords < carved;
      if (CACHE.load(this.memory, slabAt) === this.#record.at && isSlot) return slabAt;
    }
    return bug(
      `Cannot free ${this.info.name} at ${formatPointer(at)}: it is no object of this cache; it was freed already, or the pointer is foreign`,
    );
  }
}

/** Removes an empty slab from its cache. Holding slabLock. */
function dropSlab(record: CacheRecord, slab: Slab): void {
  const { memory } = record;
  memory.undoLock = record.lock.at;
  slab.node.del(record.lock.at);
  SLABS.store(memory, record.at, record.slabs - 1);
  EMPTY_SLABS.store(memory, record.at, record.emptySlabs - 1);
}

/**
 * Gives a cache's empty slab back to the page allocator. Returns whether there was one. For the
 * record of any cache, as `liveOf`.
 */
export function* shrinkCache(pages: HeapPages, recordAt: number): Task<boolean> {
  const record = CacheRecord.at(pages.memory, recordAt);
  let found: Slab | undefined;
  yield* record.lock.lock();
  for (const node of record.emptySlabs === 0 ? [] : record.partial.nodes()) {
    const slab = Slab.at(pages.memory, node);
    if (slab.live === 0) found = slab;
  }
  if (found !== undefined) dropSlab(record, found);
  yield* record.lock.unlock();
  if (found === undefined) return false;
  yield* pages.free(found.at / HEAP_PAGE_WORDS, record.slabOrder);
  return true;
}
