/**
 * Pages that move to a device's memory and back: what they hold, who may reach them, and what fork,
 * protection, moving, views, exit and the end of the device do with them. The core's tasks, without
 * a device.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DEVICE_COHERENT,
  DEVICE_PRIVATE,
  takeDeviceFrame,
} from "../../src/memory/frames/device-frames.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/calls/madvise.ts";
import { doMprotect } from "../../src/mm/calls/mprotect.ts";
import { doMremap } from "../../src/mm/calls/mremap.ts";
import { doMunmap } from "../../src/mm/calls/munmap.ts";
import { mmput } from "../../src/mm/lifetime/mm.ts";
import { endDeviceMemory, evictDeviceFrame } from "../../src/mm/migrate/device-evict.ts";
import {
  type PageMover,
  SELECT_DEVICE,
  SELECT_SYSTEM,
  migrateRange,
  migrateVmaSetup,
  toRam,
} from "../../src/mm/migrate/migrate-vma.ts";
import type { Mm } from "../../src/mm/mm-struct.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  KIND_DEVICE_PRIVATE,
  KIND_FRAME,
  NON_PRESENT_WRITE,
  PTE_WRITE,
  ptePfn,
} from "../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../src/mm/view/view-open.ts";
import { ViewHold } from "../../src/mm/view/view-hold.ts";
import { VM_READ, vmaOf } from "../../src/mm/vma/vma.ts";
import { EBUSY, EINVAL, ENOMEM, EOPNOTSUPP, EPERM } from "../../src/sync/errno.ts";
import { OWNER, PAGE, RW, World, freed, reading } from "./migrate-world.ts";

for (const type of [DEVICE_PRIVATE, DEVICE_COHERENT] as const) {
  const name = type === DEVICE_PRIVATE ? "private" : "coherent";
  /** The kind of an entry whose page is on the device. */
  const there = type === DEVICE_PRIVATE ? KIND_DEVICE_PRIVATE : KIND_FRAME;
  const isOnDevice = (world: World, page: number, mm: Mm = world.mm): boolean =>
    world.kind(page, mm) === there && ptePfn(world.pte(page, mm)) >= world.machine.ram.ownEndPfn;

  test(`${name}: pages go to the device and come back, with what they hold; the zero page and nothing become zeros`, () => {
    const world = new World(type);
    const page = world.map(4);
    world.poke(page, 11);
    world.poke(page + 1, 12);
    assert.equal(world.touch(page + 2, false), 0); // the page of zeros
    assert.deepEqual(world.toDevice(page, 4), { moved: 4, lacking: 0 });
    for (let i = 0; i < 4; i++) assert.ok(isOnDevice(world, page + i), `page ${i}`);
    const held = [0, 1, 2, 3].map((i) => world.data(world.pte(page + i))[0]);
    assert.deepEqual(held, [11, 12, 0, 0]);
    assert.equal(world.machine.ram.usage().usedPages, 0, "the frames in RAM are free");
    // What is there already is not moved again.
    assert.deepEqual(world.toDevice(page, 4), { moved: 0, lacking: 0 });
    assert.equal(world.peek(page + 1), 12);
    assert.equal(isOnDevice(world, page + 1), type === DEVICE_COHERENT, "a CPU touch");
    assert.deepEqual(world.toRam(page, 4), { moved: type === DEVICE_COHERENT ? 4 : 3, lacking: 0 });
    assert.equal(world.device.usedPages, 0);
    assert.equal(freed.length, 4, "the driver was told of each");
    for (const [i, value] of [11, 12, 0, 0].entries()) assert.equal(world.peek(page + i), value);
    world.end();
  });

  test(`${name}: the right to write is that of the mapping`, () => {
    const world = new World(type);
    const page = world.map(1);
    world.poke(page, 5);
    const write = type === DEVICE_PRIVATE ? NON_PRESENT_WRITE : PTE_WRITE;
    world.run(doMprotect(world.machine, world.mm, page * PAGE, PAGE, VM_READ));
    world.toDevice(page, 1);
    assert.equal(world.pte(page) & write, 0);
    world.run(doMprotect(world.machine, world.mm, page * PAGE, PAGE, RW));
    world.toRam(page, 1);
    assert.equal(world.pte(page) & PTE_WRITE, PTE_WRITE);
    world.toDevice(page, 1);
    assert.equal(world.pte(page) & write, write);
    world.run(doMprotect(world.machine, world.mm, page * PAGE, PAGE, VM_READ));
    assert.equal(world.pte(page) & write, 0, "mprotect takes it");
    assert.equal(world.peek(page), 5);
    world.run(doMprotect(world.machine, world.mm, page * PAGE, PAGE, 0));
    world.run(doMprotect(world.machine, world.mm, page * PAGE, PAGE, RW));
    world.poke(page, 6);
    assert.equal(world.peek(page), 6);
    world.end();
  });

  test(`${name}: after a fork both have the page, and each has its own when it writes`, () => {
    const world = new World(type);
    const page = world.map(2);
    world.poke(page, 5);
    world.poke(page + 1, 6);
    world.toDevice(page, 2);
    const child = world.fork();
    assert.ok(isOnDevice(world, page, child));
    world.poke(page, 50);
    assert.equal(world.peek(page, child), 5);
    world.poke(page, 51, child);
    assert.deepEqual([world.peek(page), world.peek(page, child)], [50, 51]);
    // A page that is still shared goes back to RAM, or elsewhere, for one space alone.
    world.toRam(page + 1, 1, child);
    assert.ok(isOnDevice(world, page + 1));
    world.poke(page + 1, 60, child);
    assert.deepEqual([world.peek(page + 1), world.peek(page + 1, child)], [6, 60]);
    world.end(child);
  });

  test(`${name}: a page that fork shares in RAM is copied to the device for one space`, () => {
    const world = new World(type);
    const page = world.map(1);
    world.poke(page, 5);
    const child = world.fork();
    assert.deepEqual(world.toDevice(page, 1), { moved: 1, lacking: 0 });
    assert.equal(world.kind(page, child), KIND_FRAME);
    assert.ok(ptePfn(world.pte(page, child)) < world.machine.ram.ownEndPfn);
    world.poke(page, 9, child);
    assert.deepEqual([world.peek(page), world.peek(page, child)], [5, 9]);
    world.end(child);
  });

  test(`${name}: munmap, madvise and exit free the device's frames; mremap takes them along`, () => {
    const world = new World(type);
    const page = world.map(4);
    for (let i = 0; i < 4; i++) world.poke(page + i, 20 + i);
    world.toDevice(page, 4);
    world.run(doMunmap(world.machine, world.mm, page * PAGE, PAGE));
    world.run(doMadvise(world.machine, world.mm, (page + 1) * PAGE, PAGE, MADV_DONTNEED));
    assert.equal(freed.length, 2);
    assert.equal(world.peek(page + 1), 0);
    const to = world.run(
      doMremap(world.machine, world.mm, {
        address: (page + 2) * PAGE,
        oldLengthBytes: 2 * PAGE,
        newLengthBytes: 2 * PAGE,
        mayMove: true,
        to: (page + 600) * PAGE,
      }),
    );
    assert.equal(to, (page + 600) * PAGE);
    assert.ok(isOnDevice(world, page + 600));
    assert.equal(world.peek(page + 600), 22);
    world.end();
    assert.equal(freed.length, 4);
  });

  test(`${name}: a view brings its pages to RAM and keeps them there`, () => {
    const world = new World(type);
    const page = world.map(3);
    for (let i = 0; i < 3; i++) world.poke(page + i, 30 + i);
    world.toDevice(page, 3);
    const at = world.run(viewOpen(world.machine, world.mm, page, page + 2, false));
    assert.ok(at > 0);
    const { pfn } = ViewHold.at(world.machine.memory, at);
    const { ram } = world.machine;
    assert.ok(pfn < ram.ownEndPfn);
    assert.equal(ram.sections.of(pfn).i32[ram.sections.wordIndex(pfn)], 30);
    assert.equal(ram.sections.of(pfn).i32[ram.sections.wordIndex(pfn) + 1024], 31);
    assert.ok(isOnDevice(world, page + 2));
    // Pinned pages stay where they are.
    assert.deepEqual(world.toDevice(page, 3), { moved: 0, lacking: 0 });
    world.run(viewClose(world.machine, at));
    assert.deepEqual(world.toDevice(page, 3), { moved: 2, lacking: 0 });
    world.end();
  });

  test(`${name}: a page that gets no frame stays, whole, and so do all when the copy throws`, () => {
    const world = new World(type, 64, 2);
    const page = world.map(3);
    for (let i = 0; i < 3; i++) world.poke(page + i, 40 + i);
    assert.deepEqual(world.toDevice(page, 3), { moved: 2, lacking: 1 });
    assert.equal(world.kind(page + 2), KIND_FRAME);
    for (let i = 0; i < 3; i++) assert.equal(world.peek(page + i), 40 + i);
    world.toRam(page, 3);
    let copies = 0;
    const mover: PageMover = {
      ...world.mover(),
      *copy(from, to) {
        if (++copies === 2) throw new Error("the bus is gone");
        yield* world.machine.ram.copyFrame(from, to);
      },
    };
    assert.throws(() => world.move(page, 3, SELECT_SYSTEM, mover), /the bus is gone/);
    assert.equal(world.device.usedPages, 0);
    for (let i = 0; i < 3; i++) assert.equal(world.peek(page + i), 40 + i);
    world.end();
  });

  test(`${name}: the end of a device brings back every page, of every space; without RAM it is refused, and nothing is lost`, () => {
    const world = new World(type, 8, 16);
    const page = world.map(6);
    for (let i = 0; i < 6; i++) world.poke(page + i, 60 + i);
    world.toDevice(page, 6);
    const child = world.fork();
    // Six pages twice do not fit into eight frames.
    assert.equal(world.run(endDeviceMemory(world.machine, world.device, 0)), EBUSY);
    assert.equal(world.run(takeDeviceFrame(world.device)), 0, "closed");
    world.run(doMunmap(world.machine, child, page * PAGE, 4 * PAGE));
    assert.equal(world.run(endDeviceMemory(world.machine, world.device, 0)), 0);
    for (let i = 0; i < 6; i++) assert.equal(world.peek(page + i), 60 + i);
    for (let i = 4; i < 6; i++) assert.equal(world.peek(page + i, child), 60 + i);
    for (const mm of [world.mm, child]) world.run(mmput(world.machine, mm));
    assert.equal(world.machine.ram.usage().usedPages, 0);
    world.machine.detach();
  });

  test(`${name}: one frame is evicted by its hint, or found where mremap has put it`, () => {
    const world = new World(type);
    const page = world.map(2);
    world.poke(page, 70);
    world.poke(page + 1, 71);
    world.toDevice(page, 2);
    const [first, second] = [ptePfn(world.pte(page)), ptePfn(world.pte(page + 1))];
    assert.equal(world.run(evictDeviceFrame(world.machine, world.device, first)), true);
    assert.ok(!isOnDevice(world, page));
    assert.ok(isOnDevice(world, page + 1));
    const lengthBytes = PAGE;
    world.run(
      doMremap(world.machine, world.mm, {
        address: (page + 1) * PAGE,
        oldLengthBytes: lengthBytes,
        newLengthBytes: lengthBytes,
        mayMove: true,
        to: (page + 700) * PAGE,
      }),
    );
    assert.equal(world.run(evictDeviceFrame(world.machine, world.device, second)), true);
    assert.deepEqual([world.peek(page), world.peek(page + 700)], [70, 71]);
    world.end();
  });
}

