/**
 * @module A thread dies while it gives up so many pages that their frames are noted in a table, and
 * become free at once (K3 of mm/entries/batch.ts), or so few that no table is needed: each is put
 * once. The twin takes frames that nothing notes.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../../src/memory/machine.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/calls/madvise.ts";
import { doMmap } from "../../src/mm/calls/mmap.ts";
import { cpuFault } from "../../src/mm/fault/cpu-fault.ts";
import { mmCreate } from "../../src/mm/lifetime/mm.ts";
import { mmapWriteLock } from "../../src/mm/migration.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import { PAGE_BYTES, holdsFrame, ptePfn } from "../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../src/mm/vma/vma.ts";
import { pteAt } from "../../src/mmu/radix-table.ts";
import { panicInfo } from "../../src/sync/death/panic.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { CutThread } from "../cut-thread.ts";

interface Size {
  readonly pages: number;
  readonly ramBytes: number;
}

/** A table notes the frames. */
const MANY: Size = { pages: 100, ramBytes: 4 << 20 };
/** The operation's own words note them. */
const FEW: Size = { pages: 12, ramBytes: 512 << 10 };

interface World extends Size {
  readonly machine: Machine;
  readonly mm: Mm;
  readonly startPage: number;
}

/** All pages are present. */
function makeWorld(size: Size): World {
  const { pages, ramBytes } = size;
  const machine = Machine.create({ ramBytes, heapBytes: 8 << 20, debug: false });
  const run = <T>(task: Task<T>): T => runBlocking(machine.memory, task);
  const mm = Mm.at(machine.memory, run(mmCreate(machine)));
  const lengthBytes = pages * PAGE_BYTES;
  const protection = VM_READ | VM_WRITE;
  const anywhere = { address: 0, placement: 0, shared: false, bufferPfn: 0, offsetPages: 0 };
  const address = run(doMmap(machine, mm, { ...anywhere, lengthBytes, protection }));
  const startPage = address / PAGE_BYTES;
  for (let i = 0; i < pages; i++) assert.equal(run(cpuFault(machine, mm, startPage + i, true)), 0);
  return { machine, mm, startPage, ...size };
}

type Body = (machine: Machine, world: World) => Task<unknown>;

const discard: Body = (machine, { mm, startPage, pages }) => {
  const own = Mm.at(machine.memory, mm.at);
  const [address, lengthBytes] = [startPage * PAGE_BYTES, pages * PAGE_BYTES];
  return doMadvise(machine, own, address, lengthBytes, MADV_DONTNEED);
};

/** Takes a row that nothing notes, and gives it back. */
const rowUnnoted: Body = function* (machine, { mm, pages }) {
  const own = Mm.at(machine.memory, mm.at);
  const pfn = yield* machine.ram.allocRun(pages, true);
  yield* mmapWriteLock(machine, own);
  yield* own.mmapLock.upWrite();
  yield* machine.ram.refs.pagePutAll(Array.from({ length: pages }, (_, i) => pfn + i));
};

/** Others may write the mapping, and no lock is left. */
const lockAndUnlock = function* ({ machine, mm }: World): Task<void> {
  yield* mmapWriteLock(machine, mm);
  yield* mm.mmapLock.upWrite();
};

interface Left {
  readonly frames: number;
  readonly references: number;
}

/**
 * Frames and references more than entries, when a thread has died in it, and all of RAM has been
 * used once; undefined: it ended.
 */
function leftAfter(body: Body, size: Size, looks: number): Left | undefined {
  const world = makeWorld(size);
  const { machine, mm, startPage, pages } = world;
  const { memory, ram } = machine;
  const victim = new CutThread(machine);
  if (!victim.runAndDie(machine, (own) => body(own, world), looks)) return undefined;
  runBlocking(memory, lockAndUnlock(world));
  assert.equal(panicInfo(memory), undefined);
  for (let i = 0; i < pages; i++) runBlocking(memory, cpuFault(machine, mm, startPage + i, true));
  const named = new Set<number>();
  for (let i = 0; i < pages; i++) {
    const pte = pteAt(memory, mm.pgd, startPage + i);
    if (holdsFrame(pte)) named.add(ptePfn(pte));
  }
  assert.equal(named.size, pages, "two pages have one frame");
  const { references } = ram.refs.total();
  return { frames: ram.usage().usedPages - pages, references: references - pages };
}

/** More than it takes. */
const LOOKS_MAX = 400;

for (const [name, size] of [
  ["many", MANY],
  ["a few", FEW],
] as const) {
  test(`a death in giving up ${name} pages loses no frame, and puts none twice`, () => {
    let deaths = 0;
    for (let looks = 0; looks < LOOKS_MAX; looks++, deaths++) {
      const left = leftAfter(discard, size, looks);
      if (left === undefined) break;
      assert.deepEqual(left, { frames: 0, references: 0 }, `after ${looks} looks`);
    }
    assert.ok(deaths > 5 && deaths < LOOKS_MAX, `${deaths} deaths`);
  });
}

test("a row that nothing notes is lost, and found so", () => {
  const deaths = Array.from({ length: 30 }, (_, looks) => leftAfter(rowUnnoted, FEW, looks));
  assert.ok(deaths.some((left) => left !== undefined && left.frames > 0));
});
