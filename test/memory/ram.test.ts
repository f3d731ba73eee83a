/** @module Frames in one thread: allocation, contiguity, counts, pins, budgets. */

import { zeroPage } from "../../src/memory/frames/page-data.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Machine } from "../../src/memory/machine.ts";
import { POISON_FREE } from "../../src/memory/layout/poison.ts";
import { PAGE_WORDS } from "../../src/memory/ram.ts";
import { AGENTS_USED } from "../../src/sync/control-block.ts";
import { DONE } from "../../src/sync/tasks/task.ts";
import { selectAgent } from "../../src/sync/runners/agents.ts";
import { makeMachine, run, seedFor } from "./harness.ts";
import { diceOf } from "../dice.ts";

function allocAll(machine: Machine): number[] {
  const frames: number[] = [];
  for (
    let pfn = run(machine, machine.ram.allocFrame(false));
    pfn !== 0;
    pfn = run(machine, machine.ram.allocFrame(false))
  )
    frames.push(pfn);
  return frames;
}

function fillFrame(machine: Machine, pfn: number, value: number): void {
  const section = machine.ram.sections.of(pfn);
  section.i32.fill(value, section.wordIndex(pfn), section.wordIndex(pfn) + PAGE_WORDS);
}

function isFilledWith(machine: Machine, pfn: number, value: number): boolean {
  const section = machine.ram.sections.of(pfn);
  const index = section.wordIndex(pfn);
  return section.i32.subarray(index, index + PAGE_WORDS).every((word) => word === value);
}

test("every page of the budget can be had, also of a tiny one, and no more", () => {
  for (const ramPages of [1, 16, 100, 4096, 20_000]) {
    const machine = makeMachine({ ramPages });
    const frames = allocAll(machine);
    assert.equal(frames.length, ramPages);
    assert.equal(new Set(frames).size, ramPages);
    assert.ok(!frames.includes(0), "frame 0 is the page of zeros");
    assert.equal(run(machine, machine.ram.allocRun(1, false)), 0);
    assert.deepEqual(machine.ram.usage(), {
      totalPages: ramPages,
      freePages: 0,
      usedPages: ramPages,
    });
    for (const pfn of frames) run(machine, machine.ram.refs.pagePut(pfn));
    assert.deepEqual(machine.ram.usage(), {
      totalPages: ramPages,
      freePages: ramPages,
      usedPages: 0,
    });
    assert.equal(allocAll(machine).length, ramPages, "and once more");
  }
});

test("many frames at once come in rows, and as many as there are when they are not enough", () => {
  const machine = makeMachine({ ramPages: 2000 });
  const { ram } = machine;
  const all = new Uint32Array(700);
  run(machine, ram.allocFrames(all));
  assert.equal(new Set(all).size, all.length);
  for (const pfn of all) assert.equal(ram.refs.pageCount(pfn), 1);
  const breaks = all.filter((pfn, i) => i > 0 && pfn !== all[i - 1]! + 1).length;
  assert.ok(breaks <= 10, `512 in a row, then rows of 64 and 8: ${breaks} breaks`);
  const rest = new Uint32Array(1500);
  run(machine, ram.allocFrames(rest));
  assert.equal(rest.indexOf(0), 1300, "those that are lacking are the last");
  assert.equal(ram.usage().freePages, 0);
  // Every other frame: there is no row.
  const scattered = [...all, ...rest.subarray(0, 1300)].filter((pfn) => pfn % 2 === 0);
  run(machine, ram.refs.pagePutAll(scattered));
  const singles = new Uint32Array(scattered.length);
  run(machine, ram.allocFrames(singles));
  assert.deepEqual(singles.toSorted(), Uint32Array.from(scattered).toSorted());
});

test("a frame that was taken without a wait goes back without one, however short the list", () => {
  for (let slots = 1; slots <= 62; slots++) {
    const machine = makeMachine({ ramPages: slots * 256 });
    const { allocator } = machine.ram;
    for (let i = 0; i < 3; i++) {
      const pfn = run(machine, allocator.take()); // the first fills the list
      assert.ok(pfn > 0);
      assert.equal(allocator.give(pfn), DONE, `a list of ${slots}`);
    }
  }
});

