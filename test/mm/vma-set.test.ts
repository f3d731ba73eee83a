/**
 * The set of vmas against a naive model: an array of page kinds. After every step the two agree,
 * the tree is balanced, and the widest holes that the nodes remember are the true ones.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../../src/memory/machine.ts";
import { doMmap, MAP_ANYWHERE, MAP_FIXED_REPLACE } from "../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../src/mm/calls/munmap.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import { mmCreate, mmput } from "../../src/mm/lifetime/mm.ts";
import { doMprotect } from "../../src/mm/calls/mprotect.ts";
import { FIRST_PAGE, findFreeArea } from "../../src/mm/vma/vma-tree.ts";
import { VM_READ, VM_WRITE, Vma, findVma, vmaAt } from "../../src/mm/vma/vma.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { diceOf } from "../dice.ts";

const PAGE = 4096;
const PAGES = 96;

function makeMachine(): Machine {
  return Machine.create({ ramBytes: 4 << 20, heapBytes: 8 << 20, debug: true });
}

interface Measured {
  readonly height: number;
  readonly gap: number;
}

/** Checks T1 and T2 of memory/layout/avl-tree.ts, of a subtree. */
function checkTree(machine: Machine, at: number, where: string): Measured {
  if (at === 0) return { height: 0, gap: 0 };
  const vma = Vma.at(machine.memory, at);
  const left = checkTree(machine, vma.left, where);
  const right = checkTree(machine, vma.right, where);
  assert.ok(
    Math.abs(left.height - right.height) <= 1,
    `${where}: unbalanced at page ${vma.startPage}`,
  );
  const below =
    vma.prev === 0 ? FIRST_PAGE : Math.max(FIRST_PAGE, Vma.at(machine.memory, vma.prev).endPage);
  const measured = {
    height: 1 + Math.max(left.height, right.height),
    gap: Math.max(left.gap, right.gap, vma.startPage - below, 0),
  };
  assert.equal(vma.height, measured.height, `${where}: height at page ${vma.startPage}`);
  assert.equal(vma.maxGapPages, measured.gap, `${where}: widest hole at page ${vma.startPage}`);
  return measured;
}

/**
 * The space's pages as a strip: "." unmapped, "n" no access, "r" read, "w" read-write; borders
 * between alike neighbours do not show.
 */
function stripOf(machine: Machine, mm: Mm): string {
  let strip = "";
  let previous: Vma | undefined;
  for (
    let vma = vmaAt(machine.memory, mm.vmaFirst);
    vma !== undefined;
    vma = vmaAt(machine.memory, vma.next)
  ) {
    strip = strip.padEnd(vma.startPage - FIRST_PAGE, ".");
    const letter = (vma.flags & VM_READ) === 0 ? "n" : (vma.flags & VM_WRITE) === 0 ? "r" : "w";
    strip += letter.repeat(vma.endPage - vma.startPage);
    if (previous !== undefined && previous.endPage === vma.startPage) {
      assert.notEqual(
        previous.flags,
        vma.flags,
        "neighbours that are alike must have been merged (V2)",
      );
    }
    previous = vma;
  }
  return strip.padEnd(PAGES, ".");
}

const PROTECTIONS = [
  { letter: "n", bits: 0 },
  { letter: "r", bits: VM_READ },
  { letter: "w", bits: VM_READ | VM_WRITE },
];

function protectionOf(index: number): { letter: string; bits: number } {
  return PROTECTIONS[index] ?? { letter: "n", bits: 0 };
}

function fill(strip: string, start: number, end: number, letter: string): string {
  return strip.slice(0, start) + letter.repeat(end - start) + strip.slice(end);
}

function runSequence(seed: number, steps: number): void {
  const machine = makeMachine();
  const run = <T>(task: Task<T>): T => runBlocking(machine.memory, task);
  // What the first space of a machine makes stays.
  run(mmput(machine, Mm.at(machine.memory, run(mmCreate(machine)))));
  const before = machine.heap.accounting();
  const at = run(mmCreate(machine));
  const mm = Mm.at(machine.memory, at);
  const random = diceOf(seed);
  let model = ".".repeat(PAGES);
  for (let step = 0; step < steps; step++) {
    const where = `seed ${seed}, step ${step}`;
    const start = random(PAGES - 1);
    const pages = 1 + random(Math.min(24, PAGES - start - 1) || 1);
    const address = (FIRST_PAGE + start) * PAGE;
    const { letter, bits } = protectionOf(random(3));
    const part = model.slice(start, start + pages);
    switch (random(4)) {
      case 0: {
        const request = {
          lengthBytes: pages * PAGE,
          address,
          placement: MAP_FIXED_REPLACE,
          protection: bits,
          shared: false,
          bufferPfn: 0,
          offsetPages: 0,
        };
        assert.equal(run(doMmap(machine, mm, request)), address, where);
        model = fill(model, start, start + pages, letter);
        break;
      }
      case 1:
        assert.equal(run(doMunmap(machine, mm, address, pages * PAGE)), 0, where);
        model = fill(model, start, start + pages, ".");
        break;
      case 2: {
        const result = run(doMprotect(machine, mm, address, pages * PAGE, bits));
        assert.equal(result === 0, !part.includes("."), where);
        if (result === 0) model = fill(model, start, start + pages, letter);
        break;
      }
      default: {
        const found = findFreeArea(machine.memory, mm, pages);
        const expected = (model + ".".repeat(pages)).indexOf(".".repeat(pages));
        assert.equal(
          found - FIRST_PAGE,
          expected,
          `${where}: lowest free area of ${pages} pages in ${model}`,
        );
      }
    }
    assert.equal(stripOf(machine, mm), model, where);
    checkTree(machine, mm.vmaRoot, where);
    const probe = random(PAGES);
    const hit = vmaAt(machine.memory, findVma(machine.memory, mm, FIRST_PAGE + probe));
    assert.equal(
      hit !== undefined && hit.startPage <= FIRST_PAGE + probe,
      model[probe] !== ".",
      where,
    );
  }
  run(mmput(machine, mm));
  assert.deepEqual(machine.heap.accounting(), before, `seed ${seed}: leaked`);
}

test("random maps, unmaps and protections agree with a strip of letters", () => {
  const base = Number(process.env["HMM_SEED"] ?? Date.now() % 1_000_000);
  for (let i = 0; i < 20; i++) runSequence(base + i, 300);
});

test("the checks of this file see a wrong hole and a wrong height", () => {
  const machine = makeMachine();
  const at = runBlocking(machine.memory, mmCreate(machine));
  const mm = Mm.at(machine.memory, at);
  const request = {
    lengthBytes: PAGE,
    address: 0,
    placement: MAP_ANYWHERE,
    protection: VM_READ,
    shared: false,
    bufferPfn: 0,
    offsetPages: 0,
  };
  runBlocking(machine.memory, doMmap(machine, mm, request));
  const vma = Vma.at(machine.memory, mm.vmaRoot);
  vma.maxGapPages += 1;
  assert.throws(() => checkTree(machine, mm.vmaRoot, "broken on purpose"), /widest hole/);
  vma.maxGapPages -= 1;
  vma.height += 1;
  assert.throws(() => checkTree(machine, mm.vmaRoot, "broken on purpose"), /height/);
});
