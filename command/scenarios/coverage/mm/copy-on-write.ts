/**
 * @module Copy-on-write faults of several threads on one page, whose frame is freed and allocated
 * again meanwhile: no store is lost. These scenarios use the shipped frame allocator, which reuses
 * frames; on a harness freed frames never return.
 *
 * A store is one step here: it finds the page writable and writes it. (Stores that are under way
 * while a right is removed are explored with sync/primitives/shootdown.) The copy of a frame names
 * no access to the words that stores write, so of two orders that differ only in these, one is
 * explored. A frame that is held has no writer, so for the shipped code both are the same; the twin
 * is caught with one preemption.
 */

import { HEAP_BYTES_MIN, Machine } from "../../../../src/memory/machine.ts";
import type { RamSnapshot } from "../../../../src/memory/frames/ram-snapshot.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { mmCreate } from "../../../../src/mm/lifetime/mm.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import {
  PAGE_BYTES,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_WRITE,
  makePte,
  ptePfn,
} from "../../../../src/mm/pte.ts";
import { trackRange } from "../../../../src/mm/fault/track.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { EVENT_CLEAR, invalidateRange } from "../../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  notifierSrcu,
} from "../../../../src/notifier/mmu-notifier.ts";
import { atomicCompareExchange } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { runBlocking } from "../../../../src/sync/runners/run-blocking.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";

const PAGE = 64;
const ADDRESS: number = PAGE * PAGE_BYTES;
const TASKS = 3;
const ARENA_WORDS = 4096;
const HEAP_PAGES = 48;
const RAM_PAGES = 16;

/** A page whose frame a parent and a child share, tracked in the parent. */
interface World {
  readonly machine: Machine;
  readonly mm: Mm;
  readonly child: Mm;
  readonly frames: RamSnapshot;
}

function build(): World {
  const heapBytes = HEAP_BYTES_MIN + HEAP_PAGES * PAGE_BYTES + TASKS * ARENA_WORDS * 4;
  const machine = Machine.create({
    ramBytes: RAM_PAGES * PAGE_BYTES,
    heapBytes,
    debug: true,
    name: "set-up",
  });
  const { heap, memory, ram } = machine;
  const run = <T>(task: Task<T>): T => runBlocking(memory, task);
  run(notifierSrcu(machine));
  assert(run(heap.useArenas(TASKS, ARENA_WORDS)), "the heap is too small");
  const mm = Mm.at(memory, run(mmCreate(machine)));
  const place = { lengthBytes: PAGE_BYTES, address: ADDRESS, placement: MAP_FIXED_NOREPLACE };
  const kind = { protection: VM_READ | VM_WRITE, shared: false, bufferPfn: 0, offsetPages: 0 };
  run(doMmap(machine, mm, { ...place, ...kind }));
  run(cpuFault(machine, mm, PAGE, true));
  const child = Mm.at(memory, run(doFork(machine, mm)));
  run(track(machine, mm));
  return { machine, mm, child, frames: ram.snapshot() };
}

function makeWorld(): () => World {
  let made: World | undefined;
  return () => (made ??= build());
}

function* track(machine: Machine, mm: Mm): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* trackRange(machine, mm, PAGE, PAGE + 1, new Uint8Array(1));
  yield* mm.mmapLock.upRead();
}

const indexOf = ({ machine, mm }: World): number =>
  pteIndex(leafOf(machine.memory, mm.pgd, PAGE), PAGE);

const pteOf = (world: World): number => world.machine.memory.words[indexOf(world)]!;

/** The place of a word of the page now. */
function wordOf(world: World, word: number): { readonly words: Int32Array; readonly at: number } {
  const { ram } = world.machine;
  const pfn = ptePfn(pteOf(world));
  return { words: ram.sections.of(pfn).i32, at: ram.sections.wordIndex(pfn) + word };
}

type Fault = (world: World) => Task<unknown>;

const shippedFault: Fault = ({ machine, mm }) => cpuFault(machine, mm, PAGE, true);

