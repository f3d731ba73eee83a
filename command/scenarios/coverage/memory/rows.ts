/**
 * @module Frames that are taken and given back many at a time, and objects of the heap, as a thread
 * does it that nobody explores: in the mode in which machines run, several go back in one change,
 * and what is at hand is taken without a task. One thread does it all, and counts after each call.
 */

import { notePlainAccess } from "../../../../src/checker/watch/plain-accesses.ts";
import {
  DEVICE_PRIVATE,
  type DeviceMemory,
  takeDeviceFrames,
  usedDeviceFrames,
} from "../../../../src/memory/frames/device-frames.ts";
import { NOTED_PFN_SHIFT, notedFrame } from "../../../../src/memory/frames/frame-allocator.ts";
import { FRAME_COUNT } from "../../../../src/memory/frames/ram-section.ts";
import type { RamSnapshot } from "../../../../src/memory/frames/ram-snapshot.ts";
import { Heap } from "../../../../src/memory/heap/heap.ts";
import { struct, u32 } from "../../../../src/memory/layout/struct.ts";
import type { Struct, StructView } from "../../../../src/memory/layout/struct.ts";
import { makeDeviceMemory } from "../../../../src/memory/device-memory.ts";
import { Machine } from "../../../../src/memory/machine.ts";
import { Ram } from "../../../../src/memory/ram.ts";
import { SpaceCounters, counterPlace } from "../../../../src/memory/space-counters.ts";
import { AssertionFailure, assert, bug } from "../../../../src/sync/errors.ts";
import { findResource, resourceKind } from "../../../../src/sync/lockdep/resources.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import { runBlocking } from "../../../../src/sync/runners/run-blocking.ts";
import { REAL } from "../../../../src/sync/shared-memory.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { BrokenTwin, Covered } from "../covered.ts";
import { threadOf } from "../sync/threads.ts";

/** Pages of RAM, so few that a thread's free list has two slots. */
const RAM_BYTES: number = 1 << 21;
const ROW_PAGES = 64;
const DEVICE_PAGES = 4;
const NOTE_WORDS = 512;

const REFS = "memory/frames/frame-refs";
const PINS = "memory/frames/frame-pins";
const ALLOCATOR = "memory/frames/frame-allocator";

/** Frames that a thread takes, and that another gives. */
const TAKEN = 4;
const GIVEN = 8;

interface Item extends StructView {
  value: number;
}
const Item: Struct<Item> = struct<Item>("coveredItem", { value: u32("const", "a number") });
const ITEM: number = resourceKind("coverage item");

interface World {
  readonly machine: Machine;
  /** Of the thread that does it all, in REAL mode. */
  readonly memory: SharedMemory;
  readonly heap: Heap;
  readonly ram: Ram;
  readonly frames: RamSnapshot;
  readonly device: DeviceMemory;
  /** The first of ROW_PAGES frames, each with one reference. */
  readonly row: number;
  /** Words that are 0. */
  readonly notes: number;
  /** How many frames are free. */
  readonly free: number;
}

type Made = Omit<World, "memory" | "heap" | "ram">;

function build(): Made {
  const machine = Machine.create({
    ramBytes: RAM_BYTES,
    heapBytes: 1 << 20,
    debug: false,
    name: "set-up",
  });
  const { heap, memory, ram } = machine;
  memory.plainWatch = { note: notePlainAccess };
  const run = <T>(task: Task<T>): T => runBlocking(memory, task);
  const device = run(
    makeDeviceMemory(machine, { pages: DEVICE_PAGES, type: DEVICE_PRIVATE, owner: 1, opsId: 0 }),
  );
  if (typeof device === "number") bug(`Cannot make a device's memory: ${device}`);
  const row = run(ram.allocRun(ROW_PAGES, false));
  const notes = run(heap.allocWords(NOTE_WORDS));
  return { machine, frames: ram.snapshot(), device, row, notes, free: ram.usage().freePages };
}

let made: Made | undefined;

function world(): Made {
  return (made ??= build());
}

function reopen(): World {
  const { frames, machine, ...rest } = world();
  frames.restore();
  const memory = threadOf(machine.memory, 1, REAL);
  const heap = new Heap(memory);
  // Nothing waits, so it needs no runner; the serial number of one would differ each time.
  const { done, value: ram } = Ram.attach(heap, machine.ram.sections.handles).next();
  if (done !== true) bug("Cannot attach to the RAM: somebody holds a lock");
  return { ...rest, frames, machine, memory, heap, ram };
}

/** Runs `act`, after which `freed` more frames are free. */
function* freeing({ ram }: World, freed: number, act: Task<unknown>): Task<void> {
  const before = ram.usage().freePages;
  yield* act;
  const now = ram.usage().freePages;
  assert(now - before === freed, `${now - before} frames became free, not ${freed}`);
}

