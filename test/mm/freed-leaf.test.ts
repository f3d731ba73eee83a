/**
 * @module A leaf of the page table is freed after another thread, which takes no lock, has found
 * it. The test steps both threads: the unmapping one stops after each flush, the other one after it
 * has read the pointer to the leaf. Then the leaf becomes part of another space, of which nothing
 * may be seen or changed.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../../src/memory/machine.ts";
import { TypedMemory } from "../../src/mmu/typed-memory.ts";
import { CpuTranslator } from "../../src/mm/fault/cpu-fault.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../src/mm/calls/munmap.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import { mmCreate, mmput } from "../../src/mm/lifetime/mm.ts";
import { doMremap } from "../../src/mm/calls/mremap.ts";
import { LEAF_WORDS, leafOf } from "../../src/mmu/radix-table.ts";
import { VM_READ, VM_WRITE } from "../../src/mm/vma/vma.ts";
import { SegmentationFault } from "../../src/sync/errors.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import { Shootdown } from "../../src/sync/primitives/shootdown.ts";
import { type Task, park } from "../../src/sync/tasks/task.ts";
import { LedTask } from "./led-task.ts";

const PAGE = 4096;
const LEAF_BYTES = LEAF_WORDS * PAGE;
const ADDRESS = 2 ** 30;
const ELSEWHERE = 3 * 2 ** 30;
const FOREIGN = 0xc0ffee;

/** Stops the task that flushes after each flush. */
class StoppingShootdown extends Shootdown {
  /** For the broken twin: flushes but the first do nothing. */
  forgets = false;
  flushes = 0;

  override *flush(startPage: number, endPage: number): Task<void> {
    this.flushes++;
    if (!this.forgets || this.flushes === 1) yield* super.flush(startPage, endPage);
    yield park(this.memory, this.at, 0, 0, "stop");
  }
}

function run<T>(machine: Machine, task: Task<T>): T {
  return runBlocking(machine.memory, task);
}

function makeSpace(machine: Machine): Mm {
  return Mm.at(machine.memory, run(machine, mmCreate(machine)));
}

function mapLeaves(machine: Machine, mm: Mm, address: number, count: number): void {
  const request = {
    lengthBytes: count * LEAF_BYTES,
    address,
    placement: MAP_FIXED_NOREPLACE,
    protection: VM_READ | VM_WRITE,
    shared: false,
    bufferPfn: 0,
    offsetPages: 0,
  };
  assert.equal(run(machine, doMmap(machine, mm, request)), address);
}

function cacheOf(machine: Machine, mm: Mm): TypedMemory {
  return new TypedMemory(
    machine,
    mm.shootdown,
    new CpuTranslator(machine, mm, { runToEnd: (task) => run(machine, task) }),
  );
}

/**
 * Space S with one word stored at ADDRESS, space O with tables of its own, and a second thread,
 * which does not know the translation of ADDRESS yet.
 */
class World {
  readonly machine: Machine = Machine.create({
    ramBytes: 64 * PAGE,
    heapBytes: 2 ** 23,
    debug: true,
  });
  readonly walkers: Machine = Machine.attach(this.machine.handle, { name: "walker" });
  readonly mm: Mm = makeSpace(this.machine);
  readonly other: Mm = makeSpace(this.machine);
  readonly shootdown: StoppingShootdown = new StoppingShootdown(
    this.machine.memory,
    this.mm.shootdown.at,
  );
  readonly walker: TypedMemory = cacheOf(this.walkers, Mm.at(this.walkers.memory, this.mm.at));
  readonly leaf: number;

  constructor() {
    Object.defineProperty(this.mm, "shootdown", { value: this.shootdown });
    mapLeaves(this.machine, this.mm, ADDRESS, 1);
    cacheOf(this.machine, this.mm).u32.store(ADDRESS, 1);
    this.leaf = this.leafAt(this.mm);
    mapLeaves(this.machine, this.other, ELSEWHERE, 1);
    cacheOf(this.machine, this.other).u32.store(ELSEWHERE, 2);
  }

