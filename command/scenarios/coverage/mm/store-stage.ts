/**
 * @module The stage of scenarios about mappings of a source: a backing store of one word for each
 * page, the pager over it, and address spaces that map it. Each thread of a scenario that is given
 * the pager has the code of the source; the others ask.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { doMsync } from "../../../../src/mm/calls/msync.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import type { PageTransfer, Pager } from "../../../../src/mm/source/pager.ts";
import { PENDING, SIZE_CHANGED, setPager } from "../../../../src/mm/source/pager.ts";
import { dropClaim, openSource } from "../../../../src/mm/source/source-table.ts";
import { refreshSize } from "../../../../src/mm/source/size.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { PageCache } from "../../../../src/mm/vma/page-cache.ts";
import { EIO, ENOMEM, type Errno } from "../../../../src/sync/errno.ts";
import { SegmentationFault, assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";

/** The first page of the mapping. */
export const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
/** What the store has on each page at the beginning. */
export const FIRST = 7;

/** Where the second word of a page lies that the store keeps. */
export const END_BYTES: number = PAGE_BYTES - 4;

/** A backing store in JavaScript: the first word of each page, and the last one. */
export class WordStore implements Pager {
  readonly wantsZeroes = false;
  words: Int32Array = new Int32Array(0);
  ends: Int32Array = new Int32Array(0);
  /** How much of its last page the store has not. */
  cutBytes = 0;
  fails = false;
  reads = 0;

  constructor(pages: number) {
    this.reset(pages);
  }

  reset(pages: number): void {
    this.words = new Int32Array(pages).fill(FIRST);
    this.ends = new Int32Array(pages);
    this.cutBytes = 0;
    this.fails = false;
    this.reads = 0;
  }

  read({ offsetBytes, storedBytes, parts }: PageTransfer): number {
    if (this.fails) return EIO;
    if (offsetBytes + storedBytes > this.sizeBytes()) return SIZE_CHANGED;
    this.reads++;
    this.#eachPage(offsetBytes, parts, (bytes, page) => {
      wordOf(bytes, 0)[0] = this.words[page] ?? 0;
      wordOf(bytes, END_BYTES)[0] = this.#hasEnd(page) ? (this.ends[page] ?? 0) : 0;
    });
    return 0;
  }

  write({ offsetBytes, parts }: PageTransfer): Errno {
    if (this.fails) return EIO;
    this.#eachPage(offsetBytes, parts, (bytes, page) => {
      this.words[page] = wordOf(bytes, 0)[0]!;
      if (bytes.length === PAGE_BYTES) this.ends[page] = wordOf(bytes, END_BYTES)[0]!;
    });
    return 0;
  }

  sizeBytes(): number {
    return this.words.length * PAGE_BYTES - this.cutBytes;
  }

  #hasEnd(page: number): boolean {
    return this.cutBytes === 0 || page < this.words.length - 1;
  }

  #eachPage(
    offsetBytes: number,
    parts: readonly Uint8Array[],
    visit: (bytes: Uint8Array, page: number) => void,
  ): void {
    let page = offsetBytes / PAGE_BYTES;
    for (const part of parts)
      for (let at = 0; at < part.length; at += PAGE_BYTES)
        visit(part.subarray(at, at + PAGE_BYTES), page++);
  }
}

/** A store whose answers come later. */
export class LateStore extends WordStore {
  /** The transfer that has begun. */
  io = 0;

  override read(transfer: PageTransfer): number {
    const answer = super.read(transfer);
    this.io = transfer.io;
    return answer === 0 ? PENDING : answer;
  }

  override write({ io }: PageTransfer): number {
    this.io = io;
    return PENDING;
  }
}

function wordOf({ buffer, byteOffset }: Uint8Array, at: number): Int32Array {
  return new Int32Array(buffer, byteOffset + at, 1);
}

export interface StoreStage {
  readonly store: WordStore;
  readonly pages: number;
  readonly cache: number;
  /** A child of the harness's space, if there is one. */
  readonly child: Mm | undefined;
}

export interface StageOptions {
  readonly pages?: number;
  readonly shared?: boolean;
  /** Agents that have the code; default: the set-up's and both tasks'. */
  readonly coders?: readonly number[];
  readonly hasChild?: boolean;
}

