/**
 * What pages hold and cost: faults, copy-on-write, fork, protection, moving, dropping. The core's
 * tasks themselves, without the public face.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../../src/memory/machine.ts";
import { cpuFault } from "../../src/mm/fault/cpu-fault.ts";
import { doFork } from "../../src/mm/lifetime/fork.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/calls/madvise.ts";
import { MAP_ANYWHERE, doMmap } from "../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../src/mm/calls/munmap.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import { mmCreate, mmput } from "../../src/mm/lifetime/mm.ts";
import { doMprotect } from "../../src/mm/calls/mprotect.ts";
import { doMremap } from "../../src/mm/calls/mremap.ts";
import { type PagemapEntry, readPagemap } from "../../src/mm/calls/pagemap.ts";
import { trackRange } from "../../src/mm/fault/track.ts";
import { viewClose, viewOpen } from "../../src/mm/view/view-open.ts";
import { ViewHold } from "../../src/mm/view/view-hold.ts";
import { VM_READ, VM_WRITE } from "../../src/mm/vma/vma.ts";
import { EBUSY, EFAULT, ENOMEM } from "../../src/sync/errno.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

const PAGE = 4096;
const RW = VM_READ | VM_WRITE;

class World {
  readonly machine: Machine;
  readonly mm: Mm;

  constructor(ramPages = 64) {
    this.machine = Machine.create({ ramBytes: ramPages * PAGE, heapBytes: 8 << 20, debug: true });
    this.mm = Mm.at(this.machine.memory, this.run(mmCreate(this.machine)));
  }

  run<T>(task: Task<T>): T {
    return runBlocking(this.machine.memory, task);
  }

  map(pages: number, options: { shared?: boolean; protection?: number } = {}): number {
    const { shared = false, protection = RW } = options;
    const request = {
      lengthBytes: pages * PAGE,
      address: 0,
      placement: MAP_ANYWHERE,
      protection,
      shared,
      bufferPfn: 0,
      offsetPages: 0,
    };
    const address = this.run(doMmap(this.machine, this.mm, request));
    assert.ok(address > 0, `mmap failed: ${address}`);
    return address;
  }

  page(address: number, mm: Mm = this.mm): PagemapEntry {
    const [entry] = this.run(readPagemap(this.machine, mm, address / PAGE, address / PAGE + 1));
    assert.ok(entry !== undefined);
    return entry;
  }

  /** Touches as a CPU would; returns the fault's result. */
  touch(address: number, isWrite: boolean, mm: Mm = this.mm): number {
    return this.run(cpuFault(this.machine, mm, Math.floor(address / PAGE), isWrite));
  }

  poke(address: number, value: number, mm: Mm = this.mm): void {
    assert.equal(this.touch(address, true, mm), 0);
    const { pfn } = this.page(address - (address % PAGE), mm);
    this.machine.ram.sections.of(pfn).i32[this.machine.ram.sections.wordIndex(pfn)] = value;
  }

  peek(address: number, mm: Mm = this.mm): number | undefined {
    assert.equal(this.touch(address, false, mm), 0);
    const { pfn } = this.page(address - (address % PAGE), mm);
    return this.machine.ram.sections.of(pfn).i32[this.machine.ram.sections.wordIndex(pfn)];
  }

  /** Ends the space and checks that every frame came back. */
  end(): void {
    this.run(mmput(this.machine, this.mm));
    assert.equal(this.machine.ram.usage().usedPages, 0, "frames leaked");
  }
}

test("a read maps the zero page, a write replaces it by a frame of its own", () => {
  const world = new World();
  const address = world.map(2);
  assert.equal(world.page(address).present, false);
  assert.equal(world.touch(address, false), 0);
  assert.deepEqual({ ...world.page(address) }.zero, true);
  assert.equal(world.machine.ram.usage().usedPages, 0);
  world.poke(address, 7);
  const entry = world.page(address);
  assert.equal(entry.zero, false);
  assert.equal(entry.writable && entry.dirty, true);
  assert.equal(world.peek(address), 7);
  assert.equal(world.page(address + PAGE).present, false);
  world.end();
});

test("fork shares frames until a side writes; each side then sees its own", () => {
  const world = new World();
  const address = world.map(1);
  world.poke(address, 1);
  const child = Mm.at(world.machine.memory, world.run(doFork(world.machine, world.mm)));
  assert.equal(world.page(address).pfn, world.page(address, child).pfn);
  assert.equal(world.page(address).writable, false);
  world.poke(address, 2, child);
  assert.equal(world.peek(address), 1);
  assert.equal(world.peek(address, child), 2);
  const parentFrame = world.page(address).pfn;
  world.poke(address, 3);
  assert.equal(
    world.page(address).pfn,
    parentFrame,
    "the last user writes in place, without a copy",
  );
  world.run(mmput(world.machine, child));
  world.end();
});

test("a shared mapping stays one memory across fork", () => {
  const world = new World();
  const address = world.map(1, { shared: true });
  const child = Mm.at(world.machine.memory, world.run(doFork(world.machine, world.mm)));
  world.poke(address, 5, child);
  assert.equal(world.peek(address), 5);
  world.run(mmput(world.machine, child));
  assert.equal(world.peek(address), 5);
  world.end();
});

test("protection none keeps the contents and forbids the access", () => {
  const world = new World();
  const address = world.map(1);
  world.poke(address, 9);
  assert.equal(world.run(doMprotect(world.machine, world.mm, address, PAGE, 0)), 0);
  assert.equal(world.touch(address, false), EFAULT);
  assert.equal(world.run(doMprotect(world.machine, world.mm, address, PAGE, VM_READ)), 0);
  assert.equal(world.peek(address), 9);
  assert.equal(world.touch(address, true), EFAULT);
  world.end();
});

