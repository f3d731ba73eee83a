/**
 * @module A thread dies in the middle of mmap, munmap and mprotect, at any store: the mappings are
 * as before, or as after, or some of them are gone, the tree is whole, nothing is lost, and the
 * others go on. The twin makes a store that is not logged.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../../src/memory/machine.ts";
import { MAP_FIXED_REPLACE, doMmap } from "../../src/mm/calls/mmap.ts";
import { doMprotect } from "../../src/mm/calls/mprotect.ts";
import { doMunmap } from "../../src/mm/calls/munmap.ts";
import { mmCreate } from "../../src/mm/lifetime/mm.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import { FIRST_PAGE } from "../../src/mm/vma/vma-tree.ts";
import { VM_READ, VM_WRITE, Vma, vmaAt } from "../../src/mm/vma/vma.ts";
import { panicInfo } from "../../src/sync/death/panic.ts";
import { undoStore } from "../../src/sync/words/undo-log.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { CutThread } from "../cut-thread.ts";
import { diceOf } from "../dice.ts";

const PAGE = 4096;
const PAGES = 48;
const PROTECTIONS = [0, VM_READ, VM_READ | VM_WRITE] as const;
const LETTERS = "nrw";

interface World {
  readonly machine: Machine;
  readonly mm: Mm;
}

function makeWorld(): World {
  const machine = Machine.create({ ramBytes: 4 << 20, heapBytes: 8 << 20, debug: false });
  const mm = Mm.at(machine.memory, runBlocking(machine.memory, mmCreate(machine)));
  return { machine, mm };
}

/** A letter for each page: "." unmapped, else the protection. Checks the list on the way. */
function stripOf({ machine, mm }: World): string {
  let strip = "";
  let prev = 0;
  let count = 0;
  for (let vma = vmaAt(machine.memory, mm.vmaFirst); vma !== undefined; count++) {
    assert.equal(vma.prev, prev, "the list goes back as it goes forth");
    assert.ok(vma.startPage - FIRST_PAGE >= strip.length && vma.endPage > vma.startPage, "V1");
    strip = strip.padEnd(vma.startPage - FIRST_PAGE, ".");
    strip += letterOf(vma).repeat(vma.endPage - vma.startPage);
    prev = vma.at;
    vma = vmaAt(machine.memory, vma.next);
  }
  assert.equal(count, mm.vmaCount, "vmas are counted");
  return strip.padEnd(PAGES, ".");
}

function letterOf({ flags }: Vma): string {
  if ((flags & VM_READ) === 0) return "n";
  return (flags & VM_WRITE) === 0 ? "r" : "w";
}

/** T1 and T2 of memory/layout/avl-tree.ts. Height, widest hole, and number of nodes. */
function measure(world: World, at: number): readonly [number, number, number] {
  if (at === 0) return [0, 0, 0];
  const { memory } = world.machine;
  const vma = Vma.at(memory, at);
  const [leftHeight, leftGap, leftCount] = measure(world, vma.left);
  const [rightHeight, rightGap, rightCount] = measure(world, vma.right);
  assert.ok(Math.abs(leftHeight - rightHeight) <= 1, "balanced");
  const below =
    vma.prev === 0 ? FIRST_PAGE : Math.max(Vma.at(memory, vma.prev).endPage, FIRST_PAGE);
  const height = 1 + Math.max(leftHeight, rightHeight);
  const gap = Math.max(leftGap, rightGap, vma.startPage - below);
  assert.deepEqual([vma.height, vma.maxGapPages], [height, gap], `at page ${vma.startPage}`);
  return [height, gap, leftCount + rightCount + 1];
}

function checkWorld(world: World): string {
  const strip = stripOf(world);
  const { machine, mm } = world;
  assert.equal(measure(world, mm.vmaRoot)[2], mm.vmaCount, "all are in the tree");
  assert.equal(mm.mappedPages, strip.replaceAll(".", "").length, "pages are counted");
  assert.equal(machine.memory.words[mm.mmapLock.at], 0, "nobody holds the lock");
  const live = machine.heap.accounting().find(({ name }) => name === "vma")?.live ?? 0;
  assert.equal(live, mm.vmaCount, "no vma is lost");
  return strip;
}

