/**
 * @module A kernel heap that is used up. A thread that needs pages takes back the empty slabs of
 * caches, while other threads use those caches. If there is none, the allocation fails, and no
 * memory is lost.
 */

import { notePlainAccess } from "../../../../src/checker/watch/plain-accesses.ts";
import { Heap } from "../../../../src/memory/heap/heap.ts";
import { HEAP_BYTES_MIN, Machine } from "../../../../src/memory/machine.ts";
import { array, struct, u32 } from "../../../../src/memory/layout/struct.ts";
import type { Struct, StructView, WordArray } from "../../../../src/memory/layout/struct.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { runBlocking } from "../../../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { BrokenTwin, Covered, CoveringTask } from "../covered.ts";

interface Wide extends StructView {
  readonly words: WordArray;
}
/** A few of these fill a slab. */
const Wide: Struct<Wide> = struct<Wide>("coveredWide", { words: array(120, "const", "whatever") });

interface Other extends StructView {
  value: number;
}
const Other: Struct<Other> = struct<Other>("coveredOther", { value: u32("const", "a number") });

const PAGE_WORDS = 1024;
const LEAF_WORDS = 512;
const BLOCK_WORDS_MAX = 16_384;

interface World {
  readonly machine: Machine;
  readonly heap: Heap;
  /** The objects of the slab that is not empty; it has one free slot. */
  readonly wides: readonly number[];
  readonly usedBytes: number;
  readonly accounting: string;
}

function accounting({ heap }: Machine): string {
  return heap
    .accounting()
    .map(({ name, live }) => `${live} ${name}`)
    .join(", ");
}

/**
 * No page of the heap's budget is free. The cache of Wide has two slabs, first an empty one and
 * then one with a free slot; that of Other has none.
 */
function build(): World {
  const heapBytes = HEAP_BYTES_MIN + (1 << 16);
  const machine = Machine.create({ ramBytes: 1 << 18, heapBytes, debug: true, name: "set-up" });
  const { memory } = machine;
  memory.plainWatch = { note: notePlainAccess };
  // Only structs that are opened from here on are watched.
  const heap = new Heap(memory);
  const run = <T>(task: Task<T>): T => runBlocking(memory, task);
  const pageOf = (at: number): number => Math.floor(at / PAGE_WORDS);
  run(heap.free(Other, run(heap.alloc(Other))));
  const wides = [run(heap.alloc(Wide))];
  const spare = run(heap.allocWords(PAGE_WORDS));
  for (let words = BLOCK_WORDS_MAX; words >= LEAF_WORDS; words /= 2)
    while (run(heap.allocWords(words)) !== 0);
  run(heap.freeWords(spare, PAGE_WORDS));
  for (let at = run(heap.alloc(Wide)); at !== 0; at = run(heap.alloc(Wide))) wides.push(at);
  const firstPage = pageOf(wides[0] ?? 0);
  const seconds = wides.filter((at) => pageOf(at) !== firstPage);
  wides.length -= seconds.length;
  for (const at of [...wides.splice(-1), ...seconds]) run(heap.free(Wide, at));
  return {
    machine,
    heap,
    wides,
    usedBytes: heap.usage().usedBytes,
    accounting: accounting(machine),
  };
}

type Body = (world: World) => Task<unknown>;

/** As in a thread of its own. */
function asThread(body: Body): Body {
  return (world) => body({ ...world, heap: new Heap(world.machine.memory) });
}

/** Allocates an object that needs a new page; 0 if there is none. */
function* claim({ heap }: Pick<World, "heap">): Task<number> {
  const at = yield* heap.alloc(Other);
  if (at !== 0) yield* heap.free(Other, at);
  return at;
}

/** Allocates from a slab that exists, and frees an object that it had before. */
function* reuse({ heap, wides }: World): Task<void> {
  const at = yield* heap.alloc(Wide);
  assert(at !== 0, "a cache that had free slots has none");
  yield* heap.free(Wide, at);
  yield* heap.free(Wide, wides[0]!); // there are several
  assert((yield* heap.alloc(Wide)) !== 0, "a slot that was given back is not there");
}

function* table({ heap }: World): Task<void> {
  const at = yield* heap.allocWords(LEAF_WORDS);
  if (at !== 0) yield* heap.freeWords(at, LEAF_WORDS);
}