function expectCounts({ ram, row }: World, from: number, wanted: string): void {
  const counts = wanted
    .split(" ")
    .map((_, i) => `${ram.refs.pageCount(row + from + i)}/${ram.refs.pagePins(row + from + i)}`);
  assert(counts.join(" ") === wanted, `references and pins are ${counts.join(" ")}, not ${wanted}`);
}

function rangeOf({ row }: World, from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => row + from + i);
}

function expectWords({ memory }: World, at: number, ...wanted: readonly number[]): void {
  const words = Array.from(memory.words.subarray(at, at + wanted.length));
  assert(words.join() === wanted.join(), `the notes are ${words.join()}, not ${wanted.join()}`);
}

/** Frames whose numbers a list has. */
function* putMany(shared: World): Task<void> {
  const { machine, ram, row } = shared;
  const { refs } = ram;
  yield* freeing(shared, 16, refs.pagePutAll(rangeOf(shared, 0, 16)));
  yield* refs.pageGet(row + 20);
  yield* freeing(shared, 9, refs.pagePutAll([...rangeOf(shared, 16, 24), 0, row + 26, row + 28]));
  expectCounts(shared, 20, "1/0");
  yield* freeing(shared, 1, refs.pagePutAll([row + 30]));
  // One by one, as an explorer's task does it.
  yield* freeing(shared, 2, machine.ram.refs.pagePutAll([row + 60, row + 62]));
  const again = yield* ram.allocRun(16, false);
  assert(again !== 0, "frames that went back in a row are no row any more");
  yield* freeing(shared, 16, refs.pagePutAll(Array.from({ length: 16 }, (_, i) => again + i)));
}

/** Frames that words of the heap note. */
function* putNoted(shared: World): Task<void> {
  const { memory, notes, ram, row } = shared;
  const given = notes + 100;
  const note = (frames: readonly number[]): number => {
    for (const [i, pfn] of frames.entries()) memory.words[notes + i] = notedFrame(pfn);
    return notes + frames.length;
  };
  const expectPut = (frames: number): void => {
    expectWords(shared, notes, ...Array.from({ length: frames }, () => 0));
    expectWords(shared, given, 0);
  };
  // As many as the thread's free list takes, one more, and more without a word to note it by.
  for (const [from, to, by] of [
    [31, 33, given],
    [33, 36, given],
    [36, 39, 0],
  ] as const) {
    const end = note(rangeOf(shared, from, to));
    yield* freeing(shared, to - from, ram.refs.putNoted(notes, end, by));
    expectPut(to - from);
  }
  // What a dead thread has left: a frame that it has dropped, one that it has not, and one that
  // another has too.
  const section = ram.sections.of(row);
  for (const isGiven of [false, true]) {
    const first = isGiven ? 42 : 39;
    section.frames[section.frameIndex(row + first) + FRAME_COUNT] = 0;
    yield* ram.refs.pageGet(row + first + 2);
    const end = note(rangeOf(shared, first, first + 3));
    memory.words[given] = isGiven ? 1 : 0;
    yield* freeing(shared, isGiven ? 0 : 2, ram.refs.putLeft(notes, end, given));
    expectCounts(shared, first, isGiven ? "0/0 1/0 2/0" : "0/0 0/0 1/0");
    expectPut(3);
  }
}

/** Page by page, as an explorer's task asks, the answers are those about the row. */
function* askOfRow({ machine, ram }: World, first: number, wanted: string): Task<void> {
  for (const { refs } of [ram, machine.ram]) {
    const isPinned = yield* refs.isAnyPinned(first, 3);
    const isExclusive = yield* refs.isRunExclusive(first, 3);
    const answer = `${isPinned ? "pinned" : "not pinned"}, ${isExclusive ? "exclusive" : "shared"}`;
    assert(answer === wanted, `the row is ${answer}, and not ${wanted}`);
  }
}

