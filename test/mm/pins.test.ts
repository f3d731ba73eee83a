/**
 * Pins: what a short and a long one force and forbid, and that a device and its eviction, fork,
 * munmap and truncation leave the frame alone. The core's tasks, without a device.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DEVICE_COHERENT, DEVICE_PRIVATE } from "../../src/memory/frames/device-frames.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/calls/madvise.ts";
import { doMprotect } from "../../src/mm/calls/mprotect.ts";
import { doMunmap } from "../../src/mm/calls/munmap.ts";
import { trackRange } from "../../src/mm/fault/track.ts";
import {
  emptyDeviceMemory,
  endDeviceMemory,
  evictDeviceFrame,
} from "../../src/mm/migrate/device-evict.ts";
import { KIND_DEVICE_PRIVATE, KIND_FRAME, PTE_WRITE, ptePfn } from "../../src/mm/pte.ts";
import { type PinOptions, pinUserPages, unpinUserPages } from "../../src/mm/view/pin.ts";
import type { PinnedPages } from "../../src/mm/view/pin.ts";
import { PIN_PAGES_MAX } from "../../src/mm/view/view-hold.ts";
import { viewClose, viewOpen } from "../../src/mm/view/view-open.ts";
import { VM_READ } from "../../src/mm/vma/vma.ts";
import { EBUSY, EFAULT, EINVAL } from "../../src/sync/errno.ts";
import { PAGE, RW, World, reading } from "./migrate-world.ts";

function pin(world: World, page: number, pages: number, options: PinOptions = {}): PinnedPages {
  const { machine, mm } = world;
  const pinned = world.run(pinUserPages(machine, mm, page, page + pages, options));
  assert.ok(typeof pinned !== "number", `the pin answered ${JSON.stringify(pinned)}`);
  return pinned;
}

function unpin(world: World, pinned: PinnedPages): void {
  world.run(unpinUserPages(world.machine, pinned));
}

/** The first word of a pinned frame, by number: no entry is used. */
function frameData(world: World, pfn: number): Int32Array {
  const section = world.machine.ram.sections.of(pfn);
  const at = section.wordIndex(pfn);
  return section.i32.subarray(at, at + 1024);
}

const isOnDevice = (world: World, page: number): boolean =>
  ptePfn(world.pte(page)) >= world.machine.ram.ownEndPfn;

test("pages that nobody has touched get frames of their own; what is stored there is the mapping's", () => {
  const world = new World(DEVICE_PRIVATE);
  const page = world.map(3);
  world.poke(page + 1, 5);
  assert.equal(world.touch(page + 2, false), 0); // the page of zeros
  const pinned = pin(world, page, 3, { write: true });
  assert.equal(new Set(pinned.pfns).size, 3);
  assert.deepEqual(
    Array.from(pinned.pfns, (pfn) => frameData(world, pfn)[0]),
    [0, 5, 0],
  );
  for (const [i, pfn] of pinned.pfns.entries()) frameData(world, pfn)[0] = 10 + i;
  assert.deepEqual(
    [0, 1, 2].map((i) => world.peek(page + i)),
    [10, 11, 12],
  );
  unpin(world, pinned);
  world.end();
});

test("a pinned page is not moved, not made exclusive, and no view can move it", () => {
  const world = new World(DEVICE_PRIVATE);
  const page = world.map(2);
  world.poke(page, 5);
  const pinned = pin(world, page, 1);
  assert.deepEqual(world.toDevice(page, 1), { moved: 0, lacking: 0 });
  assert.equal(world.exclusive(page, 1), EBUSY);
  assert.equal(world.run(viewOpen(world.machine, world.mm, page, page + 2, false)), EBUSY);
  assert.equal(frameData(world, pinned.pfns[0]!)[0], 5);
  unpin(world, pinned);
  assert.deepEqual(world.toDevice(page, 1), { moved: 1, lacking: 0 }); // the twin: it moves now
  assert.equal(world.exclusive(page + 1, 1), 0);
  world.end();
});

