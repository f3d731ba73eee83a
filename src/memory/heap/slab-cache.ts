/**
 * @module memory/heap/slab-cache
 * The objects of one struct (Bonwick, "The Slab Allocator", 1994; Linux `mm/slub.c`): pages cut
 * into equal slots, a free list through the slots that are free, and enough written into them to
 * catch whoever uses one after freeing it.
 *
 *     slab:  Slab header | HEADER object ... | HEADER object ... | slots never used yet
 *
 *   C1  A slot's HEADER word is tag | LIVE while it is allocated and tag | FREE once it was
 *       freed (poison.ts). It changes under slabLock.
 *   C2  A free slot is POISON_FREE throughout, but for its first word: the next free slot, xor
 *       POISON_FREE, so that the last one of a list is poison throughout and a link is no pointer
 *       to who reads it by mistake.
 *   C3  A slab with a free slot is in `partial`, one without is in no list. At most one slab of a
 *       cache is empty; further ones go back to the page allocator. So a cache's memory is judged
 *       by the objects that live, not by the pages that it holds.
 *   C4  Memory once of a slab stays readable for ever, so that a check of a stale pointer reads
 *       words, not nothing.
 *
 * Lock: slabLock, one for each cache; heapLock is taken inside it.
 */

import { atomicLoad } from "../../sync/atomics.ts";
import { bug } from "../../sync/errors.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { Spinlock } from "../../sync/primitives/spinlock.ts";
import { access } from "../../sync/tasks/task.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { HeapPages } from "./heap-pages.ts";
import { CACHE_RECORD_WORDS, HEAP_PAGE_WORDS, KIND_SLAB, KIND_TAIL } from "./heap-pages.ts";
import { List } from "../layout/list.ts";
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