/** What is asked of rows, and pins of rows. */
function* pinRows(shared: World): Task<void> {
  const { memory, notes, ram, row } = shared;
  const { refs } = ram;
  const [first, note, other, hand, given] = [row + 46, notes, notes + 1, notes + 2, notes + 3];
  yield* askOfRow(shared, first, "not pinned, exclusive");
  yield* refs.pageGet(first + 1);
  yield* askOfRow(shared, first, "not pinned, shared");
  yield* callInSteps(refs, "pinRunNoted", first + 1, 1, note, 0);
  yield* askOfRow(shared, first, "pinned, exclusive");
  assert(yield* refs.pinRunIfExclusive(first, 3, other), "exclusive frames were not pinned");
  expectCounts(shared, 46, "2/1 4/2 2/1");
  expectWords(shared, notes, 1, 3);
  yield* refs.unpinNoted(first, other, hand, given);
  yield* refs.unpinNoted(first + 1, note, hand, given);
  yield* refs.pagePut(first + 1);
  yield* refs.pageGet(first + 2);
  assert(!(yield* refs.pinRunIfExclusive(first, 3, note)), "a frame that others have was pinned");
  expectCounts(shared, 46, "1/0 1/0 2/0");
  expectWords(shared, notes, 0, 0, 0, 0);
  // A view whose mapping has gone has the last references.
  yield* callInSteps(refs, "pinRunNoted", first, 2, note, 0);
  for (const pfn of [first, first + 1]) yield* refs.pagePut(pfn);
  memory.words[other] = 0;
  yield* freeing(shared, 2, refs.unpinNoted(first, note, hand, given));
  expectWords(shared, notes, 0, 0, 0, 0);
}

/** Rows that are taken, and given back unused; single frames from the free list. */
function* takeRows(shared: World): Task<void> {
  const { notes, ram } = shared;
  const { allocator } = ram;
  const first = yield* allocator.takeRun(5, notes);
  expectWords(shared, notes, first);
  yield* freeing(shared, 5, allocator.giveRun(first, 5, notes));
  expectWords(shared, notes, 0);
  yield* freeing(shared, -5, allocator.takeRun(5));
  assert((yield* allocator.takeRun(512, notes)) === 0, "there are more frames than there can be");
  expectWords(shared, notes, 0);
  for (let i = 0; i < 4; i++) {
    const pfn = yield* yield* callInSteps(ram, "allocFrame", false, notes);
    assert(pfn !== 0, "no frame is free, and most are");
    expectWords(shared, notes, (pfn << NOTED_PFN_SHIFT) | 1);
    shared.memory.words[notes] = 0;
    expectCounts({ ...shared, row: pfn }, 0, "1/0");
  }
}

function* putDeviceFrames(shared: World): Task<void> {
  const { device, memory, notes, ram, row } = shared;
  const frames = new Uint32Array(DEVICE_PAGES);
  assert((yield* takeDeviceFrames(device, frames, 0)) === DEVICE_PAGES, "a free frame is not had");
  yield* ram.refs.pagePutAll(Array.from(frames.subarray(0, 2)));
  assert((yield* usedDeviceFrames(device)) === DEVICE_PAGES - 2, "two frames went back to nobody");
  for (let i = 2; i < DEVICE_PAGES; i++) memory.words[notes + i] = notedFrame(frames[i]!);
  memory.words[notes + 1] = notedFrame(row);
  const end = notes + DEVICE_PAGES;
  yield* freeing(shared, 1, ram.refs.putNoted(notes + 1, end, end));
  assert((yield* usedDeviceFrames(device)) === 0, "two noted frames went back to nobody");
  expectWords(shared, notes, ...Array.from(frames, () => 0), 0);
}

/** Objects and blocks. From the second on objects are taken and freed without a task. */
function* useHeap({ heap, memory }: World): Task<void> {
  const items: number[] = [];
  for (let i = 0; i < 3; i++) items.push(yield* heap.alloc(Item, ITEM));
  const [first = 0, second = 0, third = 0] = items;
  assert(!items.includes(0), "the heap is full");
  const slotOf = (at: number): number => findResource(memory, ITEM, at);
  for (const at of items) assert(slotOf(at) >= 0, "an object is not listed as this thread's");
  yield* heap.free(Item, third, slotOf(third));
  assert(slotOf(third) < 0, "what is free is still this thread's");
  yield* refused(heap.free(Item, third), "an object was freed twice");
  for (const at of [second, first]) yield* heap.free(Item, at, slotOf(at));
  const left = heap.accounting().filter(({ name }) => name === Item.name);
  assert(left.length === 0, `${left[0]?.live} objects are left`);
  const block = yield* heap.allocWords(NOTE_WORDS);
  yield* heap.freeWords(block, NOTE_WORDS);
  const before = blocksOf(heap);
  yield* refused(heap.freeWords(block, NOTE_WORDS), "a block was freed twice");
  assert(blocksOf(heap) === before, "a block that was not freed counts as free");
}

function blocksOf(heap: Heap): number {
  return heap.accounting().find(({ name }) => name === `words${NOTE_WORDS}`)?.live ?? 0;
}

function* refused(act: Task<unknown>, otherwise: string): Task<void> {
  try {
    yield* act;
  } catch (error) {
    if (error instanceof AssertionFailure) return;
    throw error;
  }
  bug(otherwise);
}

