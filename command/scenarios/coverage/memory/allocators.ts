/**
 * @module The real allocators, not the arenas of other scenarios: slab caches, blocks for tables,
 * frames with their counts and pins.
 */

import { notePlainAccess } from "../../../../src/checker/watch/plain-accesses.ts";
import { Heap } from "../../../../src/memory/heap/heap.ts";
import { Machine } from "../../../../src/memory/machine.ts";
import type { RamSnapshot } from "../../../../src/memory/frames/ram-snapshot.ts";
import { struct, u32 } from "../../../../src/memory/layout/struct.ts";
import type { Struct, StructView } from "../../../../src/memory/layout/struct.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { runBlocking } from "../../../../src/sync/runners/run-blocking.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";

interface Thing extends StructView {
  value: number;
}
const Thing: Struct<Thing> = struct<Thing>("coveredThing", { value: u32("const", "a number") });

interface Only extends StructView {
  value: number;
}
const Only: Struct<Only> = struct<Only>("coveredOnly", { value: u32("const", "a number") });

interface Fresh extends StructView {
  value: number;
}
/** A struct without objects before the tasks begin: they open its cache. */
const Fresh: Struct<Fresh> = struct<Fresh>("coveredFresh", { value: u32("const", "a number") });

interface World {
  readonly heap: Heap;
  readonly machine: Machine;
  /** Live objects when the tasks begin. */
  readonly things: readonly number[];
  /** A frame with one count for each task. */
  readonly pfn: number;
  /** Words of which each thread has NOTES for its pins. */
  readonly notes: number;
  readonly accounting: readonly string[];
  readonly frames: RamSnapshot;
}

const TASKS = 2;
const THINGS = 2;
const LEAF_WORDS = 512;
const NOTES = 3;
const DIRECTORY_WORDS = 4096;
/** Objects that are made once stay, and so does the first page of a new cache. */
const ONE_MADE = `1 ${Only.name}`;

function accounting(heap: Heap, { ram }: Machine): string[] {
  const { references, pins } = ram.refs.total();
  return [
    ...heap.accounting().map(({ name, live }) => `${live} ${name}`),
    `${heap.usage().usedBytes / 4096} heap pages`,
    `${ram.usage().usedPages} frames`,
    `${references} frame references`,
    `${pins} pins`,
  ];
}

function makeWorld(): () => World {
  let made: World | undefined;
  return () => (made ??= build());
}

function build(): World {
  const machine = Machine.create({
    ramBytes: 1 << 18,
    heapBytes: 1 << 20,
    debug: true,
    name: "set-up",
  });
  const { heap, memory, ram } = machine;
  memory.plainWatch = { note: notePlainAccess };
  const run = <T>(task: Task<T>): T => runBlocking(memory, task);
  const things = Array.from({ length: THINGS }, () => run(heap.alloc(Thing)));
  const pfn = run(ram.allocFrame(true));
  for (let i = 1; i < TASKS; i++) run(ram.refs.pageGet(pfn));
  return {
    heap,
    machine,
    things,
    pfn,
    notes: run(heap.allocWords(LEAF_WORDS)),
    accounting: accounting(heap, machine),
    frames: ram.snapshot(),
  };
}

type Body = (world: World) => Task<unknown>;

/**
 * As in a thread of its own: with a handle of its own, which has looked up no cache yet.
 */
function asThread(body: Body): Body {
  return (world) => body({ ...world, heap: new Heap(world.machine.memory) });
}

function* thing({ heap }: World): Task<void> {
  const at = yield* heap.alloc(Thing);
  assert(at !== 0, "the heap is full");
  yield* heap.free(Thing, at);
}

function* fresh({ heap }: World): Task<void> {
  const at = yield* heap.alloc(Fresh);
  assert(at !== 0, "the heap is full");
  yield* heap.free(Fresh, at);
}

function words(count: number): Body {
  return function* ({ heap }) {
    const at = yield* heap.allocWords(count);
    assert(at !== 0, "the heap is full");
    yield* heap.freeWords(at, count);
  };
}

function* only({ heap }: World): Task<void> {
  const view = yield* heap.singleton(Only, (made) => {
    made.value = 7;
  });
  assert(view.value === 7, "the one object is not made yet");
}

function* frame({ machine: { ram } }: World): Task<void> {
  const pfn = yield* ram.allocFrame(false);
  assert(pfn !== 0, "no frame");
  yield* ram.refs.pagePut(pfn);
}

function* frames({ machine: { ram } }: World): Task<void> {
  const pfn = yield* ram.allocRun(2, false);
  assert(pfn !== 0, "no frames in a row");
  for (let i = 0; i < 2; i++) yield* ram.refs.pagePut(pfn + i);
}

function* pin({ machine: { memory, ram }, pfn, notes }: World): Task<void> {
  const note = notes + memory.agentId * NOTES;
  yield* callInSteps(ram.refs, "pinRunNoted", pfn, 1, note, 0);
  assert(yield* ram.refs.pagePinned(pfn), "a pinned frame does not show it");
  yield* ram.refs.unpinNoted(pfn, note, note + 1, note + 2);
}