/** Where the first object lies in its slab. Even, and so is the stride: so are all objects. */
const FIRST_SLOT: number = Math.ceil((Slab.sizeWords + HEADER_WORDS) / 2) * 2;
const SLAB_ORDER_MAX = 4;
/** A slab should hold this many objects, if SLAB_ORDER_MAX allows. */
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

  /** Fills a zeroed record of CACHE_RECORD_WORDS words. Before anyone else can find it. */
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
   * Objects alive, as a number that was true a moment ago. Of any cache's record, also of structs
   * that this thread has not loaded.
   */
  static liveOf(memory: SharedMemory, recordAt: number): { live: number; sizeWords: number } {
    const { live, sizeWords } = CacheRecord.at(memory, recordAt);
    return { live, sizeWords };
  }

  /** A zeroed object, or 0 when no page is to be had. */
  *alloc(): Task<number> {
    const { memory, info } = this;
    yield* this.#lock.lock();
    const slabAt = this.#record.partial.first() || (yield* this.#newSlab());
    const at = slabAt === 0 ? 0 : this.#take(Slab.at(memory, slabAt));
    yield* this.#lock.unlock();
    if (at === 0) return 0;
    yield* access(memory, "alloc", at, info.sizeWords, info.name);
    // Ours alone now, so no lock is needed.
    for (let i = 0; i < info.sizeWords; i++) memory.words[at + i] = 0;
    return at;
  }

  /** Frees and poisons. Throws AssertionFailure for anything but a live object of this cache. */
  *free(at: number): Task<void> {
    const { memory, info } = this;
    yield* access(memory, "free", at, info.sizeWords, info.name);
    const slab = this.#slabOf(at);
    yield* this.#lock.lock();
    const header = memory.words[at - HEADER_WORDS]!;
    const isLive = header === (info.tag | HEADER_LIVE);
    const emptied = isLive && this.#put(slab, at);
    yield* this.#lock.unlock();
    if (!isLive) throwBadObject(info.name, info.tag, at, header, "free");
    if (emptied) yield* this.#pages.free(slab.at / HEAP_PAGE_WORDS, this.#shape.slabOrder);
  }

  /**
   * Frees an object for a task whose allocations come from arenas (arenas.ts, N2): poisoned and off
   * the accounting, never handed out again. One step of an exploration, so no lock.
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
    // Past the watch over plain accesses: a quarantine's accounting are an explorer's affair, and
    // nobody else looks at them meanwhile.
    memory.words[this.#record.at + CacheRecord.offset.live]!--;
  }

  /** A new slab in `partial`, or 0. Holding slabLock. */
  *#newSlab(): Task<number> {
    const page = yield* this.#pages.alloc(this.#shape.slabOrder, KIND_SLAB);
    if (page === 0) return 0;
    const at = page * HEAP_PAGE_WORDS;
    // the page's last owner may have left poison
    this.memory.words.fill(0, at, at + Slab.sizeWords);
    const slab = Slab.at(this.memory, at);
    slab.cache = this.#record.at;
    this.#record.partial.add(slab.node);
    this.#record.slabs++;
    this.#record.emptySlabs++;
    return slab.at;
  }

  /** A slot of a slab that has one. Holding slabLock. */
  #take(slab: Slab): number {
    // Another thread may have grown the heap, and the slab may begin before the end of this
    // thread's view and end after it.
    this.memory.ensure(slab.at + HEAP_PAGE_WORDS * 2 ** this.#shape.slabOrder);
    const { words } = this.memory;
    let at = slab.firstFree;
    if (at === 0) {
      at = slab.at + FIRST_SLOT + slab.carved * this.#shape.strideWords;
      slab.carved++;
    } else {
      slab.firstFree = words[at]! ^ POISON_FREE;
      if (this.memory.debug) this.#checkPoison(at);
    }
    words[at - HEADER_WORDS] = this.info.tag | HEADER_LIVE;
    if (slab.live === 0) this.#record.emptySlabs--;
    slab.live++;
    this.#record.live++;
    if (slab.live === this.#shape.slotsPerSlab) slab.node.del();
    return at;
  }

  /**
   * Returns true when the slab became empty and was taken out of the cache: the caller frees its
   * pages. Holding slabLock.
   */
  #put(slab: Slab, at: number): boolean {
    const { words } = this.memory;
    words[at - HEADER_WORDS] = this.info.tag | HEADER_FREE;
    for (let i = 1; i < this.info.sizeWords; i++) words[at + i] = POISON_FREE;
    words[at] = slab.firstFree ^ POISON_FREE;
    slab.firstFree = at;
    if (slab.live === this.#shape.slotsPerSlab) this.#record.partial.add(slab.node);
    slab.live--;
    this.#record.live--;
    if (slab.live > 0) return false;
    this.#record.emptySlabs++;
    if (this.#record.emptySlabs <= 1) return false;
    dropSlab(this.#record, slab);
    return true;
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
   * The slab that a pointer handed to `free` lies in; throws when there is none of this cache or no
   * slot starts there.
   */
  #slabOf(at: number): Slab {
    const page = Math.floor(at / HEAP_PAGE_WORDS);
    const kind = this.#pages.kindOf(page);
    if (kind === KIND_SLAB || kind === KIND_TAIL) {
      this.memory.ensure(at + this.info.sizeWords);
      const slabAt = this.#pages.ownerOf(page) * HEAP_PAGE_WORDS;
      const slab = Slab.at(this.memory, slabAt);
      const offset = at - slabAt - FIRST_SLOT;
      // Without slabLock: it only rises, so a slot that was ever handed out is below it.
      const carved = atomicLoad(this.memory.words, slabAt + Slab.offset.carved);
      const isSlot =
        offset >= 0 &&
        offset % this.#shape.strideWords === 0 &&
        offset / this.#shape.strideWords < carved;
      if (slab.cache === this.#record.at && isSlot) return slab;
    }
    return bug(
      `Cannot free ${this.info.name} at ${formatPointer(at)}: it is no object of this cache; it was freed already, or the pointer is foreign`,
    );
  }
}

/** Takes an empty slab out of its cache. Holding slabLock. */
function dropSlab(record: CacheRecord, slab: Slab): void {
  slab.node.del();
  record.slabs--;
  record.emptySlabs--;
}

/**
 * Gives a cache's empty slab back to the page allocator. Returns whether it had one. Of any cache's
 * record, as `liveOf`.
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