/** Two lanes of one counter. */
function* count({ machine, memory, notes }: World): Task<void> {
  const place = counterPlace("invalidations");
  new SpaceCounters(memory, notes).add(place);
  const counters = new SpaceCounters(threadOf(machine.memory, 2, REAL), notes);
  counters.add(place, 2);
  const { invalidations, zeroFaults } = counters.read();
  assert(`${invalidations} ${zeroFaults}` === "3 0", `counted ${invalidations}, not 3`);
}

/**
 * What a thread that died had taken is free again, or noted; and what others gave meanwhile is
 * free.
 */
const deathBesideGivers = covering<Made>({
  layer: "memory",
  name: "rows/death-beside-givers",
  summary:
    "A thread dies while it takes a row; two give rows back meanwhile: no frame is lost, and none is free twice.",
  exploration: { deaths: 1 },
  killable: ["dies"],
  mustSurvive: true,
  memory: () => world().machine.memory,
  setup: world,
  reopen: () => {
    world().frames.restore();
    return world();
  },
  tasks: {
    dies: {
      runs: [`${ALLOCATOR}.takeRun`],
      body: ({ machine, notes }) => machine.ram.allocator.takeRun(TAKEN, notes),
    },
    gives: {
      runs: [`${ALLOCATOR}.giveRun`],
      body: ({ machine, notes, row }) => machine.ram.allocator.giveRun(row, GIVEN, notes + 1),
    },
    "gives many": {
      runs: [`${ALLOCATOR}.giveRows`, `${ALLOCATOR}.#giveAtOnce`],
      body: ({ machine, row }) => machine.ram.allocator.giveRows([row + GIVEN, row + ROW_PAGES]),
    },
  },
  check: ({ machine, notes, free }) => {
    const noted = machine.memory.words[notes] === 0 ? 0 : TAKEN;
    const { freePages } = machine.ram.usage();
    assert(
      freePages + noted === free + ROW_PAGES,
      `${freePages} frames are free and ${noted} noted, of ${free + ROW_PAGES}`,
    );
  },
  twins: [
    {
      name: "unnoted",
      summary: "What it takes is noted nowhere.",
      expects: "assertion",
      tasks: { dies: ({ machine }) => machine.ram.allocator.takeRun(TAKEN) },
    },
  ],
});

function alone(
  name: string,
  summary: string,
  runs: readonly string[],
  body: (shared: World) => Task<void>,
  twins: readonly BrokenTwin<World>[] = [],
): Covered {
  return covering<World>({
    layer: "memory",
    name: `rows/${name}`,
    summary,
    memory: () => world().machine.memory,
    setup: reopen,
    reopen,
    tasks: { task: { runs, body } },
    twins,
  });
}

export const rows: readonly Covered[] = [
  deathBesideGivers,
  alone(
    "put-many",
    "Many frames are put at once: in rows, apart, and one that another has too.",
    [`${REFS}.pagePutAll`, `${REFS}.#dropRow`, `${ALLOCATOR}.giveRows`, `${ALLOCATOR}.#giveAtOnce`],
    putMany,
    [
      {
        name: "twice",
        summary: "A frame is in the list twice.",
        expects: "assertion",
        tasks: { task: ({ ram, row }) => ram.refs.pagePutAll([row, row + 1, row + 2, row]) },
      },
    ],
  ),
  alone(
    "put-noted",
    "Frames that notes name are put at once, by the thread itself and after its death.",
    [`${REFS}.putNoted`, `${REFS}.putLeft`, `${ALLOCATOR}.giveNoted`, `${ALLOCATOR}.#giveAtOnce`],
    putNoted,
  ),
  alone(
    "pin",
    "Frames in a row are asked about, pinned and unpinned, some with other references and pins.",
    [
      `${PINS}.isRunExclusive`,
      `${PINS}.isAnyPinned`,
      `${PINS}.pinRunIfExclusive`,
      `${PINS}.unpinNoted`,
      "memory/frames/noted-pins.pinNoted",
      "memory/frames/noted-pins.unpinBack",
    ],
    pinRows,
  ),
  alone(
    "take",
    "Rows are taken and given back, and single frames come from the free list and a refill.",
    [`${ALLOCATOR}.takeRun`, `${ALLOCATOR}.giveRun`, `${ALLOCATOR}.#refillAtOnce`],
    takeRows,
  ),
  alone(
    "put-device",
    "Frames of a device's memory are put at once.",
    [`${REFS}.#putDeviceRow`, "memory/frames/device-frames.giveDeviceFrames"],
    putDeviceFrames,
  ),
  alone(
    "objects",
    "Objects are taken and freed without a task, and as this thread's own.",
    [
      "memory/heap/slab-cache.allocNow",
      "memory/heap/slab-cache.freeNow",
      "memory/heap/heap.#allocSlow",
    ],
    useHeap,
  ),
  alone(
    "counters",
    "Two threads count the same.",
    ["memory/space-counters.add", "memory/space-counters.read"],
    count,
  ),
];