/** Alone: empty slabs can be taken back, and a cache keeps at most one. */
function* everything(world: World): Task<void> {
  const { heap, wides } = world;
  assert((yield* claim(world)) !== 0, "a page in reserve is not to be had");
  const more = [yield* heap.alloc(Wide), yield* heap.alloc(Wide)];
  assert(!more.includes(0), "the other cache's page in reserve is not to be had");
  const block = yield* heap.allocWords(LEAF_WORDS);
  assert(block === 0, "there is a page where none can be");
  for (const at of [...more, ...wides]) yield* heap.free(Wide, at);
  const first = yield* heap.allocWords(LEAF_WORDS);
  const second = yield* heap.allocWords(PAGE_WORDS);
  assert(
    first !== 0 && second !== 0,
    "an empty slab, or the page of a further one, is not to be had",
  );
  yield* heap.freeWords(first, LEAF_WORDS);
  yield* heap.freeWords(second, PAGE_WORDS);
  assert(
    heap.usage().usedBytes === world.usedBytes - 2 * PAGE_WORDS * 4,
    "pages that are free count as used",
  );
}

/** Frees one object twice. */
function* giveTwice({ heap, wides }: World): Task<void> {
  const [at = 0] = wides;
  yield* heap.free(Wide, at);
  yield* heap.free(Wide, at);
}

/** Frees a block with another size. */
function* giveMore({ heap }: World): Task<void> {
  yield* claim({ heap });
  const block = yield* heap.allocWords(LEAF_WORDS);
  yield* heap.freeWords(block, PAGE_WORDS);
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly tasks: Readonly<Record<string, CoveringTask<World>>>;
  /** Whether the same objects live at the end as at the beginning. */
  readonly isBalanced: boolean;
  readonly twins?: readonly BrokenTwin<World>[];
}

function usedUp({ name, summary, tasks, isBalanced, twins = [] }: Parts): Covered {
  let made: World | undefined;
  const world = (): World => (made ??= build());
  return covering<World>({
    layer: "memory",
    name,
    summary,
    memory: () => world().machine.memory,
    setup: world,
    reopen: world,
    tasks,
    check: ({ machine, accounting: before }) => {
      if (!isBalanced) return;
      const now = accounting(machine);
      assert(now === before, `the accounting does not balance: ${now}, not ${before}`);
    },
    twins,
  });
}

const SHRINK = ["memory/heap/slab-cache.shrinkCache", "memory/heap/heap.#shrink"] as const;

const claiming: CoveringTask<World> = {
  runs: [...SHRINK, "memory/heap/heap-pages.free"],
  body: asThread(claim),
};
const reusing: CoveringTask<World> = {
  runs: ["memory/heap/slab-cache.alloc", "memory/heap/slab-cache.free"],
  body: asThread(reuse),
};
const tabling: CoveringTask<World> = {
  runs: ["memory/heap/heap.allocWords"],
  body: asThread(table),
};

export const usedUpHeaps: readonly Covered[] = [
  usedUp({
    name: "used-up/alone",
    summary: "On a heap that is used up, the empty slabs of caches are taken back page by page.",
    isBalanced: false,
    tasks: {
      everything: {
        runs: [
          ...SHRINK,
          "memory/heap/heap-pages.free",
          "memory/heap/slab-cache.free",
          "memory/heap/heap.allocWords",
        ],
        body: asThread(everything),
      },
    },
    twins: [
      {
        name: "twice",
        summary: "A thread frees an object twice.",
        expects: "double-free",
        tasks: { everything: giveTwice },
      },
      {
        name: "as-more",
        summary: "A thread frees half a page as a whole one.",
        expects: "assertion",
        tasks: { everything: giveMore },
      },
    ],
  }),
  usedUp({
    name: "used-up/claim-vs-reuse",
    summary: "A thread takes a cache's empty slab back while another allocates an object from it.",
    isBalanced: true,
    tasks: { claim: claiming, reuse: reusing },
  }),
  usedUp({
    name: "used-up/claim-vs-table",
    summary:
      "Two threads need a page, and one empty slab is left: one of them gets it, or both, one after the other.",
    isBalanced: true,
    tasks: { claim: claiming, table: tabling },
  }),
  usedUp({
    name: "used-up/claim-vs-claim",
    summary: "Two threads take back the same empty slab.",
    isBalanced: true,
    tasks: { claim: claiming, "claim 2": claiming },
  }),
];
