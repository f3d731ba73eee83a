/**
 * @module Memory of a device that somebody else has now.
 *
 * A leaf of the device's page table is freed while a thread of the device, which takes no lock, has
 * just found it. As in test/mm/freed-leaf.test.ts, both are led by hand: the thread that unmaps
 * stops after each flush of the device's shootdown, the device where it has read the leaf's
 * pointer; then the leaf's memory is somebody else's table.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ENTRY_WRITE, makeDeviceEntry } from "../../src/devices/service/device-table.ts";
import { viewDevice } from "../../src/devices/software/view-device.ts";
import type { AddressSpace } from "../../src/index.ts";
import { doMunmap } from "../../src/mm/calls/munmap.ts";
import { LEAF_WORDS, leafOf } from "../../src/mmu/radix-table.ts";
import { Shootdown } from "../../src/sync/primitives/shootdown.ts";
import { type Task, park } from "../../src/sync/tasks/task.ts";
import { LedTask } from "../mm/led-task.ts";
import { PAGE, PlayedDevice, makeSpace } from "./harness.ts";
import { inside } from "../inside.ts";

const ADDRESS = 2 ** 30;
const LEAF_BYTES = LEAF_WORDS * PAGE;
const FOREIGN = 0xc0ffee;

// Called below with the object that the caller meant.
// oxlint-disable-next-line typescript/unbound-method -- see above
const { flush } = Shootdown.prototype;

/**
 * Leads `led` to its next stop, where flushes of `shootdown` stop it; of these only the first does
 * anything if `forgets`.
 */
class Leader {
  readonly #at: number;
  readonly #forgets: boolean;
  #flushes = 0;

  constructor(shootdown: Shootdown, forgets: boolean) {
    this.#at = shootdown.at;
    this.#forgets = forgets;
  }

  lead(led: LedTask): void {
    const stopping = (of: Shootdown, startPage: number, endPage: number): Task<void> =>
      this.#flushAndStop(of, startPage, endPage);
    const at = this.#at;
    Shootdown.prototype.flush = function (
      this: Shootdown,
      startPage: number,
      endPage: number,
    ): Task<void> {
      return this.at === at
        ? stopping(this, startPage, endPage)
        : flush.call(this, startPage, endPage);
    };
    try {
      led.step();
    } finally {
      Shootdown.prototype.flush = flush;
    }
  }

  *#flushAndStop(shootdown: Shootdown, startPage: number, endPage: number): Task<void> {
    if (++this.#flushes === 1 || !this.#forgets) yield* flush.call(shootdown, startPage, endPage);
    yield park(shootdown.memory, shootdown.at, 0, 0, "stop");
  }
}

/** A frame of nobody's with FOREIGN in each word. */
function foreignFrame(space: AddressSpace): number {
  const { machine } = inside(space);
  const pfn = machine.ram.allocFrameFast(true);
  assert.notEqual(pfn, 0);
  const first = machine.ram.sections.wordIndex(pfn);
  machine.ram.sections.of(pfn).i32.fill(FOREIGN, first, first + PAGE / 4);
  return pfn;
}

function foreignWord(space: AddressSpace, pfn: number): number {
  const { machine } = inside(space);
  return machine.ram.sections.of(pfn).u32[machine.ram.sections.wordIndex(pfn)] ?? 0;
}

/**
 * The device accesses ADDRESS while it is unmapped; what its kernel's item ended with. `pfn`: what
 * the leaf's memory then names.
 */
function race(forgets: boolean, body: (device: PlayedDevice, pfn: number) => void): void {
  const space = makeSpace();
  const { machine, mm } = inside(space);
  const { memory, heap } = machine;
  space.mmapSync(LEAF_BYTES, { address: ADDRESS, fixed: "noreplace" });
  space.u32.store(ADDRESS, 1);
  const device = new PlayedDevice(space, { frames: 4 });
  // so that there is a leaf, and the page itself is unknown to the thread
  device.store(ADDRESS + PAGE, 2);
  device.load(ADDRESS);
  const { table } = viewDevice(machine, device.software);
  const leaf = leafOf(memory, table.pgd, ADDRESS / PAGE);
  const pfn = foreignFrame(space);
  const leader = new Leader(device.software.shootdown, forgets);
  const led = new LedTask(machine, doMunmap(machine, mm, ADDRESS, LEAF_BYTES));
  leader.lead(led);
  assert.equal(
    leafOf(memory, table.pgd, ADDRESS / PAGE),
    leaf,
    "it stops before it unlinks the leaf",
  );
  const ensure = memory.ensure.bind(memory);
  let isFound = false;
  const blocks: number[] = [];
  memory.ensure = (endWord) => {
    ensure(endWord);
    if (isFound || endWord !== leaf + LEAF_WORDS) return;
    isFound = true;
    while (!led.isDone) leader.lead(led);
    // The CPU's leaf was freed too, and comes first.
    while (blocks.length < 3 && !blocks.includes(leaf))
      blocks.push(inside(space).runSync(heap.allocWords(LEAF_WORDS)));
    assert.ok(blocks.includes(leaf), "the freed leaf is somebody else's table now");
    memory.words.fill(makeDeviceEntry(pfn, ENTRY_WRITE), leaf, leaf + LEAF_WORDS);
  };
  try {
    body(device, pfn);
  } finally {
    memory.ensure = ensure;
  }
  assert.ok(isFound, "the device never found the leaf");
  for (const block of blocks) inside(space).runSync(heap.freeWords(block, LEAF_WORDS));
  inside(space).runSync(machine.ram.refs.pagePut(pfn));
  device.close();
  space.disposeSync();
}

test("a load of the device through a leaf that is freed under it is no foreign word", () => {
  race(false, (device) => {
    assert.throws(() => device.load(ADDRESS), {
      name: "DeviceFault",
      code: "EFAULT",
      address: ADDRESS,
    });
  });
});

test("a store of the device through a leaf that is freed under it reaches no foreign frame", () => {
  race(false, (device, pfn) => {
    assert.throws(() => device.store(ADDRESS, 7), { name: "DeviceFault", code: "EFAULT" });
    assert.equal(foreignWord(device.space, pfn), FOREIGN);
  });
});

test("an atomic load likewise", () => {
  race(false, (device) => {
    const load = (): void => device.run((memory) => void memory.u32.atomicLoad(ADDRESS), 1);
    assert.throws(load, { name: "DeviceFault", code: "EFAULT" });
  });
});

test("without the flush between unlinking and freeing the device loads a foreign word, and stores there", () => {
  race(true, (device, pfn) => {
    assert.equal(device.load(ADDRESS), FOREIGN);
    device.store(ADDRESS, 7);
    assert.equal(foreignWord(device.space, pfn), 7);
  });
});

test("a device at the place of one that is gone is told of its own pages, by threads that knew the other one", () => {
  const space = makeSpace();
  const address = space.mmapSync(PAGE);
  space.u32.store(address, 1);
  const first = new PlayedDevice(space, { frames: 4 });
  assert.equal(first.load(address), 1);
  space.u32.store(address, 2); // this thread calls the first device
  assert.equal(first.load(address), 2);
  first.close();
  const second = new PlayedDevice(space, { frames: 4 });
  assert.equal(second.record.at, first.record.at, "the same place");
  assert.equal(second.load(address), 2);
  space.u32.store(address, 3);
  assert.equal(second.load(address), 3);
  second.close();
  space.disposeSync();
});