test("threads are refilled from different blocks of 2 MiB, as long as there are any", () => {
  const BLOCK_PAGES = 512;
  const machine = makeMachine({ ramPages: 16 * BLOCK_PAGES });
  const { memory, ram } = machine;
  const home = memory.agentId;
  const agents = [1, 2].map((agentId) => (memory.words[AGENTS_USED] = agentId + 1) - 1);
  const takenBy = (agentId: number, count: number): number[] => {
    selectAgent(memory, agentId);
    return Array.from({ length: count }, () => run(machine, ram.allocFrame(false)));
  };
  const blocks = agents.map(() => new Set<number>());
  const frames: number[] = [];
  for (let turn = 0; turn < 40; turn++) {
    for (const [i, agentId] of agents.entries()) {
      const taken = takenBy(agentId, 20 + (turn % 30));
      frames.push(...taken);
      for (const pfn of taken) blocks[i]!.add(Math.floor(pfn / BLOCK_PAGES));
    }
  }
  assert.deepEqual(
    Array.from(blocks[0]!).filter((block) => blocks[1]!.has(block)),
    [],
  );
  // Then one thread gets all the rest, also what is left of the other's block.
  for (let pfn = takenBy(1, 1)[0]!; pfn !== 0; pfn = takenBy(1, 1)[0]!) frames.push(pfn);
  assert.equal(frames.length, 16 * BLOCK_PAGES);
  assert.equal(new Set(frames).size, frames.length);
  for (const pfn of frames) run(machine, ram.refs.pagePut(pfn));
  selectAgent(memory, home);
});

test("a frame asked for zeroed is, whether it was used before or not; a freed one is poisoned in a debug build", () => {
  const machine = makeMachine({ ramPages: 8 });
  const { ram } = machine;
  const frames = allocAll(machine);
  for (const pfn of frames) {
    assert.ok(isFilledWith(machine, pfn, 0), "never used: zero, without a fill");
    fillFrame(machine, pfn, 0x5eadbeef);
    run(machine, ram.refs.pagePut(pfn));
  }
  assert.ok(
    isFilledWith(machine, run(machine, ram.allocFrame(false)), POISON_FREE),
    "a debug build poisons what is freed",
  );
  for (let i = 0; i < 3; i++)
    assert.ok(isFilledWith(machine, run(machine, ram.allocFrame(true)), 0));
  const start = run(machine, ram.allocRun(2, true));
  assert.ok(isFilledWith(machine, start, 0) && isFilledWith(machine, start + 1, 0));
});

test("after everything was allocated and freed in any order, the buddy system is back to the blocks it began with", (t) => {
  const seed = seedFor(t);
  const dice = diceOf(seed);
  const machine = makeMachine({ ramPages: 128 }); // below the size at which threads keep freeLists
  const { ram } = machine;
  const before = ram.allocator.zones.freeBlocks();
  assert.deepEqual(
    before.map(({ order }) => order),
    [7],
  );
  const frames = allocAll(machine);
  while (frames.length > 0) {
    const [pfn] = frames.splice(dice(frames.length), 1);
    if (pfn !== undefined) run(machine, ram.refs.pagePut(pfn));
  }
  assert.deepEqual(ram.allocator.zones.freeBlocks(), before, `seed ${seed}`);
});

test("a run is contiguous, of any length, and each of its frames is freed by itself", () => {
  const machine = makeMachine({ ramPages: 4096 });
  const { ram } = machine;
  // leaves frames in this thread's free list
  run(machine, ram.refs.pagePut(run(machine, ram.allocFrame(false))));
  const lengths = [1, 3, 512, 513, 7, 1024];
  const runs = lengths.map((pages) => ({ pages, pfn: run(machine, ram.allocRun(pages, true)) }));
  const all = runs.flatMap(({ pages, pfn }) => Array.from({ length: pages }, (_, i) => pfn + i));
  assert.ok(runs.every(({ pfn }) => pfn !== 0));
  assert.equal(new Set(all).size, all.length);
  assert.ok(all.every((pfn) => ram.refs.pageCount(pfn) === 1));
  const huge = runs[2];
  assert.ok(
    huge !== undefined && huge.pfn % 512 === 0,
    "a power of two is aligned to its size: 2 MiB pages need that",
  );
  for (const pfn of all) run(machine, ram.refs.pagePut(pfn));
  assert.equal(ram.usage().usedPages, 0);
  const whole = run(machine, ram.allocRun(4096, false));
  assert.notEqual(whole, 0, "also what lay in a free list joins a run that needs it");
  assert.equal(run(machine, ram.allocRun(1, false)), 0);
});

