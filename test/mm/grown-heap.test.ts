/**
 * @module Tables beyond the end of one thread's view of the heap, because another thread has grown
 * the heap. Code that follows a pointer to one must call `ensure` first (sync/shared-memory.ts). An
 * index past the end of the view reads `undefined`, and an atomic access at such an index goes to
 * word 0.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../../src/memory/machine.ts";
import { cpuFault } from "../../src/mm/fault/cpu-fault.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/calls/madvise.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../src/mm/calls/munmap.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import { mmCreate, mmput } from "../../src/mm/lifetime/mm.ts";
import { readPagemap } from "../../src/mm/calls/pagemap.ts";
import { VM_READ, VM_WRITE } from "../../src/mm/vma/vma.ts";
import { MAGIC, MAGIC_VALUE } from "../../src/sync/control-block.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

const PAGE = 4096;
const ADDRESS = 2 ** 30;
const BLOCK_WORDS = 1024;

function run<T>(machine: Machine, task: Task<T>): T {
  return runBlocking(machine.memory, task);
}

/** Two threads' handles on one machine, with views of equal length. */
class Pair {
  readonly first: Machine = Machine.create({
    ramBytes: 64 * PAGE,
    heapBytes: 2 ** 23,
    debug: true,
  });
  readonly second: Machine = Machine.attach(this.first.handle, { name: "second" });

  /** A space made by the first thread. */
  makeSpace(): Mm {
    return Mm.at(this.first.memory, run(this.first, mmCreate(this.first)));
  }

  map(mm: Mm, shared: boolean, address: number = ADDRESS): void {
    const request = {
      lengthBytes: 4 * PAGE,
      address,
      placement: MAP_FIXED_NOREPLACE,
      protection: VM_READ | VM_WRITE,
      shared,
      bufferPfn: 0,
      offsetPages: 0,
    };
    assert.equal(run(this.first, doMmap(this.first, mm, request)), address);
  }

  /** A store by the first thread. */
  touch(mm: Mm, address: number = ADDRESS): void {
    assert.equal(run(this.first, cpuFault(this.first, mm, address / PAGE, true)), 0);
  }

  frame(mm: Mm): number | undefined {
    return run(this.first, readPagemap(this.first, mm, ADDRESS / PAGE, ADDRESS / PAGE + 1))[0]?.pfn;
  }

  /**
   * From now on blocks lie where only the view of the first thread reaches: it has allocated all
   * that was left, and grown the heap. Slabs have free slots.
   */
  growPastTheSecond(): void {
    const { memory, heap } = this.first;
    const before = memory.words.length;
    while (memory.words.length === before) run(this.first, heap.allocWords(BLOCK_WORDS));
    assert.equal(this.second.memory.words.length, before);
  }

  requireUnharmed(): void {
    assert.equal(
      this.first.memory.words[MAGIC],
      MAGIC_VALUE,
      "somebody has written the first word of the heap",
    );
  }
}

function makePair(): Pair {
  const pair = new Pair();
  const mm = pair.makeSpace(); // so that each cache has a slab with free slots
  pair.map(mm, true);
  pair.touch(mm);
  pair.second.memory.refresh();
  pair.growPastTheSecond();
  return pair;
}

/** What the second thread does first with a space whose top table it has never seen. */
const operations: Readonly<Record<string, (machine: Machine, mm: Mm) => Task<unknown>>> = {
  fault: (machine, mm) => cpuFault(machine, mm, ADDRESS / PAGE, true),
  munmap: (machine, mm) => doMunmap(machine, mm, ADDRESS, 4 * PAGE),
  madvise: (machine, mm) => doMadvise(machine, mm, ADDRESS, 4 * PAGE, MADV_DONTNEED),
  pagemap: (machine, mm) => readPagemap(machine, mm, ADDRESS / PAGE, ADDRESS / PAGE + 4),
  exit: (machine, mm) => mmput(machine, mm),
};

for (const [name, operation] of Object.entries(operations)) {
  test(`${name} by a thread that has never seen the space's tables`, () => {
    const pair = makePair();
    const { first, second } = pair;
    const mm = pair.makeSpace();
    pair.map(mm, false);
    pair.touch(mm);
    const usedPages = first.ram.usage().usedPages;
    const theirs = Mm.at(second.memory, mm.at);
    assert.ok(mm.pgd >= second.memory.words.length, "the table lies past the second thread's view");
    run(second, operation(second, theirs));
    pair.requireUnharmed();
    const isMapped = name === "fault" || name === "pagemap";
    assert.equal(first.ram.usage().usedPages, isMapped ? usedPages : usedPages - 1);
    if (name !== "exit") run(first, mmput(first, mm));
  });
}

/**
 * As `operations`, with a shared mapping, of which the first thread has dropped its entry again.
 */
const sharedOperations: Readonly<Record<string, (machine: Machine, mm: Mm) => Task<unknown>>> = {
  fault: (machine, mm) => cpuFault(machine, mm, ADDRESS / PAGE, true),
  exit: (machine, mm) => mmput(machine, mm),
};

for (const [name, operation] of Object.entries(sharedOperations)) {
  test(`${name} by a thread that has never seen a shared mapping's directory`, () => {
    const pair = makePair();
    const { first, second } = pair;
    const mm = pair.makeSpace();
    pair.map(mm, false, ADDRESS + 8 * PAGE);
    pair.touch(mm, ADDRESS + 8 * PAGE); // so that the page's tables are there
    second.memory.refresh();
    pair.growPastTheSecond();
    const seen = second.memory.words.length;
    const theirs = Mm.at(second.memory, mm.at);
    const usedPages = first.ram.usage().usedPages;
    pair.map(mm, true);
    pair.touch(mm);
    const frame = pair.frame(mm);
    run(first, doMadvise(first, mm, ADDRESS, 4 * PAGE, MADV_DONTNEED));
    assert.equal(second.memory.words.length, seen);
    run(second, operation(second, theirs));
    pair.requireUnharmed();
    if (name !== "exit") {
      assert.equal(pair.frame(mm), frame, "the frame that the object has");
      run(first, mmput(first, mm));
    }
    assert.equal(first.ram.usage().usedPages, usedPages - 1);
  });
}