function* tryGet({ machine: { ram }, pfn }: World): Task<void> {
  assert(yield* ram.refs.pageGetNotZero(pfn), "a frame that somebody holds is free");
  yield* ram.refs.pagePut(pfn);
}

interface Act {
  readonly name: string;
  readonly runs: readonly string[];
  readonly body: Body;
}

const acts: readonly Act[] = [
  {
    name: "thing",
    runs: ["memory/heap/slab-cache.alloc", "memory/heap/slab-cache.free"],
    body: thing,
  },
  {
    name: "fresh",
    runs: ["memory/heap/heap.#openCache", "memory/layout/name-table.add"],
    body: fresh,
  },
  {
    name: "table",
    runs: ["memory/heap/heap-blocks.allocBlock", "memory/heap/heap-blocks.freeBlock"],
    body: words(LEAF_WORDS),
  },
  {
    name: "directory",
    runs: ["memory/heap/heap-blocks.takePages", "memory/heap/heap-blocks.freeBlock"],
    body: words(DIRECTORY_WORDS),
  },
  { name: "only", runs: ["memory/heap/heap.singleton"], body: only },
  {
    name: "frame",
    runs: ["memory/ram.allocFrame", "memory/frames/frame-refs.pagePut"],
    body: frame,
  },
  {
    name: "frames",
    runs: ["memory/ram.allocRun", "memory/frames/frame-refs.pagePut"],
    body: frames,
  },
  {
    name: "pin",
    runs: ["memory/frames/frame-pins.pinRunNoted", "memory/frames/frame-pins.unpinNoted"],
    body: pin,
  },
  { name: "try", runs: ["memory/frames/frame-refs.pageGetNotZero"], body: tryGet },
];

function together(first: Act, second: Act): Covered {
  const world = makeWorld();
  const other = first === second ? `${second.name} 2` : second.name;
  const isOneMade = first.name === "only" || second.name === "only";
  const isCacheNew = isOneMade || first.name === "fresh" || second.name === "fresh";
  return covering<World>({
    layer: "memory",
    name: `${first.name}-vs-${second.name}`,
    summary: `${first.name} and ${second.name} at the same time; all that is allocated is freed.`,
    memory: () => world().machine.memory,
    setup: world,
    // The frame tables lie outside the heap, which the explorer restores.
    reopen: () => {
      world().frames.restore();
      return world();
    },
    tasks: {
      [first.name]: { runs: first.runs, body: asThread(first.body) },
      [other]: { runs: second.runs, body: asThread(second.body) },
    },
    check: ({ heap, machine, accounting: before }) => {
      const isCounted = (account: string): boolean =>
        !isCacheNew || !account.endsWith(" heap pages");
      const now = accounting(heap, machine).filter(isCounted).toSorted().join(", ");
      const made = isOneMade ? [ONE_MADE] : [];
      const then = [...before, ...made].filter(isCounted).toSorted().join(", ");
      assert(now === then, `the accounting does not balance: ${now}, not ${then}`);
    },
  });
}

/** A machine whose threads have free lists, and whose frames are all allocated. */
function buildFull(): World {
  const machine = Machine.create({
    ramBytes: 1 << 21,
    heapBytes: 1 << 20,
    debug: true,
    name: "set-up",
  });
  const { heap, memory, ram } = machine;
  const run = <T>(task: Task<T>): T => runBlocking(memory, task);
  let pfn = 0;
  for (let next = run(ram.allocFrame(false)); next !== 0; next = run(ram.allocFrame(false)))
    pfn = next;
  return { heap, machine, things: [], pfn, notes: 0, accounting: [], frames: ram.snapshot() };
}

/** The frame that each of the two got. */
const taken: number[] = [];

function* takeOne({ machine: { ram } }: World): Task<void> {
  const pfn = yield* callInSteps(ram, "allocFrame", false);
  taken.push(yield* pfn);
}

function* giveAndTake(world: World): Task<void> {
  yield* world.machine.ram.refs.pagePut(world.pfn);
  yield* takeOne(world);
}

function stealing(): Covered {
  let made: World | undefined;
  const world = (): World => (made ??= buildFull());
  return covering<World>({
    layer: "memory",
    name: "free-list-vs-thief",
    summary:
      "A thread frees the only frame into its own free list and allocates one, while another finds no free frame and steals: one of them gets it.",
    memory: () => world().machine.memory,
    setup: world,
    reopen: () => {
      taken.length = 0;
      world().frames.restore();
      return world();
    },
    tasks: {
      owner: {
        runs: ["memory/frames/frame-allocator.give", "memory/frames/frame-allocator.#pop"],
        body: giveAndTake,
      },
      thief: { runs: ["memory/frames/frame-allocator.#steal"], body: takeOne },
    },
    check: ({ pfn }) => {
      const got = taken.filter((one) => one !== 0);
      assert(
        got.length === 1 && got[0] === pfn,
        `frame ${pfn} was free, and the two got ${taken.join(" and ")}`,
      );
    },
  });
}

export const allocators: readonly Covered[] = [
  ...acts.flatMap((first, i) => acts.slice(i).map((second) => together(first, second))),
  stealing(),
];