  leafAt(mm: Mm): number {
    return leafOf(this.machine.memory, mm.pgd, ADDRESS / PAGE);
  }

  /**
   * Runs `unmap` to its stop number `stops`, then the walker's `access` until it has found the
   * leaf. There `unmap` runs to its end, and O maps the same address and stores FOREIGN through the
   * leaf that was S's.
   */
  race(unmap: Task<unknown>, stops: number, access: (walker: TypedMemory) => unknown): void {
    const led = new LedTask(this.machine, unmap);
    for (let stop = 0; stop < stops; stop++) led.step();
    const { memory } = this.walkers;
    const ensure = memory.ensure.bind(memory);
    let isFound = false;
    memory.ensure = (endWord) => {
      ensure(endWord);
      if (isFound || endWord !== this.leaf + LEAF_WORDS) return;
      isFound = true;
      led.finish();
      mapLeaves(this.machine, this.other, ADDRESS, 1);
      cacheOf(this.machine, this.other).u32.store(ADDRESS, FOREIGN);
      assert.equal(this.leafAt(this.other), this.leaf, "the freed leaf is the other space's now");
    };
    try {
      access(this.walker);
    } finally {
      memory.ensure = ensure;
      assert.ok(isFound, "the walker never found the leaf");
    }
  }

  /** What O finds where it stored FOREIGN. */
  foreignWord(): number {
    return cacheOf(this.machine, this.other).u32.load(ADDRESS);
  }

  end(): void {
    for (const mm of [this.mm, this.other]) run(this.machine, mmput(this.machine, mm));
    assert.equal(this.machine.ram.usage().usedPages, 0);
    this.walkers.detach();
    this.machine.detach();
  }
}

/**
 * The calls that free the leaf of ADDRESS. Each stops after it has cleared the entries, and after
 * it has unlinked the leaf. A move to a place that lies otherwise in 2 MiB cannot take the leaf
 * along.
 */
const unmaps: Readonly<Record<string, (world: World) => Task<unknown>>> = {
  munmap: ({ machine, mm }) => doMunmap(machine, mm, ADDRESS, LEAF_BYTES),
  mremap: ({ machine, mm }) =>
    doMremap(machine, mm, {
      address: ADDRESS,
      oldLengthBytes: LEAF_BYTES,
      newLengthBytes: LEAF_BYTES,
      mayMove: true,
      to: 2 * ADDRESS + PAGE,
    }),
};

for (const [name, unmap] of Object.entries(unmaps)) {
  for (const stops of [0, 1]) {
    test(`${name}: a load through a leaf that is freed under it, begun after ${stops} flushes, is no other space's word`, () => {
      const world = new World();
      assert.throws(
        () => world.race(unmap(world), stops, ({ u32 }) => u32.load(ADDRESS)),
        SegmentationFault,
      );
      world.end();
    });

    test(`${name}: a store through a leaf that is freed under it, begun after ${stops} flushes, reaches no other space`, () => {
      const world = new World();
      assert.throws(
        () => world.race(unmap(world), stops, ({ u32 }) => u32.store(ADDRESS, 7)),
        SegmentationFault,
      );
      assert.equal(world.foreignWord(), FOREIGN);
      world.end();
    });
  }

  test(`${name} without the flush between unlinking and freeing: a load sees another space's word, and a store lands there`, () => {
    const world = new World();
    world.shootdown.forgets = true;
    let seen = 0;
    world.race(unmap(world), 1, ({ u32 }) => {
      seen = u32.load(ADDRESS);
      u32.store(ADDRESS, 7);
    });
    assert.equal(seen, FOREIGN);
    assert.equal(world.foreignWord(), 7);
    world.end();
  });
}

