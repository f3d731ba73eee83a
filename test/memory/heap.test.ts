/**
 * @module The kernel heap in one thread: what it allocates, which mistakes it catches, and what it
 * does when it is full.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Heap } from "../../src/memory/heap/heap.ts";
import { HEAP_BYTES_MIN, Machine } from "../../src/memory/machine.ts";
import type { Struct, StructInfo, StructView, WordArray } from "../../src/memory/layout/struct.ts";
import { array, struct, u32 } from "../../src/memory/layout/struct.ts";
import { makeMachine, run, seedFor } from "./harness.ts";
import { type Dice, diceOf } from "../dice.ts";

interface Small extends StructView {
  first: number;
  readonly rest: WordArray;
}
const Small: Struct<Small> = struct<Small>("heapSmall", {
  first: u32("t", ""),
  rest: array(6, "t", ""),
});
const Tiny: StructInfo = struct<StructView & { only: number }>("heapTiny", { only: u32("t", "") });
const Large: StructInfo = struct<StructView & { readonly all: WordArray }>("heapLarge", {
  all: array(1500, "t", ""),
});
const Huge: StructInfo = struct<StructView & { readonly all: WordArray }>("heapHuge", {
  all: array(20_000, "t", ""),
});
const Part: StructInfo = struct<StructView & { value: number }>(
  "heapPart",
  { value: u32("t", "") },
  { embedded: true },
);

const POISON = 0x6b6b6b6b;
const BLOCK_WORDS = [512, 1024, 2048, 4096];

function allocSmall(machine: Machine): number {
  const at = run(machine, machine.heap.alloc(Small));
  assert.notEqual(at, 0);
  return at;
}

test("objects are zeroed, even-aligned, and counted by their cache", () => {
  const machine = makeMachine();
  const { heap, memory } = machine;
  const before = heap.accounting();
  const objects = Array.from({ length: 300 }, () => allocSmall(machine));
  for (const at of objects) {
    assert.equal(at % 2, 0);
    assert.ok(memory.words.subarray(at, at + Small.sizeWords).every((word) => word === 0));
    memory.words.fill(-1, at, at + Small.sizeWords);
  }
  assert.equal(new Set(objects).size, 300);
  assert.deepEqual(accountOf(heap, "heapSmall"), { name: "heapSmall", live: 300, bytes: 300 * 28 });
  for (const at of objects) run(machine, heap.free(Small, at));
  assert.deepEqual(heap.accounting(), before);
  const again = allocSmall(machine);
  assert.ok(objects.includes(again), "freed memory is used again");
  assert.ok(memory.words.subarray(again, again + Small.sizeWords).every((word) => word === 0));
});

function accountOf(heap: Heap, name: string): unknown {
  return heap.accounting().find((account) => account.name === name);
}

test("a freed object is poisoned throughout but for the link to the next free one", () => {
  const machine = makeMachine();
  const at = allocSmall(machine);
  run(machine, machine.heap.free(Small, at));
  assert.deepEqual(
    [...machine.memory.words.subarray(at, at + 7)],
    Array.from({ length: 7 }, () => POISON),
  );
});

test("freeing twice, freeing what was never allocated, freeing into another cache: each is caught in every build", () => {
  for (const debug of [true, false]) {
    const machine = makeMachine({ debug });
    const { heap } = machine;
    const [a, b] = [allocSmall(machine), allocSmall(machine)];
    const block = run(machine, heap.allocWords(512));
    const before = heap.accounting();
    assert.throws(
      () => run(machine, heap.free(Tiny, a)),
      /Cannot free heapTiny at .*: it is no object of this cache/,
    );
    assert.throws(
      () => run(machine, heap.free(Small, a + 2)),
      /no object of this cache/,
      "inside an object",
    );
    assert.throws(
      () => run(machine, heap.free(Small, block)),
      /no object of this cache/,
      "a page table",
    );
    assert.throws(
      () => run(machine, heap.free(Small, 3)),
      /no object of this cache/,
      "the control block",
    );
    assert.throws(
      () => run(machine, heap.free(Small, 2 ** 31)),
      /no object of this cache/,
      "outside the heap",
    );
    assert.throws(() => run(machine, heap.free(Small, Number.NaN)), /no object of this cache/);
    assert.deepEqual(heap.accounting(), before, "none of that changed anything");
    run(machine, heap.free(Small, a));
    assert.throws(
      () => run(machine, heap.free(Small, a)),
      /Cannot free heapSmall at .*: it was freed/,
    );
    run(machine, heap.free(Small, b));
    allocSmall(machine); // and the heap still works
  }
});

test("a write to a freed object is caught when it is handed out again, in debug builds", () => {
  const machine = makeMachine();
  const at = allocSmall(machine);
  const view = Small.at(machine.memory, at);
  run(machine, machine.heap.free(Small, at));
  view.rest.set(3, 5);
  assert.throws(
    () => run(machine, machine.heap.alloc(Small)),
    /Cannot reuse heapSmall at .*: "rest" was written after it was freed/,
  );
});

test("structs that do not fit a page get bigger slabs; what fits no slab, and parts of structs, are refused", () => {
  const machine = makeMachine();
  const { heap } = machine;
  const objects = Array.from({ length: 20 }, () => run(machine, heap.alloc(Large)));
  for (const at of objects) machine.memory.words.fill(7, at, at + Large.sizeWords);
  for (const at of objects) run(machine, heap.free(Large, at));
  assert.throws(
    () => run(makeMachine(), heap.alloc(Huge)),
    /Cannot make a cache for heapHuge: 20000 words do not fit/,
  );
  const other = makeMachine();
  assert.throws(
    () => run(other, other.heap.alloc(Part)),
    /Cannot make a cache for heapPart: it is only ever part/,
  );
});

test("blocks for page tables are zeroed, even-aligned, disjoint, and two halves share a page", () => {
  const machine = makeMachine();
  const { heap, memory } = machine;
  const blocks = BLOCK_WORDS.flatMap((count) =>
    Array.from({ length: 5 }, () => ({ count, at: run(machine, heap.allocWords(count)) })),
  );
  for (const { at, count } of blocks) {
    assert.equal(at % 2, 0);
    assert.ok(memory.words.subarray(at, at + count).every((word) => word === 0));
    memory.words.fill(-1, at, at + count);
  }
  const halves = blocks.filter(({ count }) => count === 512).map(({ at }) => Math.floor(at / 1024));
  assert.equal(new Set(halves).size, 3, "five halves on three pages");
  for (const { at, count } of blocks) run(machine, heap.freeWords(at, count));
  for (const { at, count } of blocks)
    assert.throws(
      () => run(machine, heap.freeWords(at, count)),
      /no block of \d+ words lives there/,
    );
  assert.equal(memory.words[blocks[0]!.at], POISON);
});

test("a block is freed with its own size and address only", () => {
  const machine = makeMachine();
  const { heap } = machine;
  const at = run(machine, heap.allocWords(2048));
  const half = run(machine, heap.allocWords(512));
  for (const [wrongAt, count] of [
    [at, 4096],
    [at, 1024],
    [at, 512],
    [at + 1024, 1024],
    [half, 1024],
    [half + 2, 512],
  ] as const) {
    assert.throws(
      () => run(machine, heap.freeWords(wrongAt, count)),
      /no block of \d+ words lives there/,
      `${wrongAt - at} ${count}`,
    );
  }
  assert.throws(() => run(machine, heap.allocWords(700)), /Cannot handle a block of 700 words/);
  assert.throws(() => run(machine, heap.allocWords(0)), /Cannot handle a block of 0 words/);
  assert.throws(
    () => run(machine, heap.allocWords(32_768)),
    /Cannot handle a block of 32768 words/,
  );
  run(machine, heap.freeWords(at, 2048));
  run(machine, heap.freeWords(half, 512));
});

test("the heap grows up to its budget, answers 0 there, and works on after something is freed", () => {
  const machine = makeMachine({ heapBytes: HEAP_BYTES_MIN });
  const { heap } = machine;
  const before = heap.accounting();
  const objects: number[] = [];
  for (let at = run(machine, heap.alloc(Small)); at !== 0; at = run(machine, heap.alloc(Small)))
    objects.push(at);
  assert.ok(objects.length > 1000, `${objects.length} objects`);
  assert.equal(run(machine, heap.allocWords(512)), 0);
  assert.equal(run(machine, heap.alloc(Tiny)), 0);
  assert.equal(heap.usage().usedBytes, heap.usage().budgetBytes);
  assert.equal(heap.usage().peakBytes, heap.usage().budgetBytes);
  for (const at of objects) run(machine, heap.free(Small, at));
  assert.deepEqual(heap.accounting(), before);
  // The empty slab that a cache keeps is taken back when another cache needs it.
  const blocks: number[] = [];
  for (
    let at = run(machine, heap.allocWords(1024));
    at !== 0;
    at = run(machine, heap.allocWords(1024))
  )
    blocks.push(at);
  assert.equal(heap.usage().usedBytes, heap.usage().budgetBytes);
  for (const at of blocks) run(machine, heap.freeWords(at, 1024));
  assert.deepEqual(heap.accounting(), before);
  const second: number[] = [];
  for (let at = run(machine, heap.alloc(Small)); at !== 0; at = run(machine, heap.alloc(Small)))
    second.push(at);
  assert.equal(second.length, objects.length, "as many objects fit as the first time");
});

test("root slots and singletons are found by name, once made", () => {
  const machine = makeMachine();
  const { heap, memory } = machine;
  const slot = run(machine, heap.root("testRoot"));
  assert.equal(memory.words[slot], 0);
  memory.words[slot] = 77;
  assert.equal(run(machine, heap.root("testRoot")), slot);
  assert.notEqual(run(machine, heap.root("testRoot2")), slot);
  let inits = 0;
  const init = (view: Small): void => {
    view.first = 1000 + inits++;
  };
  const one = run(machine, heap.singleton(Small, init));
  const same = run(machine, heap.singleton(Small, init));
  assert.equal(same.at, one.at);
  assert.equal(same.first, 1000);
  assert.equal(inits, 1);
  assert.throws(() => run(machine, heap.root("")), /Cannot enter the name/);
});

test("a singleton that does not fit the heap is an error with a remedy, and fits later", () => {
  const machine = makeMachine({ heapBytes: HEAP_BYTES_MIN });
  const { heap } = machine;
  const blocks: number[] = [];
  for (
    let at = run(machine, heap.allocWords(1024));
    at !== 0;
    at = run(machine, heap.allocWords(1024))
  )
    blocks.push(at);
  assert.throws(
    () =>
      run(
        machine,
        heap.singleton(Small, () => {}),
      ),
    { code: "ENOMEM", message: /raise heapBytes/ },
  );
  run(machine, heap.freeWords(blocks[0]!, 1024));
  assert.notEqual(
    run(
      machine,
      heap.singleton(Small, () => {}),
    ).at,
    0,
  );
});

interface Live {
  readonly at: number;
  readonly words: number;
  readonly mark: number;
  readonly free: () => void;
}

/**
 * Allocates something random, checks that it is zeroed, fills it with its mark. Undefined when the
 * heap is full.
 */