test("mremap moves the frames, not the bytes", () => {
  const world = new World();
  const address = world.map(3);
  world.poke(address, 11);
  world.poke(address + 2 * PAGE, 13);
  const before = world.page(address).pfn;
  const wall = world.map(1); // directly above: growing in place is impossible
  assert.equal(wall, address + 3 * PAGE);
  const request = {
    address,
    oldLengthBytes: 3 * PAGE,
    newLengthBytes: 5 * PAGE,
    mayMove: false,
    to: undefined,
  };
  assert.equal(world.run(doMremap(world.machine, world.mm, request)), ENOMEM);
  const moved = world.run(doMremap(world.machine, world.mm, { ...request, mayMove: true }));
  assert.notEqual(moved, address);
  assert.equal(world.page(moved).pfn, before);
  assert.equal(world.peek(moved + 2 * PAGE), 13);
  assert.equal(world.touch(address, false), EFAULT);
  assert.equal(world.peek(moved + 4 * PAGE), 0);
  world.end();
});

test("DONTNEED gives frames back and reads zeros; unmapping gives everything back", () => {
  const world = new World();
  const address = world.map(8);
  for (let i = 0; i < 8; i++) world.poke(address + i * PAGE, i + 1);
  assert.equal(world.machine.ram.usage().usedPages, 8);
  assert.equal(world.run(doMadvise(world.machine, world.mm, address, 4 * PAGE, MADV_DONTNEED)), 0);
  assert.equal(world.machine.ram.usage().usedPages, 4);
  assert.equal(world.peek(address), 0);
  assert.equal(world.peek(address + 4 * PAGE), 5);
  assert.equal(world.run(doMunmap(world.machine, world.mm, address, 8 * PAGE)), 0);
  assert.equal(world.machine.ram.usage().usedPages, 0);
  world.end();
});

test("out of frames is ENOMEM, and after giving some back all goes on", () => {
  const world = new World(4);
  const address = world.map(16);
  let got = 0;
  while (got < 16 && world.touch(address + got * PAGE, true) === 0) got++;
  assert.ok(got >= 2 && got <= 4, `got ${got} frames of 4`);
  assert.equal(world.touch(address + got * PAGE, true), ENOMEM);
  assert.equal(world.run(doMadvise(world.machine, world.mm, address, PAGE, MADV_DONTNEED)), 0);
  assert.equal(world.touch(address + got * PAGE, true), 0);
  world.end();
});

test("tracking takes the write right until the next write fault, and only of private pages", () => {
  const world = new World();
  const address = world.map(2);
  const shared = world.map(1, { shared: true });
  world.poke(address, 1);
  world.poke(shared, 1);
  const copyable = new Uint8Array(3);
  const first = address / PAGE;
  world.run(
    (function* (): Task<void> {
      yield* world.mm.mmapLock.downRead();
      yield* trackRange(world.machine, world.mm, first, first + 3, copyable);
      yield* world.mm.mmapLock.upRead();
    })(),
  );
  assert.deepEqual([...copyable], [1, 0, 0], "written, never touched, shared");
  assert.deepEqual([world.page(address).tracked, world.page(address).writable], [true, false]);
  const { pfn } = world.page(address);
  world.poke(address, 2);
  assert.deepEqual([world.page(address).tracked, world.page(address).writable], [false, true]);
  assert.equal(world.page(address).pfn, pfn, "no copy was needed");
  world.end();
});

test("a view gathers its frames into a run, keeps what they hold, and outlives the mapping", () => {
  const world = new World();
  const address = world.map(6);
  for (const i of [4, 0, 2]) world.poke(address + i * PAGE, 100 + i);
  const at = world.run(viewOpen(world.machine, world.mm, address / PAGE, address / PAGE + 6, true));
  assert.ok(at > 0);
  const { pfn } = ViewHold.at(world.machine.memory, at);
  for (let i = 0; i < 6; i++) assert.equal(world.page(address + i * PAGE).pfn, pfn + i);
  assert.deepEqual(
    [0, 1, 2, 4].map((i) => world.peek(address + i * PAGE)),
    [100, 0, 102, 104],
  );
  const other = world.run(
    viewOpen(world.machine, world.mm, address / PAGE + 1, address / PAGE + 3, false),
  );
  assert.equal(ViewHold.at(world.machine.memory, other).pfn, pfn + 1, "already in a row");
  const request = {
    address,
    oldLengthBytes: PAGE,
    newLengthBytes: 9 * PAGE,
    mayMove: true,
    to: undefined,
  };
  assert.equal(world.run(doMremap(world.machine, world.mm, request)), EBUSY);
  assert.equal(world.run(doMunmap(world.machine, world.mm, address, 6 * PAGE)), 0);
  assert.equal(world.machine.ram.usage().usedPages, 6);
  world.run(viewClose(world.machine, at));
  assert.equal(world.machine.ram.usage().usedPages, 2);
  world.run(viewClose(world.machine, other));
  world.end();
});

test("fork copies what a view has pinned: the child never sees the view's later stores", () => {
  const world = new World();
  const address = world.map(1);
  world.poke(address, 1);
  const at = world.run(viewOpen(world.machine, world.mm, address / PAGE, address / PAGE + 1, true));
  const { pfn } = ViewHold.at(world.machine.memory, at);
  const child = Mm.at(world.machine.memory, world.run(doFork(world.machine, world.mm)));
  // a store through the view
  world.machine.ram.sections.of(pfn).i32[world.machine.ram.sections.wordIndex(pfn)] = 77;
  assert.equal(world.peek(address), 77);
  assert.equal(world.peek(address, child), 1);
  world.run(viewClose(world.machine, at));
  world.run(mmput(world.machine, child));
  world.end();
});