test("shared memory, a buffer and another owner's pages are not moved; a hole is EINVAL", () => {
  const world = new World(DEVICE_PRIVATE);
  const shared = world.map(2, { shared: true });
  world.poke(shared, 1);
  assert.deepEqual(world.toDevice(shared, 2), { moved: 0, lacking: 0 });
  const page = world.map(1);
  world.poke(page, 2);
  assert.equal(world.toDevice(page, 100), EINVAL);
  world.toDevice(page, 1);
  const { machine, mm } = world;
  const vma = vmaOf(machine.memory, mm, page);
  assert.ok(vma !== undefined);
  const args = { machine, mm, vma, startPage: page, endPage: page + 1 };
  const other = { ...args, select: SELECT_DEVICE, owner: OWNER + 1 };
  const moved = world.run(reading(mm, () => migrateRange(other, toRam(machine))));
  assert.deepEqual(moved, { moved: 0, lacking: 0 });
  world.run(doMprotect(machine, mm, page * PAGE, PAGE, 0));
  const setup = world.run(reading(mm, () => migrateVmaSetup({ ...other, owner: OWNER })));
  assert.equal(setup, EINVAL);
  world.end();
});

test("without a frame in RAM a CPU touch of a private page is ENOMEM, and the page stays", () => {
  const world = new World(DEVICE_PRIVATE, 4, 8);
  const page = world.map(6);
  world.poke(page, 1);
  world.toDevice(page, 1);
  for (let i = 1; i < 5; i++) world.poke(page + i, 1 + i);
  assert.equal(world.touch(page, false), ENOMEM);
  assert.equal(world.kind(page), KIND_DEVICE_PRIVATE);
  world.run(doMadvise(world.machine, world.mm, (page + 1) * PAGE, PAGE, MADV_DONTNEED));
  assert.equal(world.peek(page), 1);
  world.end();
});