for (const longTerm of [false, true]) {
  const name = longTerm ? "long" : "short";
  test(`${name}: a page in private memory comes back, one that is exclusive too`, () => {
    const world = new World(DEVICE_PRIVATE);
    const page = world.map(2);
    for (const i of [0, 1]) world.poke(page + i, 5 + i);
    world.toDevice(page, 1);
    assert.equal(world.exclusive(page + 1, 1), 0);
    const pinned = pin(world, page, 2, { longTerm });
    assert.deepEqual(
      Array.from(pinned.pfns, (pfn) => frameData(world, pfn)[0]),
      [5, 6],
    );
    for (const i of [0, 1]) assert.equal(world.kind(page + i), KIND_FRAME);
    assert.equal(world.device.usedPages, 0);
    unpin(world, pinned);
    world.end();
  });

  test(`${name}: a page in coherent memory ${longTerm ? "comes to RAM" : "stays"}`, () => {
    const world = new World(DEVICE_COHERENT);
    const page = world.map(1);
    world.poke(page, 5);
    world.toDevice(page, 1);
    const pinned = pin(world, page, 1, { longTerm, write: true });
    assert.equal(isOnDevice(world, page), !longTerm);
    assert.equal(frameData(world, pinned.pfns[0]!)[0], 5);
    if (!longTerm) {
      // It stays while it is pinned, whoever wants it moved.
      assert.deepEqual(world.toRam(page, 1), { moved: 0, lacking: 0 });
      const frame = evictDeviceFrame(world.machine, world.device, pinned.pfns[0]!);
      assert.equal(world.run(frame), false);
      assert.equal(world.run(endDeviceMemory(world.machine, world.device, 0)), EBUSY);
      assert.equal(isOnDevice(world, page), true);
    }
    unpin(world, pinned);
    assert.deepEqual(world.toRam(page, 1), { moved: longTerm ? 0 : 1, lacking: 0 });
    world.end();
  });
}

test("a page in coherent memory that is exclusive comes to RAM for a pin, a view and the device's end", () => {
  const takers: Readonly<Record<string, (world: World, page: number) => void>> = {
    pin: (world, page) => unpin(world, pin(world, page, 1, { longTerm: true })),
    view: (world, page) => {
      const at = world.run(viewOpen(world.machine, world.mm, page, page + 1, true));
      assert.ok(at > 0, `the view answered ${at}`);
      world.run(viewClose(world.machine, at));
    },
    end: (world) => assert.equal(world.run(emptyDeviceMemory(world.machine, world.device)), 0),
  };
  for (const [name, take] of Object.entries(takers)) {
    const world = new World(DEVICE_COHERENT);
    const page = world.map(1);
    world.poke(page, 5);
    world.toDevice(page, 1);
    assert.equal(world.exclusive(page, 1), 0);
    // Its owner's own migration leaves it, as it leaves one in RAM.
    assert.deepEqual(world.toRam(page, 1), { moved: 0, lacking: 0 }, name);
    take(world, page);
    assert.equal(isOnDevice(world, page), false, name);
    assert.equal(world.peek(page), 5, name);
    world.end();
  }
});

test("fork: a shared page is copied before it is pinned, and a pinned one for the child", () => {
  const world = new World(DEVICE_PRIVATE);
  const page = world.map(2);
  for (const i of [0, 1]) world.poke(page + i, 5 + i);
  const first = world.fork();
  const pinned = pin(world, page, 1, { write: true }); // shared with `first`: copied
  const second = world.fork(); // pinned: the child has a copy
  frameData(world, pinned.pfns[0]!)[0] = 50;
  assert.deepEqual(
    [world.peek(page), world.peek(page, first), world.peek(page, second)],
    [50, 5, 5],
  );
  world.poke(page, 51);
  assert.equal(
    frameData(world, pinned.pfns[0]!)[0],
    51,
    "a store of the CPU goes to the pinned frame",
  );
  unpin(world, pinned);
  // The twin: without a pin the frame is shared, and the store gets another one.
  const { pte } = { pte: world.pte(page + 1) };
  world.poke(page + 1, 60);
  assert.notEqual(ptePfn(world.pte(page + 1)), ptePfn(pte));
  world.end(first, second);
});

