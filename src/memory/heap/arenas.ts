/**
 * @module memory/heap/arenas
 * The kernel heap of explored tasks. Not an allocator for programs: memory is never reused.
 *
 * Slab caches do not suit a search. Two unrelated allocations contend for a lock and a free list,
 * so the search would explore both orders. And a slot that is allocated again hides a stale pointer
 * to its former object. So after `Heap.useArenas` each task of an exploration allocates from an
 * arena of its own:
 *
 *   N1  An address depends on what the task itself has allocated before, and on nothing else: two
 *       allocations commute.
 *   N2  No address is allocated twice in one execution, so every use after free is noticed, however
 *       late it comes.
 *   N3  An allocation is one step, "alloc" of its words; a free is one step, "free" of its words.
 *
 *     arena:  USED | size, header, object ... | size, header, object ... |
 *
 * Sizes are even, and USED counts the words in use.
 *
 * The set-up of a scenario allocates from the slab caches and blocks, in real mode. When a task
 * frees such an object, it is poisoned and leaves the accounting, but is not reused. The allocators
 * themselves are explored on a heap without arenas.
 */

import { bug } from "../../sync/errors.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { access } from "../../sync/tasks/task.ts";
import type { Task } from "../../sync/tasks/task.ts";
import {
  HEADER_FREE,
  HEADER_LIVE,
  HEADER_WORDS,
  POISON_FREE,
  headerState,
  headerTag,
} from "../layout/poison.ts";
import type { Shortage } from "./shortage.ts";
import type { StructInfo } from "../layout/struct.ts";
import { structOfTag, throwBadObject } from "../layout/struct.ts";

/** USED, and one to make it even. */
const ARENA_HEAD_WORDS = 2;
/** Size and header. An object begins at an even word, like everything on the heap. */
const OBJECT_HEAD_WORDS: number = 1 + HEADER_WORDS;
/** The tag of a block of words, which belongs to no struct. */
const BLOCK_TAG = 0;

/** An object that a task has allocated and nobody has freed. */
export interface ArenaObject {
  /** Pointer. */
  readonly at: number;
  /** The struct's name, or `words<count>` for a block of words. */
  readonly name: string;
  readonly words: number;
}

/** Words from `start` up to `end`. */
export interface WordSpan {
  readonly start: number;
  readonly end: number;
}

export class Arenas {
  readonly memory: SharedMemory;
  /** Pointer of each arena, by agent id from 1 on. */
  readonly #arenas: readonly number[];
  readonly #arenaWords: number;
  /** By arena: words in use, at most, since {@link takeTails} was called last. */
  readonly #most: number[];
  /** Checked before each allocation, if there is one. */
  shortage: Shortage | undefined;

  /** In zeroed blocks of `arenaWords` words. */
  constructor(memory: SharedMemory, blocks: readonly number[], arenaWords: number) {
    this.memory = memory;
    this.#arenas = blocks;
    this.#arenaWords = arenaWords;
    this.#most = blocks.map(() => arenaWords);
  }

  /** The part of each arena that no task has used since the last call. */
  takeTails(): WordSpan[] {
    return this.#arenas.map((start, i) => {
      const most = this.#most[i] ?? this.#arenaWords;
      this.#most[i] = 0;
      return { start: start + most, end: start + this.#arenaWords };
    });
  }

  /** A zeroed object, or 0 when the arena is full. */
  alloc(info: StructInfo): Task<number> {
    return this.#take(info.sizeWords, info.tag, info.name);
  }

  /** `count` zeroed words, or 0. */
  allocWords(count: number): Task<number> {
    return this.#take(count, BLOCK_TAG, "table");
  }

  /** Whether the object lies in an arena. */
  has(at: number): boolean {
    return this.#arenas.some((start) => at >= start && at < start + this.#arenaWords);
  }

  /** Frees an object of `info` that lies in an arena. */
  free(info: StructInfo, at: number): Task<void> {
    return this.#give(at, info.sizeWords, info.tag, info.name);
  }

  freeWords(at: number, count: number): Task<void> {
    return this.#give(at, count, BLOCK_TAG, "table");
  }

  /** All live objects of the arenas, by task, then in the order of allocation. */
  live(): ArenaObject[] {
    const { words } = this.memory;
    const objects: ArenaObject[] = [];
    for (const start of this.#arenas) {
      const end = start + words[start]!;
      for (
        let head = start + ARENA_HEAD_WORDS;
        head < end;
        head += OBJECT_HEAD_WORDS + evenWords(words[head]!)
      ) {
        const header = words[head + 1]!;
        if (headerState(header) !== HEADER_LIVE) continue;
        const name = structOfTag(headerTag(header))?.name ?? `words${words[head]!}`;
        objects.push({ at: head + OBJECT_HEAD_WORDS, name, words: words[head]! });
      }
    }
    return objects;
  }

  /** Pointer of an object that was written after it was freed, or 0. */
  writtenAfterFree(): number {
    const { words } = this.memory;
    for (const start of this.#arenas) {
      const end = start + words[start]!;
      for (let at = start + ARENA_HEAD_WORDS + OBJECT_HEAD_WORDS; at < end;) {
        const count = words[at - OBJECT_HEAD_WORDS]!;
        const isFree = headerState(words[at - HEADER_WORDS]!) === HEADER_FREE;
        if (isFree && words.subarray(at, at + count).some((word) => word !== POISON_FREE))
          return at;
        at += evenWords(count) + OBJECT_HEAD_WORDS;
      }
    }
    return 0;
  }

  *#take(count: number, tag: number, name: string): Task<number> {
    if (this.shortage !== undefined && (yield* this.shortage.isOn())) return 0;
    const { words, agentId } = this.memory;
    const arena =
      this.#arenas[agentId - 1] ?? bug(`Cannot allocate ${name}: thread ${agentId} has no arena`);
    const used = Math.max(words[arena]!, ARENA_HEAD_WORDS);
    const next = used + OBJECT_HEAD_WORDS + evenWords(count);
    if (next > this.#arenaWords) return 0;
    // Part of the step before: only this task uses the arena, so no other task can notice.
    words[arena] = next;
    this.#most[agentId - 1] = Math.max(this.#most[agentId - 1] ?? 0, next);
    words[arena + used] = count;
    const at = arena + used + OBJECT_HEAD_WORDS;
    yield* access(this.memory, "alloc", at, count, name);
    words.fill(0, at, at + count);
    words[at - HEADER_WORDS] = tag | HEADER_LIVE;
    return at;
  }

  *#give(at: number, count: number, tag: number, name: string): Task<void> {
    yield* access(this.memory, "free", at, count, name);
    const { words } = this.memory;
    const header = words[at - HEADER_WORDS]!;
    if (header !== (tag | HEADER_LIVE)) throwBadObject(name, tag, at, header, "free");
    words[at - HEADER_WORDS] = tag | HEADER_FREE;
    words.fill(POISON_FREE, at, at + count);
  }
}

function evenWords(count: number): number {
  return count + (count % 2);
}