test("a run longer than any hole is 0 although as many frames are free, and so is one longer than a section", () => {
  const machine = makeMachine({ ramPages: 64 });
  const { ram } = machine;
  const frames = allocAll(machine);
  for (const pfn of frames.filter((p) => p % 2 === 0)) run(machine, ram.refs.pagePut(pfn));
  assert.equal(ram.usage().freePages, 32);
  assert.equal(run(machine, ram.allocRun(2, false)), 0);
  assert.notEqual(run(machine, ram.allocRun(1, false)), 0);
  assert.equal(run(machine, ram.allocRun(2 ** 20, false)), 0);
  assert.throws(() => run(machine, ram.allocRun(0, false)), /Cannot allocate a run of 0 frames/);
});

test("a frame lives while it is counted", () => {
  const machine = makeMachine({ ramPages: 2 });
  const { ram } = machine;
  const pfn = run(machine, ram.allocFrame(true));
  run(machine, ram.refs.pageGet(pfn));
  assert.equal(run(machine, ram.refs.pageGetNotZero(pfn)), true);
  assert.equal(ram.refs.pageCount(pfn), 3);
  for (let left = 2; left >= 0; left--) {
    assert.equal(ram.usage().usedPages, 1);
    run(machine, ram.refs.pagePut(pfn));
    assert.equal(ram.refs.pageCount(pfn), left);
  }
  assert.equal(ram.usage().usedPages, 0);
  assert.equal(
    run(machine, ram.refs.pageGetNotZero(pfn)),
    false,
    "a free frame is not brought back",
  );
});

test("one put too many, a get of a free frame, an unpin without pin, freeing a pinned frame: each is caught", () => {
  const machine = makeMachine({ ramPages: 4 });
  const { ram } = machine;
  const pfn = run(machine, ram.allocFrame(true));
  const note = run(machine, machine.heap.allocWords(512));
  machine.memory.words[note] = 1;
  assert.throws(
    () => run(machine, ram.refs.unpinNoted(pfn, note, note + 1, note + 2)),
    /Cannot unpin frame \d+: it has no pins/,
  );
  const pinned = run(machine, ram.allocFrame(true));
  ram.refs.pinRunNoted(pinned, 1, note, 0);
  run(machine, ram.refs.pagePut(pinned));
  assert.throws(
    () => run(machine, ram.refs.pagePut(pinned)),
    /Cannot free frame \d+: it is pinned/,
  );
  run(machine, ram.refs.pagePut(pfn));
  assert.throws(
    () => run(machine, ram.refs.pagePut(pfn)),
    /Cannot put frame \d+: it is free already/,
  );
  const free = run(machine, ram.allocFrame(true));
  run(machine, ram.refs.pagePut(free));
  assert.throws(() => run(machine, ram.refs.pageGet(free)), /Cannot get frame \d+: it is free/);
});

test("a pin is a reference that shows", () => {
  const machine = makeMachine();
  const { ram } = machine;
  const pfn = run(machine, ram.allocFrame(true));
  assert.equal(run(machine, ram.refs.pagePinned(pfn)), false);
  const [first, second, spare] = [0, 1, 2].map(
    (i) => run(machine, machine.heap.allocWords(512)) + i,
  ) as [number, number, number];
  ram.refs.pinRunNoted(pfn, 1, first, 0);
  ram.refs.pinRunNoted(pfn, 1, second, 0);
  assert.equal(ram.refs.pageCount(pfn), 3);
  run(machine, ram.refs.unpinNoted(pfn, first, spare, spare + 1));
  assert.equal(run(machine, ram.refs.pagePinned(pfn)), true);
  run(machine, ram.refs.unpinNoted(pfn, second, spare, spare + 1));
  assert.equal(run(machine, ram.refs.pagePinned(pfn)), false);
  assert.equal(ram.refs.pageCount(pfn), 1);
});

test("the page of zeros is there, is counted by nobody and never freed", () => {
  const machine = makeMachine();
  const { ram } = machine;
  assert.ok(isFilledWith(machine, 0, 0));
  run(machine, ram.refs.pageGet(0));
  for (let i = 0; i < 5; i++) run(machine, ram.refs.pagePut(0));
  assert.equal(ram.refs.pageCount(0), 1);
  assert.equal(run(machine, ram.refs.pagePinned(0)), false);
  assert.equal(ram.sections.of(0).owned, false);
});