interface Call {
  readonly make: (machine: Machine) => Task<unknown>;
  readonly start: number;
  readonly end: number;
  /** What its pages may be afterwards, besides what they were. */
  readonly letters: string;
}

function drawCall(mmAt: number, random: (below: number) => number): Call {
  const start = random(PAGES - 1);
  const end = start + 1 + random(Math.min(16, PAGES - start - 1) || 1);
  const address = (FIRST_PAGE + start) * PAGE;
  const lengthBytes = (end - start) * PAGE;
  const number = random(3);
  const protection = PROTECTIONS[number] ?? 0;
  const letter = LETTERS.charAt(number);
  const mmOf = ({ memory }: Machine): Mm => Mm.at(memory, mmAt);
  const request = { shared: false, bufferPfn: 0, offsetPages: 0, placement: MAP_FIXED_REPLACE };
  switch (random(3)) {
    case 0:
      return {
        start,
        end,
        letters: `${letter}.`,
        make: (m) => doMmap(m, mmOf(m), { ...request, address, lengthBytes, protection }),
      };
    case 1:
      return {
        start,
        end,
        letters: ".",
        make: (m) => doMunmap(m, mmOf(m), address, lengthBytes),
      };
    default:
      return {
        start,
        end,
        letters: letter,
        make: (m) => doMprotect(m, mmOf(m), address, lengthBytes, protection),
      };
  }
}

/** Plays calls until `deaths` threads have died in them. Returns how many machines stopped. */
function play(seed: number, deaths: number): string[] {
  const random = diceOf(seed);
  const stopped: string[] = [];
  let world = makeWorld();
  let victim = new CutThread(world.machine);
  for (let died = 0; died < deaths;) {
    const before = stripOf(world);
    const { make, start, end, letters } = drawCall(world.mm.at, random);
    const isDead = victim.runAndDie(world.machine, make, random(died % 2 === 0 ? 60 : 200));
    if (isDead) {
      died++;
      const reason = panicInfo(world.machine.memory);
      if (reason !== undefined) {
        stopped.push(reason.message);
        world = makeWorld();
      }
      victim = new CutThread(world.machine);
      if (reason !== undefined) continue;
      runBlocking(world.machine.memory, doMunmap(world.machine, world.mm, 0, PAGE)); // reaps
    }
    const after = checkWorld(world);
    for (let page = 0; page < PAGES; page++) {
      const isOld = after[page] === before[page];
      const isNew = page >= start && page < end && letters.includes(after.charAt(page));
      assert.ok(isOld || isNew, `page ${page}: ${before} became ${after}`);
    }
  }
  return stopped;
}

/** Counts a page that is not mapped, by a store that is logged or not, and dies at some look. */
function isNoticed(isLogged: boolean, looks: number): boolean {
  const world = makeWorld();
  const at = world.mm.at + Mm.offset.mappedPages;
  function* count(machine: Machine): Task<void> {
    const { memory } = machine;
    const { mmapLock } = Mm.at(memory, world.mm.at);
    yield* mmapLock.downWrite();
    if (isLogged) undoStore(memory, mmapLock.at, at, 1);
    else memory.words[at] = 1;
    yield* mmapLock.upWrite();
  }
  if (!new CutThread(world.machine).runAndDie(world.machine, count, looks)) return false;
  try {
    checkWorld(world);
    return false;
  } catch {
    return true;
  }
}

test("a store that is not logged is noticed, at some place of the death", () => {
  const places = Array.from({ length: 20 }, (_, looks) => looks);
  assert.ok(places.some((looks) => isNoticed(false, looks)));
});

test("a thread that dies in mmap, munmap and mprotect leaves the mappings whole", () => {
  const seed = Number(process.env["HMM_TEST_SEED"] ?? Date.now() % 1_000_000);
  const stopped = play(seed, 400);
  assert.deepEqual(stopped, [], `seed ${seed}`);
});