test("exclusive: any touch of the CPU, fork, mprotect, mremap and a view end it, and nothing is lost", () => {
  const world = new World(DEVICE_PRIVATE);
  const page = world.map(6);
  for (let i = 0; i < 6; i++) world.poke(page + i, 80 + i);
  assert.equal(world.exclusive(page, 6), 0);
  for (let i = 0; i < 6; i++) assert.equal(world.kind(page + i), KIND_DEVICE_EXCLUSIVE);
  const pfn = ptePfn(world.pte(page));
  assert.equal(world.peek(page), 80);
  assert.equal(ptePfn(world.pte(page)), pfn, "the frame stays");
  // A migration leaves it where it is.
  assert.deepEqual(world.toDevice(page + 2, 1), { moved: 0, lacking: 0 });
  const view = world.run(viewOpen(world.machine, world.mm, page + 2, page + 3, true));
  assert.ok(view > 0);
  assert.equal(world.exclusive(page + 2, 1), EBUSY, "a pinned page is written without entries");
  world.run(viewClose(world.machine, view));
  world.poke(page + 1, 810);
  world.run(doMprotect(world.machine, world.mm, (page + 3) * PAGE, PAGE, VM_READ));
  assert.equal(world.kind(page + 3), KIND_FRAME);
  assert.equal(world.exclusive(page + 3, 1), EPERM);
  const at = (page + 4) * PAGE;
  const to = (page + 900) * PAGE;
  const sizes = { oldLengthBytes: PAGE, newLengthBytes: PAGE };
  world.run(doMremap(world.machine, world.mm, { address: at, ...sizes, mayMove: true, to }));
  assert.equal(world.kind(page + 900), KIND_FRAME);
  const child = world.fork();
  assert.equal(world.kind(page + 5), KIND_FRAME);
  world.poke(page + 5, 850);
  assert.deepEqual([world.peek(page + 5), world.peek(page + 5, child)], [850, 85]);
  assert.equal(world.peek(page + 900), 84);
  assert.equal(world.exclusive(page + 5, 1), 0);
  const shared = world.map(1, { shared: true });
  assert.equal(world.exclusive(shared, 1), EOPNOTSUPP);
  world.end(child);
});