/** Moves the leaf of ADDRESS as it is; it stops when the leaf is in neither place. */
const moveLeaf = ({ machine, mm }: World): Task<unknown> =>
  doMremap(machine, mm, {
    address: ADDRESS,
    oldLengthBytes: LEAF_BYTES,
    newLengthBytes: LEAF_BYTES,
    mayMove: true,
    to: 2 * ADDRESS,
  });

test("mremap takes a whole leaf along, with one flush and no copy of an entry", () => {
  const world = new World();
  const led = new LedTask(world.machine, moveLeaf(world));
  led.step();
  assert.equal(world.leafAt(world.mm), 0, "unlinked before the flush");
  const { memory } = world.machine;
  const target = (2 * ADDRESS) / PAGE;
  assert.equal(leafOf(memory, world.mm.pgd, target), 0, "and not linked yet");
  led.finish();
  assert.equal(world.shootdown.flushes, 1);
  assert.equal(leafOf(memory, world.mm.pgd, target), world.leaf);
  assert.equal(cacheOf(world.machine, world.mm).u32.load(2 * ADDRESS), 1);
  assert.throws(() => world.walker.u32.load(ADDRESS), SegmentationFault);
  world.end();
});

test("where the new place has a leaf already, entries move, and the old leaf is freed", () => {
  const world = new World();
  const { machine, mm } = world;
  // A mapping beside the new place keeps the leaf there.
  const beside = { lengthBytes: LEAF_BYTES, address: 2 * ADDRESS, placement: MAP_FIXED_NOREPLACE };
  const rest = { protection: VM_READ | VM_WRITE, shared: false, bufferPfn: 0, offsetPages: 0 };
  assert.equal(run(machine, doMmap(machine, mm, { ...beside, ...rest })), 2 * ADDRESS);
  cacheOf(machine, mm).u32.store(2 * ADDRESS + PAGE, 3);
  const there = leafOf(machine.memory, mm.pgd, (2 * ADDRESS) / PAGE);
  run(machine, doMunmap(machine, mm, 2 * ADDRESS, LEAF_BYTES - PAGE));
  new LedTask(machine, moveLeaf(world)).finish();
  assert.equal(leafOf(machine.memory, mm.pgd, (2 * ADDRESS) / PAGE), there);
  assert.equal(world.leafAt(mm), 0);
  assert.equal(cacheOf(machine, mm).u32.load(2 * ADDRESS), 1);
  world.end();
});

test("who begins to walk after the flush finds no leaf at all", () => {
  const world = new World();
  const led = new LedTask(world.machine, unmaps["munmap"]!(world)); // in the table above
  led.step();
  assert.equal(world.leafAt(world.mm), world.leaf);
  led.step();
  assert.equal(world.leafAt(world.mm), 0);
  led.finish();
  world.end();
});

test("one flush serves the unlinking of hundreds of leaves, and all of them come back", () => {
  const machine = Machine.create({ ramBytes: 64 * PAGE, heapBytes: 2 ** 23, debug: true });
  const leaves = 700;
  const mm = makeSpace(machine);
  const tables = (): number =>
    machine.heap.accounting().find(({ name }) => name === `words${LEAF_WORDS}`)?.live ?? 0;
  const shootdown = new StoppingShootdown(machine.memory, mm.shootdown.at);
  Object.defineProperty(mm, "shootdown", { value: shootdown });
  mapLeaves(machine, mm, ADDRESS, leaves);
  const { u32 } = cacheOf(machine, mm);
  for (let i = 0; i < leaves; i++) assert.equal(u32.load(ADDRESS + i * LEAF_BYTES), 0);
  assert.equal(tables(), leaves);
  new LedTask(machine, doMunmap(machine, mm, ADDRESS, leaves * LEAF_BYTES)).finish();
  assert.equal(tables(), 0);
  assert.equal(
    shootdown.flushes,
    leaves + 2,
    "one for the entries of each leaf, two for the leaves",
  );
  run(machine, mmput(machine, mm));
  machine.detach();
});