test("a page is copied and zeroed", () => {
  const machine = makeMachine();
  const { ram } = machine;
  const [from, to] = [run(machine, ram.allocFrame(true)), run(machine, ram.allocFrame(true))];
  fillFrame(machine, from, 123);
  ram.copyFrame(from, to);
  assert.ok(isFilledWith(machine, to, 123));
  ram.copyFrame(0, to);
  assert.ok(isFilledWith(machine, to, 0), "from another section");
  zeroPage(ram.sections.of(from), from);
  assert.ok(isFilledWith(machine, from, 0));
});

test("a number that no section has is refused, with what to do", () => {
  const { ram } = makeMachine();
  assert.throws(() => ram.sections.of(5), {
    code: "ENXIO",
    message: /Cannot reach frame 5: no section has it/,
  });
  assert.throws(() => ram.sections.of(2 ** 24 - 1), { code: "ENXIO" });
});

test("random frames and runs agree with a model of what is allocated", (t) => {
  const seed = seedFor(t);
  const dice = diceOf(seed);
  const ramPages = 200 + dice(1500); // without and with freeLists
  const machine = makeMachine({ ramPages });
  const { ram } = machine;
  const counts = new Map<number, number>();
  let full = 0;
  for (let step = 0; step < 6000; step++) {
    const where = `seed ${seed}, ${ramPages} pages, step ${step}`;
    const known = [...counts.keys()];
    const picked = known[dice(known.length || 1)];
    const what = dice(10);
    if (picked !== undefined && what < 4) {
      run(machine, ram.refs.pagePut(picked));
      const left = counts.get(picked)! - 1; // picked from its keys
      if (left === 0) counts.delete(picked);
      else counts.set(picked, left);
    } else if (picked !== undefined && what === 4) {
      run(machine, ram.refs.pageGet(picked));
      counts.set(picked, counts.get(picked)! + 1); // picked from its keys
    } else {
      const pages = what === 9 ? 1 + dice(40) : 1;
      const pfn = run(machine, pages === 1 ? ram.allocFrame(false) : ram.allocRun(pages, false));
      if (pfn === 0) full++;
      if (pages === 1)
        assert.equal(
          pfn === 0,
          counts.size === ramPages,
          `${where}: 0 exactly when nothing is free`,
        );
      if (pfn === 0) continue;
      for (let i = 0; i < pages; i++) {
        assert.equal(counts.has(pfn + i), false, `${where}: frame ${pfn + i} handed out twice`);
        counts.set(pfn + i, 1);
      }
    }
    if (step % 100 === 0) assert.equal(ram.usage().usedPages, counts.size, where);
  }
  for (const [pfn, count] of counts)
    assert.equal(ram.refs.pageCount(pfn), count, `seed ${seed}: frame ${pfn}`);
  t.diagnostic(`${full} times full`);
});

test("many frames that are put at once: those with another reference stay, the others are free", (t) => {
  const seed = seedFor(t);
  const dice = diceOf(seed);
  const machine = makeMachine({ ramPages: 20_000, debug: false });
  const { refs } = machine.ram;
  const frames = allocAll(machine);
  for (const count of [0, 1, 40, 63, 64, 512, 3000]) {
    // In any order, also descending: rows are found among them.
    const put = frames
      .map((pfn) => ({ pfn, order: dice(1_000_000) }))
      .toSorted((a, b) => a.order - b.order)
      .slice(0, count)
      .map(({ pfn }) => pfn);
    const kept = put.filter((_, i) => i % 3 === 0);
    for (const pfn of kept) run(machine, refs.pageGet(pfn));
    const free = machine.ram.usage().freePages;
    run(machine, refs.pagePutAll([...put, 0]));
    const freed = put.length - kept.length;
    assert.equal(machine.ram.usage().freePages, free + freed, `seed ${seed}, ${count} frames`);
    for (const pfn of kept) assert.equal(refs.pageCount(pfn), 1);
    const again = Array.from({ length: freed }, () => run(machine, machine.ram.allocFrame(false)));
    const gone = new Set(put.filter((_, i) => i % 3 !== 0));
    assert.ok(
      again.every((pfn) => gone.delete(pfn)),
      `seed ${seed}: what is free is what was put, each once`,
    );
  }
  run(machine, refs.pagePutAll(frames));
  assert.equal(machine.ram.usage().usedPages, 0);
  assert.throws(() => run(machine, refs.pagePutAll([frames[0]!])), /it is free already/);
});