/** Stores 1 to a word of the page, as a CPU thread does. */
function* store(world: World, word: number, fault: Fault = shippedFault): Task<void> {
  for (;;) {
    // "update": the entry stands for the frame that is written.
    yield* access(world.machine.memory, "update", indexOf(world), 1, "pte");
    if ((pteOf(world) & PTE_WRITE) !== 0) break;
    yield* fault(world);
  }
  const { words, at } = wordOf(world, word);
  words[at] = 1;
}

/** Discards the page, stores, and lets a device copy the page: this store must stay. */
function* renew(world: World): Task<void> {
  yield* doMadvise(world.machine, world.mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED);
  yield* store(world, 1);
  yield* track(world.machine, world.mm);
}

/** The child discards its page: the frame is exclusive to the parent then. */
function* leave({ machine, child }: World): Task<void> {
  yield* doMadvise(machine, child, ADDRESS, PAGE_BYTES, MADV_DONTNEED);
}

/**
 * The fault as it was before C3 of mm/fault/copy-on-write.ts: it judges and copies a frame without
 * holding it.
 */
function* unheldFault({ machine, mm }: World): Task<void> {
  const { memory, ram } = machine;
  yield* mm.mmapLock.downRead();
  const index = pteIndex(leafOf(memory, mm.pgd, PAGE), PAGE);
  yield* access(memory, "read", index, 1, "pte");
  const pte = memory.words[index]!;
  const isCopied =
    pte !== 0 && (pte & PTE_WRITE) === 0 && !(yield* ram.refs.pageAnonExclusive(ptePfn(pte)));
  if (isCopied) yield* copyUnheld(machine, mm, index, pte);
  yield* mm.mmapLock.upRead();
  if (!isCopied) yield* cpuFault(machine, mm, PAGE, true);
}

function* copyUnheld(machine: Machine, mm: Mm, index: number, pte: number): Task<void> {
  const { memory, ram } = machine;
  const pfn = ptePfn(pte);
  const copy = yield* ram.allocFrame(false);
  yield* ram.copyFrame(pfn, copy);
  const range = invalidateRange(mm, PAGE, PAGE + 1, EVENT_CLEAR);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* access(memory, "update", index, 1, "pte");
  const fresh = makePte(copy, PTE_ACCESSED | PTE_DIRTY | PTE_WRITE);
  const isReplaced = atomicCompareExchange(memory.words, index, pte, fresh) === pte;
  if (isReplaced) yield* mm.shootdown.flush(PAGE, PAGE + 1);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  yield* ram.refs.pagePut(isReplaced ? pfn : copy);
}

const FAULTS = [
  "mm/fault/cpu-fault.cpuFault",
  "mm/fault/fault.handleMmFault",
  "mm/fault/copy-on-write.writeProtectedPrivate",
] as const;
const world = makeWorld();

/** All functions that the tasks run. */
export const copiesOnWrite: readonly Covered[] = [
  covering<World>({
    layer: "mm",
    name: "copy-on-write",
    summary:
      "Two threads write to a page that is shared since a fork, one of them after discarding it, and the child discards it: no store is lost.",
    exploration: { engine: "bounded", preemptions: 2 },
    memory: () => world().machine.memory,
    setup: world,
    reopen: () => {
      world().frames.restore();
      return world();
    },
    tasks: {
      writer: { runs: FAULTS, body: (shared) => store(shared, 0) },
      renewer: {
        runs: [...FAULTS, "mm/calls/madvise.doMadvise", "mm/fault/track.trackRange"],
        body: renew,
      },
      child: { runs: ["mm/calls/madvise.doMadvise"], body: leave },
    },
    check: (shared) => {
      const { words, at } = wordOf(shared, 1);
      assert(words[at] === 1, "a store to the page is lost");
    },
    twins: [
      {
        name: "unheld",
        summary:
          "The fault does not hold the frame that it copies. The frame returns to the entry, is written, and the copy replaces it.",
        expects: "assertion",
        exploration: { preemptions: 1 },
        tasks: { writer: (shared) => store(shared, 0, unheldFault) },
      },
    ],
  }),
];