function allocRandom(machine: Machine, dice: Dice, where: string): Live | undefined {
  const { heap, memory } = machine;
  const info = [Small, Tiny, Large][dice(5)];
  const words = info === undefined ? BLOCK_WORDS[dice(BLOCK_WORDS.length)]! : info.sizeWords;
  const at = run(machine, info === undefined ? heap.allocWords(words) : heap.alloc(info));
  if (at === 0) return undefined;
  const mark = dice(2 ** 31);
  for (let i = at; i < at + words; i++) {
    assert.equal(
      memory.words[i],
      0,
      `${where}: word ${i - at} of ${info?.name ?? "a block"} is not zeroed`,
    );
    memory.words[i] = mark;
  }
  return {
    at,
    words,
    mark,
    free: () => run(machine, info === undefined ? heap.freeWords(at, words) : heap.free(info, at)),
  };
}

test("random objects and blocks never overlap, and all come back", (t) => {
  const seed = seedFor(t);
  const dice = diceOf(seed);
  const machine = makeMachine({ heapBytes: HEAP_BYTES_MIN + 2 ** 18 });
  const before = machine.heap.accounting();
  const live: Live[] = [];
  let full = 0;
  for (let step = 0; step < 6000; step++) {
    const where = `seed ${seed}, step ${step}`;
    // First mostly allocations, then mostly frees, so that the heap gets both full and empty.
    const filling = Math.floor(step / 500) % 2 === 0;
    if (live.length > 0 && dice(10) < (filling ? 3 : 7)) {
      const [object] = live.splice(dice(live.length), 1);
      if (object === undefined) continue;
      for (let i = 0; i < object.words; i++) {
        assert.equal(
          machine.memory.words[object.at + i],
          object.mark,
          `${where}: word ${i} was overwritten`,
        );
      }
      object.free();
    } else {
      const object = allocRandom(machine, dice, where);
      if (object === undefined) full++;
      else live.push(object);
    }
  }
  assert.ok(full > 0, `seed ${seed}: the heap was never full`);
  for (const object of live) object.free();
  assert.deepEqual(machine.heap.accounting(), before, `seed ${seed}`);
});