/** Maps the store at ADDRESS in the harness's space. The stage keeps a reference of the cache. */
export function makeStage(harness: HmmHarness, options: StageOptions = {}): StoreStage {
  const { machine, mm } = harness;
  const { pages = 1, shared = true, coders = [0, 1, 2, 3], hasChild = false } = options;
  const store = new WordStore(pages);
  const lengthBytes = pages * PAGE_BYTES;
  const cache = harness.run(openSource(machine, { lengthBytes, isWritable: true }));
  assert(cache > 0, `the source cannot be made: ${cache}`);
  givePager(harness, cache, store, coders);
  harness.run(PageCache.at(machine.memory, cache).refs.get());
  const place = { lengthBytes, address: ADDRESS, placement: MAP_FIXED_NOREPLACE };
  const kind = { protection: VM_READ | VM_WRITE, shared, bufferPfn: 0, offsetPages: 0, cache };
  const mapped = harness.run(doMmap(machine, mm, { ...place, ...kind }));
  assert(mapped === ADDRESS, `the mapping answered ${mapped}`);
  harness.run(dropClaim(machine, cache));
  const child = hasChild ? Mm.at(machine.memory, harness.run(doFork(machine, mm))) : undefined;
  return { store, pages, cache, child };
}

function givePager(
  harness: HmmHarness,
  cache: number,
  store: WordStore,
  coders: readonly number[],
): void {
  const { memory } = harness.machine;
  const self = memory.agentId;
  for (const agent of coders) {
    memory.agentId = agent;
    setPager(harness.machine, cache, store);
  }
  memory.agentId = self;
}

/** The page's word as a load of the space sees it; undefined: SIGBUS. */
export function* loadWord(
  harness: HmmHarness,
  page = 0,
  mm: Mm = harness.mm,
  atBytes: number = 0,
): Task<number | undefined> {
  try {
    return yield* new HarnessCpu(harness, mm).load(ADDRESS + page * PAGE_BYTES + atBytes);
  } catch (error) {
    if (error instanceof SegmentationFault && error.signal === "SIGBUS") return undefined;
    throw error;
  }
}

/** False: SIGBUS. */
export function* storeWord(
  harness: HmmHarness,
  value: number,
  page = 0,
  mm: Mm = harness.mm,
  atBytes: number = 0,
): Task<boolean> {
  try {
    yield* new HarnessCpu(harness, mm).store(ADDRESS + page * PAGE_BYTES + atBytes, value);
    return true;
  } catch (error) {
    if (error instanceof SegmentationFault && error.signal === "SIGBUS") return false;
    throw error;
  }
}

export function* sync(harness: HmmHarness, { pages }: StoreStage, mm: Mm = harness.mm): Task<void> {
  const answer = yield* doMsync(harness.machine, mm, ADDRESS, pages * PAGE_BYTES);
  // ENOMEM: it has been unmapped meanwhile.
  assert(answer === 0 || answer === ENOMEM, `msync answered ${answer}`);
}

/** Somebody makes the store `pages` long, less `cutBytes`, and it is noticed. */
export function* resize(
  harness: HmmHarness,
  stage: StoreStage,
  pages: number,
  cutBytes: number = 0,
): Task<void> {
  yield* changeStore(harness, stage, pages, cutBytes);
  const answer = yield* refreshSize(harness.machine, stage.cache);
  assert(answer === 0, `to ask for the size answered ${answer}`);
}

/**
 * The store alone. Holding the lock of the cache: a task runs up to its first step before any other
 * does, and the store is no word that the explorer sees.
 */
export function* changeStore(
  { machine }: HmmHarness,
  stage: StoreStage,
  pages: number,
  cutBytes: number = 0,
): Task<void> {
  const { lock } = PageCache.at(machine.memory, stage.cache);
  yield* lock.lock();
  setStore(stage.store, pages, cutBytes);
  yield* lock.unlock();
}

/** The store alone has its first length again. False: it has not been cut off. */
export function* regrow({ machine }: HmmHarness, stage: StoreStage): Task<boolean> {
  const { lock } = PageCache.at(machine.memory, stage.cache);
  yield* lock.lock();
  const isCut = stage.store.words.length < stage.pages;
  if (isCut) setStore(stage.store, stage.pages, 0);
  yield* lock.unlock();
  return isCut;
}

function setStore(store: WordStore, pages: number, cutBytes: number): void {
  const { words, ends } = store;
  store.words = Int32Array.from({ length: pages }, (_, page) => words[page] ?? FIRST);
  store.ends = Int32Array.from({ length: pages }, (_, page) => ends[page] ?? 0);
  store.cutBytes = cutBytes;
}