test("munmap, madvise and exit leave a pinned frame to whoever pinned it", () => {
  const world = new World(DEVICE_PRIVATE);
  const page = world.map(2);
  for (const i of [0, 1]) world.poke(page + i, 5 + i);
  const pinned = pin(world, page, 2);
  world.run(doMunmap(world.machine, world.mm, page * PAGE, PAGE));
  world.run(doMadvise(world.machine, world.mm, (page + 1) * PAGE, PAGE, MADV_DONTNEED));
  assert.equal(world.peek(page + 1), 0, "the mapping has another page");
  assert.deepEqual(
    Array.from(pinned.pfns, (pfn) => frameData(world, pfn)[0]),
    [5, 6],
  );
  const used = world.machine.ram.usage().usedPages;
  unpin(world, pinned);
  assert.equal(world.machine.ram.usage().usedPages, used - 2);
  world.end();
});

test("shared memory is pinned where all see it", () => {
  const world = new World(DEVICE_PRIVATE);
  const page = world.map(1, { shared: true });
  const child = world.fork();
  const pinned = pin(world, page, 1, { write: true, longTerm: true });
  frameData(world, pinned.pfns[0]!)[0] = 7;
  assert.deepEqual([world.peek(page), world.peek(page, child)], [7, 7]);
  unpin(world, pinned);
  world.end(child);
});

test("what may not be pinned", () => {
  const world = new World(DEVICE_PRIVATE);
  const { machine, mm } = world;
  const page = world.map(2, { protection: VM_READ });
  const answer = (from: number, to: number, options: PinOptions = {}) =>
    world.run(pinUserPages(machine, mm, from, to, options));
  assert.equal(answer(page, page + 2, { write: true }), EFAULT);
  assert.equal(answer(page, page + 100), EFAULT, "a hole");
  assert.equal(answer(page, page), EINVAL);
  assert.equal(answer(page, page + PIN_PAGES_MAX + 1), EINVAL);
  world.run(doMprotect(machine, mm, page * PAGE, PAGE, 0));
  assert.equal(answer(page, page + 1), EFAULT);
  const readOnly = pin(world, page + 1, 1); // has a frame of its own, not the page of zeros
  assert.notEqual(readOnly.pfns[0], 0);
  assert.equal(world.pte(page + 1) & PTE_WRITE, 0);
  unpin(world, readOnly);
  assert.deepEqual(machine.ram.refs.total().pins, 0);
  world.end();
});

test("a page that is pinned for writing is not copied to a device; one that is read may be", () => {
  const world = new World(DEVICE_PRIVATE);
  const page = world.map(1);
  world.poke(page, 5);
  const copyable = new Uint8Array(1);
  const track = (): number => {
    const { machine, mm } = world;
    const task = () => trackRange(machine, mm, page, page + 1, copyable);
    world.run(reading(mm, task));
    return copyable[0]!;
  };
  const reader = pin(world, page, 1);
  assert.equal(track(), 1);
  unpin(world, reader);
  const writer = pin(world, page, 1, { write: true });
  assert.equal(track(), 0);
  unpin(world, writer);
  assert.equal(track(), 1);
  world.end();
});

test("a page is pinned as often as it is asked for", () => {
  const world = new World(DEVICE_PRIVATE);
  const page = world.map(1);
  world.poke(page, 5);
  const [first, second] = [pin(world, page, 1), pin(world, page, 1, { write: true })];
  assert.deepEqual(first.pfns, second.pfns);
  unpin(world, first);
  assert.deepEqual(world.toDevice(page, 1), { moved: 0, lacking: 0 });
  unpin(world, second);
  assert.deepEqual(world.toDevice(page, 1), { moved: 1, lacking: 0 });
  assert.equal(world.kind(page), KIND_DEVICE_PRIVATE);
  assert.equal(world.peek(page), 5);
  assert.equal(world.run(doMprotect(world.machine, world.mm, page * PAGE, PAGE, RW)), 0);
  world.end();
});