test("a block is zeroed also where another thread grew the heap and this one has not looked since", () => {
  const machine = makeMachine();
  const other = Machine.attach(machine.handle, { name: "other" });
  const seen = other.memory.words.length;
  // The first thread grows the heap, and leaves half a page beyond the other's view, with data in
  // it.
  let half = 0;
  while (half < seen) half = run(machine, machine.heap.allocWords(512));
  const neighbour = run(machine, machine.heap.allocWords(512));
  const [kept, given] = half % 1024 === 0 ? [half, neighbour] : [neighbour, half];
  machine.memory.words.fill(7, given, given + 512);
  run(machine, machine.heap.freeWords(given, 512));
  assert.equal(other.memory.words.length, seen, "the other thread must not have looked yet");
  const taken = run(other, other.heap.allocWords(512));
  assert.equal(taken, given, "the free half of a page in use is taken first");
  assert.ok(machine.memory.words.subarray(taken, taken + 512).every((word) => word === 0));
  run(machine, machine.heap.freeWords(kept, 512));
});

/** Eight do not fit a page, so a slab has two. */
const Broad: Struct<StructView & { readonly all: WordArray }> = struct<
  StructView & { readonly all: WordArray }
>("heapBroad", { all: array(180, "t", "") });

test("an object is marked and zeroed also where its slab begins inside a thread's view of the heap and ends past it", () => {
  const machine = makeMachine();
  const other = Machine.attach(machine.handle, { name: "other" });
  const first = run(machine, machine.heap.alloc(Broad));
  let at = first;
  while (Math.floor(at / 1024) === Math.floor(first / 1024))
    at = run(machine, machine.heap.alloc(Broad));
  Broad.at(machine.memory, at).all.set(0, 7);
  run(machine, machine.heap.free(Broad, at));
  // As if its view ended after the slab's first page.
  other.memory.words = new Int32Array(machine.memory.buffer, 0, Math.ceil(first / 1024) * 1024);
  const taken = run(other, other.heap.alloc(Broad));
  assert.equal(taken, at, "the slot that was freed last");
  assert.equal(Broad.at(machine.memory, taken).all.get(0), 0);
  run(machine, machine.heap.free(Broad, taken));
});
